"""Files that others wrote register whole: protobuf's own, gRPC's, Google's.

COLLECTOR_CORPUS=whole takes all 7,200 of Google's; without it some of them, with comments.
"""

import os
import subprocess
import tempfile
import unittest

from collector_testing import CollectorTest, registry_pb2 as rg
from daemons import ctl_json
from google.protobuf import descriptor_pb2
from npm_clients import packages
from protos import GRPC_PROTOS, PROTOC

PROTOBUF = "/usr/include/google/protobuf"
WHOLE = os.environ.get("COLLECTOR_CORPUS") == "whole"
# Below google/; with what they import.
SOME = ("api", "datastore", "firestore", "iam", "logging", "longrunning", "monitoring", "pubsub",
        "rpc", "spanner", "storage", "type")


def sources(directory):
    """Names below the directory, ordered."""
    found = []
    for path, _, names in os.walk(directory):
        found += [os.path.relpath(os.path.join(path, n), directory)
                  for n in names if n.endswith(".proto")]
    return sorted(found)


def compile_all(root, names, comments):
    """A FileDescriptorSet of the files and what they import."""
    with tempfile.TemporaryDirectory() as directory:
        out, arguments = (os.path.join(directory, n) for n in ("out", "arguments"))
        with open(arguments, "w", encoding="utf-8") as f:
            f.write("\n".join(["-I" + root, "--include_imports", "--descriptor_set_out=" + out] +
                              (["--include_source_info"] if comments else []) + names))
        done = subprocess.run([PROTOC, "@" + arguments], stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        with open(out, "rb") as f:
            return descriptor_pb2.FileDescriptorSet.FromString(f.read())


class Corpus(CollectorTest):
    daemons = ("registry", "dispatcher")
    options = {name: ["--max-message-bytes", str(64 << 20)] for name in daemons}

    def descriptors(self, namespace, **target):
        """{name: file}; everything, unless a file_name or symbol is asked for."""
        answer = self.client("registry").registry.GetDescriptors(
            rg.GetDescriptorsRequest(namespace=namespace, **target), timeout=120)
        found = descriptor_pb2.FileDescriptorSet.FromString(answer.file_descriptor_set).file
        return {f.name: f for f in found}

    def register(self, files, namespace):
        answer = self.client("registry").registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=namespace, files=files), timeout=300)
        return {f.proto_id.split("/", 1)[1]: f for f in answer.files}

    def check(self, files, namespace):
        """Registered, they are there as they were given, before and after a restart."""
        given = {f.name: f for f in files.file}
        answer = self.register(files, namespace)
        self.assertTrue(set(answer) <= set(given))
        built_in = set(given) - set(answer)
        for name in built_in:
            self.assertRegex(name, r"^google/(protobuf|rpc)/|^grpc/(health|reflection)/")
            self.assertTrue(self.descriptors(namespace, file_name=name))
        for restart in (False, True):
            if restart:
                self.restart("registry")
            there = self.descriptors(namespace)
            for name in answer:
                self.assertEqual(there[name], given[name])
        again = self.register(files, namespace)
        self.assertTrue(all(f.unchanged and f.version == 1 for f in again.values()))
        return given, built_in

    def test_protobuf(self):
        """Nothing of it is registered: it is there."""
        root = os.path.dirname(os.path.dirname(PROTOBUF))
        names = ["google/protobuf/" + n for n in sources(PROTOBUF)]
        self.assertIn("google/protobuf/compiler/plugin.proto", names)
        given, built_in = self.check(compile_all(root, names, True), "protobuf")
        self.assertEqual(built_in, set(given))
        for name, file in given.items():
            ours = self.descriptors("protobuf", file_name=name)[name]
            self.assertEqual(ours.message_type, file.message_type)

    @unittest.skipUnless(GRPC_PROTOS, "neither grpc-proto nor grpc-go is installed")
    def test_grpc(self):
        """By hand, as a person would. One file is left out: it imports what Debian lacks."""
        directories = [os.path.join(GRPC_PROTOS, "grpc", d) for d in os.listdir(GRPC_PROTOS + "/grpc")
                       if d != "tls"]
        reply = ctl_json(self.cluster, "-n", "grpc", "registry", "register", "-I", GRPC_PROTOS, "-I",
                         packages() + "/google-proto-files", *directories)
        names = {f["protoId"].split("/", 1)[1] for f in reply["files"]}
        self.assertEqual(set(sources(GRPC_PROTOS)) - names - {
            "grpc/tls/provider/meshca/experimental/config.proto"}, {
            "grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
            "grpc/reflection/v1alpha/reflection.proto"})
        services = ctl_json(self.cluster, "-n", "grpc", "registry", "list", "--services",
                            "grpc.testing.")
        self.assertIn("grpc.testing.TestService",
                      {s["serviceName"] for s in services["services"]})

    def test_google(self):
        root = packages() + "/google-proto-files"
        names = ["google/" + n for n in sources(root + "/google")
                 if WHOLE or n.split("/")[0] in SOME]
        names = [n for n in names if not n.startswith("google/protobuf/")]
        given, _ = self.check(compile_all(root, names, not WHOLE), "google")
        self.assertGreater(len(given), 7000 if WHOLE else 200)
        # What they say of errors is what everybody has built in.
        ours = self.descriptors("google", file_name="google/rpc/error_details.proto")
        theirs = given["google/rpc/error_details.proto"]
        self.assertEqual(fields(ours["google/rpc/error_details.proto"]), fields(theirs))


def fields(file):
    """{(message, field): (number, type, label)} of a file."""
    found = {}

    def walk(scope, messages):
        for m in messages:
            name = scope + "." + m.name
            for f in m.field:
                found[name, f.name] = (f.number, f.type, f.label, f.type_name)
            walk(name, m.nested_type)
    walk(file.package, file.message_type)
    return found
