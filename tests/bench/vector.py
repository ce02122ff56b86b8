"""What a search by vector costs, as a ratio to reading the same bytes from memory.

BENCH_VECTORS (100000) vectors of BENCH_DIMENSIONS (384) floats, BENCH_SECONDS and
BENCH_ROUNDS as for run.py. The whole of Search is measured, over gRPC, one at a time;
the first search, which reads the vectors from the database, is told apart.
"""

import array
import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from run import PROGRAMS, SECONDS, Table, load  # noqa: E402

from collector_testing import (  # noqa: E402
    Client, Cluster, collection_pb2, collection_server_pb2 as cs, protos)
from google.protobuf import any_pb2  # noqa: E402

VECTORS = int(os.environ.get("BENCH_VECTORS", "100000"))
DIMENSIONS = int(os.environ.get("BENCH_DIMENSIONS", "384"))
BATCH = 200
SERVICE = "/collector.CollectionService/"

SCHEMA = """
message Doc {
  int64 number = 1;
  string text = 2;
  repeated float embedding = 3;
}
"""


def memory_scan():
    out = subprocess.run([os.path.join(PROGRAMS, "memory_scan"), str(VECTORS * DIMENSIONS * 4),
                          str(SECONDS)], check=True, capture_output=True, encoding="utf-8").stdout
    return {"qps": float(re.search(r"=([\d.]+)", out).group(1))}


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def items(numbers):
    """Docs as they are on the wire, their vectors being pieces of one long run of numbers."""
    size = DIMENSIONS * 4
    for i in range(VECTORS):
        at = (i * 7919) % (len(numbers) - size) // 4 * 4
        yield (b"\x08" + varint(i) + b"\x12\x05tenth" if i % 10 == 0 else
               b"\x08" + varint(i)) + b"\x1a" + varint(size) + numbers[at:at + size]


def fill(client, name, numbers):
    pending, operations = [], []
    started = time.monotonic()
    for i, value in enumerate(items(numbers)):
        operations.append(cs.RequestOp(create=cs.CreateRequest(id="%08x" % i, item=any_pb2.Any(
            type_url="type.googleapis.com/bench.v1.Doc", value=value))))
        if len(operations) == BATCH or i + 1 == VECTORS:
            pending.append(client.records.Batch.future(cs.BatchRequest(
                collection_name=name, operations=operations), timeout=120))
            operations = []
        if len(pending) > 4:
            pending.pop(0).result()
    for call in pending:
        call.result()
    print("%d vectors of %d floats stored, %.0f a second" % (
        VECTORS, DIMENSIONS, VECTORS / (time.monotonic() - started)))


def bench(client, repo):
    types = protos.Types(protos.single_file("bench/v1/doc.proto", SCHEMA, package="bench.v1"))
    client.register(types)
    rng = random.Random(1)
    numbers = array.array("f", (rng.uniform(-1, 1) for _ in range(200000))).tobytes()
    query = [rng.uniform(-1, 1) for _ in range(DIMENSIONS)]
    table = Table("Search of the 10 nearest of %d vectors of %d floats, 1 in flight" % (
        VECTORS, DIMENSIONS))
    table.add("plain scan of the same bytes in memory", memory_scan)
    name = "docs"
    client.create_collection(name, "bench.v1.Doc", indexed_fields=["number"],
                             vector=collection_pb2.VectorIndex(
                                 field="embedding", dimensions=DIMENSIONS,
                                 metric=collection_pb2.VECTOR_COSINE))
    fill(client, name, numbers)
    base = cs.SearchRequest(collection_name=name, vector=query, limit=10)
    started = time.monotonic()
    client.records.Search(base)
    print("the first search, out of the database: %.0f ms" % (
        1000 * (time.monotonic() - started)))
    few, text = cs.SearchRequest(), cs.SearchRequest()
    few.CopyFrom(base)
    few.filters["number"].operator = cs.OP_LESS_THAN
    few.filters["number"].value.number_value = 100
    text.CopyFrom(base)
    text.full_text = "tenth"
    for title, request in (("Search by vector", base), ("with a filter: 100 records", few),
                           ("with full text: a tenth of them", text)):
        table.add(title, lambda r=request: load(repo, SERVICE + "Search",
                                                r.SerializeToString(), 1))
    table.run()


def main():
    cluster = Cluster(("registry", "repo", "dispatcher"))
    cluster.start()
    client = Client(cluster.address("dispatcher"))
    for service in ("collector.CollectorRegistry", "collector.CollectionService",
                    "collector.CollectionRepo"):
        client.wait_serving(service)
    try:
        bench(client, cluster.address("repo"))
    finally:
        client.close()
        problems = cluster.stop()
        cluster.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
