"""ImportFromReflection: types of live servers, of which some lie."""

import itertools
import threading

import grpc
import protos
from collector_testing import Code, CollectorTest, eventually, registry_pb2 as rg
from daemons import Port
from google.protobuf import descriptor_pb2
from reflecting import Reflection, VERSIONS, file_set, method

ECHO = "echo.v1.Echo"


def proto(name, imports=(), services=(), package="t.v1", **fields):
    """A small file; every service has one method of google.protobuf.Empty."""
    file = descriptor_pb2.FileDescriptorProto(
        name=name, package=package, dependency=imports, **{"syntax": "proto3", **fields})
    for service in services:
        file.dependency.append("google/protobuf/empty.proto")
        file.service.add(name=service).method.add(
            name="Do", input_type=".google.protobuf.Empty", output_type=".google.protobuf.Empty")
    return file


class ImportTest(CollectorTest):
    daemons = ("registry", "dispatcher")
    counter = itertools.count()

    def setUp(self):
        self.registry = self.client("registry").registry
        self.namespace = "import-%d" % next(self.counter)

    def serve(self, reflection):
        return self.backend(reflection.methods())

    def run_import(self, address, timeout=60, **fields):
        return self.registry.ImportFromReflection(rg.ImportFromReflectionRequest(
            namespace=self.namespace, address=address, **fields), timeout=timeout)

    def files(self):
        """{name: bytes} of what is registered, built-ins left out."""
        answer = self.registry.GetDescriptors(rg.GetDescriptorsRequest(namespace=self.namespace))
        found = descriptor_pb2.FileDescriptorSet.FromString(answer.file_descriptor_set).file
        return {f.name: f for f in found if not f.name.startswith("google/protobuf/")}

    def assertNothingRegistered(self):
        self.assertEqual(self.files(), {})
        self.assertNotIn(self.namespace, self.registry.ListNamespaces(
            rg.ListNamespacesRequest()).namespaces)

    def assertRefused(self, reflection, *codes, text=(), **fields):
        """The import fails with one of the codes, and leaves nothing behind."""
        backend = self.serve(reflection)
        with self.assertRpcError(*codes, text=text) as expected:
            self.run_import(backend.address, **fields)
        self.assertNothingRegistered()
        self.assertAllAlive()
        return expected.error


