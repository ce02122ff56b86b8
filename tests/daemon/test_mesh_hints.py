"""What a caller says of its call holds wherever the call is passed on to."""

from collector_testing import common_pb2, dispatcher_pb2 as dp, eventually, protos
from mesh import MeshTest
from test_attached import Stream

SERVICE, STATUS = "shop.v1.OrderService", common_pb2.Status
SAID = {"routing_hints": {"idempotent": "true"}}


class Idempotent(MeshTest):
    """A call that may have been done is repeated there, by the next handler."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")

    def stream(self, client):
        before = len(client.dispatcher.ListHandlers(dp.ListHandlersRequest()).servers)
        stream = Stream(client, (SERVICE, "Charge"))
        self.addCleanup(stream.cut)
        eventually(lambda: len(client.dispatcher.ListHandlers(
            dp.ListHandlersRequest()).servers) > before, "it is attached")
        return stream

    def soon(self, client, **fields):
        call = client.channel.unary_unary(
            "/collector.CollectiveDispatcher/Dispatch",
            request_serializer=dp.DispatchRequest.SerializeToString,
            response_deserializer=dp.DispatchResponse.FromString)
        return call.future(dp.DispatchRequest(
            service=common_pb2.ServiceTypeRef(service_name=SERVICE), method_name="Charge",
            input=protos.pack(self.Request(number="1")), **fields), timeout=60)

    def native_soon(self, client, metadata):
        return client.channel.unary_unary("/%s/Charge" % SERVICE).future(
            self.Request(number="1").SerializeToString(), timeout=60, metadata=metadata)

    def survive(self, client, call):
        """The handler that has the call dies; another one of the same collector is there."""
        self.dying.next_call()
        other = self.stream(client)
        self.dying.cut()
        other.answer(other.next_call().call_id, self.Reply(receipt="second"))
        return call.result()

    def test_by_serve(self):
        far = self.start_collector("far", "default")
        self.connect(self.front, far)
        self.dying = self.stream(far)
        answer = self.survive(far, self.soon(self.front, **SAID))
        self.assertEqual(protos.unpack(answer.output, self.Reply).receipt, "second")
        self.assertEqual(answer.handled_by_collector_id, "far")

    def test_not_said(self):
        far = self.start_collector("far", "default")
        self.connect(self.front, far)
        dying = self.stream(far)
        call = self.soon(self.front)
        dying.next_call()
        self.stream(far)
        dying.cut()
        self.assertEqual(call.result().status.code, STATUS.UNAVAILABLE)

    def test_passed_on_twice(self):
        near = self.start_collector("near", "nothing",
                                    options=("--advertise-address", "127.0.0.1:1"))
        hub = self.start_collector("hub", "nothing")
        far = self.start_collector("far", "default")
        self.connect(hub, near)
        self.connect(hub, far)
        eventually(lambda: [c for c in self.connections(near).collectors if c.id == "far"],
                   "far is heard of")
        self.dying = self.stream(far)
        answer = self.survive(far, self.soon(near, **SAID))
        self.assertEqual(protos.unpack(answer.output, self.Reply).receipt, "second")

    def test_a_native_call(self):
        self.dying = self.stream(self.front)
        data = self.survive(self.front, self.native_soon(
            self.front, (("collector-idempotent", "true"),)))
        self.assertEqual(self.Reply.FromString(data).receipt, "second")

    def test_a_native_call_to_another_collector(self):
        far = self.start_collector("far", "default")
        self.connect(self.front, far)
        self.dying = self.stream(far)
        data = self.survive(far, self.native_soon(self.front, (
            ("collector-idempotent", "true"), ("collector-target", "far"))))
        self.assertEqual(self.Reply.FromString(data).receipt, "second")
