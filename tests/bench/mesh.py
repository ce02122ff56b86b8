"""What the dispatcher's ways to a handler cost, as ratios to a direct call in one run.

A native hop, a Dispatch, an attached handler, two hops over the mesh; and what the history
costs. BENCH_SECONDS (1) is one measurement, BENCH_ROUNDS (3) how often each is repeated.
"""

import os
import subprocess
import sys

from run import ECHO, PROGRAMS, Server, Table, load

from collector_testing import Client, Cluster, dispatcher_pb2 as dp, protos

NAMESPACES = ("default", "attached", "far")
DISPATCH = "/collector.CollectiveDispatcher/Dispatch"


def start(name, *options):
    cluster = Cluster(("registry", "repo", "dispatcher"), {"dispatcher": [
        "--collector-id", name, *options]})
    cluster.start()
    client = Client(cluster.address("dispatcher"))
    for service in ("collector.CollectiveDispatcher", "collector.CollectorRegistry",
                    "collector.CollectionService"):
        client.wait_serving(service)
    return cluster, client


def echo_types():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    return protos.Types(protos.compile_files(["tests/support/echo.proto"],
                                             include=os.path.abspath(root)))


def attach(address):
    process = subprocess.Popen([os.path.join(PROGRAMS, "attached_echo"), address, "attached"],
                               stdout=subprocess.PIPE, encoding="ascii")
    assert process.stdout.readline() == "ready\n"
    return process


def dispatch_request(types, namespace):
    request = dp.DispatchRequest(namespace=namespace, method_name="Unary", input=protos.pack(
        types.message("echo.v1.EchoRequest")(data=64 * b"x")))
    request.service.service_name = "echo.v1.EchoService"
    return request.SerializeToString()


def bench(types, echo, near, silent):
    plain = b"\x0a\x40" + 64 * b"x"
    attached, far = "collector-namespace=attached", "collector-namespace=far"
    for in_flight in (1, 8, 64):
        table = Table("unary echo of 64 bytes, %d in flight" % in_flight)
        for name, address, method, request, header in (
                ("direct", echo.address, ECHO, plain, None),
                ("native, one hop", near, ECHO, plain, None),
                ("the same without history", silent, ECHO, plain, None),
                ("native, two hops", near, ECHO, plain, far),
                ("Dispatch", near, DISPATCH, dispatch_request(types, "default"), None),
                ("Dispatch to another collector", near, DISPATCH,
                 dispatch_request(types, "far"), None),
                ("attached, native", near, ECHO, plain, attached),
                ("attached, by Dispatch", near, DISPATCH,
                 dispatch_request(types, "attached"), None)):
            table.add(name, lambda a=address, m=method, r=request, h=header:
                      load(a, m, r, in_flight, h))
        table.run()


def main():
    types, echo = echo_types(), Server("echo_server")
    near, client = start("near", "--namespaces", "default,attached")
    far, far_client = start("far", "--namespaces", "far")
    silent, silent_client = start("silent", "--history-max-records", "0")
    processes = []
    try:
        for namespace in NAMESPACES:
            client.register(types, namespace)
        far_client.register(types, "far")
        silent_client.register(types)
        client.register_handler("echo.v1.EchoService", echo.address)
        silent_client.register_handler("echo.v1.EchoService", echo.address)
        far_client.register_handler("echo.v1.EchoService", echo.address, "far")
        client.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=far.address("dispatcher")))
        processes.append(attach(near.address("dispatcher")))
        bench(types, echo, near.address("dispatcher"), silent.address("dispatcher"))
    finally:
        for process in processes:
            process.kill()
            process.wait()
        echo.stop()
        problems = [p for cluster in (near, far, silent) for p in cluster.stop()]
        for cluster in (near, far, silent):
            cluster.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
