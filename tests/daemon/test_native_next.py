"""A native call whose handler or collector does not take it goes to the next one: as a
Dispatch does, as long as nobody can have noticed. Clients and backends are not ours."""

import socket
import threading

import grpc
from collector_testing import (
    Code, collection_server_pb2, common_pb2, dispatcher_pb2 as dp, eventually, protos)
from mesh import MeshTest

SERVICE = "shop.v1.OrderService"
STATUS = common_pb2.Status
IDEMPOTENT = ("collector-idempotent", "true")


def path(method):
    return "/%s/%s" % (SERVICE, method)


class Next(MeshTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")
        cls.front.register(protos.shop())
        cls.front.register(protos.shop(), "east")

    def bind(self, method, handler, namespace=""):
        """A backend of one method, bound to it; removed after the test."""
        backend = self.backend({path(method): handler})
        server = self.front.register_handler(SERVICE, backend.address, namespace,
                                             method_name=method)
        self.addCleanup(self.front.dispatcher.UnregisterHandler, dp.UnregisterHandlerRequest(
            namespace=namespace, id=server.id))
        return backend

    def charge(self, request, _context):
        number = self.Request.FromString(request).number
        return self.Reply(number=number, receipt="charged").SerializeToString()

    @staticmethod
    def decline(_request, context):
        context.set_trailing_metadata((("collector-not-processed", "1"),))
        context.abort(Code.UNAVAILABLE, "not now")

    @staticmethod
    def break_down(_request, context):
        context.abort(Code.UNAVAILABLE, "perhaps")

    def call(self, method="Charge", number="1", metadata=(), timeout=60):
        return self.Reply.FromString(self.front.unary(
            path(method), self.Request(number=number).SerializeToString(), timeout=timeout,
            metadata=metadata))

    def call_until(self, backend, method="Charge", metadata=()):
        """Which of two handlers is asked is drawn: until this one was."""
        for i in range(200):
            self.assertEqual(self.call(method, str(i), metadata).number, str(i))
            if backend.calls:
                return
        self.fail("the first handler was never asked")

    def records(self, method):
        page = self.front.records.List(collection_server_pb2.ListRequest(
            namespace="system", collection_name="dispatches", page_size=1000))
        return [d for d in (protos.unpack(i, dp.Dispatch) for i in page.items)
                if d.method_name == method]


class Handlers(Next):
    def test_one_that_declines(self):
        declining = self.bind("Charge", self.decline)
        charging = self.bind("Charge", self.charge)
        self.call_until(declining)
        # It is asked last now: everybody else is busy with nothing.
        before = len(declining.calls)
        for _ in range(10):
            self.call()
        self.assertEqual(len(declining.calls), before)
        self.assertTrue(charging.calls)

        def recorded():
            return [d for d in self.records("Charge") if d.candidates_tried == 2]

        record = eventually(recorded, "the history has two candidates of one call")[0]
        self.assertEqual(record.result_status.code, STATUS.OK)
        self.assertEqual(record.target_collector_id, self.me)

    def test_one_that_is_down(self):
        down = self.bind("Charge", self.charge)
        down.stop()
        self.bind("Charge", self.charge)
        for i in range(20):
            self.assertEqual(self.call(number=str(i)).number, str(i))

    def test_all_that_are_there_and_nobody_twice(self):
        declining = [self.bind("Ship", self.decline) for _ in range(4)]
        with self.assertRpcError(Code.UNAVAILABLE, text=["can be reached now", self.me]) as e:
            self.call("Ship")
        self.assertIn(("collector-not-processed", "1"), e.error.trailing_metadata())
        self.assertEqual([len(b.calls) for b in declining], [1] * 4)

    def test_a_single_one_says_it_itself(self):
        self.bind("Ship", self.decline)
        with self.assertRpcError(Code.UNAVAILABLE, text="not now"):
            self.call("Ship")

    def test_what_may_have_been_done_is_done_once(self):
        handlers = [self.bind("Ship", self.break_down), self.bind("Ship", self.break_down)]
        for i in range(1, 11):
            with self.assertRpcError(Code.UNAVAILABLE, text="perhaps"):
                self.call("Ship")
            self.assertEqual(sum(len(b.calls) for b in handlers), i)

    def test_unless_the_caller_says_that_it_may_be_repeated(self):
        failing = self.bind("Charge", self.break_down)
        self.bind("Charge", self.charge)
        self.call_until(failing, metadata=(IDEMPOTENT,))

    def test_or_the_method_is_marked_so(self):
        failing = self.bind("Track", self.break_down)
        self.bind("Track", self.charge)
        self.call_until(failing, "Track")

    def test_an_attached_one_comes_next(self):
        down = self.bind("Charge", self.decline)
        self.attach(self.front, "", SERVICE, "Charge",
                    lambda order, _c: self.Reply(number=order.number, receipt="attached"))
        self.call_until(down)
        self.assertEqual(self.call(number="last").receipt, "attached")

    def test_what_one_may_have_done_nobody_calls_undone(self):
        failing = self.bind("Charge", self.break_down)
        self.attach(self.front, "", SERVICE, "Charge", lambda order, _c: self.Reply())
        for _ in range(200):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as e:
                self.front.unary(path("Charge"), b"no message", metadata=(IDEMPOTENT,))
            if failing.calls:
                break
        self.assertTrue(failing.calls)
        self.assertNotIn("collector-not-processed", dict(e.error.trailing_metadata()))


class Streams(Next):
    def upload(self, read_first, begun=None):
        """Declines after so many messages; None: takes them all."""
        def run(requests, context):
            taken = []
            for request in requests:
                taken.append(self.Request.FromString(request).amount_cents)
                if len(taken) == read_first:
                    self.decline(None, context)
                if begun:
                    begun.set()
            return self.Reply(number=str(len(taken)),
                              amount_cents=sum(taken)).SerializeToString()

        return grpc.stream_unary_rpc_method_handler(run)

    def send(self, messages, begun=None):
        """Upload them; those after the first when somebody has begun to take them."""
        def talk():
            for i, message in enumerate(messages):
                if i == 1 and begun:
                    begun.wait(60)
                yield message.SerializeToString()

        return self.Reply.FromString(self.front.channel.stream_unary(path("Upload"))(
            talk(), timeout=60))

    def test_what_was_said_is_said_again(self):
        begun = threading.Event()
        self.addCleanup(begun.set)
        declining = self.bind("Upload", self.upload(1))
        self.bind("Upload", self.upload(None, begun))
        messages = [self.Request(amount_cents=10 ** i) for i in range(6)]
        for _ in range(200):
            begun.clear()
            answer = self.send(messages, begun)
            self.assertEqual((answer.number, answer.amount_cents), ("6", 111111))
            if declining.calls:
                return
        self.fail("the first handler was never asked")

    def test_more_than_is_held_is_not_said_again(self):
        declining = [self.bind("Upload", self.upload(4)) for _ in range(2)]
        with self.assertRpcError(Code.UNAVAILABLE, text="not now"):
            self.send([self.Request(amount_cents=1)] * 6)
        self.assertEqual(sum(len(b.calls) for b in declining), 1)

    def test_a_long_message_is_not_said_again(self):
        declining = [self.bind("Upload", self.upload(1)) for _ in range(2)]
        with self.assertRpcError(Code.UNAVAILABLE, text="not now"):
            self.send([self.Request(number="x" * 100000)])
        self.assertEqual(sum(len(b.calls) for b in declining), 1)

    def test_what_was_answered_is_not_taken_back(self):
        def talk(requests, context):
            for request in requests:
                yield self.Reply(
                    number=self.Request.FromString(request).number).SerializeToString()
                self.decline(None, context)

        handlers = [self.bind("Talk", grpc.stream_stream_rpc_method_handler(talk))
                    for _ in range(2)]
        stop = threading.Event()
        self.addCleanup(stop.set)

        def say():
            yield self.Request(number="1").SerializeToString()
            stop.wait(60)

        heard = []
        with self.assertRpcError(Code.UNAVAILABLE, text="not now"):
            for reply in self.front.channel.stream_stream(path("Talk"))(say(), timeout=60):
                heard.append(self.Reply.FromString(reply).number)
        self.assertEqual(heard, ["1"])
        self.assertEqual(sum(len(b.calls) for b in handlers), 1)

    def test_an_answer_in_many_messages_begins_anew(self):
        def follow(request, context):
            number = self.Request.FromString(request).number
            for i in range(20):
                yield self.Reply(number=number, amount_cents=i).SerializeToString()

        declining = self.bind("Follow", self.decline)
        self.bind("Follow", grpc.unary_stream_rpc_method_handler(follow))
        for _ in range(200):
            replies = self.front.channel.unary_stream(path("Follow"))(
                self.Request(number="7").SerializeToString(), timeout=60)
            self.assertEqual([self.Reply.FromString(r).amount_cents for r in replies],
                             list(range(20)))
            if declining.calls:
                return
        self.fail("the first handler was never asked")


class Ends(Next):
    """A cancel and a deadline reach whoever has the call by then."""

    def wait_in(self, entered, cancelled):
        def run(_request, context):
            context.add_callback(cancelled.set)
            entered.set()
            cancelled.wait(60)
            return b""

        return run

    def test_a_cancel(self):
        entered, cancelled = threading.Event(), threading.Event()
        self.addCleanup(cancelled.set)
        declining = self.bind("Ship", self.decline)
        self.bind("Ship", self.wait_in(entered, cancelled))
        for _ in range(200):
            call = self.front.channel.unary_unary(path("Ship")).future(b"", timeout=60)
            self.assertTrue(entered.wait(60))
            call.cancel()
            self.assertTrue(cancelled.wait(60), "the cancellation did not arrive")
            if declining.calls:
                return
            entered.clear()
            cancelled.clear()
        self.fail("the first handler was never asked")

    def test_a_cancel_while_it_is_connected_to(self):
        """The backend takes connections and says nothing."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        server = self.front.register_handler(
            SERVICE, "127.0.0.1:%d" % silent.getsockname()[1], method_name="Follow")
        self.addCleanup(self.front.dispatcher.UnregisterHandler, dp.UnregisterHandlerRequest(
            id=server.id))
        call = self.front.channel.unary_unary(path("Follow")).future(b"", timeout=60)
        taken, _ = silent.accept()
        self.addCleanup(taken.close)
        call.cancel()
        record = eventually(lambda: self.records("Follow"), "the call is over")[0]
        self.assertEqual(record.result_status.code, STATUS.CANCELLED)

    def test_a_deadline(self):
        never = threading.Event()
        left, ends = [], []

        def slow(_request, context):
            never.wait(0.3)  # of what the caller has
            self.decline(None, context)

        def wait(_request, context):
            over = threading.Event()
            left.append(context.time_remaining())
            ends.append(over)
            context.add_callback(over.set)
            over.wait(60)
            return b""

        declining = self.bind("Ship", slow)
        self.bind("Ship", wait)
        for _ in range(200):
            with self.assertRpcError(Code.DEADLINE_EXCEEDED):
                self.call("Ship", timeout=2)
            if declining.calls:
                break
        self.assertTrue(declining.calls, "the first handler was never asked")
        self.assertLess(left[-1], 1.8)
        self.assertTrue(ends[-1].wait(60), "the second one does not know")


class Collectors(Next):
    """`door` serves nothing itself; others serve `east`."""

    def setUp(self):
        super().setUp()
        self.door = self.start_collector("door", "nothing")

    def far(self, name, function=None):
        client = self.start_collector(name, "east")
        self.connect(self.door, client)
        self.wait_link(self.door, name)
        if function:
            self.attach(client, "east", SERVICE, "Charge", function)
        return client

    def ask(self, number="1", *metadata, client=None, timeout=60):
        return self.Reply.FromString((client or self.door).unary(
            path("Charge"), self.Request(number=number).SerializeToString(), timeout=timeout,
            metadata=(("collector-namespace", "east"),) + metadata))

    def test_one_that_has_no_handler(self):
        self.far("empty")
        self.far("full", lambda order, _c: self.Reply(number=order.number))
        for i in range(12):
            self.assertEqual(self.ask(str(i)).number, str(i))

        def recorded():
            return [d for d in self.records("Charge") if d.source_collector_id == "door" and
                    d.target_collector_id == "full"]

        eventually(lambda: len(recorded()) == 12, "all were answered by `full`")

    def test_nobody_has_one(self):
        self.far("one")
        self.far("two")
        with self.assertRpcError(Code.UNAVAILABLE, text=["door (here)", "one", "two"]):
            self.ask()

    def test_a_target_is_the_target(self):
        self.far("empty")
        calls = []
        self.far("full", lambda order, _c: calls.append(1) or self.Reply())
        for _ in range(5):
            with self.assertRpcError(Code.UNAVAILABLE, text="no handler is bound"):
                self.ask("1", ("collector-target", "empty"))
        self.assertEqual(calls, [])

    def test_one_is_killed(self):
        """Every call is answered at once or not done at all; none is done twice."""
        done, lock = [], threading.Lock()

        def charge(order, _context):
            with lock:
                done.append(order.number)
            return self.Reply(number=order.number)

        killed = self.far("killed", charge)
        self.far("lives", charge)
        problems, idempotent = [], []

        def work(name, metadata, answers):
            for i in range(60):
                number = "%s-%d" % (name, i)
                if i == 20 and name == "a":
                    killed.cluster["dispatcher"].kill()
                try:
                    answers.append((number, self.ask(number, *metadata).number == number))
                except grpc.RpcError as error:
                    if error.code() != Code.UNAVAILABLE or metadata:
                        problems.append((number, error))

        plain = []
        threads = [threading.Thread(target=work, args=arguments) for arguments in (
            ("a", (), plain), ("b", (), plain), ("c", (IDEMPOTENT,), idempotent))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertEqual(len(idempotent), 60)
        self.assertTrue(all(right for _, right in plain + idempotent))
        for number, _ in plain:
            self.assertEqual(done.count(number), 1, number)

    def test_only_where_it_came_in_others_are_asked(self):
        """What a collector gets from another one it passes on to one other at most."""
        hub = self.far("hub")
        for name in ("leaf-a", "leaf-b"):
            self.connect(hub, self.start_collector(name, "east"))
            self.wait_link(hub, name)
        with self.assertRpcError(Code.UNAVAILABLE):
            self.ask()
        record = eventually(lambda: [d for d in self.records("Charge")
                                     if d.source_collector_id == "hub"], "hub has passed it on")
        self.assertEqual([d.candidates_tried for d in record], [1])
