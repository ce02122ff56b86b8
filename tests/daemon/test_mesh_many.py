"""More collectors than are kept. Takes long: `make test-mesh`."""

import os
import threading
import unittest
from concurrent import futures

import grpc
from collector_testing import dispatcher_pb2 as dp, eventually
from mesh import MeshTest

PEERS_MAX = 1024


class Crowd:
    """Any number of collectors at one address, each of which says that it asked."""

    def __init__(self):
        self._lock = threading.Lock()
        self._asking = None
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "collector.CollectiveDispatcher", {"Ping": grpc.unary_unary_rpc_method_handler(
                self._ping, dp.PingRequest.FromString, dp.PingResponse.SerializeToString)}),))
        self.address = "127.0.0.1:%d" % self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _ping(self, request, _context):
        return dp.PingResponse(collector_id=self._asking, nonce=request.nonce, instance=1)

    def connect(self, client, name):
        with self._lock:
            self._asking = name
            client.dispatcher.Connect(dp.ConnectRequest(
                address=self.address, collector_id=name, nonce="n", namespaces=["crowd"]))

    def stop(self):
        self._server.stop(None).wait()


class Many(MeshTest):
    @unittest.skipUnless(os.environ.get("MESH_ROUNDS"), "it takes long: make test-mesh")
    def test_who_left_long_ago_makes_room(self):
        friend = self.start_collector("friend", "friends")
        self.connect(self.front, friend)
        crowd, late = Crowd(), Crowd()
        self.addCleanup(late.stop)
        for i in range(PEERS_MAX - 1):
            crowd.connect(self.front, "peer-%d" % i)
        crowd.stop()
        eventually(lambda: all(c.state == dp.CONNECTION_UNREACHABLE
                               for c in self.connections(self.front).connections
                               if c.target_collector_id != "friend"), "all are unreachable")
        for i in range(10):
            late.connect(self.front, "late-%d" % i)
        links = self.links(self.front)
        self.assertEqual(len(links), PEERS_MAX)
        self.assertLessEqual({"late-%d" % i for i in range(10)}, links.keys())
        # Who answers keeps its place.
        self.assertEqual(links["friend"].state, dp.CONNECTION_UP)
