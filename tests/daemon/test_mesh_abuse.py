"""Peers and processes that are silent, slow or many."""

import queue
import socket

from collector_testing import Code, common_pb2, dispatcher_pb2 as dp, eventually, protos
from google.protobuf import wrappers_pb2
from mesh import MeshTest


def text(value):
    return wrappers_pb2.StringValue(value=value)


class Abuse(MeshTest):
    def silence(self):
        """An address where connections are taken and nothing is ever said."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.addCleanup(listener.close)
        return "127.0.0.1:%d" % listener.getsockname()[1]

    def test_a_flood_of_connects_to_nobody(self):
        self.attach(self.front, "busy", "A", "Do", lambda i, c: i)
        address = self.silence()
        connect = self.front.channel.unary_unary(
            "/collector.CollectiveDispatcher/Connect",
            request_serializer=dp.ConnectRequest.SerializeToString,
            response_deserializer=dp.ConnectResponse.FromString)
        flood = [connect.future(dp.ConnectRequest(
            address=address, collector_id="flood-%d" % i, nonce="n"), timeout=120)
            for i in range(200)]
        eventually(lambda: [f for f in flood if f.done()], "what is too much is refused")
        # Others are served while all dialling threads wait.
        self.front.dispatch("A", "Do", text(""), "busy")
        self.front.dispatcher.ListHandlers(dp.ListHandlersRequest())
        self.assertTrue([f for f in flood if not f.done()])
        refused = [f for f in flood if f.done()]
        self.assertIn(Code.RESOURCE_EXHAUSTED, {f.code() for f in refused})
        for future in flood:
            future.cancel()
        self.assertFalse([c for c in self.links(self.front) if c.startswith("flood")])

    def test_a_process_that_answers_no_pings(self):
        requests = queue.Queue()
        requests.put(dp.AttachRequest(hello=dp.AttachHello(methods=[
            dp.AttachedMethod(namespace="still", service_name="A", method_name="Do")])))
        stream = self.front.channel.stream_stream(
            "/collector.CollectiveDispatcher/Attach",
            request_serializer=dp.AttachRequest.SerializeToString,
            response_deserializer=dp.AttachResponse.FromString)(
                iter(requests.get, None), timeout=120)
        self.addCleanup(requests.put, None)
        next(stream)
        dispatch = self.front.channel.unary_unary(
            "/collector.CollectiveDispatcher/Dispatch",
            request_serializer=dp.DispatchRequest.SerializeToString,
            response_deserializer=dp.DispatchResponse.FromString)
        call = dispatch.future(dp.DispatchRequest(
            namespace="still", service=common_pb2.ServiceTypeRef(service_name="A"),
            method_name="Do", input=protos.pack(text(""))), timeout=120)
        kinds = []
        with self.assertRpcError(Code.UNAVAILABLE, text="nothing was heard"):
            for message in stream:
                kinds.append(message.WhichOneof("kind"))
        self.assertIn("ping", kinds)
        answer = call.result()  # it may have been done
        self.assertEqual(answer.status.code, common_pb2.Status.UNAVAILABLE)
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.dispatch("A", "Do", text(""), "still")

    def test_a_process_that_reads_nothing(self):
        """The calls wait where they are bounded, and end with their deadlines."""
        requests = queue.Queue()
        requests.put(dp.AttachRequest(hello=dp.AttachHello(max_in_flight=256, methods=[
            dp.AttachedMethod(namespace="slow", service_name="A", method_name="Do")])))
        stream = self.front.channel.stream_stream(
            "/collector.CollectiveDispatcher/Attach",
            request_serializer=dp.AttachRequest.SerializeToString,
            response_deserializer=dp.AttachResponse.FromString)(
                iter(requests.get, None), timeout=120)
        self.addCleanup(requests.put, None)
        self.addCleanup(stream.cancel)
        eventually(lambda: [h for h in self.front.dispatcher.ListHandlers(
            dp.ListHandlersRequest(namespace="slow")).servers], "it is attached")
        dispatch = self.front.channel.unary_unary(
            "/collector.CollectiveDispatcher/Dispatch",
            request_serializer=dp.DispatchRequest.SerializeToString,
            response_deserializer=dp.DispatchResponse.FromString)
        calls = [dispatch.future(dp.DispatchRequest(
            namespace="slow", service=common_pb2.ServiceTypeRef(service_name="A"),
            method_name="Do", input=protos.pack(text("x" * (1 << 20)))), timeout=3)
            for _ in range(30)]
        for call in calls:
            self.assertEqual(call.code(), Code.DEADLINE_EXCEEDED)
        self.assertTrue(self.front.is_serving())

    def test_metadata_that_is_too_large(self):
        self.attach(self.front, "busy", "A", "Do", lambda i, c: i)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.front.dispatcher.Dispatch(dp.DispatchRequest(
                namespace="busy", service=common_pb2.ServiceTypeRef(service_name="A"),
                method_name="Do", input=protos.pack(text(""))),
                metadata=(("x-large", "x" * (1 << 20)),))
        # The transport may close the connection; the dispatcher goes on.
        eventually(lambda: self.front.dispatch("A", "Do", text(""), "busy"), "an answer")

    def test_addresses_that_may_not_be_dialled(self):
        for address in ("169.254.169.254:80", "10.0.0.1:80", "[fe80::1]:80"):
            with self.subTest(address), self.assertRpcError(
                    Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT):
                self.front.dispatcher.Connect(dp.ConnectRequest(
                    address=address, collector_id="x", nonce="n"))
            with self.subTest(address), self.assertRpcError(
                    Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT):
                self.front.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=address))

    def test_loops_and_hops(self):
        """A native call that came by here already, or by too many, goes no further."""
        peer = self.start_collector("peer", "elsewhere")
        self.connect(self.front, peer)
        for via in (self.me, "a," + self.me, "a,b,c,d,e"):
            with self.subTest(via), self.assertRpcError(Code.FAILED_PRECONDITION):
                self.front.unary("/a.B/C", b"", metadata=(
                    ("collector-namespace", "elsewhere"), ("collector-via", via)))
            with self.subTest(via), self.assertRpcError(Code.FAILED_PRECONDITION):
                self.front.dispatcher.Dispatch(dp.DispatchRequest(
                    namespace="elsewhere", method_name="Do",
                    service=common_pb2.ServiceTypeRef(service_name="A"),
                    input=protos.pack(text(""))), metadata=(("collector-via", via),))
