"""Five collectors, each on a machine of its own, and what networks do to them.

In `make test` everything happens once; `make test-mesh` does it MESH_ROUNDS times.
Without the rights to make network namespaces the tests are skipped, and say so; where CI
is set, they fail instead: there nothing may be left out unseen.
"""

import os
import shutil
import signal
import sys
import time
import unittest
import uuid

import grpc
import network
from collector_testing import (
    Client, Code, common_pb2, daemon_pb2, dispatcher_pb2 as dp, eventually, protos, registry_pb2)
from daemons import Cluster, is_instrumented
from traffic import AWAY, SERVICE, TYPES, Ledger, Traffic, text

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "examples", "handlers"))
import collector_handlers  # noqa: E402

ROUNDS = int(os.environ.get("MESH_ROUNDS", "1"))
# What is promised; an instrumented program on a busy machine is several times slower.
RECOVERY_S = 20 if is_instrumented() else 5
SLACK_S = 5 if is_instrumented() else 1
SERVING = {"a": "nothing", "b": "nothing", "c": "orders", "d": "orders", "e": "solo"}
NUMBERS = {name: 10 + i for i, name in enumerate(SERVING)}

not_possible = None


def setUpModule():
    global not_possible  # pylint: disable=global-statement
    try:
        network.enter()
    except network.NotPossible as error:
        not_possible = "not run: network namespaces cannot be made here: %s" % error
        if not os.environ.get("CI"):
            raise unittest.SkipTest(not_possible) from error
        raise


class Collector:
    """A collector on a machine: dispatcher, registry and repo, and its attached handlers."""

    def __init__(self, name, machine, ledger, seeds=(), collector_id=None, namespace="nothing"):
        self.name, self.machine, self._ledger = name, machine, ledger
        self.id, self.namespace = collector_id or name, namespace
        options = ["--collector-id", self.id, "--namespaces", namespace,
                   "--allow-address", network.EVERYBODY, "--insecure", "--history-max-records", "0"]
        for seed in seeds:
            options += ["--seeds", seed]
        self.cluster = Cluster(("registry", "repo", "dispatcher"), {"dispatcher": options},
                               machine=machine)
        self.client = self.handlers = None

    @property
    def daemon(self):
        return self.cluster["dispatcher"]

    def start(self):
        self.cluster.start()

    def wait(self):
        self.open()
        for service in ("collector.CollectorRegistry", "collector.CollectionService"):
            self.client.wait_serving(service)
        for namespace in ("orders", "solo"):
            self.client.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
                namespace=namespace, file_descriptor=TYPES.file("mesh/v1/ledger.proto")))
        self.attach()

    def open(self):
        """A client at where it is now."""
        if self.client:
            self.client.close()
        self.client = Client(self.cluster.address("dispatcher"), self.daemon)
        self.client.wait_serving()

    def attach(self):
        if self.namespace == "nothing":
            return
        if self.handlers:
            self.handlers.close()
        self.handlers = collector_handlers.Collector(
            self.client.address, protos=["google/protobuf/wrappers.proto"], max_in_flight=64)
        for method, function in (("Note", self._ledger.handler(self.name)),
                                 ("Repeat", self._ledger.handler(self.name)),
                                 ("Never", self._never)):
            self.handlers.register(self.namespace, SERVICE, method, function)

    def _never(self, request, call):
        call.cancelled.wait(60)
        self._ledger.ran["cancelled-" + request.value].append(self.name)
        return text("")

    def wait_attached(self):
        eventually(lambda: len(self.client.dispatcher.ListHandlers(dp.ListHandlersRequest(
            namespace=self.namespace)).servers) >= 3, "the handlers of %s are back" % self.name)

    def stop(self):
        if self.handlers:
            self.handlers.close()
        if self.client:
            self.client.close()
        return self.cluster.stop()

    def links(self):
        """{collector id: state} of its peers, and all that it knows."""
        answer = self.client.dispatcher.ListConnections(dp.ListConnectionsRequest())
        return ({c.target_collector_id: c.state for c in answer.connections},
                {c.id for c in answer.collectors})

    def heard_from(self, peer):
        """When the peer last answered, in seconds since 1970."""
        answer = self.client.dispatcher.ListConnections(dp.ListConnectionsRequest())
        return next(c.last_activity.ToNanoseconds() / 1e9 for c in answer.connections
                    if c.target_collector_id == peer)

    def live_calls(self):
        return self.client.daemon.GetStats(daemon_pb2.GetStatsRequest()).live_calls

    def note(self, namespace="orders", timeout=2, **fields):
        """One Dispatch; who ran it."""
        answer = self.client.dispatch(SERVICE, "Note", text("one-%s" % uuid.uuid4()), namespace,
                                      timeout=timeout, **fields)
        if answer.status.code != common_pb2.Status.OK:
            raise AssertionError("%s: %s" % (answer.status.code, answer.status.message))
        return answer.handled_by_collector_id


