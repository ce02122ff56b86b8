"""Backends and peers that are given by a name, and names that mean what nobody may dial.

In a network namespace of the test's own there is a server at the address of a cloud's
metadata service: nobody must ever come to it.
"""

import os
import socket
import threading
import unittest
from concurrent import futures

import grpc
import network
from collector_testing import Code, dispatcher_pb2 as dp, eventually, protos
from mesh import MeshTest

SERVICE = "shop.v1.OrderService"
CHARGE = "/%s/Charge" % SERVICE
FORBIDDEN = "169.254.169.254"
NAMES = ("backend.test", "peer.test", "metadata.test", "both.test", "moving.test")

hosts = None


def setUpModule():
    global hosts  # pylint: disable=global-statement
    try:
        hosts = network.Hosts()
        hosts.add_address(FORBIDDEN)
    except network.NotPossible as error:
        if not os.environ.get("CI"):
            raise unittest.SkipTest("not run: no namespaces can be made here: %s" %
                                    error) from error
        raise
    for name in NAMES:
        hosts.point(name, "127.0.0.1")
    hosts.point("metadata.test", FORBIDDEN)
    hosts.point("both.test", "127.0.0.1", FORBIDDEN)


class Metadata:
    """A listener at the forbidden address that counts who comes."""

    def __init__(self, port=0):
        self.visitors = []
        self._socket = socket.create_server((FORBIDDEN, port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                visitor, address = self._socket.accept()
            except OSError:
                return
            self.visitors.append(address)
            visitor.close()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Names(MeshTest):
    options = {"dispatcher": [word for name in NAMES for word in ("--allow-address", name)]}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")
        cls.front.register(protos.shop())
        cls.front.register(protos.shop(), "east")

    def metadata(self, port=0):
        metadata = Metadata(port)
        self.addCleanup(metadata.close)
        return metadata

    def serve(self, port=0):
        """A backend at loopback; its server and port."""
        def charge(request, _context):
            return self.Reply(number=self.Request.FromString(request).number).SerializeToString()

        server = grpc.server(futures.ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            SERVICE, {"Charge": grpc.unary_unary_rpc_method_handler(charge)}),))
        port = server.add_insecure_port("127.0.0.1:%d" % port)
        server.start()
        self.addCleanup(server.stop, None)
        return server, port

    def bind(self, address):
        server = self.front.register_handler(SERVICE, address, method_name="Charge")
        self.addCleanup(self.front.dispatcher.UnregisterHandler,
                        dp.UnregisterHandlerRequest(id=server.id))

    def charge(self, number="1", namespace="default"):
        return self.Reply.FromString(self.front.unary(
            CHARGE, self.Request(number=number).SerializeToString(), timeout=30,
            metadata=(("collector-namespace", namespace),))).number

    def test_a_backend(self):
        _, port = self.serve()
        self.bind("backend.test:%d" % port)
        for number in ("1", "2"):
            self.assertEqual(self.charge(number), number)
        answer = self.front.dispatch(SERVICE, "Charge", self.Request(number="3"))
        self.assertEqual(protos.unpack(answer.output, self.Reply).number, "3")

    def test_a_peer(self):
        far = self.start_collector("far", "east")
        self.attach(far, "east", SERVICE, "Charge", lambda o, _c: self.Reply(number=o.number))
        address = "peer.test:" + far.address.split(":")[1]
        self.front.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=address))
        self.assertEqual(self.wait_link(self.front, "far").state, dp.CONNECTION_UP)
        self.assertIn(address, [c.address for c in self.connections(self.front).collectors])
        self.assertEqual(self.charge("4", "east"), "4")
        answer = self.front.dispatch(SERVICE, "Charge", self.Request(number="5"), "east")
        self.assertEqual(answer.handled_by_collector_id, "far")

    def test_what_a_name_means_is_judged(self):
        metadata = self.metadata()
        for name in ("metadata.test", "both.test"):
            address = "%s:%d" % (name, metadata.port)
            with self.subTest(name):
                with self.assertRpcError(Code.PERMISSION_DENIED) as expected:
                    self.bind(address)
                self.assertBlames(expected.error, "address")
                with self.assertRpcError(Code.PERMISSION_DENIED) as expected:
                    self.front.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=address))
                self.assertBlames(expected.error, "address")
                with self.assertRpcError(Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION):
                    self.front.dispatcher.Connect(dp.ConnectRequest(
                        address=address, namespaces=["east"], collector_id="liar", nonce="n"))
        self.assertEqual(metadata.visitors, [])
        # Somebody who did go there would be seen.
        socket.create_connection((FORBIDDEN, metadata.port)).close()
        eventually(lambda: metadata.visitors, "a visitor is seen")

    def test_a_seed_is_judged_too(self):
        """The operator's own word does not make it anything else."""
        metadata = self.metadata()
        near = self.start_collector("near", "nothing", seeds=(
            "metadata.test:%d" % metadata.port, self.front.address))
        self.wait_link(near, self.me)  # it has tried its seeds
        with self.assertRpcError(Code.PERMISSION_DENIED):
            near.dispatcher.ConnectPeer(dp.ConnectPeerRequest(
                address="metadata.test:%d" % metadata.port))
        self.assertEqual(metadata.visitors, [])

    def test_a_name_that_changes_its_meaning(self):
        hosts.point("moving.test", "127.0.0.1")
        server, port = self.serve()
        metadata = self.metadata(port)
        self.bind("moving.test:%d" % port)
        self.assertEqual(self.charge("1"), "1")
        hosts.point("moving.test", FORBIDDEN)
        server.stop(None).wait()

        def is_refused():
            with self.assertRpcError(Code.UNAVAILABLE) as expected:
                self.charge()
            return "not on the list of allowed addresses" in expected.error.details()

        eventually(is_refused, "the name was looked up anew and is refused")
        hosts.point("moving.test", "127.0.0.1")
        self.serve(port)

        def answers():
            try:
                return self.charge("2") == "2"
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.UNAVAILABLE)
                return False

        eventually(answers, "the name means the backend again")
        self.assertEqual(metadata.visitors, [])

    def test_a_peer_whose_name_changes_its_meaning(self):
        hosts.point("moving.test", "127.0.0.1")
        far = self.start_collector("mover", "east")
        port = far.address.split(":")[1]
        metadata = self.metadata(int(port))
        self.front.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address="moving.test:" + port))
        self.wait_link(self.front, "mover")
        hosts.point("moving.test", FORBIDDEN)
        far.cluster["dispatcher"].kill()
        self.wait_link(self.front, "mover", dp.CONNECTION_UNREACHABLE)
        self.assertEqual(metadata.visitors, [])
