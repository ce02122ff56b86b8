"""Types that are registered, updated and removed reach every daemon, without restarts and misses."""

import itertools
import threading

import grpc
from collector_testing import (
    Code, CollectorTest, common_pb2, daemon_pb2, eventually,
    protos, registry_pb2 as rg, worker_pb2 as wp)
from google.protobuf import descriptor_pb2, json_format


class Follow(CollectorTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client("worker").wait_serving()
        cls.registry = cls.client("registry")

    def setUp(self):
        self.ns = self._testMethodName.replace("test_", "").replace("_", "-")[:60]
        self.front.registry.SetPolicy(rg.SetPolicyRequest(
            namespace=self.ns, policy=rg.COMPATIBILITY_POLICY_NONE))
        self.backend_ = self.backend({
            "/t.v1.S/%s" % name: lambda request, context: request for name in ["Do", "More"] + ["M%d" % i for i in range(20)]})

    def put(self, body, name="s.proto", extra=(), **fields):
        files = [f for f in protos.compile_sources(dict(
            {name: 'syntax = "proto3"; package t.v1;\n' + body}, **dict(extra))).file
            if f.name == name or f.name in dict(extra)]
        return self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=self.ns, files=descriptor_pb2.FileDescriptorSet(file=files), force=True,
            **fields))

    TYPES = "message A { string a = 1; } message B { string b = 1; } "

    def service(self, **methods):
        """{"Do": "A"}: a service whose methods take and return one type."""
        return self.TYPES + "service S { %s }" % " ".join(
            "rpc %s(%s) returns (%s);" % (m, t, t) for m, t in methods.items())

    def message(self, name, **fields):
        types = protos.Types(protos.single_file("s.proto", self.TYPES))
        return types.message("t.v1." + name)(**fields)

    def dispatch(self, method, message):
        """The code that a Dispatch ends with; what the backend says is OK."""
        try:
            answer = self.front.dispatch("t.v1.S", method, message, namespace=self.ns)
        except grpc.RpcError as error:
            return error.code()
        self.assertEqual(answer.status.code, common_pb2.Status.OK)
        return Code.OK

    def asked(self):
        """How often the registry was asked for types by now."""
        stats = self.registry.daemon.GetStats(daemon_pb2.GetStatsRequest())
        return sum(m.calls for m in stats.methods if m.method.endswith("/GetDescriptors"))

    def follow(self):
        """Have the dispatcher know the service: Do takes an A."""
        self.put(self.service(Do="A"))
        self.front.register_handler("t.v1.S", self.backend_.address, namespace=self.ns)
        self.assertEqual(self.dispatch("Do", self.message("A", a="x")), Code.OK)

    def change(self, kind):
        """Do takes another type from now on. True: nobody asked for that."""
        before = self.asked()
        self.put(self.service(Do=kind))
        eventually(lambda: self.dispatch("Do", self.message(kind)) == Code.OK,
                   "Do takes a " + kind)
        self.assertEqual(self.dispatch("Do", self.message("A" if kind == "B" else "B")),
                         Code.INVALID_ARGUMENT)
        return self.asked() == before

    # ------------------------------------------------------------ the dispatcher

    def test_an_update_takes_effect_in_the_dispatcher_without_a_miss(self):
        self.follow()
        for kind in "BABAB":
            self.assertTrue(self.change(kind), "it was asked for")

    def test_files_that_come_and_go(self):
        self.follow()
        a, b = ({"x.proto": 'syntax = "proto3"; package x; message %s {}' % name}
                for name in ("X", "Y"))
        self.put(self.service(Do="A"), extra=a)
        self.put(self.service(Do="B"), extra=b)
        self.front.registry.Unregister(rg.UnregisterRequest(
            namespace=self.ns, file_name="x.proto", force=True))
        self.put(self.service(Do="A", More="B"))
        before = self.asked()
        eventually(lambda: self.dispatch("Do", self.message("A")) == Code.OK, "the last one")
        self.assertEqual(self.asked(), before)
        self.front.registry.Unregister(rg.UnregisterRequest(
            namespace=self.ns, file_name="s.proto", force=True))
        eventually(lambda: self.dispatch("Do", self.message("A")) == Code.NOT_FOUND,
                   "the service is gone")

    def test_a_new_method_is_there_at_once(self):
        """Nobody has to wait for what was not known: it is asked for."""
        self.follow()
        self.assertEqual(self.dispatch("More", self.message("A")), Code.NOT_FOUND)
        for i in range(20):
            self.put(self.service(Do="A", **{"M%d" % i: "A"}))
            self.assertEqual(self.dispatch("M%d" % i, self.message("A")), Code.OK)

    def test_reflection_and_native_calls_see_it(self):
        self.follow()
        self.put(self.service(More="B"))
        call = self.front.channel.unary_unary("/t.v1.S/More")
        metadata = (("collector-namespace", self.ns),)
        self.assertEqual(call(b"", metadata=metadata, timeout=30), b"")
        self.assertIn("t.v1.S.More", str(self.reflected("t.v1.S")))
        self.put(self.service(Do="B"))
        self.assertNotIn("t.v1.S.More", str(self.reflected("t.v1.S")))

    def reflected(self, symbol):
        from grpc.reflection.v1 import reflection_pb2, reflection_pb2_grpc
        stub = reflection_pb2_grpc.ServerReflectionStub(self.front.channel)
        answer = next(stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)]),
            metadata=(("collector-namespace", self.ns),), timeout=30))
        files = [descriptor_pb2.FileDescriptorProto.FromString(f)
                 for f in answer.file_descriptor_response.file_descriptor_proto]
        return ["%s.%s.%s" % (f.package, s.name, m.name)
                for f in files for s in f.service for m in s.method]

    # -------------------------------------------------------- repo and worker

    def test_repo_and_worker_take_what_was_just_registered(self):
        for i in range(10):
            self.put("message M%d { string f%d = 1; } message A { string a = 1; } "
                     "service S { rpc Do(M%d) returns (A); }" % (i, i, i))
            self.front.create_collection("c%d" % i, "t.v1.M%d" % i, namespace=self.ns,
                                         indexed_fields=["f%d" % i])
            definition = json_format.ParseDict({
                "namespace": self.ns, "name": "w", "inputType": {"messageName": "t.v1.M%d" % i},
                "tasks": [{"id": "do", "service": {"serviceName": "t.v1.S"}, "methodName": "Do",
                           "inputConfig": {"f%d" % i: "{{input.f%d}}" % i}}]},
                wp.WorkflowDefinition())
            self.front.worker.DefineWorkflow(wp.DefineWorkflowRequest(
                definition=definition, validate_only=True))

    # ------------------------------------------------------------------- absence

    def test_after_the_registry_was_away(self):
        self.follow()
        self.cluster["registry"].kill()
        # What is known serves on.
        self.assertEqual(self.dispatch("Do", self.message("A")), Code.OK)
        self.cluster["registry"].start()
        self.wait_back("registry")
        kinds = itertools.cycle("BA")
        eventually(lambda: self.change(next(kinds)), "it is watched again")
        self.assertTrue(self.change(next(kinds)))

    def test_an_update_while_nobody_watches(self):
        """It is told of the difference."""
        self.follow()
        self.cluster["registry"].kill()
        self.cluster["registry"].start()
        self.client("registry").wait_serving()
        registry = self.client("registry")
        for kind in "BAB":
            registry.registry.RegisterFiles(rg.RegisterFilesRequest(
                namespace=self.ns, force=True, files=protos.single_file(
                    "s.proto", self.service(Do=kind))))
        eventually(lambda: self.dispatch("Do", self.message("B")) == Code.OK, "it catches up")

    def test_many_namespaces_and_changes_at_once(self):
        def change(k):
            for i in range(10):
                self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
                    namespace="%s-%d" % (self.ns, k), force=True, files=protos.single_file(
                        "s.proto", self.service(**{"M%d" % i: "A"}))))
                with self.assertRpcError(Code.UNAVAILABLE, Code.NOT_FOUND):
                    self.front.dispatch("t.v1.S", "M%d" % i, self.message("A"),
                                        namespace="%s-%d" % (self.ns, k))

        failures = []

        def run(k):
            try:
                change(k)
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])
        self.assertAllAlive()
