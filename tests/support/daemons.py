"""Real daemons as child processes, on free loopback ports, with their own data."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN_DIR = os.environ.get("COLLECTOR_BIN_DIR", os.path.abspath("build/bin"))

NAMES = ("registry", "repo", "dispatcher", "worker", "console")
USUAL_PORTS = {"dispatcher": 50051, "registry": 50052, "repo": 50053, "worker": 50054,
               "console": 50055}

# Generous: an instrumented daemon on a busy machine is slow. Nothing is asserted
# about time; these only keep a broken daemon from hanging the suite.
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20

SANITIZER_REPORT = re.compile(
    r"ERROR: (?:Address|Leak|Undefined|Thread)\w*Sanitizer|WARNING: ThreadSanitizer|runtime error:"
)


def is_instrumented():
    """Are the programs built with AddressSanitizer, whose own memory is large?"""
    with open(os.path.join(BIN_DIR, "collector-repo"), "rb") as program:
        return b"__asan_init" in program.read()


class Port:
    """A free loopback port, held until closed so that nobody else is given it.

    The held socket is bound without listening, and SO_REUSEADDR, set after the
    bind, lets a server bind the same port beside it.
    """

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number = self._socket.getsockname()[1]
        self.address = "127.0.0.1:%d" % self.number

    def close(self):
        self._socket.close()


def clean_environment():
    """The environment without COLLECTOR_* settings of whoever runs the tests."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COLLECTOR_")}


class Daemon:
    """One daemon: may be started, killed and started again, with the same data."""

    def __init__(self, name, address, arguments, log_path, launcher=()):
        self.name = name
        self.address = address
        self.arguments = arguments
        self.log_path = log_path
        self.launcher = list(launcher)
        self.process = None

    @property
    def program(self):
        return os.path.join(BIN_DIR, "collector-" + self.name)

    def start(self):
        assert self.process is None, self.name + " runs already"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.launcher + [self.program] + self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
            )

    def kill(self):
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def signal_stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait_stopped(self):
        """Return its exit code after a SIGTERM; -9 if it did not end by itself."""
        if self.process is None:
            return 0
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        code = self.process.returncode
        self.process = None
        return code

    def stop(self):
        self.signal_stop()
        return self.wait_stopped()

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""


class Cluster:
    """One collector: up to five daemons that know each other's addresses.

    `options` adds arguments to single daemons, {"repo": ["--x", "y"]}. On a `machine` of
    network.py the front door is at the machine's address, the others on its loopback.
    """

    def __init__(self, names=NAMES, options=None, data=None, machine=None):
        self.names = list(names)
        self.directory = tempfile.mkdtemp(prefix="collector-test-")
        self.data = data or os.path.join(self.directory, "data")
        self._ports = {} if machine else {name: Port() for name in NAMES}
        self._addresses = {name: port.address for name, port in self._ports.items()}
        for name, port in USUAL_PORTS.items() if machine else ():
            host = machine.address if name == "dispatcher" else "127.0.0.1"
            self._addresses[name] = "%s:%d" % (host, port)
        self.daemons = {}
        for name in NAMES:
            arguments = ["--data", self.data, "--listen", self.address(name)]
            for other in NAMES:
                arguments += ["--%s-address" % other, self.address(other)]
            arguments += (options or {}).get(name, [])
            log_path = os.path.join(self.directory, name + ".log")
            self.daemons[name] = Daemon(name, self.address(name), arguments, log_path,
                                        machine.enter() if machine else ())

    def __getitem__(self, name):
        return self.daemons[name]

    def address(self, name):
        return self._addresses[name]

    def move(self, name, address):
        """From its next start on, the daemon is at this address, and all are told so."""
        old, self._addresses[name] = self._addresses[name], address
        for daemon in self.daemons.values():
            daemon.arguments = [address if a == old else a for a in daemon.arguments]
        self.daemons[name].address = address

    def start(self):
        for name in self.names:
            self.daemons[name].start()

    def stop(self):
        """Stop all; return what was wrong: exit codes, sanitizer reports."""
        problems = []
        for daemon in self.daemons.values():
            if daemon.process is not None and daemon.process.poll() is not None:
                problems.append("%s had ended by itself: exit code %d" % (
                    daemon.name, daemon.process.returncode))
                daemon.process = None
            daemon.signal_stop()
        for daemon in self.daemons.values():
            code = daemon.wait_stopped()
            if code != 0:
                problems.append("%s: exit code %d after SIGTERM" % (daemon.name, code))
            report = SANITIZER_REPORT.search(daemon.log())
            if report:
                problems.append("%s: %s" % (daemon.name, report.group(0)))
        return problems

    def close(self):
        for port in self._ports.values():
            port.close()
        if os.environ.get("COLLECTOR_TEST_KEEP"):
            print("kept: " + self.directory, file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def print_logs(self, lines=60):
        for daemon in self.daemons.values():
            tail = daemon.log().splitlines()[-lines:]
            if tail:
                print("--- log of %s (%s)" % (daemon.name, daemon.address), file=sys.stderr)
                print("\n".join("    " + line for line in tail), file=sys.stderr)


def run_program(name, arguments, timeout_s=30, stdin=None):
    """Run a program of ours to its end; (exit code, stdout, stderr)."""
    done = subprocess.run(
        [os.path.join(BIN_DIR, name)] + arguments,
        stdin=subprocess.DEVNULL if stdin is None else None,
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        env=clean_environment(),
        encoding="utf-8",
        errors="replace",
    )
    return done.returncode, done.stdout, done.stderr


def ctl(cluster, *arguments, timeout_s=30, stdin=None):
    """collectorctl against the cluster's front door."""
    return run_program(
        "collectorctl",
        ["--address", cluster.address("dispatcher")] + list(arguments),
        timeout_s=timeout_s,
        stdin=stdin,
    )


def ctl_json(cluster, *arguments):
    code, out, err = ctl(cluster, "-o", "json", *arguments)
    assert code == 0, "collectorctl %s: exit code %d: %s" % (" ".join(arguments), code, err)
    return json.loads(out)


def eventually(condition, what, timeout_s=START_TIMEOUT_S):
    """Wait until condition() is true and return it; what it raises counts as not yet."""
    deadline = time.monotonic() + timeout_s
    last_error = None
    while True:
        try:
            result = condition()
            if result:
                return result
            last_error = None
        except Exception as error:  # pylint: disable=broad-except
            last_error = error
        if time.monotonic() > deadline:
            raise AssertionError("not within %g s: %s (last: %r)" % (timeout_s, what, last_error))
        time.sleep(0.02)
