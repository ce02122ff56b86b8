"""Handlers that are functions in some process, at the other end of an Attach stream."""

import os
import queue
import subprocess
import sys
import threading

import grpc
from collector_testing import (
    Client, Code, CollectorTest, common_pb2, dispatcher_pb2 as dp, eventually, protos)
from google.protobuf import any_pb2, wrappers_pb2

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(ROOT, "examples", "handlers"))
import collector_handlers  # noqa: E402

SERVICE = "shop.v1.OrderService"
STATUS = common_pb2.Status
SUPPORT = os.path.join(ROOT, "tests", "support")


class Stream:
    """An Attach stream by hand, for what the helper libraries never do."""

    def __init__(self, client, *methods, **fields):
        self._requests = queue.Queue()
        self.call = client.channel.stream_stream(
            "/collector.CollectiveDispatcher/Attach",
            request_serializer=dp.AttachRequest.SerializeToString,
            response_deserializer=dp.AttachResponse.FromString)(
                iter(self._requests.get, None), timeout=120)
        if methods:
            self.send(hello=dp.AttachHello(methods=[
                dp.AttachedMethod(service_name=s, method_name=m) for s, m in methods], **fields))
            self.welcome = next(self.call).welcome

    def send(self, **kind):
        self._requests.put(dp.AttachRequest(**kind))

    def next_call(self):
        for message in self.call:
            if message.WhichOneof("kind") == "call":
                return message.call
            assert message.WhichOneof("kind") == "ping", message
            self.send(pong=dp.AttachPong())
        raise AssertionError("the stream ended")

    def answer(self, call_id, output=None, **status):
        response = dp.ServeResponse(status=common_pb2.Status(**status))
        if output is not None:
            response.output.CopyFrom(protos.pack(output))
        self.send(answer=dp.AttachAnswer(call_id=call_id, response=response))

    def leave(self):
        self.send(leave=dp.AttachLeave())

    def end(self):
        self._requests.put(None)
        for _ in self.call:
            pass

    def cut(self):
        self.call.cancel()
        self._requests.put(None)


