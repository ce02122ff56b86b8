"""Compressed messages: taken, and never inflated beyond what a message may have."""

import zlib

import http2
from collector_testing import Code, dispatcher_pb2 as dp, protos, registry_pb2
from http2 import message
from mesh import TwoHopsTest
from transcript import Stage, client_says, server_ends, server_headers, server_says

BOMB_BYTES = 400 << 20
MEMORY_KB = 200 << 10  # far more than a message may have, far less than the bomb
GZIP = (b"grpc-encoding", b"gzip")
OWN = b"/collector.CollectiveDispatcher/ListHandlers"


def gzip(*parts):
    packer = zlib.compressobj(level=1, wbits=31)
    return b"".join(packer.compress(part) for part in parts) + packer.flush()


class Compression(TwoHopsTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bomb = message(gzip(*[bytes(1 << 20)] * (BOMB_BYTES >> 20)), 1)
        cls.stage = Stage()
        cls.addClassCleanup(cls.stage.close)
        wire = protos.Types(protos.single_file("wire/v1/wire.proto", '''
            import "google/protobuf/wrappers.proto";
            service Wire {
              rpc Talk(google.protobuf.BytesValue) returns (google.protobuf.BytesValue);
            }''', package="wire.v1"))
        cls.front.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
            namespace="default", file_descriptor=wire.file("wire/v1/wire.proto")))
        cls.front.register_handler("wire.v1.Wire", cls.stage.address, "default")

    def setUp(self):
        super().setUp()
        self.wait_two_hops()

    def peak_kb(self):
        """The most memory that either dispatcher ever had."""
        peaks = []
        for cluster in (self.cluster, self.first):
            with open("/proc/%d/status" % cluster["dispatcher"].process.pid,
                      encoding="ascii") as status:
                peaks += [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
        return max(peaks)

    def ask(self, address, path, data):
        """(grpc-status, grpc-message, messages) of a call whose request is `data`, gzipped."""
        connection = http2.connect(address)
        self.addCleanup(connection.close)
        stream = connection.open([
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
            (b":authority", b"wire.test"), (b"te", b"trailers"),
            (b"content-type", b"application/grpc"), GZIP])
        connection.send_data(stream, data, end=True)
        connection.wait(lambda: stream.closed, "the call ends")
        fields = dict(stream.trailers or stream.headers)
        return (int(fields[b"grpc-status"]), fields.get(b"grpc-message", b""),
                http2.messages(stream.data))

    def assertTooLarge(self, outcome):
        status, why, _messages = outcome
        self.assertEqual(status, Code.RESOURCE_EXHAUSTED.value[0], why)
        self.assertIn(b"decompressed", why)

    def test_requests_that_inflate_too_far(self):
        before = self.peak_kb()
        for address in (self.front.address, self.before.address):
            for path in (b"/wire.v1.Wire/Talk", OWN):
                with self.subTest(address=address, path=path):
                    self.assertTooLarge(self.ask(address, path, self.bomb))
        self.assertLess(self.peak_kb() - before, MEMORY_KB)

    def test_answers_that_inflate_too_far(self):
        before = self.peak_kb()
        steps = [client_says(message(b""), end=True), server_headers(GZIP),
                 server_says(self.bomb), server_ends((b"grpc-status", b"0"))]
        for address in (self.front.address, self.before.address):
            with self.subTest(address):
                answer, _request = self.stage.play(address, [], steps[:2] + steps[2:3])
                fields = dict(answer["trailers"])
                self.assertEqual(int(fields[b"grpc-status"]), Code.RESOURCE_EXHAUSTED.value[0])
                self.assertEqual(answer["messages"], [])
        self.assertLess(self.peak_kb() - before, MEMORY_KB)

    def test_a_request_of_our_own_methods(self):
        request = dp.ListHandlersRequest(namespace="default").SerializeToString()
        status, why, messages = self.ask(self.front.address, OWN, message(gzip(request), 1))
        self.assertEqual((status, len(messages)), (0, 1), why)
        self.assertTrue(dp.ListHandlersResponse.FromString(messages[0][1]).servers)

    def test_what_is_not_compressed_at_all(self):
        for data in (b"", b"not gzip", gzip(b"cut off")[:-1], gzip(b"more") + b"x"):
            with self.subTest(data):
                status, why, _messages = self.ask(self.front.address, OWN, message(data, 1))
                self.assertEqual(status, Code.INTERNAL.value[0], why)
