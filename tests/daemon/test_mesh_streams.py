"""Thousands of idle streams, half-open ones, readers that do not read: memory is bounded, and
others are served."""

import os
import socket
import subprocess
import threading

import grpc
from collector_testing import (
    Backend, CollectorTest, daemon_pb2, dispatcher_pb2 as dp, eventually,
    protos)
from daemons import BIN_DIR, is_instrumented

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SERVICE = "echo.v1.EchoService"
# With AddressSanitizer's own memory fewer have to do.
STREAMS = 1000 if is_instrumented() else 10000
KIB_PER_STREAM = 64


class WithEcho(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.types = protos.Types(protos.compile_files(
            ["tests/support/echo.proto"], include=os.path.abspath(ROOT)))
        cls.front.register(cls.types)
        cls.Request = cls.types.message("echo.v1.EchoRequest")

    def program(self, *arguments):
        process = subprocess.Popen(
            [os.path.join(BIN_DIR, "tests", "bench", "streams"), *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii")
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def bind(self, method, address):
        server = self.front.register_handler(SERVICE, address, method_name=method)
        self.addCleanup(self.front.dispatcher.UnregisterHandler,
                        dp.UnregisterHandlerRequest(id=server.id))

    def held(self, count, *mode):
        """So many streams by another process; the dispatcher has them."""
        backend = self.program("serve", 2 * STREAMS)
        self.bind("Bidi", "127.0.0.1:" + backend.stdout.readline().split()[1])
        holder = self.program("hold", self.front.address, count, 4, *mode)
        self.assertEqual(holder.stdout.readline(), "held %d failed 0\n" % count)
        return holder

    def live(self):
        return self.front.daemon.GetStats(daemon_pb2.GetStatsRequest()).live_calls

    def kib(self):
        """The dispatcher's resident memory."""
        with open("/proc/%d/status" % self.cluster["dispatcher"].process.pid,
                  encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def assertServes(self):
        backend = Backend({"/%s/Unary" % SERVICE: lambda request, context: request})
        self.addCleanup(backend.stop)
        self.bind("Unary", backend.address)
        for _ in range(50):
            self.front.unary("/%s/Unary" % SERVICE, b"\x0a\x01x")
        self.front.dispatcher.ListHandlers(dp.ListHandlersRequest())


class Idle(WithEcho):
    def test_idle_streams(self):
        before = self.kib()
        holder = self.held(STREAMS)
        grown = self.kib() - before
        print("%d idle streams: %.1f KiB each" % (STREAMS, grown / STREAMS))
        self.assertGreaterEqual(self.live(), STREAMS)
        if not is_instrumented():
            self.assertLess(grown, STREAMS * KIB_PER_STREAM)
        self.assertServes()
        self.end(holder)
        eventually(lambda: self.live() < 100, "they end with who held them")
        self.assertServes()
        # The memory serves those who come next.
        after = self.kib()
        self.held(STREAMS // 2)
        if not is_instrumented():
            self.assertLess(self.kib() - after, STREAMS // 2 * KIB_PER_STREAM / 4)

    def test_half_open_streams(self):
        """Headers, and then nothing, for ever."""
        holder = self.held(2000, "half")
        eventually(lambda: self.live() >= 2000, "they are here")
        self.assertServes()
        self.end(holder)
        eventually(lambda: self.live() < 100, "they end with who held them")

    def test_half_open_connections(self):
        """
        Hundreds that say nothing, or stop in the middle of a frame: more than the limit of
        files that the dispatcher was started with.
        """
        self.cluster["dispatcher"].launcher = ["prlimit", "--nofile=256:4096"]
        self.restart("dispatcher")
        eventually(lambda: self.front.is_serving(), "connected again")
        port = int(self.front.address.split(":")[1])
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        for told in (b"", preface[:10], preface, preface + b"\x00\x40\x00\x01\x04"):
            for _ in range(150):
                connection = socket.create_connection(("127.0.0.1", port))
                self.addCleanup(connection.close)
                connection.sendall(told)
        self.assertServes()
        self.client("dispatcher").wait_serving()  # and who comes now


class Readers(WithEcho):
    def test_readers_that_do_not_read(self):
        """What they are sent waits at whoever sends it."""
        sent, lock = [0], threading.Lock()
        message = self.Request(data=b"x" * (64 << 10)).SerializeToString()

        def flood(request, context):
            while context.is_active():
                with lock:
                    sent[0] += 1
                yield message

        backend = Backend({"/%s/Down" % SERVICE: grpc.unary_stream_rpc_method_handler(flood)})
        self.addCleanup(backend.stop)
        self.bind("Down", backend.address)
        call = self.front.channel.unary_stream("/%s/Down" % SERVICE)
        before, count = self.kib(), 12
        streams = [call(b"", timeout=300) for _ in range(count)]
        for stream in streams:
            next(stream)
            self.addCleanup(stream.cancel)
        last = [-1]

        def stands_still():
            with lock:
                before, last[0] = last[0], sent[0]
            threading.Event().wait(0.3)
            return before == last[0]

        eventually(stands_still, "the sender has to wait")
        grown = self.kib() - before
        print("%d readers that do not read: %d KiB each" % (count, grown // count))
        if not is_instrumented():
            self.assertLess(grown, count * 1024)
        self.assertServes()
        for stream in streams:
            stream.cancel()
        eventually(lambda: self.live() < 5, "they are over")
