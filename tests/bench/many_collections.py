"""Many collections: what making, opening and changing between them costs.

BENCH_COLLECTIONS (10000) are made, then written to at random: nearly each write opens
one and closes another. BENCH_OPEN (256) is the limit of open ones. See README.md beside this.
"""

import concurrent.futures
import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from collector_testing import (  # noqa: E402
    Client, Cluster, collection_repo_pb2, collection_server_pb2 as cs, protos)

COLLECTIONS = int(os.environ.get("BENCH_COLLECTIONS", "10000"))
OPEN = int(os.environ.get("BENCH_OPEN", "256"))
WRITES = int(os.environ.get("BENCH_WRITES", "3000"))

SCHEMA = "message Row { string name = 1; int64 size = 2; }"


class Process:
    """What the kernel says of the repo."""

    def __init__(self, cluster):
        self.pid = cluster["repo"].process.pid

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def memory_mib(self):
        with open("/proc/%d/status" % self.pid, encoding="ascii") as status:
            return int(status.read().split("VmRSS:")[1].split()[0]) / 1024

    def cpu_s(self):
        with open("/proc/%d/stat" % self.pid, encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tell(self, what):
        print("%-52s %6.0f MiB %6d descriptors" % (what, self.memory_mib(), self.descriptors()),
              flush=True)


def timed(calls):
    """How long each call took, in milliseconds; four are under way."""
    def one(call):
        started = time.monotonic()
        call()
        return 1000 * (time.monotonic() - started)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, calls))


def tell_times(what, process, calls):
    cpu, started = process.cpu_s(), time.monotonic()
    times = sorted(timed(calls))
    print("%-52s %6.0f /s, median %.1f ms, 99%% %.1f ms, %.2f ms of processor time" % (
        what, len(times) / (time.monotonic() - started), statistics.median(times),
        times[len(times) * 99 // 100], 1000 * (process.cpu_s() - cpu) / len(times)), flush=True)


def measure(client, cluster, row):
    process = Process(cluster)
    names = ["c%05d" % i for i in range(COLLECTIONS)]

    def create(name):
        return lambda: client.create_collection(name, "bench.v1.Row", indexed_fields=["size"])

    def write(name):
        return lambda: client.create(name, row(name=name, size=1))

    process.tell("at first")
    tell_times("CreateCollection", process, [create(n) for n in names])
    process.tell("%d collections" % COLLECTIONS)
    chosen = random.Random(7)
    anywhere = [write(chosen.choice(names)) for _ in range(WRITES)]
    tell_times("Create in any of them", process, anywhere)
    process.tell("%d may be open" % OPEN)
    tell_times("Create in %d of them, open" % min(OPEN // 2, COLLECTIONS), process,
               [write(names[i % (OPEN // 2)]) for i in range(2 * WRITES)][WRITES:])
    tell_times("Discover, a page of 100", process, [
        lambda: client.repo.Discover(collection_repo_pb2.DiscoverRequest(page_size=100))] * 50)
    started = time.monotonic()
    cluster["repo"].stop()
    print("%-52s %6.2f s" % ("to stop", time.monotonic() - started))
    started = time.monotonic()
    cluster["repo"].start()
    client.wait_serving("collector.CollectionService")
    print("%-52s %6.2f s" % ("to start, until it serves", time.monotonic() - started))
    process = Process(cluster)
    process.tell("started again")
    tell_times("Create in any of them", process, anywhere[:WRITES // 4])
    count = client.records.Describe(cs.DescribeRequest(collection_name=names[0]))
    assert count.collection_definition.name == names[0]


def main():
    cluster = Cluster(("registry", "repo", "dispatcher"),
                      {"repo": ["--max-open-collections", str(OPEN)]})
    cluster.start()
    client = Client(cluster.address("repo"))
    front = Client(cluster.address("dispatcher"))
    try:
        for service in ("collector.CollectorRegistry", "collector.CollectionService"):
            front.wait_serving(service)
        types = protos.Types(
            protos.single_file("bench/v1/row.proto", SCHEMA, package="bench.v1"))
        front.register(types)
        measure(client, cluster, types.message("bench.v1.Row"))
    finally:
        client.close()
        front.close()
        problems = cluster.stop()
        cluster.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
