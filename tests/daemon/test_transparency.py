"""A native call through the mesh against the same call made to the server itself.

Both ends are HTTP/2 by hand (support/http2.py), so that the transcripts have everything: each
header field, each message with its flag, how the stream ended. Through one hop and through two
they must be those of the direct call but for the differences that are named here.
"""

import base64
import re
import urllib.parse
import zlib

from collector_testing import protos, registry_pb2
from google.rpc import error_details_pb2, status_pb2
from http2 import message
from mesh import TwoHopsTest
from transcript import (
    Stage, client_resets, client_says, server_answers, server_ends,
    server_headers, server_resets, server_says)

WIRE = protos.single_file("wire/v1/wire.proto", '''
import "google/protobuf/wrappers.proto";
service Wire {
  rpc Talk(stream google.protobuf.BytesValue) returns (stream google.protobuf.BytesValue);
}''', package="wire.v1")

# ------------------------------------------------------------- allowed differences

# Of each connection, not of the call: every hop says its own.
OF_THE_HOP = {b":authority", b"user-agent", b"te", b"grpc-encoding", b"grpc-accept-encoding"}
# What routing adds. A caller's own x-request-id is kept.
ADDED = {b"collector-namespace", b"collector-via", b"x-request-id"}
# Not passed on: credentials of a handler that was not registered to get them, and what is
# about one connection or one hop's attempts.
WITHHELD = {b"authorization", b"cookie", b"proxy-authorization", b"host", b"content-length",
            b"grpc-previous-rpc-attempts"}
# gRPC's C core takes these for itself and does not show them.
SWALLOWED = {b"grpc-trace-bin", b"grpc-tags-bin"}

# More differences, in normal() and in the assertions:
# - the order of header fields of different names (RFC 9110 5.3 gives it no meaning);
# - padding of base64 in -bin fields, which escapes grpc-message has, and what follows
#   "application/grpc" in content-type: spelled anew, the same decoded;
# - grpc-timeout is what is left of it;
# - a compressed message goes on uncompressed, without its flag: compression is of a hop;
# - how messages are cut into DATA frames;
# - after the trailers a hop resets, with NO_ERROR, a stream whose request had not ended;
# - a server that breaks gRPC's rules (RST_STREAM, another HTTP status, no grpc-status)
#   becomes the status that gRPC tells clients to take it for: BROKEN below.


def decoded(name, value):
    if name.endswith(b"-bin"):
        return base64.b64decode(value + b"=" * (-len(value) % 4))
    if name == b"grpc-message":
        return urllib.parse.unquote_to_bytes(value)
    if name == b"content-type":
        return re.match(rb"application/grpc|.*", value).group()
    return value


def normal(fields, *left_out):
    """{name: [values in their order]}, decoded."""
    found = {}
    for name, value in fields or ():
        if not any(name in names for names in (OF_THE_HOP, *left_out)):
            found.setdefault(name, []).append(decoded(name, value))
    return found


def inflated(found):
    return [zlib.decompress(data, 47) if flag else data for flag, data in found]


# ------------------------------------------------------------------------ the calls

def gzip(data):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


OK = (b"grpc-status", b"0")
BIN = bytes(range(256))
BIN64 = base64.b64encode(BIN)
DETAILS = status_pb2.Status(code=9, message="told at length")
DETAILS.details.add().Pack(error_details_pb2.ErrorInfo(reason="WHY", domain="wire.test"))
DETAILS64 = base64.b64encode(DETAILS.SerializeToString())
BIG = b"\n" + bytes(range(256)) * 1000  # more than a window and a frame
ASK = client_says(message(b"ask"), end=True)

