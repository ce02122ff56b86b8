"""What one dispatcher binds, the others of the repo go by at once."""

import signal

import grpc
from collector_testing import (
    Backend, Code, daemon_pb2, dispatcher_pb2 as dp, eventually, protos)
from mesh import MeshTest

SERVICE = "shop.v1.OrderService"
CHARGE = "/%s/Charge" % SERVICE
FOLLOW = "/%s/Follow" % SERVICE


class Bindings(MeshTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        cls.Reply = protos.shop().message("shop.v1.OrderReply")

    def backend(self):
        backend = Backend({CHARGE: lambda request, context: self.Reply(
            receipt="backend").SerializeToString()})
        self.addCleanup(backend.stop)
        return backend

    def bind(self, client, address):
        return client.register_handler(SERVICE, address, method_name="Charge")

    def unbind(self, client, server):
        client.dispatcher.UnregisterHandler(dp.UnregisterHandlerRequest(id=server.id))

    def handlers(self, client):
        return [h.id for h in client.dispatcher.ListHandlers(dp.ListHandlersRequest()).servers]

    def follows(self, client):
        """It is told of changes: one comes far sooner than it would be found by itself."""
        return client.daemon.GetStats(
            daemon_pb2.GetStatsRequest()).numbers["handler_tables_followed"] == 2

    def test_bound_here_called_there(self):
        second = self.start_collector("second", "default")
        for client in (self.front, second):
            eventually(lambda: self.follows(client), "it follows the repo")
        backend = self.backend()
        for here, there in ((self.front, second), (second, self.front)):
            with self.assertRpcError(Code.UNAVAILABLE):
                there.unary(CHARGE, b"")
            server = self.bind(here, backend.address)
            # One miss is remembered for a tenth of a second; Watch is sooner, or it is asked.
            eventually(lambda: there.unary(CHARGE, b""), "it is called there")
            self.assertEqual(self.handlers(there), [server.id])
            self.unbind(here, server)
            eventually(lambda: not self.handlers(there), "it is gone there")
            with self.assertRpcError(Code.UNAVAILABLE):
                there.unary(CHARGE, b"")

    def test_a_stream_right_after_a_start(self):
        """It is not known yet whether the namespace has a wrapper: that is asked, not guessed."""
        def follow(request, context):
            yield self.Reply(receipt="followed").SerializeToString()

        backend = Backend({FOLLOW: grpc.unary_stream_rpc_method_handler(follow)})
        self.addCleanup(backend.stop)
        for _ in range(5):
            self.restart("dispatcher")
            server = self.front.register_handler(SERVICE, backend.address, method_name="Follow")
            answers = list(self.front.channel.unary_stream(FOLLOW)(b"", timeout=30))
            self.assertEqual([self.Reply.FromString(a).receipt for a in answers], ["followed"])
            self.unbind(self.front, server)

    def test_stopped_while_the_repo_says_nothing(self):
        """What waits for it has ended before what it uses is freed."""
        dispatcher, repo = self.cluster["dispatcher"], self.cluster["repo"]
        dispatcher.kill()
        repo.process.send_signal(signal.SIGSTOP)
        try:
            dispatcher.start()
            self.client("dispatcher").wait_serving()
            self.assertEqual(dispatcher.stop(), 0)
        finally:
            repo.process.send_signal(signal.SIGCONT)
        dispatcher.start()
        self.wait_back("dispatcher")

    def test_the_repo_was_away(self):
        second = self.start_collector("second", "default")
        backend = self.backend()
        server = self.bind(self.front, backend.address)
        eventually(lambda: self.handlers(second) == [server.id], "it is bound there")
        self.restart("repo")
        for client in (self.front, second):
            eventually(lambda: self.follows(client), "it follows the repo again")
        eventually(lambda: self.unbind(second, server) or True, "the repo is reached")
        eventually(lambda: not self.handlers(self.front), "it is gone here")

    def test_what_is_attached_elsewhere_is_not_loaded(self):
        second = self.start_collector("second", "elsewhere")
        self.attach(second, "elsewhere", "A", "Do", lambda i, c: i)
        eventually(lambda: self.follows(self.front), "it follows the repo")
        self.assertEqual([h for h in self.handlers(self.front) if "elsewhere" in h], [])
