"""Methods that others serve: handlers, Serve, Dispatch, native calls, the mesh."""

import threading

import grpc
from collector_testing import (
    Backend, Client, Code, Cluster, CollectorTest, collection_server_pb2, common_pb2,
    dispatcher_pb2 as dp, eventually, protos)
from google.protobuf import any_pb2

SERVICE = "shop.v1.OrderService"
STATUS = common_pb2.Status


def path(method):
    return "/%s/%s" % (SERVICE, method)


class Shop(CollectorTest):
    """The shop's service registered, with a backend for all of it."""

    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")
        cls.front.register(protos.shop())

    def serve(self, *methods, receipt="done", namespace="", client=None, **fields):
        """A backend that answers these methods, registered; removed after the test."""
        def answer(data, _context):
            request = self.Request.FromString(data)
            return self.Reply(number=request.number, receipt=receipt,
                              amount_cents=request.amount_cents).SerializeToString()

        return self.attach({path(m): answer for m in methods}, namespace, client, **fields)

    def attach(self, methods, namespace="", client=None, **fields):
        client = client or self.front
        backend = self.backend(methods)
        servers = [client.register_handler(SERVICE, backend.address, namespace,
                                           method_name=m.split("/")[-1], **fields)
                   for m in methods]
        for server in servers:
            self.addCleanup(client.dispatcher.UnregisterHandler, dp.UnregisterHandlerRequest(
                namespace=namespace, id=server.id))
        backend.servers = servers
        return backend

    def native(self, method, request, client=None, **options):
        data = (client or self.front).unary(path(method), request.SerializeToString(), **options)
        return self.Reply.FromString(data)