class Servers(ImportTest):
    """Servers that behave."""

    daemons = ("registry", "repo", "dispatcher")

    def check_import_of_the_shop(self, reflection):
        backend = self.serve(reflection)
        answer = self.run_import(backend.address)
        self.assertEqual(list(answer.service_names), ["shop.v1.OrderService"])
        self.assertEqual(sorted(f.proto_id for f in answer.files), sorted(
            "%s/%s" % (self.namespace, f.name) for f in protos.shop().own_files()))
        self.assertEqual({(f.version, f.unchanged) for f in answer.files}, {(1, False)})
        self.assertEqual(answer.namespace_version, 1)
        self.assertEqual(self.files(), {f.name: f for f in protos.shop().own_files()})
        return backend

    def test_both_versions_of_reflection_and_both_ways_to_answer(self):
        for versions in (("v1",), ("v1alpha",), ("v1", "v1alpha")):
            for closures in (False, True):
                with self.subTest(versions=versions, closures=closures):
                    self.namespace = "import-%d" % next(self.counter)
                    backend = self.check_import_of_the_shop(
                        Reflection(protos.shop().files, versions, closures))
                    self.assertTrue(backend.calls_of(method(versions[0])))
                    for version in versions[1:]:
                        self.assertEqual(backend.calls_of(method(version)), [])

    def test_a_second_import_changes_nothing(self):
        backend = self.check_import_of_the_shop(Reflection(protos.shop().files))
        answer = self.run_import(backend.address)
        self.assertTrue(answer.files)
        self.assertTrue(all(f.unchanged and f.version == 1 for f in answer.files))
        self.assertEqual(answer.namespace_version, 1)

    def test_imported_services_are_called_through_the_front_door(self):
        backend = self.serve(Reflection(protos.shop().files))
        backend.methods["/shop.v1.OrderService/Charge"] = lambda request, context: request
        self.front.registry.ImportFromReflection(
            rg.ImportFromReflectionRequest(address="localhost:" + backend.address.split(":")[1]))
        self.front.register_handler("shop.v1.OrderService", backend.address)
        request = protos.shop().message("shop.v1.OrderRequest")(number="i").SerializeToString()
        self.assertEqual(self.front.unary("/shop.v1.OrderService/Charge", request), request)

    def test_only_what_the_chosen_services_need(self):
        files = file_set(proto("a.proto", services=["A"]), proto("b.proto", services=["B"]),
                         proto("c.proto", imports=["d.proto"], services=["C"]),
                         proto("d.proto"), proto("unneeded.proto"))
        backend = self.serve(Reflection(files))
        answer = self.run_import(backend.address, service_names=["t.v1.C", "t.v1.A", "t.v1.C"])
        self.assertEqual(list(answer.service_names), ["t.v1.C", "t.v1.A"])
        self.assertEqual(sorted(self.files()), ["a.proto", "c.proto", "d.proto"])
        answer = self.run_import(backend.address)
        self.assertEqual(sorted(self.files()), ["a.proto", "b.proto", "c.proto", "d.proto"])
        with self.assertRpcError(Code.NOT_FOUND, text="t.v1.None"):
            self.run_import(backend.address, service_names=["t.v1.None"])
        for name in ("grpc.health.v1.Health", "collector.CollectorRegistry", "no name", ""):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.run_import(backend.address, service_names=["t.v1.A", name])
            self.assertBlames(expected.error, "service_names")

    def test_extensions_that_nothing_imports(self):
        base = proto("base.proto", services=["S"], syntax="proto2")
        message = base.message_type.add(name="Outer").nested_type.add(name="Open")
        message.extension_range.add(start=100, end=200)
        files = [base]
        for i, extended in enumerate((".t.v1.Outer.Open", ".t.v1.Own.Open", ".t.v1.Outer.Open")):
            file = proto("more%d.proto" % i, ["base.proto"], syntax="proto2")
            own = file.message_type.add(name="Own%d" % i)
            own.extension_range.add(start=1, end=10)
            if extended == ".t.v1.Own.Open":  # an extension of an extension's file
                file.dependency.append("more0.proto")
                extended, number = ".t.v1.Own0", 5
            else:
                number = 100 + i
            scope = own if i else file
            scope.extension.add(name="x%d" % i, number=number, type=9, label=1, extendee=extended)
            files.append(file)
        reflection = Reflection(file_set(*files, proto("unneeded.proto")))
        backend = self.serve(reflection)
        self.run_import(backend.address, service_names=["t.v1.S"])
        self.assertEqual(sorted(self.files()), ["base.proto"])
        self.run_import(backend.address)
        self.assertEqual(self.files(), {f.name: f for f in files})
        self.namespace += "-untold"
        reflection.tells_extensions = False
        self.run_import(backend.address)
        self.assertEqual(sorted(self.files()), ["base.proto"])

    def test_another_collector(self):
        """Its own services are everybody's; what it has registered is imported."""
        self.registry.RegisterFiles(rg.RegisterFilesRequest(files=protos.shop().files))
        for name in ("registry", "dispatcher"):
            self.namespace = "import-%d" % next(self.counter)
            address = self.cluster.address(name)
            eventually(lambda: "shop.v1.OrderService" in self.run_import(address).service_names,
                       "the %s's services are imported" % name)
            self.assertEqual(self.files(), {f.name: f for f in protos.shop().own_files()})

    def test_a_server_with_nothing_but_reflection(self):
        answer = self.run_import(self.serve(Reflection(file_set())).address)
        self.assertEqual((list(answer.service_names), list(answer.files)), ([], []))
        self.assertNothingRegistered()

    def test_changes_are_judged_by_the_policy(self):
        def shape(kind):
            file = proto("s.proto", services=["S"])
            file.message_type.add(name="M").field.add(
                name="f", number=1, type=kind, label=1, json_name="f")
            return self.serve(Reflection(file_set(file))).address
        text, number = shape(9), shape(5)
        answer = self.run_import(text, validate_only=True)
        self.assertEqual([f.proto_id for f in answer.files], [self.namespace + "/s.proto"])
        self.assertNothingRegistered()
        self.run_import(text)
        answer = self.run_import(number, validate_only=True)
        self.assertEqual({b.path for b in answer.breakages}, {"t.v1.M.f"})
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="t.v1.M.f"):
            self.run_import(number)
        self.assertEqual(self.files()["s.proto"].message_type[0].field[0].type, 9)
        self.assertTrue(self.run_import(number, force=True).breakages)
        self.assertEqual(self.files()["s.proto"].message_type[0].field[0].type, 5)

    def test_comments_are_not_lost_to_a_server_that_has_none(self):
        self.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=self.namespace, files=protos.shop().files))
        bare = descriptor_pb2.FileDescriptorSet.FromString(protos.shop().files.SerializeToString())
        for file in bare.file:
            file.ClearField("source_code_info")
        self.assertTrue(all(f.unchanged for f in self.run_import(
            self.serve(Reflection(bare)).address).files))
        self.assertTrue(self.files()["shop/v1/order.proto"].source_code_info.location)


