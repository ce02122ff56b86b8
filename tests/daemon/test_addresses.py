"""Which addresses are dialled, under which names, and for how long they are remembered."""

from concurrent import futures

import grpc
from collector_testing import (
    Backend, Code, daemon_pb2, dispatcher_pb2 as dp, eventually, protos)
from mesh import MeshTest

SERVICE = "shop.v1.OrderService"
CHARGE = "/%s/Charge" % SERVICE
UNUSED_KEPT = 64


class Addresses(MeshTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")

    def backend(self):
        backend = Backend({CHARGE: lambda request, context: self.Reply(
            receipt="backend").SerializeToString()})
        self.addCleanup(backend.stop)
        return backend

    def bind(self, client, address):
        server = client.register_handler(SERVICE, address, method_name="Charge")
        self.addCleanup(self.front.dispatcher.UnregisterHandler,
                        dp.UnregisterHandlerRequest(id=server.id))
        return server

    def number(self, client, name):
        return client.daemon.GetStats(daemon_pb2.GetStatsRequest()).numbers[name]

    def test_a_backend_by_name(self):
        backend = self.backend()
        self.bind(self.front, "localhost:" + backend.address.split(":")[1])
        # The very first call waits for the name; so does the first after a restart.
        reply = self.Reply.FromString(self.front.unary(CHARGE, b""))
        self.assertEqual(reply.receipt, "backend")
        answer = self.front.dispatch(SERVICE, "Charge", self.Request())
        self.assertEqual(protos.unpack(answer.output, self.Reply).receipt, "backend")
        self.restart("dispatcher")
        eventually(lambda: self.front.dispatcher.ListHandlers(
            dp.ListHandlersRequest()).servers, "the handler is loaded")
        self.assertTrue(self.front.unary(CHARGE, b""))

    def test_names_that_nobody_allowed(self):
        for address in ("backend.test:80", "metadata.google.internal:80"):
            with self.subTest(address):
                with self.assertRpcError(Code.PERMISSION_DENIED) as expected:
                    self.bind(self.front, address)
                self.assertBlames(expected.error, "address")
                with self.assertRpcError(Code.PERMISSION_DENIED) as expected:
                    self.front.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=address))
                self.assertBlames(expected.error, "address")

    def test_a_declared_peer_is_allowed(self):
        """And those are never, whoever declares them."""
        near = self.start_collector("near", "nothing",
                                    seeds=("192.0.2.1:1", "169.254.169.254:80"))
        with self.assertRpcError(Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
            near.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address="192.0.2.1:1"), timeout=1)
        for address in ("192.0.2.1:2", "192.0.2.2:1", "169.254.169.254:80"):
            with self.subTest(address), self.assertRpcError(Code.PERMISSION_DENIED):
                near.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=address))

    def test_each_dispatcher_has_its_own_list(self):
        """A handler that another one may dial is not dialled here."""
        bold = self.start_collector("bold", "default",
                                    options=("--allow-address", "192.0.2.0/24"))
        server = self.bind(bold, "192.0.2.7:1")
        self.assertIn(server.id, [h.id for h in bold.dispatcher.ListHandlers(
            dp.ListHandlersRequest()).servers])
        backend = self.backend()
        here = self.bind(bold, backend.address)
        eventually(lambda: here.id in [h.id for h in self.front.dispatcher.ListHandlers(
            dp.ListHandlersRequest()).servers], "the other one is bound here")
        for _ in range(20):
            self.assertTrue(self.front.unary(CHARGE, b""))
        self.assertNotIn(server.id, [h.id for h in self.front.dispatcher.ListHandlers(
            dp.ListHandlersRequest()).servers])

    def test_addresses_are_forgotten(self):
        """Those of Connects that came to nothing, above all."""
        connect = self.front.channel.unary_unary(
            "/collector.CollectiveDispatcher/ConnectPeer",
            request_serializer=dp.ConnectPeerRequest.SerializeToString,
            response_deserializer=dp.ConnectPeerResponse.FromString)

        def attempt(i):
            # 127/8 is all loopback: each is another address, and nobody is there.
            try:
                connect(dp.ConnectPeerRequest(
                    address="127.1.%d.%d:1" % (i // 250, i % 250 + 1)), timeout=30)
            except grpc.RpcError as error:
                return error.code()
            return None

        with futures.ThreadPoolExecutor(8) as pool:
            codes = set(pool.map(attempt, range(300)))
        self.assertEqual(codes, {Code.UNAVAILABLE})
        # What stays is in use: daemons, handlers, peers.
        eventually(lambda: UNUSED_KEPT <= self.number(self.front, "channels") <= UNUSED_KEPT + 20,
                   "all but the latest are forgotten")
