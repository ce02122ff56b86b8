"""deploy/run.sh, which is `make run`: supervisord over the five daemons."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from collector_testing import Client, NAMES, SERVICES, daemon_pb2, eventually
from daemons import BIN_DIR, STOP_TIMEOUT_S, clean_environment

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "run.sh")
ORDER = ("dispatcher", "registry", "repo", "worker", "console")


def five_free_ports():
    """A PORT_BASE with nobody on the five ports above it."""
    rng = random.SystemRandom()
    while True:
        base = rng.randrange(20000, 30000)
        sockets = []
        try:
            for i in range(1, 6):
                s = socket.socket()
                sockets.append(s)
                s.bind(("127.0.0.1", base + i))
            return base
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()


class Run(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="collector run ")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.data = os.path.join(self.directory, "data")
        self.base = five_free_ports()
        self.clients = {}
        for i, name in enumerate(ORDER):
            self.clients[name] = Client("127.0.0.1:%d" % (self.base + 1 + i))
            self.addCleanup(self.clients[name].close)

    def start(self, **changes):
        environment = clean_environment()
        environment.update(BIN=BIN_DIR, DATA=self.data, PORT_BASE=str(self.base))
        environment.update(changes)
        process = subprocess.Popen(
            [RUN], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8",
            # What runs in a shell's background is started deaf to Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

        def end():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)

        self.addCleanup(end)
        return process

    def pid(self, name):
        # Waiting, since between calls that fail at once nothing drives the connecting.
        return self.clients[name].daemon.GetStats(
            daemon_pb2.GetStatsRequest(), timeout=5, wait_for_ready=True).pid

    def test_a_whole_life(self):
        process = self.start()
        line = process.stdout.readline()
        self.assertEqual(line, "front door: 127.0.0.1:%d\n" % (self.base + 1),
                         "" if line else process.communicate()[1])
        for name in NAMES:
            self.assertTrue(self.clients[name].is_serving(), name)
            for service in SERVICES[name]:
                self.assertTrue(self.clients["dispatcher"].is_serving(service), service)

        for name in ORDER:
            with self.subTest(killed=name):
                old = self.pid(name)
                os.kill(old, signal.SIGKILL)
                eventually(lambda: self.pid(name) != old, name + " is back")
        for name in NAMES:
            self.clients[name].wait_serving()
            for service in SERVICES[name]:
                self.clients["dispatcher"].wait_serving(service)

        # Nobody else gets in.
        second = self.start()
        _, err = second.communicate(timeout=60)
        self.assertEqual(second.returncode, 1)
        self.assertIn("PORT_BASE", err)
        other_ports = self.start(PORT_BASE=str(five_free_ports()))
        _, err = other_ports.communicate(timeout=60)
        self.assertEqual(other_ports.returncode, 1)
        self.assertIn(self.data, err)

        pids = [self.pid(name) for name in NAMES]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=STOP_TIMEOUT_S)
        self.assertEqual(process.returncode, 0)
        for pid in pids:
            self.assertFalse(os.path.exists("/proc/%d" % pid), "a daemon survived")

    def test_a_bad_port_base(self):
        for base in ("x", "0", "70000", "65531", "-5"):
            process = self.start(PORT_BASE=base)
            _, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 1)
            self.assertIn("PORT_BASE", err)


if __name__ == "__main__":
    unittest.main()
