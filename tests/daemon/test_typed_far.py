"""A typed collection that is another collector's: called as if it were here."""

from collector_testing import (
    Code, collection_server_pb2, common_pb2, dispatcher_pb2 as dp, eventually, protos)
from mesh import TwoHopsTest
from test_typed_collections import Reflected

SERVICE = "collections.default.Orders"
STATUS = common_pb2.Status


class Far(TwoHopsTest):
    """The first collector has the collection and serves its namespace; `before` does not."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for client in (cls.front, cls.before):
            client.register(protos.shop())
        cls.front.create_collection("orders", "shop.v1.Order")
        cls.orders = Reflected(cls.front.channel, SERVICE)
        cls.orders.channel = cls.before.channel
        cls.Order = cls.orders.message("shop.v1.Order")

    def setUp(self):
        super().setUp()
        self.wait_two_hops()

    def get_by_dispatch(self, record_id, **fields):
        request = self.orders.message(SERVICE + "_GetRequest")(id=record_id)
        return self.before.dispatch(SERVICE, "Get", request, **fields)

    def test_every_kind_of_call(self):
        watch = self.orders.Watch(initial_snapshot=True)
        self.addCleanup(watch.cancel)
        self.orders.Create(id="1", item=self.Order(number="n-1"))
        self.addCleanup(self.orders.Delete, id="1")
        self.assertEqual(self.orders.Get(id="1").item.number, "n-1")
        self.assertEqual([o.number for o in self.orders.List().items], ["n-1"])
        self.assertEqual(next(e.item.number for told in watch for e in told.events
                              if e.info.id == "1"), "n-1")
        answer = self.get_by_dispatch("1")
        self.assertEqual(answer.status.code, STATUS.OK)
        self.assertEqual(answer.handled_by_collector_id, self.me)
        # It is a record of that collector, and of no other.
        self.assertTrue(self.front.get("orders", "1"))
        with self.assertRpcError(Code.NOT_FOUND):
            self.before.get("orders", "1")

    def test_errors_are_that_repos(self):
        with self.assertRpcError(Code.NOT_FOUND):
            self.orders.Get(id="nobody")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.orders.Create()
        self.assertBlames(expected.error, "item")

    def test_ones_own_comes_first(self):
        self.before.create_collection("lines", "shop.v1.Line")
        self.front.create_collection("lines", "shop.v1.Line")
        lines = Reflected(self.front.channel, "collections.default.Lines")
        lines.channel = self.before.channel
        lines.Create(id="own", item=lines.message("shop.v1.Line")(sku="own"))
        self.assertTrue(self.before.get("lines", "own"))
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.get("lines", "own")

    def test_a_target_is_the_target(self):
        with self.assertRpcError(Code.UNIMPLEMENTED, text="no collection"):
            self.orders.Get(id="1", metadata=(("collector-target", "before"),))
        with self.assertRpcError(Code.NOT_FOUND):
            self.get_by_dispatch("1", target_collector_id="before")
        with self.assertRpcError(Code.NOT_FOUND):
            self.orders.Get(id="1", metadata=(("collector-target", self.me),))

    def test_nobody_has_it(self):
        """The collector that serves the namespace says so, and one where nobody does."""
        for path in ("/collections.default.Nothing/Get", "/collections.nowhere.Orders/Get",
                     "/collections.system.Nothing/Get"):
            with self.subTest(path), self.assertRpcError(Code.UNIMPLEMENTED,
                                                         text="no collection"):
                self.before.unary(path, b"")

    def explain(self, client, service, namespace="default", target=""):
        return client.dispatcher.Explain(dp.ExplainRequest(
            namespace=namespace, service=common_pb2.ServiceTypeRef(service_name=service),
            method_name="Get", target_collector_id=target))

    def test_it_is_explained(self):
        here = self.explain(self.front, SERVICE)
        self.assertIn("a collection of this collector, %s, is called" % self.me, here.decision)
        self.assertEqual([(c.id, c.kind) for c in here.candidates if c.eligible],
                         [("default/orders", dp.CANDIDATE_HANDLER)])
        far = self.explain(self.before, SERVICE)
        self.assertIn("collector %s is called" % self.me, far.decision)
        self.assertEqual([c.id for c in far.candidates if c.eligible], [self.me])
        self.assertIn("has no such collection",
                      next(c.reason for c in far.candidates if c.id == "default/orders"))
        for decision, answer in (
                ("UNIMPLEMENTED", self.explain(self.before, "collections.nowhere.Orders",
                                               "nowhere")),
                ("UNIMPLEMENTED", self.explain(self.before, SERVICE, target="before")),
                ("INVALID_ARGUMENT", self.explain(self.front, SERVICE, "nowhere"))):
            with self.subTest(decision):
                self.assertIn(decision, answer.decision)

    def test_it_is_in_the_history(self):
        self.orders.List()

        def recorded():
            page = self.before.records.List(collection_server_pb2.ListRequest(
                namespace="system", collection_name="dispatches", page_size=1000))
            return [d for d in (protos.unpack(i, dp.Dispatch) for i in page.items)
                    if d.service.service_name == SERVICE and d.method_name == "List"]

        record = eventually(recorded, "the call is in system/dispatches")[0]
        self.assertEqual(record.target_collector_id, self.me)