class Calls(Shop):
    def test_native_serve_and_dispatch_reach_the_backend(self):
        backend = self.serve("Charge")
        request = self.Request(number="17", amount_cents=250)
        wanted = self.Reply(number="17", receipt="done", amount_cents=250)
        self.assertEqual(self.native("Charge", request), wanted)

        dispatched = self.front.dispatch(SERVICE, "Charge", request)
        self.assertEqual(dispatched.status.code, STATUS.OK)
        self.assertEqual(protos.unpack(dispatched.output, self.Reply), wanted)
        self.assertTrue(dispatched.handled_by_collector_id)

        served = self.front.dispatcher.Serve(dp.ServeRequest(
            service=common_pb2.ServiceTypeRef(service_name=SERVICE), method_name="Charge",
            input=protos.pack(request)))
        self.assertEqual(served.status.code, STATUS.OK)
        self.assertEqual(protos.unpack(served.output, self.Reply), wanted)
        self.assertEqual(served.executor_id, dispatched.handled_by_collector_id)
        self.assertEqual(len(backend.calls_of(path("Charge"))), 3)

    def test_a_method_nobody_registered(self):
        with self.assertRpcError(Code.UNIMPLEMENTED):
            self.front.unary("/shop.v1.OrderService/Sink", b"")
        with self.assertRpcError(Code.UNIMPLEMENTED):
            self.front.unary("/no.such.Service/Do", b"")
        for service, method in ((SERVICE, "Sink"), ("no.such.Service", "Do")):
            with self.assertRpcError(Code.NOT_FOUND, text=[service, method]):
                self.front.dispatch(service, method, self.Request())

    def test_a_registered_method_without_a_handler(self):
        with self.assertRpcError(Code.UNAVAILABLE):
            self.native("Track", self.Request())
        with self.assertRpcError(Code.UNAVAILABLE):
            self.front.dispatch(SERVICE, "Track", self.Request())

    def test_a_handler_that_is_away(self):
        backend = self.serve("Charge")
        self.native("Charge", self.Request())
        backend.stop()
        with self.assertRpcError(Code.UNAVAILABLE):
            self.native("Charge", self.Request())
        with self.assertRpcError(Code.UNAVAILABLE):
            self.front.dispatch(SERVICE, "Charge", self.Request())

    def test_what_the_handler_answers_is_final(self):
        calls = []

        def fail(_data, context):
            calls.append(1)
            context.set_trailing_metadata((("shop-reason", "closed"),))
            context.abort(Code.FAILED_PRECONDITION, "the shop is closed")

        self.attach({path("Charge"): fail})
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="the shop is closed") as expected:
            self.native("Charge", self.Request())
        self.assertIn(("shop-reason", "closed"), expected.error.trailing_metadata())
        answer = self.front.dispatch(SERVICE, "Charge", self.Request())
        self.assertEqual(answer.status.code, STATUS.FAILED_PRECONDITION)
        self.assertIn("the shop is closed", answer.status.message)
        self.assertTrue(answer.handled_by_collector_id)
        self.assertEqual(len(calls), 2)

    def test_an_envelope_that_is_wrong(self):
        self.serve("Charge")
        service = common_pb2.ServiceTypeRef(service_name=SERVICE)
        good = protos.pack(self.Request())
        for request, field in (
                (dp.DispatchRequest(method_name="Charge", input=good), "service"),
                (dp.DispatchRequest(service=service, input=good), "method_name"),
                (dp.DispatchRequest(service=service, method_name="Charge"), "input"),
                (dp.DispatchRequest(service=service, method_name="Charge",
                                    input=protos.pack(self.Reply())), "input"),
                (dp.DispatchRequest(service=service, method_name="Charge", input=any_pb2.Any(
                    type_url=good.type_url, value=b"\x0a\xff")), "input"),
                (dp.DispatchRequest(namespace="Bad Name", service=service, method_name="Charge",
                                    input=good), "namespace"),
                (dp.DispatchRequest(
                    namespace="a", method_name="Charge", input=good,
                    service=common_pb2.ServiceTypeRef(namespace="b", service_name=SERVICE)),
                 "namespace")):
            with self.subTest(field), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.front.dispatcher.Dispatch(request)
            self.assertBlames(expected.error, field)
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.dispatch(SERVICE, "Charge", self.Request(), target_collector_id="nobody")

    def test_the_target_may_be_oneself(self):
        self.serve("Charge")
        me = self.front.dispatcher.ListConnections(dp.ListConnectionsRequest()).collector_id
        self.assertTrue(me)
        answer = self.front.dispatch(SERVICE, "Charge", self.Request(), target_collector_id=me)
        self.assertEqual(answer.handled_by_collector_id, me)

    def test_metadata_deadline_and_cancel_travel(self):
        entered, cancelled = threading.Event(), threading.Event()
        remaining = []

        def track(_data, context):
            context.send_initial_metadata((("shop-header", "h"),))
            context.set_trailing_metadata((("shop-trailer-bin", b"\0\1"),))
            remaining.append(context.time_remaining())
            return b""

        def ship(_data, context):
            context.add_callback(cancelled.set)
            entered.set()
            cancelled.wait(60)
            return b""

        backend = self.attach({path("Track"): track, path("Ship"): ship})
        call = self.front.channel.unary_unary(path("Track"))
        _, done = call.with_call(b"", timeout=40, metadata=(
            ("shop-key", "v"), ("shop-data-bin", b"\xff\0"), ("x-request-id", "abc-1")))
        self.assertIn(("shop-header", "h"), done.initial_metadata())
        self.assertIn(("shop-trailer-bin", b"\0\1"), done.trailing_metadata())
        self.assertLess(remaining[0], 41)
        self.assertGreater(remaining[0], 1)
        metadata = backend.calls_of(path("Track"))[0]
        self.assertEqual(metadata["shop-key"], "v")
        self.assertEqual(metadata["shop-data-bin"], b"\xff\0")

        future = self.front.channel.unary_unary(path("Ship")).future(b"", timeout=60)
        self.assertTrue(entered.wait(60))
        future.cancel()
        self.assertTrue(cancelled.wait(60), "the cancellation did not arrive")

    def test_a_deadline_ends_the_call(self):
        leave = threading.Event()
        self.addCleanup(leave.set)
        self.attach({path("Ship"): lambda _d, _c: leave.wait(60) and b""})
        with self.assertRpcError(Code.DEADLINE_EXCEEDED):
            self.native("Ship", self.Request(), timeout=0.3)
        try:
            answer = self.front.dispatch(SERVICE, "Ship", self.Request(), timeout=0.3)
            self.assertEqual(answer.status.code, STATUS.DEADLINE_EXCEEDED)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), Code.DEADLINE_EXCEEDED)

    def test_streams(self):
        def follow(data, _context):
            number = self.Request.FromString(data).number
            for i in range(50):
                yield self.Reply(number=number, amount_cents=i).SerializeToString()

        def upload(requests, _context):
            return self.Reply(amount_cents=sum(
                self.Request.FromString(r).amount_cents for r in requests)).SerializeToString()

        def talk(requests, _context):
            for request in requests:
                yield self.Reply(
                    number=self.Request.FromString(request).number).SerializeToString()

        self.attach({
            path("Follow"): grpc.unary_stream_rpc_method_handler(follow),
            path("Upload"): grpc.stream_unary_rpc_method_handler(upload),
            path("Talk"): grpc.stream_stream_rpc_method_handler(talk)})
        channel = self.front.channel
        request = self.Request(number="9", amount_cents=2).SerializeToString()
        replies = list(channel.unary_stream(path("Follow"))(request, timeout=60))
        self.assertEqual([self.Reply.FromString(r).amount_cents for r in replies],
                         list(range(50)))
        total = channel.stream_unary(path("Upload"))(iter([request] * 100), timeout=60)
        self.assertEqual(self.Reply.FromString(total).amount_cents, 200)

        turn = threading.Semaphore(1)

        def one_by_one():
            for i in range(10):
                turn.acquire()
                yield self.Request(number=str(i)).SerializeToString()

        seen = []
        for reply in channel.stream_stream(path("Talk"))(one_by_one(), timeout=60):
            seen.append(self.Reply.FromString(reply).number)
            turn.release()
        self.assertEqual(seen, [str(i) for i in range(10)])

    def test_a_big_message_passes(self):
        self.attach({path("Charge"): lambda data, _c: data})
        request = self.Request(number="x" * (3 << 20)).SerializeToString()
        self.assertEqual(len(self.front.unary(path("Charge"), request)), len(request))

    def test_namespaces_are_apart(self):
        self.front.register(protos.shop(), "other-shop")
        self.serve("Charge", receipt="default")
        self.serve("Charge", receipt="other", namespace="other-shop")
        request = self.Request()
        self.assertEqual(self.native("Charge", request).receipt, "default")
        self.assertEqual(self.native("Charge", request, metadata=(
            ("collector-namespace", "other-shop"),)).receipt, "other")
        answer = self.front.dispatch(SERVICE, "Charge", request, "other-shop")
        self.assertEqual(protos.unpack(answer.output, self.Reply).receipt, "other")
        with self.assertRpcError(Code.UNIMPLEMENTED):
            self.native("Charge", request, metadata=(("collector-namespace", "third"),))


