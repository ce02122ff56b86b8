"""Starting, dying, coming back, stopping."""

import json
import os
import stat
import threading
import unittest

import grpc
from collector_testing import (
    Client, Code, Cluster, CollectorTest, NAMES, PROBES, SERVICES, daemon_pb2, health_pb2,
    protos, registry_pb2)
from daemons import Port, run_program, ctl

class AllTogether(CollectorTest):
    def test_every_daemon_is_serving_on_its_own_port(self):
        for name in NAMES:
            client = self.client(name)
            self.assertTrue(client.is_serving())
            for service in SERVICES[name]:
                self.assertTrue(client.is_serving(service), service)

    def test_every_daemon_tells_its_numbers(self):
        for name in NAMES:
            stats = self.client(name).daemon.GetStats(daemon_pb2.GetStatsRequest())
            self.assertEqual(stats.name, name)
            self.assertEqual(stats.pid, self.cluster[name].process.pid)
            self.assertGreater(stats.memory_bytes, 1 << 20)
            self.assertGreater(stats.started_at.seconds, 1600000000)

    def test_stats_count_calls_and_errors(self):
        client = self.client("registry")
        for _ in range(3):
            PROBES["registry"](client)
        with self.assertRpcError(Code.NOT_FOUND):
            client.registry.LookupService(registry_pb2.LookupServiceRequest(service_name="no.Such"))

        def counted():
            stats = client.daemon.GetStats(daemon_pb2.GetStatsRequest())
            return {m.method: m for m in stats.methods}

        listed = counted()["/collector.CollectorRegistry/ListServices"]
        self.assertGreaterEqual(listed.calls, 3)
        self.assertGreater(listed.p99_us, 0)
        self.assertLessEqual(listed.p50_us, listed.max_us)
        lookup = counted()["/collector.CollectorRegistry/LookupService"]
        self.assertGreaterEqual(lookup.errors, 1)

    def test_the_data_directory_is_private(self):
        for name in NAMES:
            if name != "console":
                mode = os.stat(os.path.join(self.cluster.data, name)).st_mode
                self.assertEqual(stat.S_IMODE(mode), 0o700, name)
        key = os.stat(os.path.join(self.cluster.data, "daemon.key"))
        self.assertEqual(stat.S_IMODE(key.st_mode), 0o600)
        self.assertGreaterEqual(key.st_size, 16)

    def test_a_second_daemon_on_the_same_data_is_refused(self):
        for name in ("registry", "repo", "dispatcher"):
            port = Port()
            self.addCleanup(port.close)
            code, _, err = run_program("collector-" + name, [
                "--data", self.cluster.data, "--listen", port.address])
            self.assertEqual(code, 1, err)
            self.assertIn(self.cluster.data, err)
        self.assertAllAlive()

    def test_a_taken_port_is_a_clear_error(self):
        data = os.path.join(self.cluster.directory, "other")
        code, _, err = run_program("collector-registry", [
            "--data", data, "--listen", self.cluster.address("registry")])
        self.assertEqual(code, 1, err)
        self.assertIn(self.cluster.address("registry"), err)

    def test_collectorctl_status(self):
        code, out, err = ctl(self.cluster, "status", "--wait")
        self.assertEqual(code, 0, err)
        for name in NAMES:
            self.assertIn(name, out.lower())


class CommandLine(unittest.TestCase):
    def test_help_and_version(self):
        for name in NAMES:
            code, out, err = run_program("collector-" + name, ["--help"])
            self.assertEqual(code, 0, err)
            for option in ("--data", "--listen", "--repo-address", "--insecure"):
                self.assertIn(option, out)
            code, out, _ = run_program("collector-" + name, ["--version"])
            self.assertEqual(code, 0)
            self.assertRegex(out, r"\d+\.\d+")

    def test_an_unknown_option_is_named(self):
        for name in NAMES:
            code, _, err = run_program("collector-" + name, ["--no-such-option", "1"])
            self.assertNotEqual(code, 0)
            self.assertIn("no-such-option", err)

    def test_a_public_address_needs_insecure(self):
        cluster = Cluster(())
        self.addCleanup(cluster.close)
        for name in NAMES:
            port = Port()
            self.addCleanup(port.close)
            code, _, err = run_program("collector-" + name, [
                "--data", cluster.data, "--listen", "0.0.0.0:%d" % port.number])
            self.assertNotEqual(code, 0)
            self.assertIn("--insecure", err)

    def test_the_effective_configuration_is_printed(self):
        for name in NAMES:
            code, out, err = run_program("collector-" + name, [
                "-n", "--data", "/nowhere", "--listen=127.0.0.1:1"])
            self.assertEqual(code, 0, err)
            configuration = json.loads(out)
            self.assertEqual(configuration["data"], "/nowhere")
            self.assertEqual(configuration["listen"], "127.0.0.1:1")

    def test_a_bad_value_is_named(self):
        code, _, err = run_program("collector-repo", ["-n", "--max-message-bytes", "many"])
        self.assertNotEqual(code, 0)
        self.assertIn("max-message-bytes", err)


