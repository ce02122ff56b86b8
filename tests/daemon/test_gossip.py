"""What peers tell of others, and who may have an id."""

import grpc
from collector_testing import Code, dispatcher_pb2 as dp, eventually
from google.protobuf import wrappers_pb2
from mesh import MeshTest


def text(value):
    return wrappers_pb2.StringValue(value=value)


class Gossip(MeshTest):
    def known(self, client):
        """{collector id: Collector}"""
        return {c.id: c for c in self.connections(client).collectors}

    def wait_heard(self, client, name):
        return eventually(lambda: self.known(client).get(name),
                          "%s hears of %s" % (client.name, name))

    def serve(self, client):
        self.attach(client, "orders", "OrderService", "Make",
                    lambda order, call: text("by " + client.name))

    def make(self, client, **fields):
        return client.dispatch("OrderService", "Make", text(""), "orders", **fields)

    def chain(self, *, options=()):
        """near - hub - far, which serves orders; near has only heard of far."""
        near = self.start_collector("near", "nothing", options=options)
        hub = self.start_collector("hub", "nothing")
        far = self.start_collector("far", "orders")
        self.serve(far)
        self.connect(hub, near)
        self.connect(hub, far)
        heard = self.wait_heard(near, "far")
        self.assertFalse(heard.is_direct_peer)
        self.assertEqual((heard.distance, heard.heard_through), (2, "hub"))
        self.assertEqual(list(heard.namespaces), ["orders"])
        self.assertNotIn("far", self.links(near))
        return near, hub, far

    def test_a_collector_heard_of_is_dialled_for_a_call(self):
        near, _hub, far = self.chain()
        record = eventually(lambda: self.front.get("collectors", "near/far", "system"),
                            "it is in system/collectors")
        self.assertFalse(dp.Collector.FromString(record.item.value).is_direct_peer)
        explained = near.dispatcher.Explain(dp.ExplainRequest(
            namespace="orders", service={"service_name": "OrderService"}, method_name="Make"))
        self.assertEqual([(c.id, c.kind) for c in explained.candidates if c.eligible],
                         [("far", dp.CANDIDATE_HEARD_OF)])
        self.assertEqual(self.make(near).handled_by_collector_id, "far")
        # From now on there is a link, in both directions.
        self.assertTrue(self.known(near)["far"].is_direct_peer)
        self.wait_link(far, "near")

    def test_a_target_heard_of_is_dialled_too(self):
        near, _hub, _far = self.chain()
        answer = self.make(near, target_collector_id="far")
        self.assertEqual(answer.handled_by_collector_id, "far")

    def test_one_that_cannot_be_dialled_is_reached_through_the_teller(self):
        # Nobody can dial near back, so nobody but the hub, which dialled it, is its peer.
        near, _hub, _far = self.chain(options=("--advertise-address", "127.0.0.1:1"))
        for fields in ({}, {"target_collector_id": "far"}):
            answer = self.make(near, **fields)
            self.assertEqual(answer.handled_by_collector_id, "far")
            self.assertNotIn("far", self.links(near))
        with self.assertRpcError(Code.NOT_FOUND):
            self.make(near, target_collector_id="nobody")

    def test_join_by_one_seed(self):
        hub = self.start_collector("hub", "nothing")
        joined = [self.start_collector(name, name, seeds=[hub.address])
                  for name in ("one", "two", "three")]
        for client in joined:
            for other in ("hub", "one", "two", "three"):
                self.wait_heard(client, other)
        self.attach(joined[2], "three", "OrderService", "Make", lambda o, c: text("3"))
        answer = joined[0].dispatch("OrderService", "Make", text(""), "three")
        self.assertEqual(answer.handled_by_collector_id, "three")

    def test_what_is_told_no_longer_is_forgotten(self):
        near, hub, far = self.chain()
        far.cluster["dispatcher"].stop()  # says goodbye
        eventually(lambda: "far" not in self.known(near), "far is forgotten")
        hub.cluster["dispatcher"].stop()
        eventually(lambda: "hub" not in self.known(near), "hub is forgotten")

    def test_namespaces_that_are_served_anew_are_told(self):
        near = self.start_collector("near", "nothing")
        hub = self.start_collector("hub", "nothing")
        self.connect(hub, near)
        self.connect(hub, self.front)  # serves what has handlers
        self.wait_heard(near, self.me)
        self.attach(self.front, "fresh", "OrderService", "Make", lambda o, c: text(""))
        eventually(lambda: "fresh" in self.known(near)[self.me].namespaces,
                   "the new namespace is heard of")


class OneId(MeshTest):
    """An id is of one collector."""

    def test_who_has_it_and_answers_keeps_it(self):
        door = self.start_collector("door", "nothing")
        first = self.start_collector("twin", "orders")
        self.connect(door, first)
        second = self.start_collector("twin", "orders")
        with self.assertRpcError(Code.ALREADY_EXISTS, text="twin"):
            self.connect(door, second)
        with self.assertRpcError(Code.ALREADY_EXISTS, text="twin"):
            self.connect(second, door)
        self.assertEqual(self.links(door)["twin"].address, first.address)
        # Once it is gone, the id is free: a collector that was started elsewhere.
        first.cluster["dispatcher"].kill()
        self.connect(second, door)
        self.assertEqual(self.links(door)["twin"].address, second.address)

    def test_one_collector_under_two_names_is_one(self):
        door = self.start_collector("door", "nothing")
        other = self.start_collector("other", "orders")
        self.connect(door, other)
        by_name = "localhost:" + other.address.split(":")[1]
        door.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=by_name))
        self.assertIn("other", self.links(door))

    def test_ones_own_id_is_refused(self):
        first = self.start_collector("twin", "orders")
        second = self.start_collector("twin", "orders")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.connect(first, second)

    def test_started_again_elsewhere_it_is_found(self):
        door = self.start_collector("door", "nothing")
        first = self.start_collector("wanderer", "orders", seeds=[door.address])
        self.wait_link(door, "wanderer")
        first.cluster["dispatcher"].kill()
        second = self.start_collector("wanderer", "orders", seeds=[door.address])
        self.attach(second, "orders", "OrderService", "Make", lambda o, c: text("here"))

        def answers():
            try:
                return door.dispatch("OrderService", "Make", text(""), "orders", timeout=5)
            except grpc.RpcError as error:
                self.assertIn(error.code(), (Code.UNAVAILABLE, Code.NOT_FOUND))
                return None

        self.assertEqual(eventually(answers, "it is called").handled_by_collector_id, "wanderer")
        self.assertEqual(self.links(door)["wanderer"].address, second.address)