class Handlers(Shop):
    def handlers(self, namespace=""):
        return self.front.dispatcher.ListHandlers(
            dp.ListHandlersRequest(namespace=namespace)).servers

    def test_register_list_unregister(self):
        backend = self.backend({path("Ship"): lambda d, _c: b""})
        made = self.front.register_handler(SERVICE, backend.address, method_name="Ship")
        self.assertTrue(made.id)
        self.assertEqual((made.address, made.method_name, made.service.service_name),
                         (backend.address, "Ship", SERVICE))
        self.assertIn(made.id, [h.id for h in self.handlers()])
        again = self.front.register_handler(SERVICE, backend.address, method_name="Ship")
        self.assertEqual(again.id, made.id)
        self.native("Ship", self.Request())
        self.front.dispatcher.UnregisterHandler(dp.UnregisterHandlerRequest(id=made.id))
        self.assertNotIn(made.id, [h.id for h in self.handlers()])
        with self.assertRpcError(Code.UNAVAILABLE):
            self.native("Ship", self.Request())
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.dispatcher.UnregisterHandler(dp.UnregisterHandlerRequest(id=made.id))

    def test_a_whole_service(self):
        backend = self.backend({path(m): lambda d, _c: b"" for m in ("Charge", "Ship")})
        made = self.front.register_handler(SERVICE, backend.address)
        self.addCleanup(self.front.dispatcher.UnregisterHandler,
                        dp.UnregisterHandlerRequest(id=made.id))
        self.native("Charge", self.Request())
        self.native("Ship", self.Request())
        self.assertEqual(len(backend.calls), 2)
        # The backend itself does not know this one.
        with self.assertRpcError(Code.UNIMPLEMENTED):
            self.native("Track", self.Request())

    def test_only_registered_methods_and_allowed_addresses(self):
        backend = self.backend({})
        for service, method in ((SERVICE, "Sink"), ("no.such.Service", "")):
            with self.assertRpcError(Code.NOT_FOUND):
                self.front.register_handler(service, backend.address, method_name=method)
        for address in ("10.1.2.3:80", "169.254.169.254:80", "example.com:443", "[2001:db8::1]:1"):
            with self.subTest(address), self.assertRpcError(
                    Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT):
                self.front.register_handler(SERVICE, address)
        for address in ("", "localhost", "unix:/tmp/x", "dns:///localhost:80", "127.0.0.1:0",
                        "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:80/x", "ipv4:127.0.0.1:80"):
            with self.subTest(address), self.assertRpcError(
                    Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED) as expected:
                self.front.register_handler(SERVICE, address)
            self.assertBlames(expected.error, "address")

    def test_handlers_share_the_load(self):
        backends = [self.serve("Charge") for _ in range(2)]
        for _ in range(60):
            self.native("Charge", self.Request())
        counts = [len(b.calls) for b in backends]
        self.assertEqual(sum(counts), 60)
        self.assertGreater(min(counts), 5, counts)

    def test_a_dead_handler_is_passed_over(self):
        dead, alive = self.serve("Charge"), self.serve("Charge", receipt="alive")
        for _ in range(10):
            self.native("Charge", self.Request())
        dead.stop()

        def only_alive():
            try:
                return all(self.native("Charge", self.Request()).receipt == "alive"
                           for _ in range(20))
            except grpc.RpcError as error:
                # Known to be broken only once a call broke on it.
                self.assertEqual(error.code(), Code.UNAVAILABLE)
                return False

        eventually(only_alive, "calls go to the handler that lives")
        self.assertGreater(len(alive.calls), 20)

    def test_handlers_survive_the_dispatcher(self):
        self.serve("Charge")
        self.native("Charge", self.Request())
        self.restart("dispatcher")
        eventually(lambda: self.native("Charge", self.Request(number="1")).number == "1",
                   "the handler is called again")

    def test_handlers_are_records(self):
        backend = self.serve("Charge")
        wanted = backend.servers[0].id

        def recorded():
            page = self.front.records.List(collection_server_pb2.ListRequest(
                namespace="system", collection_name="dispatch_servers"))
            return wanted in [
                protos.unpack(i, dp.DispatchServer).id for i in page.items]

        eventually(recorded, "the handler is in system/dispatch_servers")

    def test_dispatches_are_records(self):
        self.serve("Charge")
        self.front.dispatch(SERVICE, "Charge", self.Request(number="history"))

        def recorded():
            page = self.front.records.List(collection_server_pb2.ListRequest(
                namespace="system", collection_name="dispatches", page_size=1000))
            return [d for d in (protos.unpack(i, dp.Dispatch) for i in page.items)
                    if d.method_name == "Charge" and d.result_status.code == STATUS.OK]

        record = eventually(recorded, "the call is in system/dispatches")[0]
        self.assertEqual(record.service.service_name, SERVICE)
        self.assertTrue(record.target_collector_id)


