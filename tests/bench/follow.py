"""How soon a type that is registered or updated is usable in the other daemons.

From the registry's answer to the first call that goes by the new type, in a namespace of a
few files and in one of FILES; and what the registry's own collections take to be caught up.
BENCH_FILES (10000) is how many files there are.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import grpc  # noqa: E402
from collector_testing import (  # noqa: E402
    PROBES, Backend, Client, Cluster, collection_server_pb2 as cs, daemon_pb2, eventually, protos,
    registry_pb2 as rg, worker_pb2 as wp)
from google.protobuf import descriptor_pb2 as pb, json_format  # noqa: E402

import registry  # noqa: E402  (the bench beside this one: its files)

UPDATES = 200
TYPES = "message A { string a = 1; } message B { string b = 1; } "


def source(kind):
    return protos.single_file(
        "s.proto", TYPES + "service S { rpc Do(%s) returns (%s); }" % (kind, kind))


class Follow:
    def __init__(self, clients, namespace):
        self.front = clients["dispatcher"]
        self.namespace = namespace
        self.sources = {kind: source(kind) for kind in "AB"}
        types = protos.Types(self.sources["A"])
        self.messages = {kind: types.message("t.v1." + kind)() for kind in "AB"}
        self.front.registry.SetPolicy(rg.SetPolicyRequest(
            namespace=namespace, policy=rg.COMPATIBILITY_POLICY_NONE))

    def register(self, kind):
        self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=self.namespace, files=self.sources[kind], force=True))

    def dispatches(self, kind):
        try:
            self.front.dispatch("t.v1.S", "Do", self.messages[kind], namespace=self.namespace)
            return True
        except grpc.RpcError:
            return False

    def defines(self, kind):
        definition = json_format.ParseDict({
            "namespace": self.namespace, "name": "w", "inputType": {"messageName": "t.v1." + kind},
            "tasks": [{"id": "do", "service": {"serviceName": "t.v1.S"}, "methodName": "Do"}]},
            wp.WorkflowDefinition())
        try:
            self.front.worker.DefineWorkflow(wp.DefineWorkflowRequest(
                definition=definition, validate_only=True))
            return True
        except grpc.RpcError:
            return False

    def measure(self, what, takes_effect):
        """One line: from the answer to the update until it takes effect."""
        times, tries = [], 0
        for i in range(UPDATES):
            kind = "BA"[i % 2]
            self.register(kind)
            started = time.perf_counter()
            while not takes_effect(kind):
                tries += 1
            times.append((time.perf_counter() - started) * 1e3)
        times.sort()
        print("  %-28s p50 %6.1f ms  p99 %6.1f ms  max %6.1f ms  (%d calls were too early)" % (
            what, times[len(times) // 2], times[len(times) * 99 // 100], times[-1], tries),
            flush=True)


def bench_updates(clients, backend, namespace):
    f = Follow(clients, namespace)
    f.register("A")
    f.front.register_handler("t.v1.S", backend.address, namespace=namespace)
    while not f.dispatches("A") or not f.defines("A"):  # both know the namespace from now on
        pass
    print("an update in %s, %d of them" % (namespace, UPDATES))
    f.measure("dispatcher: Dispatch", f.dispatches)
    f.measure("worker: DefineWorkflow", f.defines)
    times = []
    for i in range(UPDATES):
        name = "n%d.proto" % i
        file = protos.single_file(name, "message N%d { string a = 1; }" % i)
        f.front.registry.RegisterFiles(rg.RegisterFilesRequest(namespace=namespace, files=file))
        started = time.perf_counter()
        f.front.create_collection("c%d" % i, "t.v1.N%d" % i, namespace=namespace)
        times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    print("  %-28s p50 %6.1f ms  p99 %6.1f ms  max %6.1f ms  (the call itself; never too early)" %
          ("repo: CreateCollection", times[len(times) // 2], times[len(times) * 99 // 100],
           times[-1]))


def wait_published(client):
    """Until the registry says that all is in the repo; its numbers then."""
    while True:
        numbers = client.daemon.GetStats(
            daemon_pb2.GetStatsRequest(), wait_for_ready=True).numbers
        if "records_published" in numbers and not numbers["namespaces_unpublished"]:
            return numbers
        time.sleep(0.01)


def bench_published(cluster, clients):
    started = time.perf_counter()
    wait_published(clients["registry"])
    page = clients["dispatcher"].records.List(cs.ListRequest(
        namespace="system", collection_name="registered_protos", page_size=1))
    print("registered_protos holds all %d of them %.1f s after the last was registered" % (
        page.total_count, time.perf_counter() - started))
    cluster["registry"].stop()
    cluster["registry"].start()
    started = time.perf_counter()
    numbers = wait_published(clients["registry"])
    print("after a restart it has found %d records of difference %.1f s after the start" % (
        numbers["records_published"], time.perf_counter() - started))


def main():
    cluster = Cluster()
    cluster.start()
    clients = {name: Client(cluster.address(name), cluster[name]) for name in cluster.names}
    backend = Backend({"/t.v1.S/Do": lambda request, context: request})
    try:
        for client in clients.values():
            client.wait_serving()
        bench_updates(clients, backend, "small")
        registry.fill(clients["dispatcher"])
        bench_published(cluster, clients)
        eventually(lambda: PROBES["registry"](clients["dispatcher"]), "the registry is back")
        bench_updates(clients, backend, "default")
    finally:
        backend.stop()
        for client in clients.values():
            client.close()
        problems = cluster.stop()
        cluster.close()
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main()
