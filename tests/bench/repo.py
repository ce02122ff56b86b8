"""The repo: what writing, reading and searching cost, as ratios in one run.

BENCH_SIZES (1000,100000,1000000) are the collections that are searched; the largest
is also the one whose load is watched for memory. BENCH_SECONDS is one measurement,
BENCH_ROUNDS how often each is repeated, in turn. See README.md beside this.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import run  # noqa: E402
from run import Bars, RawSqlite, Server, Table, load  # noqa: E402
from collector_testing import (  # noqa: E402
    Client, Cluster, collection_repo_pb2, collection_server_pb2 as cs, common_pb2, protos)

SIZES = [int(n) for n in os.environ.get("BENCH_SIZES", "1000,100000,1000000").split(",")]
SERVICE = "/collector.CollectionService/"
MATCHES = 10

SCHEMA = """
message Row {
  string name = 1;
  int64 class = 2;
  string text = 3;
  bytes payload = 4;
  int64 size = 5;
  string unindexed = 6;
}
"""


class Bench:
    def __init__(self, client, cluster, echo, row):
        self.client, self.cluster, self.echo, self.row = client, cluster, echo, row
        self.address = cluster.address("repo")
        self.bars = Bars()
        self.made = 0  # collections that were filled by measuring

    def collection(self, name, indexes, full_text):
        self.client.create_collection(
            name, "bench.v1.Row", indexed_fields=["class", "name", "size"][:indexes],
            full_text_disabled=not full_text)

    def item(self, i, payload=700, name=None):
        row = self.row(name=name or "row %d" % i, text=run.TEXT, payload=payload * b"p", size=i,
                       unindexed="u%d" % (i // MATCHES))
        setattr(row, "class", i // MATCHES)
        return row

    def load(self, method, request, in_flight):
        return load(self.address, SERVICE + method, request.SerializeToString(), in_flight)

    @contextlib.contextmanager
    def fresh(self, indexes, full_text):
        """A collection of one record, and the request that makes more of them."""
        self.made += 1
        name = "create-%d" % self.made
        self.collection(name, indexes, full_text)
        request = cs.CreateRequest(
            collection_name=name, item=protos.pack(self.item(1, name="row " + run.VARIES)))
        self.client.records.Create(request)
        try:
            yield request
        finally:
            self.client.repo.DeleteCollection(collection_repo_pb2.DeleteCollectionRequest(
                collection=common_pb2.NamespacedName(name=name)))

    def create_in_fresh(self, indexes, full_text, in_flight):
        with self.fresh(indexes, full_text) as request:
            return self.load("Create", request, in_flight)

    def batch_in_fresh(self, indexes, full_text):
        with self.fresh(indexes, full_text) as request:
            return self.load("Batch", cs.BatchRequest(
                collection_name=request.collection_name,
                operations=[cs.RequestOp(create=cs.CreateRequest(
                    item=protos.pack(self.item(1))))] * 100), 1)

    def create(self):
        for indexes, full_text in ((0, False), (3, False), (3, True)):
            with self.fresh(indexes, full_text) as request:
                raw = RawSqlite(self.cluster, request.collection_name)
            table = Table("Create of 1 KB, %d indexes%s" % (
                indexes, ", full text" if full_text else ""))
            table.add("raw SQLite, transactions of 64",
                      lambda r=raw: r.measure("create", 64))
            table.add("raw SQLite, a transaction each",
                      lambda r=raw: r.measure("create", 1))
            for in_flight in (1, 16, 64, 256):
                table.add("Create, %d in flight" % in_flight,
                          lambda i=indexes, t=full_text, n=in_flight:
                          self.create_in_fresh(i, t, n))
            table.add("Batch of 100, 1 in flight (batches)",
                      lambda i=indexes, t=full_text: self.batch_in_fresh(i, t))
            table.run()
            raw.close()
            if indexes == 3 and not full_text:
                self.check_create(table)

    def check_create(self, table):
        rate = table.rate("Create, 64 in flight")
        grouped = rate / table.rate("raw SQLite, transactions of 64")
        each = rate / table.rate("raw SQLite, a transaction each")
        self.bars.add("Create, 64 in flight, of raw SQLite in transactions of 64", grouped,
                      grouped >= 0.6, "at least 0.6")
        self.bars.add("the same, of raw SQLite with a transaction each", each, each > 3,
                      "more than 3")

    def fill(self, name, first, count):
        """Batches of 500, four under way."""
        pending = []
        for start in range(first, first + count, 500):
            operations = [cs.RequestOp(create=cs.CreateRequest(
                id="%08x" % i, item=protos.pack(self.item(i)))) for i in range(
                    start, min(start + 500, first + count))]
            pending.append(self.client.records.Batch.future(cs.BatchRequest(
                collection_name=name, operations=operations), timeout=120))
            if len(pending) >= 4:
                pending.pop(0).result()
        for call in pending:
            call.result()

    def one_by_one(self, request):
        """A search that may take seconds: five of them."""
        started = time.monotonic()
        for _ in range(5):
            self.client.records.Search(request, timeout=300)
        return {"qps": 5 / (time.monotonic() - started)}

    def memory_mib(self):
        """What the repo has now, and the most that it ever had."""
        with open("/proc/%d/status" % self.cluster["repo"].process.pid,
                  encoding="ascii") as status:
            text = status.read()
        return [int(text.split(key)[1].split()[0]) / 1024 for key in ("VmRSS:", "VmHWM:")]

    def searches(self):
        tables = [(what, Table(what + ", in collections of %s records" % ", ".join(
            "{:,}".format(n) for n in SIZES))) for what in (
                "Search by an index, 10 match", "Search by full text, 10 given",
                "Search without an index, 10 match, 1 at a time", "List of 100")]
        for size in SIZES:
            name = "size-%d" % size
            self.collection(name, 3, True)
            started = time.monotonic()
            self.fill(name, 0, size)
            now, most = self.memory_mib()
            print("%d records are in, %.0f a second: the repo has %.0f MiB, at most it had %.0f" % (
                size, size / (time.monotonic() - started), now, most), flush=True)
            requests = self.requests(name, size)
            for (_, table), (method, request, in_flight) in zip(tables, requests):
                table.add("{:,} records".format(size),
                          lambda m=method, r=request, n=in_flight: (
                              self.load(m, r, n) if n > 1 else self.one_by_one(r)))
        self.bars.add("memory through the load of %d records, MiB" % SIZES[-1], most,
                      most < 200, "less than 200")
        for _, table in tables:
            table.run()
        by_index = tables[0][1]
        times = by_index.rate("{:,} records".format(SIZES[0])) / by_index.rate(
            "{:,} records".format(SIZES[-1]))
        self.bars.add("an indexed search in %d records, times one in %d" % (SIZES[-1], SIZES[0]),
                      times, times <= 3, "at most 3")

    @staticmethod
    def requests(name, size):
        by_index = cs.SearchRequest(collection_name=name, limit=10)
        by_index.filters["class"].value.number_value = size // MATCHES // 2
        by_text = cs.SearchRequest(collection_name=name, limit=10,
                                   full_text=str(size // 2))
        scan = cs.SearchRequest(collection_name=name, limit=10)
        scan.filters["unindexed"].value.string_value = "u%d" % (size // MATCHES // 2)
        return (("Search", by_index, 8), ("Search", by_text, 8), ("Search", scan, 1),
                ("List", cs.ListRequest(collection_name=name), 8))

    def reads(self):
        name = "size-%d" % SIZES[0]
        echo = b"\x0a\x80\x08" + 1024 * b"x"
        get = cs.GetRequest(collection_name=name, id="%08x" % 77)
        update = cs.UpdateRequest(collection_name=name, id="%08x" % 78, update_mask=["size"],
                                  item=protos.pack(self.row(size=5)))
        create = cs.CreateRequest(collection_name=name, item=protos.pack(self.item(1)))
        table = Table("1 KB, 64 in flight")
        table.add("our echo of 1 KB", lambda: load(self.echo, run.ECHO, echo, 64))
        table.add("Get", lambda: self.load("Get", get, 64))
        table.add("Update with a mask, of one record", lambda: self.load("Update", update, 64))
        table.add("Get, while 6 Creates are under way",
                  lambda: self.mixed(get, 58, create, 6))
        table.run()
        of_echo = table.rate("Get") / table.rate("our echo of 1 KB")
        self.bars.add("Get of 1 KB, of our own echo", of_echo, of_echo >= 0.6, "at least 0.6")

    def mixed(self, get, gets, create, creates):
        """Both loads at once: what Get has of it."""
        with tempfile.NamedTemporaryFile() as f:
            f.write(create.SerializeToString())
            f.flush()
            other = subprocess.Popen(
                [os.path.join(run.PROGRAMS, "load"), "-t", self.address, "-m", SERVICE + "Create",
                 "-f", f.name, "-c", str(creates), "-d", str(run.SECONDS + 0.5)],
                stdout=subprocess.DEVNULL)
            result = self.load("Get", get, gets)
            other.wait()
        return result


def main():
    cluster = Cluster(("registry", "repo", "dispatcher"))
    echo = Server("echo_server")
    cluster.start()
    client = Client(cluster.address("dispatcher"))
    for service in ("collector.CollectorRegistry", "collector.CollectionService",
                    "collector.CollectionRepo"):
        client.wait_serving(service)
    types = protos.Types(protos.single_file("bench/v1/row.proto", SCHEMA, package="bench.v1"))
    client.register(types)
    bench = Bench(client, cluster, echo.address, types.message("bench.v1.Row"))
    try:
        bench.create()
        bench.searches()
        bench.reads()
        hold = bench.bars.tell()
    finally:
        client.close()
        echo.stop()
        problems = cluster.stop()
        cluster.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 0 if hold and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
