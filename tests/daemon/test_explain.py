"""Explain, and what collectorctl shows of handlers, the mesh and past calls."""

from collector_testing import Code, common_pb2, dispatcher_pb2 as dp, eventually, protos
from daemons import ctl, ctl_json
from google.protobuf import wrappers_pb2
from mesh import MeshTest

SERVICE = "shop.v1.OrderService"


def text(value):
    return wrappers_pb2.StringValue(value=value)


class Explained(MeshTest):
    def explain(self, client, namespace, service, method, target=""):
        return client.dispatcher.Explain(dp.ExplainRequest(
            namespace=namespace, service=common_pb2.ServiceTypeRef(service_name=service),
            method_name=method, target_collector_id=target))

    def test_every_candidate_and_why(self):
        door = self.start_collector("door", "nothing")
        serving = self.start_collector("serving", "orders")
        other = self.start_collector("other", "else")
        for client in (serving, other):
            self.connect(door, client)
        answer = self.explain(door, "orders", "OrderService", "Make")
        self.assertFalse(answer.registered)
        self.assertEqual(answer.collector_id, "door")
        self.assertIn("serving is called", answer.decision)
        self.assertEqual([(c.id, c.kind, c.eligible) for c in answer.candidates],
                         [("serving", dp.CANDIDATE_PEER, True), ("other", dp.CANDIDATE_PEER, False)])
        self.assertIn("does not serve namespace orders", answer.candidates[1].reason)

        # A handler here comes first; nobody was called for all that.
        calls = []
        self.attach(door, "orders", "OrderService", "Make", lambda o, c: calls.append(o))
        answer = self.explain(door, "orders", "OrderService", "Make")
        self.assertIn("handler of this collector", answer.decision)
        self.assertEqual([(c.kind, c.eligible) for c in answer.candidates][0],
                         (dp.CANDIDATE_HANDLER, True))
        self.assertFalse([c for c in answer.candidates[1:] if c.eligible])
        self.assertEqual(calls, [])

        # A target is asked and nobody else.
        answer = self.explain(door, "orders", "OrderService", "Make", "other")
        self.assertEqual([c.id for c in answer.candidates if c.eligible], ["other"])
        answer = self.explain(door, "orders", "OrderService", "Make", "nobody")
        self.assertIn("NOT_FOUND", answer.decision)
        self.assertFalse([c for c in answer.candidates if c.eligible])

        # What answers no pings is told so.
        serving.cluster["dispatcher"].kill()
        eventually(lambda: "missed pings" in next(
            c.reason for c in self.explain(door, "orders", "S", "M").candidates
            if c.id == "serving"), "serving is suspect")

    def test_registered_and_without_a_handler(self):
        self.front.register(protos.shop())
        answer = self.explain(self.front, "", SERVICE, "Ship")
        self.assertTrue(answer.registered)
        self.assertIn("UNAVAILABLE", answer.decision)
        self.assertIn("NOT_FOUND", self.explain(self.front, "", "no.Such", "Method").decision)

    def test_what_is_refused(self):
        for fields in (("", "", "M"), ("", "a.B", ""), ("Bad Name", "a.B", "M"),
                       ("", "a.B", "M", "Bad Target")):
            with self.subTest(fields), self.assertRpcError(Code.INVALID_ARGUMENT):
                self.explain(self.front, *fields)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.dispatcher.Explain(dp.ExplainRequest(method_name="M"))


class Shown(MeshTest):
    """By collectorctl."""

    def test_mesh(self):
        peer = self.start_collector("peer", "orders")
        code, out, err = ctl(self.cluster, "mesh", "connect", peer.address)
        self.assertEqual((code, out), (0, "connected to peer\n"), err)
        self.assertIn("peer", ctl(self.cluster, "mesh", "peers")[1])
        routes = {c["id"]: c for c in ctl_json(self.cluster, "mesh", "routes")}
        self.assertEqual(routes["peer"]["namespaces"], ["orders"])
        self.assertIn("here", ctl(self.cluster, "mesh", "routes")[1])
        explained = ctl_json(self.cluster, "-n", "orders", "mesh", "explain", "a.B/C")
        self.assertEqual(explained["candidates"][0]["id"], "peer")
        code, out, err = ctl(self.cluster, "-n", "orders", "mesh", "explain", "a.B/C")
        self.assertEqual(code, 0, err)
        self.assertIn("collector peer is called", out)
        code, _, err = ctl(self.cluster, "mesh", "disconnect", "peer")
        self.assertEqual(code, 0, err)
        self.assertNotIn("peer", self.links(self.front))
        self.assertNotEqual(ctl(self.cluster, "mesh", "disconnect", "peer")[0], 0)

    def test_handlers(self):
        self.attach(self.front, "orders", "OrderService", "Make", lambda o, c: o)
        code, out, err = ctl(self.cluster, "-n", "orders", "handler", "list")
        self.assertEqual(code, 0, err)
        self.assertIn("HANDLER_ATTACHED", out)
        self.assertIn("OrderService", out)

    def test_the_log_is_searched(self):
        def make(order, call):
            if order.value == "bad":
                raise KeyError(order.value)
            if order.value == "slow":
                call.cancelled.wait(0.2)
            return order

        self.attach(self.front, "logged", "OrderService", "Make", make)
        self.attach(self.front, "logged", "OrderService", "Other", make)
        for method, value in (("Make", "good"), ("Make", "bad"), ("Other", "good"),
                              ("Other", "slow")):
            self.front.dispatch("OrderService", method, text(value), "logged")

        def log(*flags):
            return [(d["methodName"], d.get("resultStatus", {}).get("code", "OK"))
                    for d in ctl_json(self.cluster, "-n", "logged", "dispatch", "log", *flags)
                    .get("items", [])]

        eventually(lambda: len(log()) == 4, "four calls are in the log")
        self.assertEqual(log()[0][0], "Other")  # newest first
        self.assertEqual(log("--method", "Make"), [("Make", "UNKNOWN"), ("Make", "OK")])
        self.assertEqual(log("--method", "OrderService/Other", "--slower-than", "190"),
                         [("Other", "OK")])
        self.assertEqual(log("--code", "UNKNOWN"), [("Make", "UNKNOWN")])
        self.assertEqual(len(log("--code", "OK")), 3)
        self.assertEqual(len(log("--peer", self.me)), 4)
        self.assertEqual(log("--peer", "nobody"), [])
        self.assertEqual(len(log("--limit", "2")), 2)
        code, out, err = ctl(self.cluster, "-n", "logged", "dispatch", "log")
        self.assertEqual(code, 0, err)
        self.assertIn("OrderService/Make", out)
        # It is kept by the repo, not by the dispatcher.
        self.restart("dispatcher")
        self.restart("repo")
        self.assertEqual(len(log()), 4)