class Addresses(ImportTest):
    options = {"registry": ["--allow-address", "listed.invalid:9"]}

    def assertAddressRefused(self, code, address):
        with self.subTest(address=address):
            with self.assertRpcError(code) as expected:
                self.run_import(address, timeout=20)
            self.assertBlames(expected.error, "address")

    def test_addresses_that_are_not_allowed(self):
        for address in ("169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80",
                        "[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80",
                        "100.100.100.200:80", "10.0.0.1:9", "1.1.1.1:9",
                        "example.invalid:9", "listed.invalid:10"):
            self.assertAddressRefused(Code.PERMISSION_DENIED, address)

    def test_addresses_that_are_none(self):
        for address in ("", "localhost", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ":9",
                        "2130706433:9", "0x7f.1:9", "http://localhost:9", "unix:/tmp/x",
                        "localhost:9/x", "a b:9", "dns:///localhost:9"):
            self.assertAddressRefused(Code.INVALID_ARGUMENT, address)

    def test_nobody_there(self):
        port = Port()
        self.addCleanup(port.close)
        with self.assertRpcError(Code.UNAVAILABLE, text=port.address):
            self.run_import(port.address)
        with self.assertRpcError(Code.UNAVAILABLE, text="listed.invalid"):
            self.run_import("listed.invalid:9")

    def test_a_server_without_reflection(self):
        backend = self.backend({"/echo.v1.Echo/Say": lambda request, context: request})
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="reflection"):
            self.run_import(backend.address)

    def test_namespaces(self):
        backend = self.serve(Reflection(protos.shop().files))
        for namespace, code in (("Not A Name", Code.INVALID_ARGUMENT),
                                ("system", Code.PERMISSION_DENIED)):
            self.namespace = namespace
            with self.assertRpcError(code):
                self.run_import(backend.address)


