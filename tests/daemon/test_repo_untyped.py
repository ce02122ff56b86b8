"""Collections without a type; what an Any inside a record is; methods called for records."""

import os
import threading

from collector_testing import (
    Code, CollectorTest, collection_pb2, collection_repo_pb2, collection_server_pb2 as cs,
    common_pb2, dispatcher_pb2, protos, worker_pb2)
from google.protobuf import any_pb2, json_format, struct_pb2, wrappers_pb2

ORDER = "shop.v1.Order"
SOURCE = """
import "google/protobuf/any.proto";
message Box { string name = 1; google.protobuf.Any inside = 2; }
message Coin { string metal = 1; int32 face_value = 2; }
service Mint {
  rpc Melt(Coin) returns (Box);
}
"""


def struct(value):
    return json_format.ParseDict(value, struct_pb2.Struct())


class Untyped(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        cls.Order = protos.shop().message(ORDER)
        cls.types = protos.Types(protos.single_file("t/v1/box.proto", SOURCE))
        cls.front.register(cls.types)
        cls.Box, cls.Coin = cls.types.message("t.v1.Box"), cls.types.message("t.v1.Coin")

    def box(self, name, inside):
        """Field by field: its Any is a class of its own."""
        box = self.Box(name=name)
        box.inside.type_url, box.inside.value = inside.type_url, inside.value
        return box

    def untyped(self, name, **fields):
        self.front.repo.CreateCollection(collection_repo_pb2.CreateCollectionRequest(
            collection=collection_pb2.Collection(name=name, **fields)))
        return name

    def listed(self, name, **fields):
        if "filter" in fields:
            fields["filter"] = struct(fields["filter"])
        return [i.id for i in self.front.records.List(cs.ListRequest(
            collection_name=name, **fields)).infos]

    def test_any_registered_type(self):
        name = self.untyped("anything", indexed_fields=["faceValue"])
        self.front.create(name, self.Order(number="7", total_cents=5), "order")
        self.front.create(name, self.Coin(metal="gold", face_value=5), "coin")
        self.front.create(name, wrappers_pb2.StringValue(value="gold"), "text")
        self.assertEqual(protos.unpack(self.front.get(name, "coin").item, self.Coin).metal, "gold")
        self.assertEqual(protos.unpack(self.front.get(name, "order").item, self.Order).number, "7")
        self.assertEqual(self.listed(name, filter={"metal": "gold"}), ["coin"])
        self.assertEqual(self.listed(name, filter={"faceValue": {"ge": 5}}), ["coin"])
        self.assertEqual(self.listed(name, filter={"totalCents": 5}), ["order"])
        found = self.front.records.Search(cs.SearchRequest(collection_name=name, full_text="gold"))
        self.assertEqual({r.info.id for r in found.results}, {"coin", "text"})
        got = self.front.records.List(cs.ListRequest(
            collection_name=name, read_mask=["number", "face_value"]))
        self.assertEqual(protos.unpack(got.items[0], self.Order), self.Order(number="7"))
        self.assertEqual(protos.unpack(got.items[1], self.Coin), self.Coin(face_value=5))

        for item, text in ((any_pb2.Any(type_url="x/no.such.Type"), "no.such.Type"),
                           (any_pb2.Any(type_url="t.v1.Coin"), "/"), (any_pb2.Any(), "type"),
                           (any_pb2.Any(type_url="x/t.v1.Coin", value=b"\xff"), "")):
            with self.subTest(item), self.assertRpcError(Code.INVALID_ARGUMENT, text=text) as e:
                self.front.records.Create(cs.CreateRequest(collection_name=name, item=item))
            self.assertBlames(e.error, "item")

        # What is registered from now on can be stored at once.
        late = protos.Types(protos.single_file("t/v1/late.proto", "message Late { int32 x = 1; }"))
        self.front.register(late)
        self.front.create(name, late.message("t.v1.Late")(x=1), "late")

    def test_updates_of_any_type(self):
        name = self.untyped("updates")
        self.front.create(name, self.Coin(metal="gold", face_value=5), "a")

        def update(message, **fields):
            self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id="a", item=protos.pack(message), **fields))

        update(self.Coin(face_value=9), update_mask=["face_value"])
        self.assertEqual(protos.unpack(self.front.get(name, "a").item, self.Coin),
                         self.Coin(metal="gold", face_value=9))
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="t.v1.Coin"):
            update(self.Order(number="1"), update_mask=["number"])
        update(self.Order(number="1"))
        self.assertEqual(self.listed(name, filter={"number": "1"}), ["a"])
        self.assertEqual(self.listed(name, filter={"metal": "gold"}), [])

    def test_without_the_registry_what_is_there_is_served(self):
        name = self.untyped("alone")
        self.front.create(name, self.Coin(metal="gold"), "a")
        self.cluster["registry"].kill()
        try:
            self.restart("repo")
            self.assertEqual(protos.unpack(self.front.get(name, "a").item, self.Coin).metal, "gold")
            self.assertEqual(self.listed(name, filter={"metal": "gold"}), ["a"])
            with self.assertRpcError(Code.UNAVAILABLE):
                self.front.create(name, self.Coin(), "b")
        finally:
            self.cluster["registry"].start()
            self.wait_back("registry")

    def test_an_any_is_resolved_in_the_namespace(self):
        self.front.create_collection("boxes", "t.v1.Box")
        box = self.box("b", protos.pack(self.Order(
            number="7", customer={"city": "London"})))
        self.front.create("boxes", box, "known")
        self.assertEqual(self.listed("boxes", filter={"inside.customer.city": "London"}), ["known"])
        self.assertEqual(self.listed("boxes", filter={"inside.number": "7"}), ["known"])
        for number, inside in enumerate((
                any_pb2.Any(type_url="x/no.such.Type", value=b"\x01\xff"),
                any_pb2.Any(type_url="x/shop.v1.Order", value=b"\xff\xff"))):
            unknown = self.box("u", inside)
            self.front.create("boxes", unknown, "unknown-%d" % number)
            self.assertEqual(protos.unpack(
                self.front.get("boxes", "unknown-%d" % number).item, self.Box), unknown)
        self.assertEqual(self.listed("boxes", filter={"inside.@bytes": "Af8="}), ["unknown-0"])
        # A merge on the way resolves it too.
        self.front.records.Update(cs.UpdateRequest(
            collection_name="boxes", id="known", update_mask=["inside"],
            item=protos.pack(self.box("", protos.pack(self.Coin(metal="tin"))))))
        self.assertEqual(self.listed("boxes", filter={"inside.metal": "tin"}), ["known"])

    def test_in_system_an_any_is_of_the_namespace_that_its_record_is_about(self):
        with open(os.path.join(self.cluster.data, "daemon.key"), "rb") as f:
            daemon = (("collector-internal-key", f.read().strip()),
                      ("collector-internal-daemon", "worker"))
        repo = self.client("repo")
        repo.repo.CreateCollection(collection_repo_pb2.CreateCollectionRequest(
            collection=collection_pb2.Collection(
                namespace="system", name="runs", message_type=common_pb2.MessageTypeRef(
                    message_name="collector.ActiveWorkflow"))), metadata=daemon)
        # One name, two types: only the namespace tells what the bytes are.
        for namespace, field in (("first", "string metal = 1;"), ("second", "string town = 1;")):
            self.front.register(protos.Types(protos.single_file(
                "n/v1/named.proto", "message Named { %s }" % field, "n.v1")), namespace=namespace)
        for namespace in ("first", "second", "third"):
            run = worker_pb2.ActiveWorkflow(id=namespace, namespace=namespace)
            run.input.type_url = "type.googleapis.com/n.v1.Named"
            run.input.value = wrappers_pb2.StringValue(value="tin").SerializeToString()
            repo.records.Create(cs.CreateRequest(
                namespace="system", collection_name="runs", id=namespace, item=protos.pack(run)),
                metadata=daemon)

        def runs(condition):
            return [i.id for i in self.front.records.List(cs.ListRequest(
                namespace="system", collection_name="runs", filter=struct(condition))).infos]
        self.assertEqual(runs({"input.metal": "tin"}), ["first"])
        self.assertEqual(runs({"input.town": "tin"}), ["second"])
        self.assertEqual(runs({"input.@bytes": {"exists": True}}), ["third"])
        # An update is of the namespace that the record is about then.
        moved = worker_pb2.ActiveWorkflow()
        moved.CopyFrom(run)
        moved.namespace = "second"
        repo.records.Update(cs.UpdateRequest(
            namespace="system", collection_name="runs", id="third", item=protos.pack(moved)),
            metadata=daemon)
        self.assertEqual(runs({"input.town": "tin"}), ["second", "third"])

    def mint(self, melt):
        backend = self.backend({"/t.v1.Mint/Melt": melt})
        server = self.front.register_handler("t.v1.Mint", backend.address)
        self.addCleanup(lambda: self.front.dispatcher.UnregisterHandler(
            dispatcher_pb2.UnregisterHandlerRequest(id=server.id)))
        return backend

    def invoke(self, name, ids=(), method="t.v1.Mint/Melt", call="Invoke", **fields):
        return getattr(self.front.records, call)(cs.InvokeRequest(
            collection_name=name, method_name=method, item_ids=ids, **fields))

    def test_a_method_for_records(self):
        name = "coins"
        self.front.create_collection(name, "t.v1.Coin")
        for i in range(20):
            self.front.create(name, self.Coin(metal="m%d" % i, face_value=i), str(i))
        first = threading.Event()

        def melt(request, _):
            coin = self.Coin.FromString(request)
            if coin.metal == "m0":
                first.wait(20)
            if coin.metal == "m3":
                first.set()
            return self.Box(name=coin.metal).SerializeToString()

        backend = self.mint(melt)
        ids = [str(i) for i in range(20)]
        # The first is answered after others: outputs come in the order of the records.
        answer = self.invoke(name, ids)
        self.assertEqual([protos.unpack(o, self.Box).name for o in answer.outputs],
                         ["m" + i for i in ids])
        answer = self.invoke(name, ["5", "5", "2"], call="Call")
        self.assertEqual([protos.unpack(o, self.Box).name for o in answer.outputs],
                         ["m5", "m5", "m2"])
        answer = self.invoke(name, input=protos.pack(self.Coin(metal="own")))
        self.assertEqual(protos.unpack(answer.outputs[0], self.Box).name, "own")
        calls = len(backend.calls)
        with self.assertRpcError(Code.NOT_FOUND, text="nobody"):
            self.invoke(name, ["1", "nobody"])
        for method in ("", "Melt", "/Melt", "t.v1.Mint/", "a/b/c"):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.invoke(name, ["1"], method=method)
            self.assertBlames(expected.error, "method_name")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.invoke(name)
        self.assertBlames(expected.error, "input")
        with self.assertRpcError(Code.NOT_FOUND):
            self.invoke(name, ["1"], method="t.v1.Mint/Nothing")
        self.assertEqual(len(backend.calls), calls)

    def test_a_method_that_fails(self):
        name = "bad-coins"
        self.front.create_collection(name, "t.v1.Coin")
        for i in range(3):
            self.front.create(name, self.Coin(metal="m%d" % i), str(i))

        def melt(request, context):
            if self.Coin.FromString(request).metal == "m1":
                context.abort(Code.FAILED_PRECONDITION, "too cold")
            return self.Box().SerializeToString()

        self.mint(melt)
        with self.assertRpcError(Code.FAILED_PRECONDITION, text=("too cold", '"1"')):
            self.invoke(name, ["0", "1", "2"])
