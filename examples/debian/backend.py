#!/usr/bin/python3
"""debian.v1.PackageIndex: custom methods over a collection, served in Python.

    backend.py [--collector HOST:PORT] [--collection NAME] [--port PORT]

An ordinary gRPC server: it reads the packages from the front door once, when it
is first asked, and answers from memory. Prints its address when it is ready.
Needs python3-grpcio, python3-protobuf and protoc.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HERE = os.path.dirname(os.path.abspath(__file__))
PROTOS = os.path.join(HERE, "..", "..", "proto")
PAGE = 1000


def load_types():
    """Message classes by full name, compiled by protoc."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", "-I" + HERE, "-I" + PROTOS, "-I/usr/include",
                        "--include_imports", "--descriptor_set_out=" + out.name,
                        "debian/v1/package.proto", "collector/collection_server.proto"],
                       check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    if hasattr(message_factory, "GetMessageClass"):
        make = message_factory.GetMessageClass
    else:
        make = message_factory.MessageFactory(pool).GetPrototype
    return lambda name: make(pool.FindMessageTypeByName(name))


class PackageIndex:
    """The service; `self.needed_by` is made when it is first needed."""

    def __init__(self, message, collector, collection):
        self.message = message
        self.collection = collection
        self.channel = grpc.insecure_channel(collector)
        self.lock = threading.Lock()
        self.needed_by = None

    def packages(self):
        request = self.message("collector.ListRequest")(
            collection_name=self.collection, page_size=PAGE, skip_total_count=True)
        response = self.message("collector.ListResponse")
        package = self.message("debian.v1.Package")
        list_page = self.channel.unary_unary(
            "/collector.CollectionService/List",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=response.FromString)
        while True:
            page = list_page(request, timeout=30)
            for item in page.items:
                yield package.FromString(item.value)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def load(self):
        with self.lock:
            if self.needed_by is None:
                needed_by = collections.defaultdict(set)
                for package in self.packages():
                    for dependency in package.dependencies:
                        if dependency.kind in (1, 2):  # depends, pre-depends
                            for alternative in dependency.alternatives:
                                needed_by[alternative.name].add(package.name)
                self.needed_by = needed_by
            return self.needed_by

    def reverse_dependencies(self, request, context):
        del context
        names = sorted(self.load().get(request.name, ()))
        return self.message("debian.v1.ReverseDependenciesResponse")(
            name=request.name, count=len(names), packages=names[:request.limit or None])

    def describe(self, request, context):
        del context
        text = "Nothing depends on %s." % request.name
        if request.count:
            text = "%d package%s on %s." % (
                request.count, " depends" if request.count == 1 else "s depend", request.name)
        return self.message("debian.v1.Report")(text=text)

    def handlers(self):
        def unary(method, request_type):
            return grpc.unary_unary_rpc_method_handler(
                method, request_deserializer=self.message(request_type).FromString,
                response_serializer=lambda m: m.SerializeToString())

        return grpc.method_handlers_generic_handler("debian.v1.PackageIndex", {
            "ReverseDependencies": unary(self.reverse_dependencies,
                                         "debian.v1.ReverseDependenciesRequest"),
            "Describe": unary(self.describe, "debian.v1.ReportRequest"),
        })


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collector", default=os.environ.get("COLLECTOR_ADDRESS",
                                                              "127.0.0.1:50051"))
    parser.add_argument("--collection", default="packages")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    index = PackageIndex(load_types(), options.collector, options.collection)
    server = grpc.server(futures.ThreadPoolExecutor(8), options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((index.handlers(),))
    port = server.add_insecure_port("127.0.0.1:%d" % options.port)
    if not port:
        print("port %d is taken" % options.port, file=sys.stderr)
        return 1
    server.start()
    print("listening on 127.0.0.1:%d" % port, flush=True)
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        pass