class Liars(ImportTest):
    """What a server says is checked, and whatever it says ends."""

    def test_an_endless_chain_of_imports(self):
        class Chain(Reflection):
            def put_files(self, reply, file, sent):
                first = len(sent)
                for i in range(first, first + 2000):
                    sent.add(i)
                    reply.file_descriptor_response.file_descriptor_proto.append(proto(
                        "f%d.proto" % i, ["f%d.proto" % (i + 1)],
                        ["S"] if not i else ()).SerializeToString())
        self.assertRefused(Chain(file_set(proto("f0.proto", services=["S"]))),
                           Code.RESOURCE_EXHAUSTED, text="20000 files")

    def test_files_without_end(self):
        big = "x" * (3 << 20)

        class Big(Reflection):
            def put_files(self, reply, file, sent):
                sent.add(len(sent))
                # Its imports are not built in, and a new one each time.
                reply.file_descriptor_response.file_descriptor_proto.append(proto(
                    "f%d.proto" % len(sent), ["f%d.proto" % (len(sent) + 1)],
                    ["S"] if len(sent) == 1 else (),
                    options=descriptor_pb2.FileOptions(java_package=big)).SerializeToString())
        self.assertRefused(Big(file_set(proto("f1.proto", services=["S"]))),
                           Code.RESOURCE_EXHAUSTED, text="bytes")

    def test_a_message_that_is_too_large(self):
        class Huge(Reflection):
            def services(self):
                return ["a.S" + "x" * (17 << 20)]
        self.assertRefused(Huge(file_set()), Code.RESOURCE_EXHAUSTED, text="larger")

    def test_too_many_extensions(self):
        class Many(Reflection):
            def extensions(self, message):
                file = self.files["f.proto"]
                return {n: file for n in range(20001)}
        file = proto("f.proto", services=["S"], syntax="proto2")
        file.message_type.add(name="M").extension_range.add(start=1, end=100000)
        self.assertRefused(Many(file_set(file)), Code.RESOURCE_EXHAUSTED, text="extensions")

    def test_too_many_services(self):
        class Many(Reflection):
            def services(self):
                return ["a.S%d" % i for i in range(20001)]
        self.assertRefused(Many(file_set()), Code.RESOURCE_EXHAUSTED, text="20000 services")

    def test_answers_without_end(self):
        stop = threading.Event()
        self.addCleanup(stop.set)

        class Endless(Reflection):
            def answers(self, messages, request, sent, context):
                while not stop.is_set():
                    yield from super().answers(messages, request, sent, context)
        # The second answer is read for the second question, which it is not for.
        self.assertRefused(Endless(protos.shop().files), Code.FAILED_PRECONDITION,
                           text="something else")

    def test_imports_in_a_circle(self):
        for names in (["a"], ["a", "b"], ["a", "b", "c"]):
            files = [proto(n + ".proto", [names[(i + 1) % len(names)] + ".proto"],
                           ["S"] if not i else ()) for i, n in enumerate(names)]
            self.assertRefused(Reflection(file_set(*files)), Code.INVALID_ARGUMENT)

    def test_files_that_do_not_link(self):
        file = proto("a.proto", services=["S"])
        file.service[0].method[0].input_type = ".no.Such"
        self.assertRefused(Reflection(file_set(file)), Code.INVALID_ARGUMENT, text="no.Such")
        for package in ("collector", "grpc.health.v1", "google.protobuf"):
            self.assertRefused(
                Reflection(file_set(proto("a.proto", ["b.proto"], services=["S"]),
                                    proto("b.proto", package=package, message_type=[
                                        descriptor_pb2.DescriptorProto(name="M")]))),
                Code.INVALID_ARGUMENT, text=package)
        for name in ("../a.proto", "/a.proto", "a", "a.proto.binpb", "a//b.proto", "a\\b.proto"):
            self.assertRefused(Reflection(file_set(proto(name, services=["S"]))),
                               Code.INVALID_ARGUMENT)

    def lie(self, **answers):
        """Answers to some kinds of questions: {kind: function(reply)}."""
        class Lie(Reflection):
            def answers(self, messages, request, sent, context):
                say = answers.get(request.WhichOneof("message_request"))
                if say is None:
                    yield from super().answers(messages, request, sent, context)
                    return
                reply = messages.ServerReflectionResponse()
                said = say(reply)
                yield said if isinstance(said, bytes) else reply
        return Lie(file_set(proto("a.proto", ["b.proto"], ["S"]), proto("b.proto")))

    @staticmethod
    def send(*files):
        def say(reply):
            reply.file_descriptor_response.file_descriptor_proto.extend(
                f if isinstance(f, bytes) else f.SerializeToString() for f in files)
        return say

    def test_wrong_answers(self):
        send, nothing = self.send, lambda reply: None

        def listed(*names):
            def say(reply):
                for name in names:
                    reply.list_services_response.service.add(name=name)
            return say

        def refuse(code, text="because"):
            def say(reply):
                reply.error_response.error_code = code
                reply.error_response.error_message = text
            return say
        for what, lie, text in (
                ("nothing", {"list_services": nothing}, "something else"),
                ("no message", {"list_services": lambda r: b"\xff\xff\xff"}, "something else"),
                ("the wrong kind", {"list_services": send(b"")}, "something else"),
                ("services instead", {"file_containing_symbol": listed("x.Y")}, "something else"),
                ("an error", {"list_services": refuse(7)}, "PERMISSION_DENIED: because"),
                ("no code", {"list_services": refuse(0)}, "UNKNOWN: because"),
                ("an odd code", {"list_services": refuse(-5)}, "UNKNOWN: because"),
                ("a name of a service", {"list_services": listed("no name")}, "name"),
                ("an empty name", {"list_services": listed("")}, "name"),
                ("control characters", {"list_services": listed("a\n\x1b[2J")}, "a??[2J"),
                ("no such symbol", {"file_containing_symbol": refuse(5)}, "t.v1.S"),
                ("no file", {"file_containing_symbol": send()}, "t.v1.S"),
                ("another file", {"file_containing_symbol": send(proto("b.proto"))}, "t.v1.S"),
                ("garbage", {"file_containing_symbol": send(b"\xff\xfe\xfd")}, "without a name"),
                ("no name", {"file_containing_symbol": send(proto("", services=["S"]))},
                 "without a name"),
                ("no import", {"file_by_filename": refuse(5)}, "b.proto"),
                ("another import", {"file_by_filename": send(proto("c.proto"))}, "b.proto"),
                ("two of a name", {"file_by_filename": send(
                    proto("b.proto"), proto("b.proto", package="x"))}, "two different")):
            with self.subTest(what):
                self.assertRefused(self.lie(**lie), Code.FAILED_PRECONDITION, text=text)

    def test_a_malformed_file(self):
        data = proto("a.proto", services=["S"]).SerializeToString()
        for bad in (data + b"\xff", data + b"\x22\x03\x0a\x05a", data[:-3]):
            self.assertRefused(
                self.lie(file_containing_symbol=self.send(bad)),
                Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION)

    def test_streams_that_end(self):
        class Ends(Reflection):
            def __init__(self, code, after):
                super().__init__(file_set(proto("a.proto", ["b.proto"], ["S"]), proto("b.proto")))
                self.code, self.after = code, after

            def _handler(self, messages):
                def info(requests, context):
                    for n, request in enumerate(requests):
                        if n == self.after:
                            if self.code is not Code.OK:
                                context.abort(self.code, "enough")
                            return
                        yield from self.answers(messages, request, set(), context)
                return info
        for after in range(3):
            self.assertRefused(Ends(Code.OK, after), Code.FAILED_PRECONDITION)
            for code in (Code.UNAUTHENTICATED, Code.INTERNAL, Code.NOT_FOUND, Code.UNKNOWN):
                self.assertRefused(Ends(code, after), Code.FAILED_PRECONDITION, text=code.name)
            self.assertRefused(Ends(Code.UNAVAILABLE, after), Code.UNAVAILABLE)
        self.assertRefused(Ends(Code.UNIMPLEMENTED, 0), Code.FAILED_PRECONDITION,
                           text="has no reflection")

    def test_servers_that_keep_silent(self):
        """They keep a caller waiting until its deadline, and only so many at once."""
        asked, stop = threading.Semaphore(0), threading.Event()
        self.addCleanup(stop.set)

        class Silent(Reflection):
            def answers(self, messages, request, sent, context):
                asked.release()
                stop.wait()
                yield messages.ServerReflectionResponse()
        backend = self.serve(Silent(file_set()))
        with self.assertRpcError(Code.DEADLINE_EXCEEDED):
            self.run_import(backend.address, timeout=0.5)
        call = self.client("registry").channel.unary_unary(
            "/collector.CollectorRegistry/ImportFromReflection")
        request = rg.ImportFromReflectionRequest(
            namespace=self.namespace, address=backend.address).SerializeToString()
        self.assertTrue(asked.acquire(timeout=60))
        # The place of the one that was given up is free in a moment.
        first = eventually(lambda: self.started_or_refused(call, request, asked), "one is started")
        second = eventually(lambda: self.started_or_refused(call, request, asked), "another is")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="under way"):
            self.run_import(backend.address)
        # Others are served meanwhile.
        self.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace="meanwhile", files=protos.shop().files))
        first.cancel()
        second.cancel()
        good = self.serve(Reflection(protos.shop().files))
        eventually(lambda: self.imports(good.address), "there is a place again")

    @staticmethod
    def started_or_refused(call, request, asked):
        """The call, once the server was asked; None: it was refused."""
        started = call.future(request, timeout=60)
        while not asked.acquire(timeout=0.05):
            if started.done():
                assert started.code() == Code.RESOURCE_EXHAUSTED, started
                return None
        return started

    def imports(self, address):
        try:
            return self.run_import(address).service_names
        except grpc.RpcError as error:
            self.assertEqual(error.code(), Code.RESOURCE_EXHAUSTED)
            return None