class AnyOrder(CollectorTest):
    """Nobody refuses to start because another is away."""

    daemons = ()

    def test_registry_repo_and_dispatcher_serve_alone(self):
        for name in ("registry", "repo", "dispatcher"):
            with self.subTest(name):
                cluster = Cluster([name])
                client = Client(cluster.address(name))
                try:
                    cluster.start()
                    client.wait_serving()
                finally:
                    client.close()
                    problems = cluster.stop()
                    cluster.close()
                self.assertEqual(problems, [])

    def test_those_who_depend_on_others_wait_for_them(self):
        client = {name: self.client(name) for name in NAMES}
        for name in ("console", "worker"):
            self.cluster[name].start()
        for name in ("console", "worker"):
            client[name].wait_serving(wanted=False)
        for name in ("dispatcher", "repo", "registry"):
            self.cluster[name].start()
        for name in NAMES:
            client[name].wait_serving()
            for service in SERVICES[name]:
                client["dispatcher"].wait_serving(service)


class Restarts(CollectorTest):
    """A killed daemon comes back, and the others find it without a restart."""

    def test_each_daemon_killed_and_back(self):
        for name in ("registry", "repo", "worker", "console"):
            with self.subTest(name):
                self.cluster[name].kill()
                for service in SERVICES[name]:
                    self.front.wait_serving(service, wanted=False)
                with self.assertRpcError(Code.UNAVAILABLE):
                    PROBES[name](self.front)
                self.assertTrue(self.front.is_serving())
                self.cluster[name].start()
                self.wait_back(name)
        self.assertAllAlive()

    def test_the_front_door_killed_and_back(self):
        self.cluster["dispatcher"].kill()
        self.cluster["dispatcher"].start()
        for name in NAMES:
            for service in SERVICES[name]:
                self.front.wait_serving(service)
            PROBES[name](self.front)
        for name in ("worker", "console"):
            self.client(name).wait_serving()

    def test_an_absent_daemon_is_waited_for_if_the_caller_says_so(self):
        self.cluster["registry"].kill()
        self.front.wait_serving("collector.CollectorRegistry", wanted=False)
        call = self.front.registry.ListServices.future(
            registry_pb2.ListServicesRequest(), wait_for_ready=True, timeout=60)
        self.cluster["registry"].start()
        # Whether the door waits itself or fails it fast, the caller is told in time.
        try:
            call.result()
        except grpc.RpcError as error:
            self.assertEqual(error.code(), Code.UNAVAILABLE)
        self.front.wait_serving("collector.CollectorRegistry")


class Draining(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    def test_a_call_in_flight_ends_well(self):
        entered, leave = threading.Event(), threading.Event()
        reply = protos.shop().message("shop.v1.OrderReply")

        def ship(_request, _context):
            entered.set()
            leave.wait(30)
            return reply(receipt="late").SerializeToString()

        backend = self.backend({"/shop.v1.OrderService/Ship": ship})
        self.front.register(protos.shop(), "drain-a")
        self.front.register_handler("shop.v1.OrderService", backend.address, "drain-a")
        request = protos.shop().message("shop.v1.OrderRequest")(number="1")
        call = self.front.channel.unary_unary("/shop.v1.OrderService/Ship").future(
            request.SerializeToString(), timeout=60,
            metadata=(("collector-namespace", "drain-a"),))
        self.assertTrue(entered.wait(60))

        other = self.client("dispatcher")
        self.assertTrue(other.is_serving())
        stream = other.health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        self.cluster["dispatcher"].signal_stop()
        for answer in stream:
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                break
        leave.set()
        self.assertEqual(reply.FromString(call.result()).receipt, "late")
        self.assertEqual(self.cluster["dispatcher"].wait_stopped(), 0)
        self.cluster["dispatcher"].start()
        self.front.wait_serving()

    def test_a_call_that_never_ends_does_not_hold_it_up(self):
        forever = threading.Event()
        self.addCleanup(forever.set)
        entered = threading.Event()

        def track(_request, _context):
            entered.set()
            forever.wait(60)
            return b""

        backend = self.backend({"/shop.v1.OrderService/Track": track})
        self.front.register(protos.shop(), "drain-b")
        self.front.register_handler("shop.v1.OrderService", backend.address, "drain-b",
                                    method_name="Track")
        call = self.front.channel.unary_unary("/shop.v1.OrderService/Track").future(
            b"", timeout=60, metadata=(("collector-namespace", "drain-b"),))
        self.assertTrue(entered.wait(60))
        self.assertEqual(self.cluster["dispatcher"].stop(), 0)
        with self.assertRpcError(Code.UNAVAILABLE, Code.CANCELLED, Code.ABORTED):
            call.result()
        self.cluster["dispatcher"].start()
        self.front.wait_serving()


if __name__ == "__main__":
    unittest.main()
