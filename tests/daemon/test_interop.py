"""gRPC's interoperability cases, with grpc-go on both sides: direct, through one hop, through two."""

import os
import subprocess
import unittest

from collector_testing import daemon_pb2, eventually, protos, registry_pb2
from mesh import TwoHopsTest

PROGRAM = os.environ.get("COLLECTOR_INTEROP", os.path.abspath("build/interop"))
SERVICE = "grpc.testing.TestService"
CASES = {
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong",
    "empty_stream", "cancel_after_begin", "cancel_after_first_response",
    "timeout_on_sleeping_server", "custom_metadata", "status_code_and_message",
    "special_status_message", "unimplemented_method", "unimplemented_service",
}


@unittest.skipUnless(os.path.exists(PROGRAM), "apt offers no grpc-go >= 1.34 to build it with")
class Interop(TwoHopsTest):
    """`before` - front - the server."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = subprocess.Popen([PROGRAM, "serve"], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, encoding="utf-8")
        cls.addClassCleanup(cls.stop_server)
        cls.address = cls.server.stdout.readline().strip()
        cls.register("default", cls.front)

    @classmethod
    def register(cls, namespace, client, *also):
        """All but UnimplementedService, which nobody is to know, unless it is named."""
        types = protos.Types(protos.compile_files(
            ["grpc/testing/test.proto"], include=protos.GRPC_PROTOS))
        test = types.file("grpc/testing/test.proto")
        for service in list(test.service):
            if "grpc.testing." + service.name not in (SERVICE, *also):
                test.service.remove(service)
        client.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
            namespace=namespace, file_descriptor=test,
            dependencies=[f for f in types.own_files() if f is not test]))
        for service in (SERVICE, *also):
            client.register_handler(service, cls.address, namespace)

    @classmethod
    def stop_server(cls):
        cls.server.terminate()
        cls.server.wait()
        cls.server.stdout.close()

    def assertAllPass(self, address, *namespace):
        done = subprocess.run([PROGRAM, "call", address, *namespace], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=120, encoding="utf-8", check=False)
        passed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("ok ")}
        self.assertEqual(passed, CASES, done.stdout + done.stderr)
        self.assertEqual(done.returncode, 0)

    @staticmethod
    def calls_at(client):
        """How many calls of the service the dispatcher passed on."""
        stats = client.daemon.GetStats(daemon_pb2.GetStatsRequest())
        return sum(m.calls for m in stats.methods if m.method.startswith("/%s/" % SERVICE))

    def assertCounts(self, client, before):
        """Every case but one calls the service; two do so twice. Three give up at once,
        maybe before the call has got here."""
        most = len(CASES) - 1 + 2
        eventually(lambda: most - 3 <= self.calls_at(client) - before <= most,
                   "%s passed every call on" % client.address)

    def test_direct(self):
        self.assertAllPass(self.address)

    def test_one_hop(self):
        front = self.calls_at(self.front)
        self.assertAllPass(self.front.address)
        self.assertCounts(self.front, front)

    def test_two_hops(self):
        self.wait_two_hops()
        before, front = self.calls_at(self.before), self.calls_at(self.front)
        self.assertAllPass(self.before.address)
        self.assertCounts(self.before, before)
        self.assertCounts(self.front, front)

    def test_a_service_that_only_the_server_does_not_know(self):
        """It is registered and bound: the backend's own UNIMPLEMENTED comes back."""
        self.register("interop", self.front, "grpc.testing.UnimplementedService")
        self.assertAllPass(self.front.address, "interop")
