"""What a call, a hop, a Create, a Get and a Search cost, as ratios in one run.

Every figure is measured in interleaved rounds, so that whatever else the machine
does falls on all of them alike; the spread of the yardstick's own rounds is the
machine's noise, printed beside. BENCH_SECONDS (1) is one measurement, ROUNDS (3)
how often each is repeated. The load comes from load.c, in C.
"""

import contextlib
import glob
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from collector_testing import Client, Cluster, collection_server_pb2, protos  # noqa: E402
from daemons import BIN_DIR  # noqa: E402

SECONDS = float(os.environ.get("BENCH_SECONDS", "1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
RECORDS = int(os.environ.get("BENCH_RECORDS", "20000"))
PROGRAMS = os.path.join(BIN_DIR, "tests", "bench")
ECHO = "/echo.v1.EchoService/Unary"
CLASSES = 2000
VARIES = "########"  # as varies.h has it: load.c writes another text there each time

TEXT = ("A shared library for reading, writing and searching structured records, with bindings "
        "for several languages, command line tools and their documentation; this package holds "
        "the files that programs need when they run.")

SCHEMA = """
message Entry {
  string name = 1;
  int64 class = 2;
  string text = 3;
  bytes payload = 4;
}
"""


class Server:
    """A program that prints "port N"."""

    def __init__(self, name, *arguments):
        self.process = subprocess.Popen([os.path.join(PROGRAMS, name), *arguments],
                                        stdout=subprocess.PIPE, encoding="ascii")
        self.address = "127.0.0.1:" + self.process.stdout.readline().split()[1]

    def stop(self):
        self.process.kill()
        self.process.wait()


def load(address, method, request, in_flight, header=None, streams=False, warm=None):
    """One measurement: {"qps": ..., "p50": ..., "p99": ...}; with streams, of messages.

    It begins `warm` seconds after the load did, or as soon as load.c has it.
    """
    with tempfile.NamedTemporaryFile() as f:
        f.write(request)
        f.flush()
        command = [os.path.join(PROGRAMS, "load"), "-t", address, "-m", method, "-f", f.name,
                   "-c", str(in_flight), "-d", str(SECONDS)]
        if header:
            command += ["-H", header]
        if streams:
            command.append("-s")
        if warm:
            command += ["-w", str(warm)]
        out = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    return {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", out)}


class RawSqlite:
    """raw_sqlite.c on a copy of a collection's database, as it is now, each time a fresh one."""

    def __init__(self, cluster, collection):
        self.directory = tempfile.mkdtemp(prefix="collector-bench-")
        self.base = os.path.join(self.directory, "base.db")
        path, = glob.glob(os.path.join(
            cluster.data, "**", collection, "*", "collection.db"), recursive=True)
        with contextlib.closing(sqlite3.connect(path)) as source:
            with contextlib.closing(sqlite3.connect(self.base)) as copy:
                source.backup(copy)

    def measure(self, mode, group=64):
        path = os.path.join(self.directory, "raw.db")
        for left in glob.glob(path + "*"):
            os.unlink(left)
        shutil.copy(self.base, path)
        out = subprocess.run([os.path.join(PROGRAMS, "raw_sqlite"), path, mode, str(SECONDS),
                              str(group)], check=True, capture_output=True,
                             encoding="utf-8").stdout
        return {"qps": float(out.split("=")[1])}

    def close(self):
        shutil.rmtree(self.directory)


def number(value):
    return "%.0f" % value if value >= 100 else "%.2f" % value if value >= 0.1 else "%.4f" % value


class Bars:
    """What must hold, told at the end."""

    def __init__(self):
        self.all = []

    def add(self, what, value, holds, bar):
        self.all.append((what, value, holds, bar))

    def tell(self):
        """Did all hold?"""
        print("\nbars")
        for what, value, holds, bar in self.all:
            print("%-60s %8.2f, %s: %s" % (what, value, bar, "holds" if holds else "MISSED"))
        return all(holds for _, _, holds, _ in self.all)


class Table:
    """Rows measured in interleaved rounds; the first is what the others are compared with."""

    def __init__(self, title):
        self.title = title
        self.rows = []

    def add(self, name, measure):
        self.rows.append((name, measure, []))

    def run(self):
        for _ in range(ROUNDS):
            for _, measure, results in self.rows:
                results.append(measure())
        print("\n%s\n%-44s %10s %7s %9s %9s %7s" % (
            self.title, "", "calls/s", "ratio", "p50 us", "p99 us", "noise"))
        base = self.median(0, "qps")
        for i, (name, _, results) in enumerate(self.rows):
            rates = [r["qps"] for r in results]
            latency = ["%9.1f" % self.median(i, key) if key in results[0] else " " * 9
                       for key in ("p50", "p99")]
            print("%-44s %10s %7s %s %s %6.0f%%" % (
                name, number(self.median(i, "qps")), number(self.median(i, "qps") / base),
                *latency, 100 * (max(rates) - min(rates)) / statistics.median(rates)))

    def rate(self, name):
        """The calls a second of a row that was measured."""
        return self.median([row[0] for row in self.rows].index(name), "qps")

    def median(self, row, key):
        return statistics.median(r[key] for r in self.rows[row][2])


def bench_calls(front, echo_server):
    bare = Server("bare_echo")
    request = b"\x0a\x40" + 64 * b"x"
    for in_flight in (1, 64):
        table = Table("unary echo of 64 bytes, %d in flight" % in_flight)
        for name, address in (("bare gRPC core, no interceptors", bare.address),
                              ("our server, everything on", echo_server.address),
                              ("the same through the front door", front)):
            table.add(name, lambda a=address: load(a, ECHO, request, in_flight))
        table.run()
    bare.stop()


def prepare_records(client):
    types = protos.Types(protos.single_file("bench/v1/entry.proto", SCHEMA, package="bench.v1"))
    client.register(types)
    client.create_collection("entries", "bench.v1.Entry", indexed_fields=["class"])
    entry = types.message("bench.v1.Entry")
    pending = []
    for i in range(RECORDS):
        item = entry(name=VARIES if i == 0 else "%08x" % i, text=TEXT, payload=900 * b"p")
        setattr(item, "class", i % CLASSES)
        pending.append(client.records.Create.future(collection_server_pb2.CreateRequest(
            collection_name="entries", id="%08x" % i, item=protos.pack(item)), timeout=60))
        if len(pending) >= 256:
            pending.pop(0).result()
    for call in pending:
        call.result()
    return entry


def requests_for(entry):
    item = entry(name=VARIES, text=TEXT, payload=900 * b"p")
    setattr(item, "class", 7)
    create = collection_server_pb2.CreateRequest(collection_name="entries", item=protos.pack(item))
    get = collection_server_pb2.GetRequest(collection_name="entries", id="%08x" % 77)
    search = collection_server_pb2.SearchRequest(collection_name="entries", limit=10)
    search.filters["class"].value.number_value = 99
    return create.SerializeToString(), get.SerializeToString(), search.SerializeToString()


def bench_repo(client, cluster, echo_server):
    service = "/collector.CollectionService/"
    repo = cluster.address("repo")
    entry = prepare_records(client)
    create, get, search = requests_for(entry)
    echo_kb = b"\x0a\x80\x08" + 1024 * b"x"

    raw = RawSqlite(cluster, "entries")

    table = Table("Get of 1 KB by id, 64 in flight")
    table.add("our echo of 1 KB", lambda: load(echo_server.address, ECHO, echo_kb, 64))
    table.add("Get", lambda: load(repo, service + "Get", get, 64))
    table.add("raw SQLite, one thread, no RPC", lambda: raw.measure("get"))
    table.run()

    table = Table("Search by an indexed field, 10 of %d records, 8 in flight" % RECORDS)
    table.add("raw SQLite, one thread, no RPC", lambda: raw.measure("search"))
    table.add("Search", lambda: load(repo, service + "Search", search, 8))
    table.run()

    table = Table("Create of 1 KB, one index and full text, fsync before the answer")
    table.add("raw SQLite, transactions of 64", lambda: raw.measure("create", 64))
    table.add("raw SQLite, a transaction each", lambda: raw.measure("create", 1))
    table.add("Create, 64 in flight", lambda: load(repo, service + "Create", create, 64))
    table.add("Create, 1 in flight", lambda: load(repo, service + "Create", create, 1))
    table.run()
    raw.close()


def main():
    cluster = Cluster(("registry", "repo", "dispatcher"))
    echo_server = Server("echo_server")
    cluster.start()
    client = Client(cluster.address("dispatcher"))
    for service in ("collector.CollectiveDispatcher", "collector.CollectorRegistry",
                    "collector.CollectionService", "collector.CollectionRepo"):
        client.wait_serving(service)
    tests = os.path.dirname(os.path.abspath(__file__))
    echo = protos.Types(protos.compile_files(
        ["tests/support/echo.proto"], include=os.path.abspath(os.path.join(tests, "..", ".."))))
    client.register(echo)
    client.register_handler("echo.v1.EchoService", echo_server.address)
    try:
        bench_calls(cluster.address("dispatcher"), echo_server)
        bench_repo(client, cluster, echo_server)
    finally:
        client.close()
        echo_server.stop()
        problems = cluster.stop()
        cluster.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
