"""Types compiled by protoc while the tests run, as a client in any language would."""

import os
import subprocess
import tempfile

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

SUPPORT_DIR = os.path.dirname(os.path.abspath(__file__))
OUR_PROTOS = os.path.join(SUPPORT_DIR, "..", "..", "proto")
PROTOC = os.environ.get("PROTOC", "protoc")
# gRPC's own files, from whichever package has them: see deploy/install-deps.sh. None: no package.
GRPC_PROTOS = next((path for path in (
    "/usr/share/grpc-proto",
    "/usr/share/gocode/src/google.golang.org/grpc/debian/missing-sources/grpc/grpc-proto/master")
    if os.path.exists(path + "/grpc/testing/test.proto")), None)


def compile_files(paths, include=SUPPORT_DIR, source_info=False):
    """A FileDescriptorSet of .proto files (names below include) and their imports."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "out.fds")
        command = [PROTOC, "--include_imports", "--descriptor_set_out=" + out]
        command += ["-I" + path for path in (include, SUPPORT_DIR, OUR_PROTOS, "/usr/include")]
        if source_info:
            command.append("--include_source_info")
        subprocess.run(command + list(paths), check=True, stdin=subprocess.DEVNULL)
        with open(out, "rb") as f:
            return descriptor_pb2.FileDescriptorSet.FromString(f.read())


def compile_sources(sources, **options):
    """The same from texts, {"shop/v1/x.proto": "syntax = ..."}."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in sources.items():
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        return compile_files(sources, include=directory, **options)


def single_file(name, body, package="t.v1", **options):
    """A set of one small proto3 file."""
    source = 'syntax = "proto3";\npackage %s;\n%s\n' % (package, body)
    return compile_sources({name: source}, **options)


class Types:
    """The message classes of a FileDescriptorSet."""

    def __init__(self, file_descriptor_set):
        self.files = file_descriptor_set
        self._pool = descriptor_pool.DescriptorPool()
        for file in file_descriptor_set.file:
            self._pool.Add(file)
        self._factory = message_factory.MessageFactory(self._pool)

    def message(self, name):
        descriptor = self._pool.FindMessageTypeByName(name)
        if hasattr(message_factory, "GetMessageClass"):
            return message_factory.GetMessageClass(descriptor)
        return self._factory.GetPrototype(descriptor)

    def file(self, name):
        return next(f for f in self.files.file if f.name == name)

    def own_files(self):
        """Without google/protobuf/* and collector/*, which every namespace has."""
        return [f for f in self.files.file
                if not f.name.startswith(("google/protobuf/", "collector/"))]


_shop = None


def shop():
    """The types of shop/v1, compiled once."""
    global _shop  # pylint: disable=global-statement
    if _shop is None:
        _shop = Types(compile_files(["shop/v1/order.proto"], source_info=True))
    return _shop


def pack(message):
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def unpack(packed, message_class):
    assert packed.type_url.split("/")[-1] == message_class.DESCRIPTOR.full_name, packed.type_url
    return message_class.FromString(packed.value)
