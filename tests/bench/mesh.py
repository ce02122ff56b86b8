"""What the dispatcher's ways to a handler cost, as ratios to a direct call in one run.

A native hop, beside a proxy that does nothing else; a Dispatch, an attached handler, two
hops over the mesh, messages of streams; and what the history costs. BENCH_SECONDS (1) is one
measurement, BENCH_ROUNDS (3) how often each is repeated, BENCH_IN_FLIGHT (1,8,64) how many
calls are under way, BENCH_ONLY (unary,streams) which tables there are. It is measured after a
second: a history that has rested keeps the first 1,000 calls, however fast they come.
"""

import os
import subprocess
import sys

from run import ECHO, PROGRAMS, Server, Table, load

from collector_testing import Client, Cluster, dispatcher_pb2 as dp, protos

IN_FLIGHT = [int(n) for n in os.environ.get("BENCH_IN_FLIGHT", "1,8,64").split(",")]
ONLY = os.environ.get("BENCH_ONLY", "unary,streams").split(",")
WARM = 1
NAMESPACES = ("default", "attached", "far", "streams", "far-streams")
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


BIDI = "/echo.v1.EchoService/Bidi"


def bench_streams(streams, near, silent):
    plain = b"\x0a\x40" + 64 * b"x"
    for in_flight in IN_FLIGHT:
        table = Table("messages of 64 bytes there and back, %d streams" % in_flight)
        for name, address, header in (("direct", streams.address, None),
                                      ("one hop", near, "collector-namespace=streams"),
                                      ("two hops", near, "collector-namespace=far-streams"),
                                      ("one hop without history", silent,
                                       "collector-namespace=streams")):
            table.add(name, lambda a=address, h=header: load(a, BIDI, plain, in_flight, h, True))
        table.run()


def bench(types, echo, bare, near, silent):
    plain = b"\x0a\x40" + 64 * b"x"
    attached, far = "collector-namespace=attached", "collector-namespace=far"
    for in_flight in IN_FLIGHT:
        table = Table("unary echo of 64 bytes, %d in flight" % in_flight)
        for name, address, method, request, header in (
                ("direct", echo.address, ECHO, plain, None),
                ("a bare proxy", bare.address, ECHO, plain, None),
                ("native, one hop", near, ECHO, plain, None),
                ("the same without history", silent, ECHO, plain, None),
                ("native, two hops", near, ECHO, plain, far),
                ("Dispatch", near, DISPATCH, dispatch_request(types, "default"), None),
                ("Dispatch to another collector", near, DISPATCH,
                 dispatch_request(types, "far"), None),
                ("Dispatch without history", silent, DISPATCH,
                 dispatch_request(types, "default"), None),
                ("attached, native", near, ECHO, plain, attached),
                ("attached, by Dispatch", near, DISPATCH,
                 dispatch_request(types, "attached"), None)):
            table.add(name, lambda a=address, m=method, r=request, h=header:
                      load(a, m, r, in_flight, h, warm=WARM))
        table.run()


def main():
    types, echo, streams = echo_types(), Server("echo_server"), Server("streams", "serve")
    bare = Server("bare_proxy", echo.address)
    near, client = start("near", "--namespaces", "default,attached,streams")
    far, far_client = start("far", "--namespaces", "far,far-streams")
    silent, silent_client = start("silent", "--history-max-records", "0")
    processes = []
    try:
        for namespace in NAMESPACES:
            client.register(types, namespace)
        for namespace in ("far", "far-streams"):
            far_client.register(types, namespace)
        for namespace in ("default", "streams"):
            silent_client.register(types, namespace)
        for c, namespace in ((client, "streams"), (silent_client, "streams"),
                             (far_client, "far-streams")):
            c.register_handler("echo.v1.EchoService", streams.address, namespace)
        client.register_handler("echo.v1.EchoService", echo.address)
        silent_client.register_handler("echo.v1.EchoService", echo.address)
        far_client.register_handler("echo.v1.EchoService", echo.address, "far")
        client.dispatcher.ConnectPeer(dp.ConnectPeerRequest(address=far.address("dispatcher")))
        processes.append(attach(near.address("dispatcher")))
        if "unary" in ONLY:
            bench(types, echo, bare, near.address("dispatcher"), silent.address("dispatcher"))
        if "streams" in ONLY:
            bench_streams(streams, near.address("dispatcher"), silent.address("dispatcher"))
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for server in (bare, streams, echo):
            server.stop()
        problems = [p for cluster in (near, far, silent) for p in cluster.stop()]
        for cluster in (near, far, silent):
            cluster.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
