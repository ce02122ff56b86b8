"""Collections as services of their own: collections.<namespace>.<Name>, typed.

The client knows nothing but the front door: it gets the descriptors by reflection.
"""

from collector_testing import (
    Code, CollectorTest, collection_repo_pb2, collection_server_pb2 as records, common_pb2,
    dispatcher_pb2 as dp, eventually, protos)
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc.reflection.v1 import reflection_pb2 as v1, reflection_pb2_grpc as v1_grpc


class Reflected:
    """A service whose methods can be called, made of what reflection tells."""

    def __init__(self, channel, name, namespace=""):
        self.channel, self.name = channel, name
        self.metadata = (("collector-namespace", namespace),) if namespace else ()
        self._pool, self._files = descriptor_pool.DescriptorPool(), {}
        self._fetch(v1.ServerReflectionRequest(file_containing_symbol=name))
        for file in list(self._files):
            self._link(file)
        self.service = self._pool.FindServiceByName(name)
        self._factory = message_factory.MessageFactory(self._pool)

    def ask(self, request):
        return next(v1_grpc.ServerReflectionStub(self.channel).ServerReflectionInfo(
            iter([request]), metadata=self.metadata, timeout=30))

    def _fetch(self, request):
        """What came, and what it imports."""
        answer = self.ask(request)
        assert not answer.error_response.error_code, answer.error_response
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            self._files.setdefault(file.name, file)
        for file in list(self._files.values()):
            for needed in file.dependency:
                if needed not in self._files:
                    self._fetch(v1.ServerReflectionRequest(file_by_filename=needed))

    def _link(self, name):
        """Dependencies first."""
        file = self._files.pop(name, None)
        if file is not None:
            for needed in file.dependency:
                self._link(needed)
            self._pool.Add(file)

    def message(self, name):
        return self._factory.GetPrototype(self._pool.FindMessageTypeByName(name))

    def __getattr__(self, method):
        found = self.service.methods_by_name[method]
        request = self._factory.GetPrototype(found.input_type)
        response = self._factory.GetPrototype(found.output_type)

        def call(metadata=None, **fields):
            kind = self.channel.unary_unary if method != "Watch" else self.channel.unary_stream
            stub = kind(
                "/%s/%s" % (self.name, method),
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString)
            return stub(request(**fields), timeout=30, metadata=metadata)

        return call


