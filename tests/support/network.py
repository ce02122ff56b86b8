"""Machines of their own for collectors: network namespaces on one bridge.

enter() moves this process into a network and a mount namespace of its own. What is made
there is seen by nobody else, whatever it is called, has no way out to any real network,
and is gone with this process and its children, however they end.
"""

import ctypes
import os
import subprocess
import tempfile
import threading

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

PREFIX = "10.81.0."
HERE = PREFIX + "1"  # of this process, on the bridge
EVERYBODY = PREFIX + "0/24"


class NotPossible(Exception):
    """Why this machine cannot have such networks."""


def _libc(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise NotPossible("%s: %s" % (name, os.strerror(error)))


def _write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def _unshare():
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _libc("unshare", CLONE_NEWNS | CLONE_NEWNET)
        return
    _libc("unshare", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", "0 %d 1" % user)
    _write("/proc/self/gid_map", "0 %d 1" % group)


def run(*command):
    """Its standard output; NotPossible, with what it said, if it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=30, encoding="utf-8", errors="replace", check=False)
    except FileNotFoundError as error:
        raise NotPossible("%s is not installed" % command[0]) from error
    if done.returncode != 0:
        raise NotPossible("%s: %s" % (" ".join(command), done.stderr.strip()))
    return done.stdout


def enter():
    """Before the first thread is started: a thread stays in the namespaces it was made in."""
    assert threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1
    os.environ["PATH"] += os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    _unshare()
    _libc("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    _libc("mount", b"none", b"/run", b"tmpfs", 0, None)  # where `ip netns` keeps names
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "address", "add", HERE + "/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    probe = Machine("probe", 250)
    probe.lose(10)
    run("ip", "netns", "delete", probe.name)


class Hosts:
    """This process's own names and loopback, before its first thread as above.

    Names are those of a file over /etc/hosts, in which point() says what they mean; of
    addresses there is loopback, and what add_address() puts there.
    """

    def __init__(self):
        assert threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1
        os.environ["PATH"] += os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
        _unshare()
        _libc("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        run("ip", "link", "set", "lo", "up")
        self._file = tempfile.NamedTemporaryFile("w", prefix="collector-hosts-")
        self._names = {"localhost": ["127.0.0.1"]}
        self._write()
        _libc("mount", self._file.name.encode(), b"/etc/hosts", None, MS_BIND, None)

    def point(self, name, *addresses):
        """From now on it means these addresses."""
        self._names[name] = addresses
        self._write()

    def _write(self):
        text = "".join("%s %s\n" % (address, name) for name, addresses in self._names.items()
                       for address in addresses)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()

    @staticmethod
    def add_address(address):
        run("ip", "address", "add", address + "/32", "dev", "lo")


class Machine:
    """A network namespace with an address on the bridge, and on nothing else."""

    def __init__(self, name, number):
        self.name = name
        self.address = PREFIX + str(number)
        outside = "v-" + name
        run("ip", "netns", "add", name)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", outside, "master", "bridge", "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "eth0", "up")
        self.add_address(number)

    def enter(self):
        """The beginning of a command that runs in the machine."""
        return ["nsenter", "--net=/run/netns/" + self.name]

    def run(self, *command):
        return run(*self.enter(), *command)

    def add_address(self, number):
        address = PREFIX + str(number)
        self.run("ip", "address", "add", address + "/24", "dev", "eth0")
        return address

    def _drop(self, source, *rule):
        # What others send is lost on the way. Not by refusing to send: that would be noticed.
        self.run("iptables", "-w", "-A", "INPUT", "-i", "eth0", "-s", source, *rule,
                 "-j", "DROP")

    def drop_from(self, *others):
        """Nothing arrives from the other machines any more; from here it does."""
        for other in others:
            self._drop(other.address)

    def lose(self, percent):
        """So much of what arrives is lost, except what comes from here."""
        self.run("iptables", "-w", "-A", "INPUT", "-s", HERE, "-j", "ACCEPT")
        self._drop(EVERYBODY, "-m", "statistic", "--mode", "random",
                   "--probability", str(percent / 100))

    def heal(self):
        self.run("iptables", "-w", "-F", "INPUT")

    def dropped(self):
        """How many packets were."""
        rules = self.run("iptables", "-w", "-L", "INPUT", "-n", "-v", "-x").splitlines()
        return sum(int(rule.split()[0]) for rule in rules if "DROP" in rule.split())


def partition(machine, others):
    """Nothing passes between the machine and the others, in either direction."""
    machine.drop_from(*others)
    for other in others:
        other.drop_from(machine)
