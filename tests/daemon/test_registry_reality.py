"""Changes of types that are in use: what they break is told, and refused."""

import grpc
from collector_testing import (
    Code, CollectorTest, collection_pb2, collection_repo_pb2 as cr, collection_server_pb2 as cs, common_pb2,
    error_details, error_details_pb2, eventually, protos, registry_pb2 as rg, worker_pb2 as wp)
from google.protobuf import descriptor_pb2, json_format

RECORDS = "COLLECTION_RECORDS"
INDEX = "COLLECTION_INDEX"
TYPE = "COLLECTION_TYPE"
ADDRESS = "127.0.0.1:9"  # nobody has to be there


def violations(error):
    return [(v.type, v.subject, v.description)
            for detail in error_details(error).details
            if detail.Is(error_details_pb2.PreconditionFailure.DESCRIPTOR)
            for v in error_details_pb2.PreconditionFailure.FromString(detail.value).violations]


class Reality(CollectorTest):
    """Each test has a namespace of its own, whose policy is NONE: only users count."""

    def setUp(self):
        self.ns = self._testMethodName.replace("test_", "").replace("_", "-")[:60]
        self.front.registry.SetPolicy(rg.SetPolicyRequest(
            namespace=self.ns, policy=rg.COMPATIBILITY_POLICY_NONE))
        self.client("worker").wait_serving()

    def files(self, sources):
        texts = {name: 'syntax = "proto3"; package t.v1;\n' + text
                 for name, text in sources.items()}
        return descriptor_pb2.FileDescriptorSet(
            file=[f for f in protos.compile_sources(texts).file if f.name in sources])

    def put(self, sources, **fields):
        """Register {"a.proto": "message ..."} in package t.v1, as one set."""
        return self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=self.ns, files=self.files(sources), **fields))

    def asked(self, sources):
        """What a change would break: {(rule, path, user)}; nothing changes by asking."""
        before = self.version()
        answer = self.put(sources, validate_only=True)
        self.assertEqual(self.version(), before)
        return {(b.rule, b.path, b.user) for b in answer.breakages}

    def version(self):
        return self.front.registry.GetDescriptors(rg.GetDescriptorsRequest(
            namespace=self.ns)).version

    def unregister(self, name, **fields):
        return self.front.registry.Unregister(rg.UnregisterRequest(
            namespace=self.ns, file_name=name, **fields))

    def collection(self, name, type_name="t.v1.Order", **fields):
        self.front.create_collection(name, type_name, namespace=self.ns, **fields)
        # Its service is registered, which is a version of the namespace.
        eventually(lambda: self.has_service(name), "the collection has a service")
        return "collection %s/%s" % (self.ns, name)

    def has_service(self, collection):
        return "collections/%s/%s.proto" % (self.ns, collection) in [
            p.file_name for p in self.front.registry.ListProtos(
                rg.ListProtosRequest(namespace=self.ns)).protos]

    def handler(self, service, **fields):
        made = self.front.register_handler(service, ADDRESS, namespace=self.ns, **fields)
        return "handler " + made.id

    def workflow(self, name, tasks, **fields):
        definition = json_format.ParseDict(dict(
            {"namespace": self.ns, "name": name, "tasks": tasks}, **fields),
            wp.WorkflowDefinition())
        self.front.worker.DefineWorkflow(wp.DefineWorkflowRequest(definition=definition))
        return "workflow %s/%s" % (self.ns, name)

    def assertRefused(self, call, breakages):
        """The error's details say exactly the list that validate_only answered with."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), Code.FAILED_PRECONDITION)
        self.assertEqual(
            violations(caught.exception),
            [(b.rule, b.path, "%s: %s" % (b.user, b.description) if b.user else b.description)
             for b in breakages])

    # ------------------------------------------------------------ collections

    def test_records_and_indexes(self):
        before = {"order.proto": "message Order { string number = 1; string city = 2; Note note = 3;"
                                 " string old = 4; } message Note { string text = 1; }"
                                 " message Other { string a = 1; }"}
        self.put(before)
        user = self.collection("orders", indexed_fields=["city", "old"],
                               full_text_fields=["note.text"])
        types = protos.Types(self.files(before))
        order = types.message("t.v1.Order")(number="1", city="Bern", old="x")
        order.note.text = "by the door"
        self.front.create("orders", order, "1", namespace=self.ns)
        after = {"order.proto": "message Order { int32 number = 1; string town = 2; Note note = 3; }"
                                " message Note { bytes words = 1; } message Other { int32 a = 1; }"}
        version = self.version()
        answer = self.put(after, validate_only=True)
        self.assertEqual({(b.rule, b.path, b.user) for b in answer.breakages}, {
            (RECORDS, "t.v1.Order.number", user),
            (INDEX, "t.v1.Order.city", user),
            (INDEX, "t.v1.Order.old", user),
            (INDEX, "t.v1.Order.note.text", user)})
        self.assertEqual({b.file_name for b in answer.breakages}, {"order.proto"})
        self.assertTrue(all(b.description for b in answer.breakages))
        self.assertRefused(lambda: self.put(after), answer.breakages)
        self.assertEqual(self.version(), version)

        forced = self.put(after, force=True)
        self.assertEqual(list(forced.breakages), list(answer.breakages))
        log = self.cluster["registry"].log()
        for b in forced.breakages:
            self.assertIn("by force in namespace %s: %s %s, used by %s" % (
                self.ns, b.rule, b.path, b.user), log)
        # The records are what they were, and are found by what they were made with.
        self.restart("repo")
        got = self.front.get("orders", "1", namespace=self.ns)
        self.assertEqual(got.item.value, order.SerializeToString())
        self.front.create("orders", order, "2", namespace=self.ns)
        found = self.front.records.List(cs.ListRequest(
            namespace=self.ns, collection_name="orders",
            filter=json_format.ParseDict({"city": "Bern"}, cs.ListRequest().filter)))
        self.assertEqual([i.id for i in found.infos], ["1", "2"])
        found = self.front.records.Search(cs.SearchRequest(
            namespace=self.ns, collection_name="orders", full_text="door"))
        self.assertEqual(len(found.results), 2)

    def test_a_vector_field(self):
        self.put({"o.proto": "message Order { repeated float v = 1; string a = 2; }"})
        user = self.collection("orders", vector=collection_pb2.VectorIndex(
            field="v", dimensions=3))
        self.assertEqual(self.asked({"o.proto": "message Order { string a = 2; }"}),
                         {(INDEX, "t.v1.Order.v", user)})
        self.assertEqual(self.asked({"o.proto": "message Order { repeated float v = 1; }"}), set())

    def test_what_it_is_made_of(self):
        """A type in another file changes; so does one that nobody uses."""
        before = {"a.proto": "message Address { string city = 1; } message Unused { string a = 1; }",
                  "b.proto": 'import "a.proto"; message Order { repeated Line lines = 1;'
                             " message Line { map<string, Address> to = 1; } }"}
        self.put(before)
        user = self.collection("orders")
        self.assertEqual(self.asked(
            {"a.proto": "message Address { string city = 1; } message Unused { int32 a = 1; }"}),
            set())
        self.assertEqual(self.asked(
            {"a.proto": "message Address { int64 city = 1; } message Unused { string a = 1; }"}),
            {(RECORDS, "t.v1.Address.city", user)})

    def test_numbers_that_records_have(self):
        """A field may go; its number may not come back as something else."""
        self.put({"o.proto": "message Order { string a = 1; string b = 2; }"})
        user = self.collection("orders")
        self.put({"o.proto": "message Order { string b = 2; }"})
        self.put({"o.proto": "message Order { string b = 2; string c = 3; }"})
        again = {"o.proto": "message Order { string b = 2; string c = 3; int32 d = 1; }"}
        self.assertEqual(self.asked(again), {(RECORDS, "t.v1.Order.d", user)})
        self.assertRefused(lambda: self.put(again), self.put(again, validate_only=True).breakages)
        self.restart("registry")
        self.assertEqual(self.asked(again), {(RECORDS, "t.v1.Order.d", user)})
        self.put({"o.proto": "message Order { string b = 2; string c = 3; bytes d = 1; }"})

    def test_a_type_goes(self):
        self.put({"o.proto": "message Order { string a = 1; } message Kept {}"})
        user = self.collection("orders")
        self.assertEqual(self.asked({"o.proto": "message Kept {}"}),
                         {(TYPE, "t.v1.Order", user)})
        # To another file it may move.
        self.assertEqual(self.asked({"o.proto": "message Kept {}",
                                     "p.proto": "message Order { string a = 1; }"}), set())
        self.put({"o.proto": "message Kept {}"}, force=True)
        self.front.create("orders", protos.Types(self.files(
            {"o.proto": "message Order { string a = 1; }"})).message("t.v1.Order")(a="x"),
            namespace=self.ns)

    def test_other_namespaces_are_not_hit(self):
        self.put({"o.proto": "message Order { string a = 1; }"})
        self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=self.ns + "x", files=self.files({"o.proto": "message Order {string a = 1;}"})))
        self.front.create_collection("orders", "t.v1.Order", namespace=self.ns + "x")
        self.assertEqual(self.asked({"o.proto": "message Order { int32 a = 1; }"}), set())

    def test_a_deleted_collection_is_not_hit(self):
        self.put({"o.proto": "message Order { string a = 1; }"})
        after = {"o.proto": "message Order { int32 a = 1; }"}
        self.collection("orders")
        self.assertEqual(len(self.asked(after)), 1)
        self.front.repo.DeleteCollection(cr.DeleteCollectionRequest(
            collection=common_pb2.NamespacedName(namespace=self.ns, name="orders")))
        eventually(lambda: not self.has_service("orders"), "its service is gone")
        self.assertEqual(self.asked(after), set())

    # ----------------------------------------------------- handlers, workflows

    SERVICE = ("message A { string a = 1; } message B { string b = 1; } message C { string c = 1; }"
               " service S { rpc Do(A) returns (B); rpc Undo(A) returns (B); }")

    def test_handlers(self):
        self.put({"s.proto": self.SERVICE})
        whole, one = self.handler("t.v1.S"), self.handler("t.v1.S", method_name="Undo")
        cases = (
            ("rpc Undo(A)", "rpc Redo(A)", {("t.v1.S.Undo", whole), ("t.v1.S.Undo", one)}),
            ("rpc Do(A)", "rpc Do(C)", {("t.v1.S.Do", whole)}),
            ("rpc Do(A) returns (B)", "rpc Do(A) returns (stream B)", {("t.v1.S.Do", whole)}),
            ("string a = 1", "int32 a = 1", {("t.v1.A.a", whole), ("t.v1.A.a", one)}),
            ("string b = 1", "repeated string b = 1", {("t.v1.B.b", whole), ("t.v1.B.b", one)}),
            ("string c = 1", "int32 c = 1", set()),
            ("rpc Do(A)", "rpc More(A) returns (C); rpc Do(A)", set()),
        )
        for old, new, hit in cases:
            with self.subTest(new):
                self.assertEqual(self.asked({"s.proto": self.SERVICE.replace(old, new)}),
                                 {("HANDLER", path, user) for path, user in hit})
        without = {"s.proto": self.SERVICE.split("service")[0]}
        self.assertEqual(self.asked(without), {
            ("HANDLER", "t.v1.S.Do", whole), ("HANDLER", "t.v1.S.Undo", whole),
            ("HANDLER", "t.v1.S.Undo", one)})
        self.assertRefused(lambda: self.put(without),
                           self.put(without, validate_only=True).breakages)

    def test_workflow_definitions(self):
        self.put({"s.proto": self.SERVICE + " message In { string x = 1; }"})
        tasks = [{"id": "do", "service": {"serviceName": "t.v1.S"}, "methodName": "Do",
                  "inputConfig": {"a": "{{input.x}}"}}]
        fields = {"inputType": {"messageName": "t.v1.In"}}
        self.workflow("ship", tasks, **fields)
        user = self.workflow("ship", tasks, **fields)  # its second version, told once
        rule = "WORKFLOW_DEFINITION"
        source = self.SERVICE + " message In { string x = 1; }"
        cases = (
            ("rpc Do(A)", "rpc Done(A)", {"t.v1.S.Do"}),
            ("rpc Undo(A)", "rpc Undone(A)", set()),
            ("string b = 1", "int32 b = 1", {"t.v1.B.b"}),
            ("string x = 1", "int32 x = 1", {"t.v1.In.x"}),
            ("message In { string x = 1; }", "", {"t.v1.In"}),
            ("string a = 1", "string renamed = 1", {"t.v1.A.a"}),
            ("string x = 1", "string y = 1", {"t.v1.In.x"}),
            ("string a = 1", "string a = 1; string z = 2", set()),
        )
        for old, new, hit in cases:
            with self.subTest(new or "without " + old):
                self.assertEqual(self.asked({"s.proto": source.replace(old, new)}),
                                 {(rule, path, user) for path in hit})

    # ------------------------------------------------------------- unregistering

    def test_what_is_in_use_is_not_unregistered(self):
        self.put({"s.proto": self.SERVICE,
                  "i.proto": 'import "s.proto"; message I { A a = 1; }', "free.proto": "message F {}"})
        users = {
            (TYPE, "t.v1.A", self.collection("as", "t.v1.A")),
            ("HANDLER", "t.v1.S.Do", self.handler("t.v1.S", method_name="Do")),
            ("WORKFLOW_DEFINITION", "t.v1.S.Undo", self.workflow("w", [
                {"id": "u", "service": {"serviceName": "t.v1.S"}, "methodName": "Undo"}]))}
        self.unregister("free.proto")
        told = self.unregister("s.proto", validate_only=True).users
        self.assertIn(("IMPORT", "file i.proto"), [(u.rule, u.user) for u in told])
        self.unregister("i.proto")
        told = self.unregister("s.proto", validate_only=True).users
        self.assertEqual({(u.rule, u.path, u.user) for u in told}, users)
        self.assertRefused(lambda: self.unregister("s.proto"), told)
        version = self.version()
        self.assertEqual(list(self.unregister("s.proto", force=True).users), list(told))
        self.assertEqual(self.version(), version + 1)
        self.assertIn("unregistered by force in namespace %s: %s t.v1.A" % (self.ns, TYPE),
                      self.cluster["registry"].log())

    # ------------------------------------------------------------------- absence

    def test_without_the_repo_nothing_is_guessed(self):
        self.put({"o.proto": "message Order { string a = 1; }", "p.proto": "message P {}"})
        user = self.collection("orders")
        breaking = {"o.proto": "message Order { int32 a = 1; }"}
        version = self.version()
        self.cluster["repo"].kill()
        for fields in ({}, {"validate_only": True}, {"force": True}):
            with self.assertRpcError(Code.UNAVAILABLE, text="system/collections"):
                self.put(breaking, **fields)
            with self.assertRpcError(Code.UNAVAILABLE, text="system/collections"):
                self.unregister("p.proto", **fields)
        self.assertEqual(self.version(), version)
        # Nobody can be hit by what is new, or only more.
        self.put({"new.proto": "message New { string a = 1; }"})
        self.put({"o.proto": "// Why.\nmessage Order { string a = 1; string b = 2; } message More {}"})
        self.assertEqual(self.version(), version + 2)
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.assertEqual(eventually(lambda: self.asked(breaking), "it is asked again"),
                         {(RECORDS, "t.v1.Order.a", user)})
        self.unregister("p.proto")