class WithShop(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        cls.front.register(protos.shop(), "my-shop")
        cls.front.create_collection("orders", "shop.v1.Order")
        cls.front.create_collection("order-lines", "shop.v1.Line", "my-shop")


class Typed(WithShop):
    def reflected(self, name, namespace=""):
        return Reflected(self.front.channel, name, namespace)

    def services(self, namespace=""):
        metadata = (("collector-namespace", namespace),) if namespace else ()
        answer = next(v1_grpc.ServerReflectionStub(self.front.channel).ServerReflectionInfo(
            iter([v1.ServerReflectionRequest(list_services="")]), metadata=metadata, timeout=30))
        return [s.name for s in answer.list_services_response.service]

    def test_they_are_listed(self):
        self.assertIn("collections.default.Orders", self.services())
        self.assertIn("collections.my_hshop.OrderLines", self.services("my-shop"))
        self.assertNotIn("collections.default.Orders", self.services("my-shop"))
        self.assertIn("collections.system.Collections", self.services("system"))

    def test_every_method(self):
        orders = self.reflected("collections.default.Orders")
        Order = orders.message("shop.v1.Order")
        created = orders.Create(id="1", labels={"kind": "test"}, item=Order(
            number="n-1", note="for the typed test", total_cents=10, lines=[
                dict(sku="a", quantity=1), dict(sku="b", quantity=2)]))
        self.assertEqual(created.id, "1")
        self.assertTrue(created.etag)

        got = orders.Get(id="1")
        self.assertEqual((got.item.number, got.item.total_cents), ("n-1", 10))
        self.assertEqual([line.sku for line in got.item.lines], ["a", "b"])
        self.assertEqual(got.info.metadata.labels["kind"], "test")
        self.assertEqual(got.info.etag, created.etag)
        # It is the record that everybody else sees.
        plain = protos.unpack(self.front.get("orders", "1").item,
                              protos.shop().message("shop.v1.Order"))
        self.assertEqual(plain.SerializeToString(), got.item.SerializeToString())

        updated = orders.Update(id="1", item=Order(total_cents=20), update_mask=["total_cents"])
        self.assertNotEqual(updated.etag, created.etag)
        self.assertEqual(orders.Get(id="1").item.total_cents, 20)
        self.assertEqual(orders.Get(id="1", read_mask=["number"]).item, Order(number="n-1"))

        orders.Create(id="2", item=Order(number="n-2"))
        listed = orders.List(order_by="number desc")
        self.assertEqual([o.number for o in listed.items], ["n-2", "n-1"])
        self.assertEqual([i.id for i in listed.infos], ["2", "1"])
        self.assertEqual(listed.total_count, 2)
        condition = orders.message("google.protobuf.Struct")()
        condition.fields["number"].string_value = "n-2"
        listed = orders.List(page_size=1, filter=condition)
        self.assertEqual([o.number for o in listed.items], ["n-2"])

        found = orders.Search(full_text="typed")
        self.assertEqual([(r.item.number, r.info.id) for r in found.results], [("n-1", "1")])
        self.assertGreater(found.results[0].score, 0)

        orders.Delete(id="1")
        orders.Delete(id="2")
        with self.assertRpcError(Code.NOT_FOUND):
            orders.Get(id="1")

    def test_errors_are_the_repos(self):
        orders = self.reflected("collections.default.Orders")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            orders.Create()
        self.assertBlames(expected.error, "item")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            orders.List(order_by="nothing")
        self.assertBlames(expected.error, "order_by")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.unary("/collections.default.Orders/Create", b"\x1a\x02\x0a\xff")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.unary("/collections.default.Orders/Get", b"\x1a\xff")

    def test_the_namespace_is_the_services(self):
        lines = self.reflected("collections.my_hshop.OrderLines", "my-shop")
        Line = lines.message("shop.v1.Line")
        lines.Create(id="a", item=Line(sku="x"))
        got = lines.Get(id="a", metadata=(("collector-namespace", "my-shop"),))
        self.assertEqual(got.item.sku, "x")
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="my-shop"):
            lines.Get(id="a", metadata=(("collector-namespace", "default"),))
        # Fields that would name another collection are not the typed request's.
        data = records.GetRequest(namespace="default", collection_name="orders", id="a")
        answer = self.front.unary("/collections.my_hshop.OrderLines/Get",
                                  data.SerializeToString())
        self.assertTrue(answer)

    def test_what_is_not_there(self):
        for path in ("/collections.default.Nothing/Get", "/collections.default.Orders/Batch",
                     "/collections.default.orders/Get", "/collections.default.Or_ders/Get",
                     "/collections.nowhere.Orders/Get", "/collections.Orders/Get"):
            with self.subTest(path), self.assertRpcError(Code.UNIMPLEMENTED):
                self.front.unary(path, b"")

    def test_made_and_called_at_once(self):
        """Anew with another type, too: nothing is remembered that is no longer so."""
        for message, fields in (("shop.v1.Order", dict(number="1")),
                                ("shop.v1.Line", dict(sku="2")),
                                ("shop.v1.Order", dict(number="3"))):
            self.front.create_collection("changing", message)
            typed = self.reflected("collections.default.Changing")
            item = typed.message(message)(**fields)
            typed.Create(id="1", item=item)
            self.assertEqual(typed.Get(id="1").item, item)
            self.front.repo.DeleteCollection(collection_repo_pb2.DeleteCollectionRequest(
                collection=common_pb2.NamespacedName(name="changing")))
            with self.assertRpcError(Code.UNIMPLEMENTED, Code.NOT_FOUND):
                typed.Get(id="1")

    def test_the_system_is_read_only_here_too(self):
        catalogue = self.reflected("collections.system.Collections", "system")
        self.assertIn("orders", [c.name for c in catalogue.List().items])
        with self.assertRpcError(Code.PERMISSION_DENIED):
            catalogue.Create(item={"name": "x"})

    def test_a_repo_that_is_away(self):
        self.cluster["repo"].kill()
        try:
            with self.assertRpcError(Code.UNAVAILABLE):
                self.front.unary("/collections.default.Orders/Get", b"\x1a\x01a")
            self.assertIn("collector.CollectiveDispatcher", self.services())
        finally:
            self.cluster["repo"].start()
            self.wait_back("repo")
        eventually(lambda: "collections.default.Orders" in self.services(), "listed again")

    def test_by_dispatch(self):
        orders = self.reflected("collections.default.Orders")
        orders.Create(id="dispatched", item=orders.message("shop.v1.Order")(number="7"))
        name = "collections.default.Orders"
        get = orders.message(name + "_GetRequest")(id="dispatched")
        answer = self.front.dispatch(name, "Get", get)
        found = protos.unpack(answer.output, orders.message(name + "_GetResponse"))
        self.assertEqual(found.item.number, "7")
        self.assertTrue(answer.handled_by_collector_id)
        missing = self.front.dispatch(name, "Get", orders.message(name + "_GetRequest")(id="no"))
        self.assertEqual(missing.status.code, common_pb2.Status.NOT_FOUND)
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.dispatch(name, "Batch", orders.message(name + "_GetRequest")())
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.dispatch(name, "List", get)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.dispatch(name, "Get", get, "other")
        orders.Delete(id="dispatched")

    def test_watch(self):
        orders = self.reflected("collections.default.Orders")
        Order = orders.message("shop.v1.Order")
        orders.Create(id="watched", item=Order(number="before"))
        events, started = [], orders.Watch(initial_snapshot=True)
        self.addCleanup(started.cancel)

        def until(wanted):
            while wanted not in events:
                for event in next(started).events:
                    events.append((event.info.id, event.item.number))

        until(("watched", "before"))
        orders.Update(id="watched", item=Order(number="after"))
        until(("watched", "after"))
        orders.Delete(id="watched")
        with self.assertRpcError(Code.NOT_FOUND, Code.UNIMPLEMENTED):
            next(self.front.channel.unary_stream("/collections.default.Nothing/Watch")(
                b"", timeout=30))
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            next(self.front.channel.unary_stream("/collections.default.Orders/Watch")(
                b"\x1a\xff", timeout=30))
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.front.dispatch("collections.default.Orders", "Watch", orders.message(
                "collections.default.Orders_WatchRecordsRequest")())

    def test_large_records(self):
        orders = self.reflected("collections.default.Orders")
        Order = orders.message("shop.v1.Order")
        orders.Create(id="large", item=Order(note="x" * (3 << 20)))
        self.assertEqual(len(orders.Get(id="large").item.note), 3 << 20)
        orders.Delete(id="large")


