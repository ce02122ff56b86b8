"""The dispatcher's specification by example: each example of it, as written in meaning."""

import threading

from collector_testing import Code, common_pb2, dispatcher_pb2 as dp, eventually, protos
from google.protobuf import wrappers_pb2
from mesh import MeshTest

STATUS = common_pb2.Status


def text(value):
    return wrappers_pb2.StringValue(value=value)


class Examples(MeshTest):
    def ref(self, name):
        return common_pb2.ServiceTypeRef(service_name=name)

    def create_order(self, client, receipt):
        """OrderService/CreateOrder in "orders", served by a function at that collector."""
        self.attach(client, "orders", "OrderService", "CreateOrder",
                    lambda order, call: text("%s at %s" % (order.value, receipt)))

    def dispatch_order(self, client, value="order", **fields):
        return client.dispatch("OrderService", "CreateOrder", text(value), "orders", **fields)

    def test_connect_shares_namespaces(self):
        """Collector1 offers users and orders, collector2 handles orders and products."""
        one = self.start_collector("collector1", "users", "orders")
        two = self.start_collector("collector2", "orders", "products")
        link = self.connect(one, two, "users", "orders")
        self.assertEqual(list(link.shared_namespaces), ["orders"])
        # Metadata is stored on both sides, with the proper ids; both can route.
        here, there = self.wait_link(one, "collector2"), self.wait_link(two, "collector1")
        for side, source, target in ((here, "collector1", "collector2"),
                                     (there, "collector2", "collector1")):
            self.assertEqual((side.source_collector_id, side.target_collector_id),
                             (source, target))
            self.assertEqual(list(side.shared_namespaces), ["orders"])
        eventually(lambda: self.front.get("connections", "collector1/collector2", "system"),
                   "the link is in system/connections")
        eventually(lambda: self.front.get("connections", "collector2/collector1", "system"),
                   "its other side too")

    def test_serve_runs_a_registered_function(self):
        users = self.start_collector("users-1", "users")
        self.attach(users, "users", "UserService", "GetUser",
                    lambda user, call: text("data of " + user.value))
        answer = users.dispatcher.Serve(dp.ServeRequest(
            namespace="users", service=self.ref("UserService"), method_name="GetUser",
            input=protos.pack(text("17"))))
        self.assertEqual(protos.unpack(answer.output, wrappers_pb2.StringValue).value,
                         "data of 17")
        self.assertEqual(answer.executor_id, "users-1")
        with self.assertRpcError(Code.NOT_FOUND):
            users.dispatcher.Serve(dp.ServeRequest(
                namespace="users", service=self.ref("UserService"), method_name="Nothing",
                input=protos.pack(text("17"))))

    def test_several_services_in_a_namespace(self):
        client = self.start_collector("several", "users")
        for service in ("UserService", "GroupService"):
            self.attach(client, "users", service, "Get",
                        lambda _input, call: text(call.request.service.service_name))
        for service in ("UserService", "GroupService"):
            answer = client.dispatch(service, "Get", text(""), "users")
            self.assertEqual(
                protos.unpack(answer.output, wrappers_pb2.StringValue).value, service)

    def test_dispatch_to_a_target(self):
        near = self.start_collector("collector-east-1", "orders")
        far = self.start_collector("collector-west-2", "orders")
        self.connect(near, far)
        self.create_order(near, "east")
        self.create_order(far, "west")
        answer = self.dispatch_order(near, target_collector_id="collector-west-2")
        self.assertEqual(answer.handled_by_collector_id, "collector-west-2")
        self.assertEqual(protos.unpack(answer.output, wrappers_pb2.StringValue).value,
                         "order at west")
        with self.assertRpcError(Code.NOT_FOUND):
            self.dispatch_order(near, target_collector_id="collector-nowhere")

    def test_dispatch_finds_its_way(self):
        """Local first; else a connected collector with the namespace; transparently."""
        one = self.start_collector("collector1", "users", "orders")
        two = self.start_collector("collector2", "orders", "products")
        self.create_order(two, "two")
        self.connect(one, two, "users", "orders")
        answer = self.dispatch_order(one)
        self.assertEqual(answer.handled_by_collector_id, "collector2")
        self.assertEqual(answer.status.code, STATUS.OK)
        # The other way: Connections are bidirectional.
        self.attach(one, "users", "UserService", "GetUser", lambda user, call: text("ann"))
        answer = two.dispatch("UserService", "GetUser", text("1"), "users")
        self.assertEqual(answer.handled_by_collector_id, "collector1")
        # As soon as it is served here, it is served here.
        self.create_order(one, "one")
        self.assertEqual(self.dispatch_order(one).handled_by_collector_id, "collector1")

    def test_over_two_collectors_us_and_eu(self):
        """A client of the us-only collector calls a method that lives in the eu."""
        us = self.start_collector("collector1", "us")
        eu = self.start_collector("collector2", "eu")
        self.connect(us, eu)
        contexts = []

        def handle(order, call):
            contexts.append(call.request.namespace)
            return text("handled " + order.value)

        self.attach(eu, "eu", "OrderService", "CreateOrder", handle)
        answer = us.dispatch("OrderService", "CreateOrder", text("it"), "eu")
        self.assertEqual(answer.handled_by_collector_id, "collector2")
        self.assertEqual(protos.unpack(answer.output, wrappers_pb2.StringValue).value,
                         "handled it")
        self.assertEqual(contexts, ["eu"])

    def test_failover(self):
        """One collector fails, calls go to the other with the namespace."""
        door = self.start_collector("door", "nothing")
        serving = [self.start_collector("serving-%d" % i, "orders") for i in (1, 2)]
        for client in serving:
            self.create_order(client, client.name)
            self.connect(door, client)
        eventually(lambda: {self.dispatch_order(door).handled_by_collector_id
                            for _ in range(8)} == {"serving-1", "serving-2"}, "both are called")
        serving[0].cluster["dispatcher"].kill()
        # Idempotent calls never fail; others only while the death is not noticed.
        for _ in range(20):
            answer = self.dispatch_order(door, routing_hints={"idempotent": "true"})
            self.assertEqual(answer.handled_by_collector_id, "serving-2")

    def test_load_is_distributed(self):
        door = self.start_collector("door", "nothing")
        counts, lock = {}, threading.Lock()
        for name in ("a", "b", "c"):
            client = self.start_collector(name, "orders")

            def handle(_order, _call, name=name):
                with lock:
                    counts[name] = counts.get(name, 0) + 1
                return text(name)

            self.attach(client, "orders", "OrderService", "CreateOrder", handle)
            self.connect(door, client)
        for _ in range(120):
            self.dispatch_order(door)
        self.assertEqual(sum(counts.values()), 120)
        self.assertGreater(min(counts.get(n, 0) for n in "abc"), 10, counts)

    def test_a_new_collector_is_used_at_once(self):
        door = self.start_collector("door", "nothing")
        with self.assertRpcError(Code.NOT_FOUND):
            self.dispatch_order(door)
        late = self.start_collector("late", "orders")
        self.create_order(late, "late")
        self.connect(late, door)
        self.assertEqual(self.dispatch_order(door).handled_by_collector_id, "late")
