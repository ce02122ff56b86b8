"""Clients and servers that others wrote, from npm, run as programs."""

import json
import os
import subprocess

from daemons import BIN_DIR, clean_environment

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
BUILD_DIR = os.environ.get("COLLECTOR_BUILD_DIR", os.path.dirname(BIN_DIR))
INSTALL_TIMEOUT_S = 300
TIMEOUT_S = 120


def _install(script):
    return subprocess.run([os.path.join(TESTS, script), BUILD_DIR], check=True,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=INSTALL_TIMEOUT_S, encoding="utf-8").stdout.strip()


def packages():
    """The directory of the packages; installed at the first use."""
    return _install("clients/install.sh")


def buf(*arguments, stdin=""):
    """Run buf; (exit code, standard output, standard error)."""
    program = _install("support/buf.sh")
    # No look at the user's own configuration and credentials.
    environment = dict(clean_environment(), BUF_CACHE_DIR=os.path.join(BUILD_DIR, "npm/buf-cache"),
                       HOME=os.path.join(BUILD_DIR, "npm"))
    done = subprocess.run([program] + list(arguments), input=stdin, capture_output=True,
                          env=environment, timeout=TIMEOUT_S, encoding="utf-8", check=False)
    return done.returncode, done.stdout, done.stderr


def _node(script, *arguments):
    return (["node", os.path.join(TESTS, "clients", script)] + list(arguments),
            dict(clean_environment(), NODE_PATH=packages()))


def reflect(address, version, namespace, service, method, request):
    """clients/reflect.js: {"services", "methods", "answers"}."""
    command, environment = _node("reflect.js", address, version, namespace, service, method,
                                 json.dumps(request))
    done = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_S,
                          encoding="utf-8", check=False)
    if done.returncode:
        raise AssertionError("reflect.js: " + done.stderr)
    return json.loads(done.stdout)


class ReflectingServer:
    """clients/reflecting_server.js: a server whose reflection is npm's."""

    def __init__(self, root, *files):
        command, environment = _node("reflecting_server.js", root, *files)
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, encoding="utf-8")
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            raise AssertionError("reflecting_server.js ended with %d" % self._process.wait())

    def stop(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(TIMEOUT_S)