ARCHIVE = """
import "shop/v1/order.proto";
service Archive {
  rpc Get(Named) returns (Found);
  rpc Create(New) returns (Made);
  rpc Delete(Named) returns (Gone);
  rpc List(More) returns (Found);
  rpc Ship(Named) returns (Found);
}
message Named { string id = 3; }
message Found { shop.v1.Order item = 2; }
message New { shop.v1.Order item = 3; string id = 4; }
message Made { string id = 2; }
message Gone {}
message More { string id = 3; bool more = 77; }
"""


class CollectionHandlers(WithShop):
    """A collection as the handler of a method that somebody registered."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.types = protos.Types(protos.single_file(
            "archive/v1/archive.proto", ARCHIVE, package="archive.v1"))
        cls.front.register(cls.types)

    def bind(self, method, collection="orders", **fields):
        server = self.front.register_handler(
            "archive.v1.Archive", "", method_name=method, kind=dp.HANDLER_COLLECTION,
            collection_name=collection, **fields)
        self.addCleanup(self.front.dispatcher.UnregisterHandler,
                        dp.UnregisterHandlerRequest(id=server.id))
        return server

    def message(self, name):
        return self.types.message("archive.v1." + name)

    def call(self, method, request, reply):
        return self.message(reply).FromString(self.front.unary(
            "/archive.v1.Archive/" + method, request.SerializeToString()))

    def test_its_methods_are_the_collections(self):
        for method in ("Create", "Get", "Delete"):
            server = self.bind(method)
            self.assertEqual((server.kind, server.collection.name),
                             (dp.HANDLER_COLLECTION, "orders"))
        order = self.types.message("shop.v1.Order")(number="n", total_cents=5)
        made = self.call("Create", self.message("New")(id="archived", item=order), "Made")
        self.assertEqual(made.id, "archived")
        named = self.message("Named")(id="archived")
        self.assertEqual(self.call("Get", named, "Found").item, order)
        answer = self.front.dispatch("archive.v1.Archive", "Get", named)
        self.assertEqual(protos.unpack(answer.output, self.message("Found")).item, order)
        self.call("Delete", named, "Gone")
        with self.assertRpcError(Code.NOT_FOUND):
            self.call("Get", named, "Found")
        # They survive, as other handlers do.
        self.restart("dispatcher")
        self.call("Create", self.message("New")(id="archived", item=order), "Made")
        self.call("Delete", named, "Gone")

    def test_what_does_not_fit(self):
        for method, field in (("Ship", "method_name"), ("List", "method_name")):
            with self.subTest(method), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.bind(method)
            self.assertBlames(expected.error, field)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.bind("")  # all of the service
        with self.assertRpcError(Code.NOT_FOUND):
            self.bind("Get", "nothing")
        for collection in ("", "Not One"):
            with self.assertRpcError(Code.INVALID_ARGUMENT):
                self.bind("Get", collection)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.register_handler("archive.v1.Archive", "127.0.0.1:1", method_name="Get",
                                        kind=dp.HANDLER_COLLECTION, collection_name="orders")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.register_handler("archive.v1.Archive", "127.0.0.1:1", method_name="Get",
                                        collection_name="orders")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.register_handler("archive.v1.Archive", "", method_name="Get",
                                        kind=dp.HANDLER_ATTACHED)