class Attached(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")
        cls.front.register(protos.shop())

    def stream(self, *methods, **fields):
        stream = Stream(self.front, *methods, **fields)
        self.addCleanup(self.gone)
        self.addCleanup(stream.cut)
        return stream

    def gone(self):
        eventually(lambda: not [h for h in self.handlers() if h.kind == dp.HANDLER_ATTACHED],
                   "no handler is attached any more")

    def handlers(self):
        return self.front.dispatcher.ListHandlers(dp.ListHandlersRequest()).servers

    def charge(self, number="1", **options):
        return self.front.dispatch(SERVICE, "Charge", self.Request(number=number), **options)

    def charge_soon(self, number="1", **options):
        call = self.front.channel.unary_unary(
            "/collector.CollectiveDispatcher/Dispatch",
            request_serializer=dp.DispatchRequest.SerializeToString,
            response_deserializer=dp.DispatchResponse.FromString)
        return call.future(dp.DispatchRequest(
            service=common_pb2.ServiceTypeRef(service_name=SERVICE), method_name="Charge",
            input=protos.pack(self.Request(number=number)), **options), timeout=60)

    def python(self, **options):
        collector = collector_handlers.Collector(
            self.front.address, includes=[SUPPORT],
            protos=["shop/v1/order.proto", "google/protobuf/wrappers.proto"], **options)
        self.addCleanup(collector.close)
        return collector


class Functions(Attached):
    """By the helper library in Python."""

    def test_one_call_attaches_a_function(self):
        collector = self.python()
        seen = []

        def charge(order, call):
            seen.append((order.number, call.request.method_name, call.context["request-id"],
                         call.time_remaining()))
            return collector.types("shop.v1.OrderReply")(number=order.number, receipt="py")

        collector.register("", SERVICE, "Charge", charge)
        answer = self.charge("7", timeout=40)
        self.assertEqual(answer.status.code, STATUS.OK)
        reply = protos.unpack(answer.output, self.Reply)
        self.assertEqual((reply.number, reply.receipt), ("7", "py"))
        self.assertTrue(answer.handled_by_collector_id)
        number, method, request_id, remaining = seen[0]
        self.assertEqual((number, method), ("7", "Charge"))
        self.assertTrue(request_id)
        self.assertTrue(1 < remaining < 41, remaining)

        # As Serve, and as the method itself, called by somebody who knows nothing of us.
        served = self.front.dispatcher.Serve(dp.ServeRequest(
            service=common_pb2.ServiceTypeRef(service_name=SERVICE), method_name="Charge",
            input=protos.pack(self.Request(number="8"))))
        self.assertEqual(protos.unpack(served.output, self.Reply).number, "8")
        self.assertEqual(served.executor_id, answer.handled_by_collector_id)
        native = self.front.unary("/%s/Charge" % SERVICE,
                                  self.Request(number="9").SerializeToString())
        self.assertEqual(self.Reply.FromString(native).number, "9")

    def test_a_method_that_nobody_registered(self):
        collector = self.python()
        collector.register("users", "UserService", "GetUser",
                           lambda user, call: wrappers_pb2.StringValue(value=user.value + "!"))
        answer = self.front.dispatch("UserService", "GetUser",
                                     wrappers_pb2.StringValue(value="ann"), "users")
        self.assertEqual(protos.unpack(answer.output, wrappers_pb2.StringValue).value, "ann!")
        with self.assertRpcError(Code.UNIMPLEMENTED):
            self.front.unary("/UserService/GetUser", b"", metadata=(
                ("collector-namespace", "users"),))
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.dispatch("UserService", "Else", wrappers_pb2.StringValue(), "users")

    def test_errors_of_a_function_are_the_callers(self):
        collector = self.python()

        def charge(order, _call):
            if order.number == "wrong":
                raise ValueError("no such number")
            raise collector_handlers.HandlerError("FAILED_PRECONDITION", "the shop is closed")

        collector.register("", SERVICE, "Charge", charge)
        answer = self.charge()
        self.assertEqual(answer.status.code, STATUS.FAILED_PRECONDITION)
        self.assertEqual(answer.status.message, "the shop is closed")
        self.assertTrue(answer.handled_by_collector_id)
        self.assertEqual(self.charge("wrong").status.code, STATUS.UNKNOWN)
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="the shop is closed"):
            self.front.unary("/%s/Charge" % SERVICE, b"")

    def test_several_at_a_time(self):
        collector = self.python(max_in_flight=4)
        together = threading.Barrier(4)

        def charge(order, _call):
            together.wait(60)
            return collector.types("shop.v1.OrderReply")(number=order.number)

        collector.register("", SERVICE, "Charge", charge)
        futures = [self.charge_soon(str(i)) for i in range(12)]
        self.assertEqual([protos.unpack(f.result().output, self.Reply).number for f in futures],
                         [str(i) for i in range(12)])

    def test_it_is_attached_again_after_the_dispatcher_was_killed(self):
        collector = self.python()
        reply = collector.types("shop.v1.OrderReply")(receipt="again")
        collector.register("", SERVICE, "Charge", lambda order, call: reply)
        self.charge()
        self.restart("dispatcher")
        eventually(lambda: protos.unpack(self.charge().output, self.Reply).receipt == "again",
                   "the function is called again")

    def test_javascript(self):
        modules = os.environ["COLLECTOR_NODE_MODULES"]
        node = subprocess.Popen(
            ["node", os.path.join(HERE, "attached.js"), self.front.address, SUPPORT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
            env=dict(os.environ, NODE_PATH=modules))
        self.addCleanup(node.stdout.close)
        self.addCleanup(node.wait)
        self.addCleanup(node.stdin.close)  # which ends it
        self.assertEqual(node.stdout.readline(), "ready\n")
        answer = self.charge("5")
        reply = protos.unpack(answer.output, self.Reply)
        self.assertEqual((reply.number, reply.receipt), ("5", "js"))
        self.assertEqual(self.charge("closed").status.code, STATUS.FAILED_PRECONDITION)
        native = self.front.unary("/%s/Charge" % SERVICE,
                                  self.Request(number="6").SerializeToString())
        self.assertEqual(self.Reply.FromString(native).number, "6")
        user = self.front.dispatch("UserService", "GetUser",
                                   wrappers_pb2.StringValue(value="bob"), "users")
        self.assertEqual(protos.unpack(user.output, wrappers_pb2.StringValue).value, "bob!")


class Streams(Attached):
    """What goes over a stream, and what a stream may not do."""

    def test_hello_and_welcome(self):
        stream = self.stream((SERVICE, "Charge"), ("a.B", "C"), name="me", max_in_flight=3)
        self.assertTrue(stream.welcome.collector_id)
        self.assertEqual(stream.welcome.max_in_flight, 3)
        charge, other = stream.welcome.servers
        self.assertEqual((charge.service.service_name, charge.method_name, charge.kind),
                         (SERVICE, "Charge", dp.HANDLER_ATTACHED))
        self.assertEqual(other.service.service_name, "a.B")
        self.assertIn(charge.id, [h.id for h in self.handlers()])
        eventually(lambda: self.recorded(charge.id), "it is in system/dispatch_servers")
        stream.leave()
        stream.end()
        self.assertEqual(stream.call.code(), Code.OK)
        self.assertNotIn(charge.id, [h.id for h in self.handlers()])
        eventually(lambda: not self.recorded(charge.id), "it is gone from there")

    def recorded(self, record_id):
        try:
            return self.front.get("dispatch_servers", record_id, "system")
        except grpc.RpcError as error:
            if error.code() == Code.NOT_FOUND:
                return None
            raise

    def test_what_is_refused(self):
        method = dp.AttachedMethod(service_name="a.B", method_name="C")
        for code, hello in (
                (Code.INVALID_ARGUMENT, dp.AttachHello()),
                (Code.INVALID_ARGUMENT, dp.AttachHello(methods=[dp.AttachedMethod()])),
                (Code.INVALID_ARGUMENT, dp.AttachHello(methods=[method] * 257)),
                (Code.INVALID_ARGUMENT, dp.AttachHello(methods=[method], max_in_flight=257)),
                (Code.INVALID_ARGUMENT, dp.AttachHello(methods=[method], max_in_flight=-1)),
                (Code.INVALID_ARGUMENT, dp.AttachHello(methods=[method], name="x" * 65)),
                (Code.INVALID_ARGUMENT, dp.AttachHello(methods=[dp.AttachedMethod(
                    namespace="Not One", service_name="a.B", method_name="C")])),
                (Code.PERMISSION_DENIED, dp.AttachHello(methods=[dp.AttachedMethod(
                    service_name="collector.CollectionService", method_name="Get")])),
                (Code.PERMISSION_DENIED, dp.AttachHello(methods=[dp.AttachedMethod(
                    namespace="system", service_name="a.B", method_name="C")]))):
            with self.subTest(str(hello)[:60]), self.assertRpcError(code):
                stream = Stream(self.front)
                stream.send(hello=hello)
                self.addCleanup(stream.cut)
                next(stream.call)
        for first in (dict(pong=dp.AttachPong()), dict(answer=dp.AttachAnswer(call_id=1)), {}):
            with self.subTest(str(first)), self.assertRpcError(Code.INVALID_ARGUMENT):
                stream = Stream(self.front)
                stream.send(**first)
                self.addCleanup(stream.cut)
                next(stream.call)

    def test_answers_to_nothing_end_the_stream(self):
        for call_id in (0, 1, 256, 300, 2 ** 64 - 1):
            with self.subTest(call_id), self.assertRpcError(Code.INVALID_ARGUMENT):
                stream = self.stream((SERVICE, "Charge"))
                stream.answer(call_id, self.Reply())
                next(stream.call)

    def test_answers_in_any_order(self):
        stream = self.stream((SERVICE, "Charge"))
        futures = {str(i): self.charge_soon(str(i)) for i in range(16)}
        calls = [stream.next_call() for _ in range(16)]
        for call in reversed(calls):
            number = protos.unpack(call.request.input, self.Request).number
            stream.answer(call.call_id, self.Reply(number=number))
            self.assertEqual(
                protos.unpack(futures[number].result().output, self.Reply).number, number)

    def test_no_more_than_it_takes_at_a_time(self):
        stream = self.stream((SERVICE, "Charge"), max_in_flight=2)
        futures = [self.charge_soon(str(i)) for i in range(10)]
        under_way = [stream.next_call(), stream.next_call()]
        for _ in range(8):
            stream.answer(under_way.pop(0).call_id, self.Reply())
            # The next is only sent now: two are out, never three.
            under_way.append(stream.next_call())
        for call in under_way:
            stream.answer(call.call_id, self.Reply())
        self.assertTrue(all(f.result().status.code == STATUS.OK for f in futures))

    def test_a_wrong_output_is_not_passed_on(self):
        stream = self.stream((SERVICE, "Charge"))
        for output in (self.Request(), None):
            future = self.charge_soon()
            stream.answer(stream.next_call().call_id, output)
            self.assertEqual(future.result().status.code, STATUS.INTERNAL)

    def test_a_call_that_is_given_up_is_cancelled_there(self):
        stream = self.stream((SERVICE, "Charge"), max_in_flight=1)
        first = self.charge_soon()
        call = stream.next_call()
        first.cancel()
        message = next(stream.call)
        self.assertEqual(message.cancel.call_id, call.call_id)
        # It keeps its place until it is answered, then the next has its turn.
        second = self.charge_soon("2")
        stream.answer(call.call_id, self.Reply())
        stream.answer(stream.next_call().call_id, self.Reply(number="2"))
        self.assertEqual(protos.unpack(second.result().output, self.Reply).number, "2")

    def test_the_deadline_ends_a_call(self):
        stream = self.stream((SERVICE, "Charge"))
        with self.assertRpcError(Code.DEADLINE_EXCEEDED):
            self.charge(timeout=0.3)
        call = stream.next_call()
        self.assertLess(call.timeout.ToMilliseconds(), 301)
        self.assertEqual(next(stream.call).cancel.call_id, call.call_id)

    def test_a_stream_that_dies_fails_its_calls(self):
        stream = self.stream((SERVICE, "Charge"), max_in_flight=1)
        sent = self.charge_soon()
        stream.next_call()
        waiting = self.charge_soon("2")
        stream.cut()
        # It may have been done: that is what the handler is blamed for.
        answer = sent.result()
        self.assertEqual(answer.status.code, STATUS.UNAVAILABLE)
        self.assertTrue(answer.handled_by_collector_id)
        # This one was not; and nobody else is there.
        with self.assertRpcError(Code.UNAVAILABLE):
            waiting.result()

    def test_what_was_not_sent_goes_elsewhere(self):
        dying = self.stream((SERVICE, "Charge"), max_in_flight=1)
        first = self.charge_soon()
        dying.next_call()
        waiting = [self.charge_soon(str(i)) for i in range(5)]
        other = self.stream((SERVICE, "Charge"), max_in_flight=16)
        dying.cut()
        self.assertEqual(first.result().status.code, STATUS.UNAVAILABLE)
        for _ in waiting:
            other.answer(other.next_call().call_id, self.Reply(receipt="other"))
        for future in waiting:
            self.assertEqual(protos.unpack(future.result().output, self.Reply).receipt, "other")

    def test_an_idempotent_call_is_made_again(self):
        dying = self.stream((SERVICE, "Charge"))
        call = self.charge_soon(routing_hints={"idempotent": "true"})
        dying.next_call()
        other = self.stream((SERVICE, "Charge"))
        dying.cut()
        other.answer(other.next_call().call_id, self.Reply(receipt="second"))
        self.assertEqual(protos.unpack(call.result().output, self.Reply).receipt, "second")

    def test_leaving_drains(self):
        stream = self.stream((SERVICE, "Charge"), max_in_flight=1)
        first = self.charge_soon()
        call = stream.next_call()
        second = self.charge_soon("2")  # has to wait, or comes too late
        stream.leave()
        with self.assertRpcError(Code.UNAVAILABLE):
            second.result()
        stream.answer(call.call_id, self.Reply(number="1"))
        self.assertEqual(first.result().status.code, STATUS.OK)
        stream.end()
        self.assertEqual(stream.call.code(), Code.OK)

    def test_large_messages(self):
        stream = self.stream((SERVICE, "Charge"))
        futures = [self.charge_soon("x" * (3 << 20)) for _ in range(6)]
        for _ in futures:
            call = stream.next_call()
            number = protos.unpack(call.request.input, self.Request).number
            stream.answer(call.call_id, self.Reply(number=number))
        for future in futures:
            self.assertEqual(len(protos.unpack(future.result().output, self.Reply).number),
                             3 << 20)

    def test_a_flood_is_bounded(self):
        stream = self.stream((SERVICE, "Charge"), max_in_flight=1)
        first = self.charge_soon()
        call = stream.next_call()
        futures = [self.charge_soon() for _ in range(1100)]

        def refused():
            return [f for f in futures if f.done()]

        eventually(lambda: len(refused()) >= 76, "more than 1,024 do not wait")
        self.assertEqual({f.code() for f in refused()}, {Code.UNAVAILABLE})
        for future in futures:
            future.cancel()
        stream.answer(call.call_id, self.Reply())
        self.assertEqual(first.result().status.code, STATUS.OK)

    def test_stopping_ends_streams(self):
        stream = self.stream((SERVICE, "Charge"))
        self.assertEqual(self.cluster["dispatcher"].stop(), 0)
        stream.end()
        self.assertIn(stream.call.code(), (Code.OK, Code.UNAVAILABLE))
        self.cluster["dispatcher"].start()
        self.wait_back("dispatcher")