# name -> (the request's own header fields, steps)
CALLS = {
    "unary": ([], [ASK, server_headers(), server_says(message(b"told")), server_ends(OK)]),
    "metadata": (
        [(b"x-a", b"1"), (b"x-b", b"between"), (b"x-a", b"2"), (b"x-a", b"1"), (b"x-empty", b""),
         (b"x-text", b"a b;c=d,e\"~ \\"), (b"x-all-bin", BIN64), (b"x-unpadded-bin", b"AAE"),
         (b"x-padded-bin", b"AAE="), (b"x-empty-bin", b""), (b"grpc-unknown", b"kept"),
         (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
         (b"x-request-id", b"of-the-caller")],
        [ASK,
         server_headers((b"x-h", b"1"), (b"x-h", b"2"), (b"x-h-bin", BIN64), (b"date", b"today"),
                        (b"server", b"mine"), (b"x-empty", b""), (b"collector-own", b"1")),
         server_says(message(b"told")),
         server_ends(OK, (b"x-t", b"2"), (b"x-t", b"1"), (b"x-t-bin", BIN64), (b"x-u-bin", b"/w"))]),
    "what is of the hop": (
        [(b"user-agent", b"mine/1"), (b"grpc-accept-encoding", b"identity,gzip"),
         (b"grpc-timeout", b"20S"), (b"authorization", b"Bearer secret"), (b"cookie", b"a=b"),
         (b"proxy-authorization", b"Basic eA=="), (b"grpc-previous-rpc-attempts", b"1"),
         (b"grpc-trace-bin", b"AAAA"), (b"grpc-tags-bin", b"AAAA"),
         (b"collector-internal-caller", b"forged"), (b"collector-via", b"elsewhere")],
        [ASK, server_headers((b"grpc-accept-encoding", b"identity")),
         server_says(message(b"told")), server_ends(OK)]),
    "trailers only": ([], [ASK, server_answers(
        (b":status", b"200"), (b"content-type", b"application/grpc+proto"),
        (b"grpc-status", b"9"), (b"grpc-message", b"100%25 %E2%98%BA%0A\ttold"),
        (b"grpc-status-details-bin", DETAILS64), (b"x-t", b"z"), (b"x-t-bin", BIN64))]),
    "an error after messages": ([], [
        ASK, server_headers((b"x-h", b"1")), server_says(message(b"1"), message(b"2")),
        server_ends((b"grpc-status", b"9"), (b"grpc-message", b"no more"),
                    (b"grpc-status-details-bin", DETAILS64))]),
    "headers, then an error": ([], [ASK, server_headers((b"x-h", b"1")),
                                    server_ends((b"grpc-status", b"16"))]),
    "a status of tomorrow": ([], [ASK, server_headers(),
                                  server_ends((b"grpc-status", b"99"), (b"grpc-message", b"new"))]),
    "no messages at all": ([], [client_says(end=True), server_headers(), server_ends(OK)]),
    "empty and big messages": ([], [
        client_says(message(b""), message(BIG), message(b""), message(b"x"), end=True),
        server_headers(), server_says(message(BIG), message(b""), message(b"y")),
        server_says(message(BIG)), server_ends(OK)]),
    "many small ones": ([], [
        client_says(*(message(b"%d" % i) for i in range(2000)), end=True),
        server_headers(), server_says(*(message(b"%d" % -i) for i in range(2000))),
        server_ends(OK)]),
    "turn by turn": ([], [
        client_says(message(b"1")), server_headers((b"x-h", b"1")), server_says(message(b"2")),
        client_says(message(b"3")), server_says(message(b"4")), client_says(message(b"5"), end=True),
        server_says(message(b"6")), server_ends(OK)]),
    "headers before any message": ([], [
        server_headers((b"x-h", b"1")), client_says(message(b"1")), client_says(end=True),
        server_says(message(b"2")), server_ends(OK)]),
    "messages before any request": ([], [
        server_headers(), server_says(message(b"1")), server_says(message(b"2")),
        client_says(message(b"3"), end=True), server_ends(OK)]),
    "the end before the request's": ([], [
        client_says(message(b"1")), server_headers(), server_says(message(b"2")),
        server_ends((b"grpc-status", b"3"), (b"grpc-message", b"enough"))]),
    "gzip both ways": (
        [(b"grpc-encoding", b"gzip"), (b"grpc-accept-encoding", b"gzip")],
        [client_says(message(gzip(BIG), 1), message(b"as it is"), message(gzip(b""), 1), end=True),
         server_headers((b"grpc-encoding", b"gzip")),
         server_says(message(b"as it is"), message(gzip(BIG), 1)), server_ends(OK)]),
    "deflate one way": (
        [(b"grpc-encoding", b"deflate")],
        [client_says(message(zlib.compress(BIG), 1), end=True), server_headers(),
         server_says(message(b"told")), server_ends(OK)]),
}

# What breaks gRPC's rules, and the status that it is taken for: RST_STREAM by
# doc/PROTOCOL-HTTP2.md, HTTP's statuses by doc/http-grpc-status-mapping.md.
BROKEN = {
    "no grpc-status": ([server_headers(), server_ends((b"x-t", b"1"))], 2),
    **{"HTTP %d" % http: ([server_answers((b":status", b"%d" % http),
                                          (b"content-type", b"text/html"))], status)
       for http, status in ((400, 13), (401, 16), (403, 7), (404, 12), (418, 2), (429, 14),
                            (500, 2), (502, 14), (503, 14), (504, 14))},
    **{"RST_STREAM %d" % code: ([server_headers(), server_resets(code)], status)
       for code, status in ((1, 13), (2, 13), (7, 14), (8, 1), (11, 8), (12, 7))},
    "refused": ([server_resets(7)], 14),
}


class Transparency(TwoHopsTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stage = Stage()
        cls.addClassCleanup(cls.stage.close)
        cls.serve("default")

    @classmethod
    def serve(cls, namespace, **fields):
        cls.front.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
            namespace=namespace, file_descriptor=protos.Types(WIRE).file("wire/v1/wire.proto")))
        cls.front.register_handler("wire.v1.Wire", cls.stage.address, namespace, **fields)

    def setUp(self):
        super().setUp()
        self.wait_two_hops()
        self.hops = {"one hop": self.front.address, "two hops": self.before.address}

    def assertSameMessages(self, direct, hop):
        self.assertEqual([(0, data) for data in inflated(direct["messages"])], hop["messages"])

    def assertSameRequest(self, direct, hop):
        sent, got = dict(direct["headers"]), dict(hop["headers"])
        gone = WITHHELD | SWALLOWED | {b"collector-internal-caller"}
        added = (ADDED - sent.keys()) | {b"collector-via", b"grpc-timeout"}
        self.assertEqual(gone & got.keys(), set())
        self.assertEqual(normal(direct["headers"], gone, added), normal(hop["headers"], added))
        self.assertEqual(b"grpc-timeout" in sent, b"grpc-timeout" in got)
        self.assertSameMessages(direct, hop)

    def assertSameAnswer(self, direct, hop):
        self.assertEqual(normal(direct["headers"]), normal(hop["headers"]))
        self.assertSameMessages(direct, hop)
        # Where they are counts too: a trailers-only answer stays one.
        self.assertEqual(direct["trailers"] is None, hop["trailers"] is None)
        self.assertEqual(normal(direct["trailers"]), normal(hop["trailers"]))

    def test_transcripts(self):
        for name, (fields, steps) in CALLS.items():
            answer, request = self.stage.play(self.stage.address, fields, steps)
            for hops, address in self.hops.items():
                with self.subTest("%s, %s" % (name, hops)):
                    got_answer, got_request = self.stage.play(address, fields, steps)
                    self.assertSameRequest(request, got_request)
                    self.assertSameAnswer(answer, got_answer)
                    self.assertEqual(request["end"], "end" if request["end"] else "")
                    self.assertIn(got_answer["end"], ("end", "" if request["end"] else "reset 0"))

    def test_deadlines_shrink(self):
        fields, steps = CALLS["what is of the hop"]
        for hops, address in self.hops.items():
            with self.subTest(hops):
                _answer, request = self.stage.play(address, fields, steps)
                value = dict(request["headers"])[b"grpc-timeout"]
                unit = {b"n": 1e-9, b"u": 1e-6, b"m": 1e-3, b"S": 1, b"M": 60}[value[-1:]]
                self.assertLessEqual(int(value[:-1]) * unit, 20)
                self.assertGreater(int(value[:-1]) * unit, 1)

    def test_a_cancelled_call(self):
        steps = [client_says(message(b"1")), server_headers(), server_says(message(b"2")),
                 client_resets()]
        for hops, address in {"direct": self.stage.address, **self.hops}.items():
            with self.subTest(hops):
                _answer, request = self.stage.play(address, [], steps)
                self.assertEqual(request["end"], "reset 8")

    def test_credentials_go_to_who_is_registered_for_them(self):
        """From the collector where it is registered; from one to another they never do."""
        self.serve("trusted", forward_authorization=True)
        self.wait_two_hops("trusted")
        credentials = [(b"authorization", b"Bearer secret"), (b"cookie", b"a=b")]
        for hops, wanted in (("one hop", credentials), ("two hops", [])):
            with self.subTest(hops):
                _answer, request = self.stage.play(
                    self.hops[hops], [(b"collector-namespace", b"trusted"), *credentials],
                    CALLS["unary"][1])
                self.assertEqual([f for f in request["headers"] if f[0] in WITHHELD], wanted)

    def test_what_routing_adds(self):
        for hops, via in (("one hop", None), ("two hops", b"before")):
            with self.subTest(hops):
                _answer, request = self.stage.play(self.hops[hops], [], CALLS["unary"][1])
                got = dict(request["headers"])
                self.assertEqual(got.get(b"collector-via"), via)
                self.assertEqual(got[b"collector-namespace"], b"default")
                self.assertTrue(got[b"x-request-id"])

    def test_servers_that_break_the_rules(self):
        for name, (steps, status) in BROKEN.items():
            for hops, address in self.hops.items():
                with self.subTest("%s, %s" % (name, hops)):
                    answer, _request = self.stage.play(address, [], [ASK, *steps])
                    fields = dict(answer["trailers"] or answer["headers"])
                    self.assertEqual(int(fields[b"grpc-status"]), status)
                    self.assertEqual(answer["end"], "end")
