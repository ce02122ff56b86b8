"""What the registry costs with 10,000 files and 5,000 services.

Starting with them; registering one file more, synced, beside what the same syncs cost by
themselves; lookups beside our own echo; pages beside the size of what is listed.
BENCH_FILES (10000) is how many files there are.
"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from collector_testing import Client, Cluster, registry_pb2 as rg  # noqa: E402
from google.protobuf import descriptor_pb2 as pb  # noqa: E402
from run import ECHO, Server, Table, load  # noqa: E402

FILES = int(os.environ.get("BENCH_FILES", "10000"))
PACKAGE = 20  # files of one package, which import each other
ROUNDS = 5
REGISTRATIONS = 200
SERVICE = "/collector.CollectorRegistry/"
MAIN = "base/v1/base.proto"


def message(file, name, fields):
    m = file.message_type.add(name=name)
    for i in range(fields):
        m.field.add(name="field_number_%d" % i, number=i + 1, type=pb.FieldDescriptorProto.TYPE_STRING,
                    label=pb.FieldDescriptorProto.LABEL_OPTIONAL, json_name="fieldNumber%d" % i)
    return m


def refer(m, number, type_name):
    m.field.add(name="other_%d" % number, number=number, type_name=type_name,
                type=pb.FieldDescriptorProto.TYPE_MESSAGE,
                label=pb.FieldDescriptorProto.LABEL_OPTIONAL, json_name="other%d" % number)


def file_name(i):
    return "corp/p%d/v1/f%d.proto" % (i // PACKAGE, i)


def make_file(i, fields=8):
    """Two messages, an enum, in every second file a service; imports of the package and of MAIN."""
    file = pb.FileDescriptorProto(name=file_name(i), package="corp.p%d.v1" % (i // PACKAGE),
                                  syntax="proto3", dependency=[MAIN])
    m = message(file, "Request%d" % i, fields)
    refer(m, 100, ".base.v1.Base")
    for k in range(max(i - i % PACKAGE, i - 3), i):
        file.dependency.append(file_name(k))
        refer(m, 101 + k % PACKAGE, ".%s.Reply%d" % (file.package, k))
    message(file, "Reply%d" % i, fields)
    e = file.enum_type.add(name="State%d" % i)
    for k in range(4):
        e.value.add(name="STATE%d_%d" % (i, k), number=k)
    if i % 2 == 0:
        s = file.service.add(name="Service%d" % i)
        for k in range(3):
            s.method.add(name="Method%d" % k, input_type=".%s.Request%d" % (file.package, i),
                         output_type=".%s.Reply%d" % (file.package, i))
    return file


def fill(client):
    base = pb.FileDescriptorProto(name=MAIN, package="base.v1", syntax="proto3")
    message(base, "Base", 3)
    files = [base] + [make_file(i) for i in range(FILES - 1)]
    size = sum(f.ByteSize() for f in files)
    started = time.perf_counter()
    for at in range(0, FILES, 2000):
        client.registry.RegisterFiles(rg.RegisterFilesRequest(
            files=pb.FileDescriptorSet(file=files[at:at + 2000])), timeout=60)
    print("%d files, %.1f MB of descriptors, registered as sets of 2,000 in %.1f s" % (
        FILES, size / 1e6, time.perf_counter() - started))


def bench_start(cluster):
    times = []
    for _ in range(ROUNDS):
        cluster["registry"].stop()
        started = time.perf_counter()
        cluster["registry"].start()
        client = Client(cluster.address("registry"), cluster["registry"])
        client.wait_serving("collector.CollectorRegistry")
        times.append(time.perf_counter() - started)
        stats = client.daemon.GetStats(_stats_request())
        client.close()
    print("\nstart to SERVING: %.2f s (%.2f-%.2f); %.0f MiB resident" % (
        statistics.median(times), min(times), max(times), stats.memory_bytes / 2**20))


def _stats_request():
    from collector_testing import daemon_pb2
    return daemon_pb2.GetStatsRequest()


def milliseconds(values):
    values = sorted(values)
    return "%8.2f %8.2f %8.2f" % tuple(
        1e3 * v for v in (values[len(values) // 2], values[len(values) * 99 // 100], values[-1]))


def sync_alone(directory, size):
    """The four syncs of a registration by themselves: a file, two directories, an append."""
    path = os.path.join(directory, "bench")
    os.makedirs(path, exist_ok=True)
    times = []
    with open(os.path.join(path, "log"), "ab", buffering=0) as log:
        for i in range(REGISTRATIONS):
            started = time.perf_counter()
            below = os.path.join(path, "d%d" % i)
            os.mkdir(below)
            sync_directory(path)
            with open(os.path.join(below, "f"), "wb", buffering=0) as f:
                f.write(size * b"x")
                os.fsync(f.fileno())
            sync_directory(below)
            log.write(120 * b"y")
            os.fdatasync(log.fileno())
            times.append(time.perf_counter() - started)
    return times


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def timed(call, requests):
    times = []
    for request in requests:
        started = time.perf_counter()
        call(request)
        times.append(time.perf_counter() - started)
    return times


def bench_register(client, cluster):
    def new(i):
        file = make_file(FILES + PACKAGE + i)
        del file.dependency[1:]
        del file.message_type[0].field[9:]
        return rg.RegisterProtoRequest(file_descriptor=file)

    def changed(i):
        # The last of its package: nothing imports it.
        return rg.RegisterProtoRequest(file_descriptor=make_file(
            i * PACKAGE + PACKAGE - 1, fields=9))

    def imported(i):
        # The first of its package: three files import it, and all others those.
        return rg.RegisterProtoRequest(file_descriptor=make_file(i * PACKAGE, fields=9))

    base = pb.FileDescriptorProto(name=MAIN, package="base.v1", syntax="proto3")
    message(base, "Base", 4)
    count = min(REGISTRATIONS, FILES // PACKAGE - 1)
    directory = os.path.join(cluster.data, "registry")
    print("\nRegisterProto, one at a time, milliseconds    %8s %8s %8s" % ("median", "99 %", "max"))
    print("%-46s%s" % ("the syncs alone, from Python", milliseconds(sync_alone(directory, 1500))))
    register = client.registry.RegisterProto
    for name, requests in (
            ("a new file", [new(i) for i in range(REGISTRATIONS)]),
            ("a changed file that nothing imports", [changed(i) for i in range(count)]),
            ("a changed file that 19 others depend on", [imported(i) for i in range(count)]),
            ("the same bytes again", [imported(0)] * REGISTRATIONS),
            ("a check of a changed file (validate_only)", [rg.RegisterProtoRequest(
                file_descriptor=make_file(i * PACKAGE + PACKAGE - 1, fields=10),
                validate_only=True) for i in range(count)])):
        print("%-46s%s" % (name, milliseconds(timed(register, requests))))
    print("%-46s%s" % ("the file that all others import",
                       milliseconds(timed(register, [rg.RegisterProtoRequest(
                           file_descriptor=base)]))))


def bench_lookups(address, echo_server):
    echo = b"\x0a\x40" + 64 * b"x"
    name = "corp.p%d.v1.Service%d" % (FILES // 2 // PACKAGE, FILES // 2)
    validate = rg.ValidateMethodRequest(service_name=name, method_name="Method1")
    lookup = rg.LookupServiceRequest(service_name=name)
    table = Table("lookups among %d services, 64 in flight" % (FILES // 2))
    table.add("our echo of 64 bytes", lambda: load(echo_server.address, ECHO, echo, 64))
    for method, request in (
            ("ValidateMethod", validate), ("LookupService", lookup),
            ("ListServices", rg.ListServicesRequest(page_size=10, prefix="corp.p1")),
            ("ListProtos", rg.ListProtosRequest(page_size=10, prefix="corp/p1"))):
        data = request.SerializeToString()
        label = method + (", a page of 10" if method.startswith("List") else "")
        table.add(label, lambda m=method, d=data: load(address, SERVICE + m, d, 64))
    table.run()


def main():
    cluster = Cluster(("registry", "repo"), {"registry": ["--max-message-bytes", str(64 << 20)]})
    echo_server = Server("echo_server")
    cluster.start()
    try:
        client = Client(cluster.address("registry"), cluster["registry"])
        client.wait_serving()
        fill(client)
        client.close()
        bench_start(cluster)
        client = Client(cluster.address("registry"), cluster["registry"])
        bench_register(client, cluster)
        bench_lookups(cluster.address("registry"), echo_server)
        client.close()
    finally:
        echo_server.stop()
        problems = cluster.stop()
        cluster.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