class Mesh(Shop):
    """Two dispatchers, each of its own collector, connected."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.far = Cluster(cls.daemons, {"dispatcher": [
            "--collector-id", "far", "--namespaces", "default,eu"]})
        cls.addClassCleanup(cls._stop_far)
        cls.far.start()
        cls.there = Client(cls.far.address("dispatcher"))
        cls._clients.append(cls.there)
        for service in ("collector.CollectorRegistry", "collector.CollectionService"):
            cls.there.wait_serving(service)
        cls.there.register(protos.shop(), "eu")
        cls.there.register(protos.shop())
        cls.front.dispatcher.ConnectPeer(dp.ConnectPeerRequest(
            address=cls.far.address("dispatcher")))

    @classmethod
    def _stop_far(cls):
        problems = cls.far.stop()
        if problems or cls._failed:
            cls.far.print_logs()
        cls.far.close()
        if problems:
            raise AssertionError("; ".join(problems))

    def setUp(self):
        """Both know each other; one that was killed has to be told again."""
        def linked():
            here, there = self.connections(self.front), self.connections(self.there)
            return (here.collector_id in [c.target_collector_id for c in there.connections
                                          if c.state == dp.CONNECTION_UP] and
                    "far" in [c.target_collector_id for c in here.connections
                              if c.state == dp.CONNECTION_UP])

        eventually(linked, "the two collectors are linked")

    def connections(self, client):
        return client.dispatcher.ListConnections(dp.ListConnectionsRequest())

    def test_both_sides_know_each_other(self):
        here = self.connections(self.front)
        there = self.connections(self.there)
        self.assertEqual(there.collector_id, "far")
        self.assertIn("far", [c.target_collector_id for c in here.connections])
        self.assertIn(here.collector_id, [c.target_collector_id for c in there.connections])
        link = next(c for c in here.connections if c.target_collector_id == "far")
        self.assertIn("default", link.shared_namespaces)
        self.assertEqual(link.state, dp.CONNECTION_UP)
        self.assertTrue(link.outbound)
        self.assertIn("far", [c.id for c in here.collectors])

    def test_a_call_goes_where_the_namespace_is_served(self):
        self.serve("Charge", receipt="from far", namespace="eu", client=self.there)
        answer = self.front.dispatch(SERVICE, "Charge", self.Request(number="5"), "eu")
        self.assertEqual(answer.handled_by_collector_id, "far")
        reply = protos.unpack(answer.output, self.Reply)
        self.assertEqual((reply.number, reply.receipt), ("5", "from far"))
        native = self.native("Charge", self.Request(number="6"), metadata=(
            ("collector-namespace", "eu"),))
        self.assertEqual(native.receipt, "from far")

    def test_the_other_direction_too(self):
        me = self.connections(self.front).collector_id
        self.serve("Ship", receipt="from here")
        answer = self.there.dispatch(SERVICE, "Ship", self.Request(), target_collector_id=me)
        self.assertEqual(answer.handled_by_collector_id, me)
        self.assertEqual(protos.unpack(answer.output, self.Reply).receipt, "from here")

    def test_a_target_is_the_target_and_nobody_else(self):
        self.serve("Charge", receipt="here")
        self.serve("Charge", receipt="there", client=self.there)
        me = self.connections(self.front).collector_id
        for target, wanted in ((me, "here"), ("far", "there"), ("", "here")):
            answer = self.front.dispatch(
                SERVICE, "Charge", self.Request(), target_collector_id=target)
            self.assertEqual(protos.unpack(answer.output, self.Reply).receipt, wanted)
        native = self.native("Charge", self.Request(), metadata=(("collector-target", "far"),))
        self.assertEqual(native.receipt, "there")

    def test_nobody_serves_it(self):
        with self.assertRpcError(Code.NOT_FOUND, text=["mars", SERVICE, "Charge"]):
            self.front.dispatch(SERVICE, "Charge", self.Request(), "mars")

    def test_a_claimed_address_must_be_ones_own(self):
        backend = Backend({})  # answers no Ping
        self.addCleanup(backend.stop)
        with self.assertRpcError(Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED,
                                 Code.UNAVAILABLE, Code.UNAUTHENTICATED):
            self.front.dispatcher.Connect(dp.ConnectRequest(
                address=backend.address, namespaces=["default"], collector_id="liar", nonce="n"))
        self.assertNotIn("liar", [c.id for c in self.connections(self.front).collectors
                                  if c.is_direct_peer])

    def test_a_killed_peer_comes_back(self):
        self.serve("Track", receipt="far again", namespace="eu", client=self.there)
        self.far["dispatcher"].kill()
        with self.assertRpcError(Code.UNAVAILABLE, Code.NOT_FOUND):
            self.front.dispatch(SERVICE, "Track", self.Request(), "eu")
        self.far["dispatcher"].start()
        self.there.wait_serving("collector.CollectionService")

        def answers():
            answer = self.front.dispatch(SERVICE, "Track", self.Request(), "eu")
            return protos.unpack(answer.output, self.Reply).receipt == "far again"

        eventually(answers, "the peer is called again")
