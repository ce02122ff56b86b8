"""The registry's files: killed at any moment, without space, damaged."""

import os
import random
import resource
import threading

import grpc
from collector_testing import Code, CollectorTest, daemon_pb2, registry_pb2 as rg
from google.protobuf import descriptor_pb2

STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL


def pair(name, generation):
    """Two files, the second importing the first; both carry the generation as a field."""
    files = descriptor_pb2.FileDescriptorSet()
    for part in ("a", "b"):
        file = files.file.add(name="%s/%s.proto" % (name, part), package=name, syntax="proto3")
        message = file.message_type.add(name=part.upper())
        for i in range(1, generation + 1):
            message.field.add(name="generation_%d" % i, number=i, type=STRING, label=OPTIONAL)
    files.file[1].dependency.append("%s/a.proto" % name)
    files.file[1].message_type[0].field.add(
        name="a", number=100000, type=MESSAGE, label=OPTIONAL, type_name=".%s.A" % name)
    return files


def generation_of(file):
    return sum(1 for f in file.message_type[0].field if f.name.startswith("generation_"))


class RegistryDurability(CollectorTest):
    daemons = ("registry",)

    def setUp(self):
        self.registry = self.client("registry").registry

    def start(self):
        """Start the registry again, with a channel that knows nothing of its end."""
        self.cluster["registry"].start()
        self.wait_back("registry")
        self.registry = self.client("registry").registry

    def restart(self, name, kill=True):
        super().restart(name, kill)
        self.registry = self.client("registry").registry

    def register(self, files, namespace, **fields):
        return self.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=namespace, files=files, **fields))

    def files(self, namespace):
        answer = self.registry.GetDescriptors(rg.GetDescriptorsRequest(namespace=namespace))
        found = descriptor_pb2.FileDescriptorSet.FromString(answer.file_descriptor_set).file
        return {f.name: f for f in found}, answer.version

    def test_kill_9_at_random_moments_of_500_registrations(self):
        """What was acknowledged is there, nothing by half, and versions never go back."""
        total, kills = 500, 10
        chance = random.Random(os.urandom(8))
        acknowledged = {}  # name -> generation
        version = 0
        kill_at = sorted(chance.sample(range(20, total), kills))
        for n in range(total):
            name = "p%d" % chance.randrange(60)
            generation = acknowledged.get(name, 0) + 1
            killer = None
            if kill_at and n == kill_at[0]:
                kill_at.pop(0)
                # In the middle of a registration, which takes about a millisecond.
                killer = threading.Timer(chance.uniform(0, 0.003),
                                         self.cluster["registry"].process.kill)
                killer.start()
            try:
                answer = self.register(pair(name, generation), "kill")
            except grpc.RpcError as error:
                self.assertIsNotNone(killer, error)
            else:
                acknowledged[name] = generation
                self.assertGreater(answer.namespace_version, version)
                version = answer.namespace_version
            if killer:
                killer.join()
                self.cluster["registry"].process.wait()
                self.cluster["registry"].process = None
                self.start()
                version = self.check_pairs(acknowledged, name, version)
        self.assertEqual(kill_at, [])
        self.check_pairs(acknowledged, None, version)
        stats = self.client("registry").daemon.GetStats(daemon_pb2.GetStatsRequest())
        self.assertEqual(list(stats.problems), [])

    def check_pairs(self, acknowledged, unsure, version):
        """The namespace's version; the pair `unsure` may be one generation further."""
        there, now = self.files("kill")
        self.assertIn(now - version, (0, 1))
        for name in set(acknowledged) | ({unsure} if unsure else set()):
            generations = [generation_of(there[n]) if n in there else 0
                           for n in ("%s/a.proto" % name, "%s/b.proto" % name)]
            self.assertEqual(generations[0], generations[1], name)
            least = acknowledged.get(name, 0)
            self.assertIn(generations[0], (least, least + (name == unsure)), name)
            if generations[0]:
                acknowledged[name] = generations[0]
        self.assertEqual(len(there), 2 * len(acknowledged))
        return now

    # ---------------------------------------------------------------- no space

    def limit_file_size(self, size):
        """As on a full disk: no file of the registry may grow beyond size."""
        pid = self.cluster["registry"].process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    def path(self, *parts):
        return os.path.join(self.cluster.data, "registry", *parts)

    def test_without_space_nothing_changes(self):
        for i in range(20):
            self.register(pair("q%d" % i, 1), "full")
        before = self.files("full")
        manifest = self.path("manifests", "full")
        large = pair("large", 3000)
        self.assertGreater(large.ByteSize(), 64 << 10)
        self.addCleanup(self.limit_file_size, None)
        # Large files do not fit, or small ones not into the manifest, or that not whole.
        size = os.path.getsize(manifest)
        for limit, files in ((size + 10000, large), (size + 10, pair("q1", 2)),
                             (size, pair("q1", 2))):
            self.limit_file_size(limit)
            with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
                self.register(files, "full")
            self.assertEqual(self.files("full"), before)
            self.assertEqual(os.path.getsize(manifest), size)
        self.assertFalse(os.path.exists(self.path("versions", "full", "q1/a.proto", "2.binpb")))
        self.assertFalse(os.path.exists(self.path("versions", "full", "large/a.proto", "1.binpb")))
        # A namespace that cannot begin, either.
        self.limit_file_size(100)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.register(pair("q", 1), "full-new")
        self.assertEqual(self.files("full-new"), ({}, 0))
        self.limit_file_size(None)
        self.assertEqual(self.register(pair("q1", 2), "full").namespace_version, before[1] + 1)
        self.assertEqual(self.register(pair("q", 1), "full-new").namespace_version, 1)
        self.restart("registry")
        self.assertEqual(generation_of(self.files("full")[0]["q1/a.proto"]), 2)
        self.assertEqual(self.files("full")[1], before[1] + 1)

    # ------------------------------------------------------------------ damage

    def test_damage_is_told_and_the_rest_served(self):
        # Small ones are in the manifest too, from which they are mended.
        gone = pair("gone", 1)
        gone.file[0].source_code_info.location.add(leading_comments="x" * 100000)
        self.register(pair("whole", 1), "hurt")
        self.register(gone, "hurt")
        _, version = self.files("hurt")
        self.cluster["registry"].stop()
        for path in (self.path("ns", "hurt", "gone/a.proto.binpb"),
                     self.path("versions", "hurt", "gone/a.proto", "1.binpb")):
            with open(path, "r+b") as f:
                f.seek(5)
                f.write(b"\xff")
        self.start()
        there, now = self.files("hurt")
        self.assertEqual(set(there), {"whole/a.proto", "whole/b.proto"})
        self.assertEqual(now, version)
        stats = self.client("registry").daemon.GetStats(daemon_pb2.GetStatsRequest())
        self.assertTrue(any("gone/a.proto" in p for p in stats.problems), stats.problems)
        self.assertTrue(any("gone/b.proto" in p for p in stats.problems), stats.problems)
        self.assertTrue(self.client("registry").is_serving("collector.CollectorRegistry"))
        self.assertIn("gone/a.proto", self.cluster["registry"].log())
        self.assertTrue(os.path.exists(self.path("ns", "hurt", "gone/a.proto.binpb.damaged")))
        # Registered again it is well.
        self.register(gone, "hurt")
        self.restart("registry")
        self.assertEqual(len(self.files("hurt")[0]), 4)
        stats = self.client("registry").daemon.GetStats(daemon_pb2.GetStatsRequest())
        self.assertEqual([p for p in stats.problems if "hurt" in p], [])

    def test_a_damaged_manifest_loses_no_more_than_what_is_damaged(self):
        self.register(pair("one", 1), "lines")
        self.register(pair("two", 1), "lines")
        _, version = self.files("lines")
        self.cluster["registry"].stop()
        manifest = self.path("manifests", "lines")
        with open(manifest, "rb") as f:
            text = f.read()
        with open(manifest, "wb") as f:
            f.write(text.replace(b" one/b.proto", b" oNe/b.proto"))
        self.start()
        there, now = self.files("lines")
        self.assertEqual(set(there), {"one/a.proto", "two/a.proto", "two/b.proto"})
        self.assertGreater(now, version)
        stats = self.client("registry").daemon.GetStats(daemon_pb2.GetStatsRequest())
        self.assertTrue(any("manifests/lines" in p for p in stats.problems), stats.problems)
        self.register(pair("one", 1), "lines")
        self.restart("registry")
        self.assertEqual(len(self.files("lines")[0]), 4)