def measure(what, seconds):
    print("     measured: %s: %.2f s" % (what, seconds), flush=True)


class MeshNetwork(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ledger = Ledger()
        cls.failed = False
        cls.machines = {n: network.Machine(n, NUMBERS[n]) for n in SERVING}
        seed = cls.machines["a"].address + ":50051"
        cls.all = {n: Collector(n, cls.machines[n], cls.ledger, [] if n == "a" else [seed],
                                namespace=ns) for n, ns in SERVING.items()}
        cls.addClassCleanup(cls.stop_all)
        for collector in cls.all.values():
            collector.start()
        for collector in cls.all.values():
            collector.wait()
        began = time.monotonic()
        for collector in cls.all.values():
            eventually(lambda c=collector: set(cls.all) <= c.links()[1],
                       "%s knows all by one seed" % collector.name)
        measure("all serve, and know each other by one seed", time.monotonic() - began)

    @classmethod
    def stop_all(cls):
        problems = []
        for collector in cls.all.values():
            problems += [collector.name + ": " + p for p in collector.stop()]
        for collector in cls.all.values():
            if problems or cls.failed:
                collector.cluster.print_logs()
            collector.cluster.close()
        if problems:
            raise AssertionError("; ".join(problems))

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        type(self).failed |= len(result.failures) + len(result.errors) > before

    def setUp(self):
        self.a, self.b, self.c, self.d, self.e = (self.all[n] for n in "abcde")
        self.settle()

    def settle(self):
        """Everybody is there, and known to everybody."""
        for collector in self.all.values():
            others = set(self.all) - {collector.name}
            eventually(lambda c=collector: others <= c.links()[1],
                       "%s knows all" % collector.name)
            if collector is not self.a:
                self.wait_state(self.a, collector.id, dp.CONNECTION_UP)
                self.wait_state(collector, "a", dp.CONNECTION_UP)

    def wait_state(self, collector, peer, state):
        eventually(lambda: collector.links()[0].get(peer) == state,
                   "%s sees %s %s" % (collector.name, peer, dp.ConnectionState.Name(state)))

    def assertRecovers(self, what, seconds):
        measure(what, seconds)
        self.assertLessEqual(seconds, RECOVERY_S, what)

    def until(self, what, works):
        """Seconds until works() does not raise and is true."""
        began = time.monotonic()
        eventually(works, what)
        return time.monotonic() - began

    def assertAllIsWell(self, *streams):
        """After the traffic: nothing ran twice, nothing hung, nothing is left over."""
        for stream in streams:
            stream.stop()
        last = max(c.ended for s in streams for c in s.calls)
        self.assertEqual(self.ledger.twice(), {})
        for stream in streams:
            self.assertEqual(stream.late(SLACK_S), [])
            strange = [c for c in stream.failed() if c.code not in AWAY]
            self.assertEqual(strange, [], "failures that are none of a lost collector")
            for call in stream.calls:
                if call.ok:
                    self.assertIn(call.by, self.ledger.of(call.id))
        for collector in self.all.values():
            eventually(lambda c=collector: c.live_calls() <= self.calm[c.name],
                       "no call is left at %s" % collector.name)
        self.assertLess(time.monotonic() - last, RECOVERY_S, "a call outlived its deadline")

    def traffic(self, collector, namespace, **fields):
        self.calm = {c.name: c.live_calls() for c in self.all.values()}
        return Traffic(collector.client, namespace, **fields)

    def reach_both(self, door):
        for name in "cd":
            self.assertEqual(door.note(target_collector_id=name), name)

    # ------------------------------------------------------------------ one by one

    def test_join_by_one_seed(self):
        for collector in self.all.values():
            for namespace, servers in (("orders", "cd"), ("solo", "e")):
                self.assertIn(collector.note(namespace), servers)
            self.assertEqual(collector.note("orders", target_collector_id="d"), "d")
            reply = collector.client.unary(
                "/%s/Note" % SERVICE, text("native-" + collector.name).SerializeToString(),
                metadata=(("collector-namespace", "solo"),))
            self.assertEqual(reply, text("e").SerializeToString())

    def test_partition_and_heal(self):
        others = [c.machine for c in self.all.values() if c is not self.c]
        for turn in range(ROUNDS):
            with self.traffic(self.a, "orders") as orders:
                orders.goes_on("before")
                eventually(lambda s=orders: {c.by for c in s.calls} >= {"c", "d"}, "both serve")
                network.partition(self.c.machine, others)
                cut = time.monotonic()
                self.wait_state(self.a, "c", dp.CONNECTION_SUSPECT)
                orders.goes_on("without c")
                self.assertRecovers("without the partitioned collector", orders.outage(cut))
                # Alone, it serves its own.
                self.assertEqual(self.c.note("orders"), "c")
                with self.assertRaises(grpc.RpcError) as caught:
                    self.c.note("solo")
                self.assertIn(caught.exception.code(), AWAY)
                self.wait_state(self.a, "c", dp.CONNECTION_UNREACHABLE)
                # TCP tries again less and less often: it matters when it is healed.
                orders.goes_on("for longer", streak=20 + 60 * (turn % 10))
                for machine in self.machines.values():
                    machine.heal()
                healed = time.monotonic()
                eventually(lambda: self.a.note(target_collector_id="c") == "c", "c is called")
                self.assertRecovers("the healed collector is called",
                                    time.monotonic() - healed)
                self.assertAllIsWell(orders)
            self.settle()

    def test_kill_and_restart(self):
        for turn in range(ROUNDS):
            self.reach_both(self.b)
            with self.traffic(self.b, "orders", native_only=turn % 2 == 0) as orders:
                orders.goes_on("before")
                eventually(lambda s=orders: {c.by for c in s.calls} >= {"c", "d"}, "both serve")
                killed = time.monotonic()
                self.d.daemon.kill()
                orders.goes_on("without d")
                self.assertRecovers("without the killed collector", orders.outage(killed))
                # Who is not connected is not called: those under way fail, and few more.
                lost = [c for c in orders.failed() if c.started > killed]
                self.assertLess(len(lost), 10, lost)
                self.d.daemon.start()
                self.d.client.wait_serving()
                self.d.wait_attached()
                self.assertRecovers("the restarted collector is called", self.until(
                    "d is called", lambda: self.b.note(target_collector_id="d") == "d"))
                self.assertAllIsWell(orders)
            self.settle()

    def test_same_id_new_address(self):
        for turn in range(ROUNDS):
            number = 100 + turn
            for door in (self.a, self.b):  # both have a link to where it was
                self.assertEqual(door.note("solo", target_collector_id="e"), "e")
            self.e.daemon.kill()
            address = self.e.machine.add_address(number)
            self.e.cluster.move("dispatcher", address + ":50051")
            self.e.daemon.start()
            self.e.open()
            self.e.attach()
            for door in (self.a, self.b, self.c):
                for fields in ({}, {"target_collector_id": "e"}):
                    self.assertRecovers(
                        "%s calls the moved collector%s" % (door.name, " by its id" if fields
                                                            else ""),
                        self.until("e is called", lambda d=door, f=fields:
                                   d.note("solo", **f) == "e"))
            self.assertEqual(self.ledger.twice(), {})
            self.settle()

    def test_packet_loss(self):
        for _ in range(ROUNDS):
            for machine in self.machines.values():
                machine.lose(10)
                self.addCleanup(machine.heal)
            with self.traffic(self.b, "orders") as orders, \
                    self.traffic(self.a, "solo", method="Repeat") as solo:
                for stream in (orders, solo):
                    eventually(lambda s=stream: len(s.calls) >= 120, "calls are made")
                for stream in (orders, solo):
                    stream.stop()
                dropped = sum(m.dropped() for m in self.machines.values())
                for machine in self.machines.values():
                    machine.heal()
                self.assertGreater(dropped, 20)
                self.assertAllIsWell(orders, solo)
            good = [c for c in orders.calls + solo.calls if c.ok]
            total = len(orders.calls) + len(solo.calls)
            print("     measured: %d of %d calls succeeded, %d packets were lost" % (
                len(good), total, dropped), flush=True)
            self.assertGreater(len(good), 0.9 * total, orders.failed() + solo.failed())
            self.settle()

    def test_a_handler_that_never_answers(self):
        with self.traffic(self.b, "orders") as orders, \
                self.traffic(self.b, "orders", method="Never", deadline_s=1) as never:
            eventually(lambda: len(never.calls) >= 50 and len(orders.calls) >= 50, "calls")
            never.stop()
            self.assertEqual({c.code for c in never.calls}, {Code.DEADLINE_EXCEEDED})
            self.assertAllIsWell(orders, never)
            self.assertEqual(orders.failed(), [])
        for call in never.calls:
            eventually(lambda c=call: self.ledger.of("cancelled-" + c.id), "it is told so")

    def test_a_stopped_process(self):
        for _ in range(ROUNDS):
            self.addCleanup(self.d.daemon.process.send_signal, signal.SIGCONT)
            with self.traffic(self.a, "orders") as orders:
                orders.goes_on("before")
                self.d.daemon.process.send_signal(signal.SIGSTOP)
                stopped = time.monotonic()
                self.wait_state(self.a, "d", dp.CONNECTION_SUSPECT)
                orders.goes_on("without d")
                self.assertRecovers("without the stopped process", orders.outage(stopped))
                self.d.daemon.process.send_signal(signal.SIGCONT)
                self.assertRecovers("the process that goes on is called", self.until(
                    "d is called", lambda: self.a.note(target_collector_id="d") == "d"))
                self.assertAllIsWell(orders)
            self.settle()

    def test_two_claim_one_id(self):
        machine = network.Machine("rival", 200)
        rival = Collector("rival", machine, self.ledger, [self.a.client.address],
                          collector_id="d", namespace="orders")
        self.addCleanup(lambda: self.assertEqual(rival.stop(), []) or rival.cluster.close())
        with self.traffic(self.b, "orders", target="d") as orders:
            rival.start()
            rival.wait()
            refused = "two collectors claim the id d"
            eventually(lambda: refused in self.a.daemon.log(), "it is refused")
            with self.assertRaises(grpc.RpcError) as caught:
                rival.client.dispatcher.ConnectPeer(
                    dp.ConnectPeerRequest(address=self.a.client.address))
            self.assertEqual(caught.exception.code(), Code.ALREADY_EXISTS)
            for collector in self.all.values():
                if collector is not self.d:
                    self.assertEqual(collector.note(target_collector_id="d"), "d")
            self.assertAllIsWell(orders)
            self.assertEqual({c.by for c in orders.calls}, {"d"})
        self.assertNotIn("rival", {w for ran in self.ledger.ran.values() for w in ran})

    def test_an_id_is_claimed_while_its_owner_is_cut_off(self):
        """Who claims it then has it, for all and also once the owner is back, until it leaves."""
        others = [c.machine for c in self.all.values() if c is not self.d]
        machine = network.Machine("heir", 201)
        heir = Collector("heir", machine, self.ledger, [self.a.client.address],
                         collector_id="d", namespace="orders")
        self.addCleanup(heir.cluster.close)
        self.assertEqual({self.ran_by_d(door) for door in (self.a, self.b)}, {"d"})
        network.partition(self.d.machine, [*others, machine])
        heir.start()
        heir.wait()
        there = time.monotonic()
        for door in (self.a, self.b):
            eventually(lambda d=door: self.ran_by_d(d) == "heir", "the heir is called")
            self.assertRecovers("%s calls the heir" % door.name, time.monotonic() - there)
        for healed in (*self.machines.values(), machine):
            healed.heal()
        at = time.time()
        eventually(lambda: self.d.heard_from("a") > at, "the owner is back")
        self.assertEqual({self.ran_by_d(door) for door in (self.a, self.b) for _ in range(10)},
                         {"heir"})
        self.assertEqual(heir.stop(), [])
        for door in (self.a, self.b, self.c):
            self.assertRecovers("%s calls the owner" % door.name, self.until(
                "d is called", lambda d=door: self.ran_by_d(d) == "d"))
        self.assertEqual(self.ledger.twice(), {})

    @staticmethod
    def ran_by_d(door):
        """Where a call ran whose target is the id d."""
        answer = door.client.dispatch(SERVICE, "Note", text("claim-%s" % uuid.uuid4()), "orders",
                                      timeout=1, target_collector_id="d")
        return protos.unpack(answer.output, type(text(""))).value
