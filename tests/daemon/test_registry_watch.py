"""Watch: what changed since, then every change, told together to whoever is slow."""

import threading

import grpc
from collector_testing import Code, CollectorTest, eventually, protos, registry_pb2 as rg
from google.protobuf import descriptor_pb2

WAIT_S = 60


class Watcher:
    """A stream of WatchResponse, and what a client makes of it: {namespace: {file: version}}."""

    def __init__(self, client, **fields):
        self.call = client.registry.Watch(rg.WatchRequest(**fields), timeout=WAIT_S)
        self.files = {}
        self.versions = {}
        self.messages = 0
        self._parts = {}

    def next(self):
        answer = next(self.call)
        self.messages += 1
        if answer.namespace:
            self._take(answer)
        return answer

    def _take(self, answer):
        changed, removed = self._parts.setdefault(answer.namespace, ([], []))
        changed += answer.changed_files
        removed += answer.removed_files
        if answer.more:
            assert answer.version == self.versions.get(answer.namespace, 0)
            return
        known = set() if answer.complete else self.files.get(answer.namespace, set())
        self.files[answer.namespace] = (known | set(changed)) - set(removed)
        self.versions[answer.namespace] = answer.version
        del self._parts[answer.namespace]

    def until_start(self):
        """Read up to the marker; the messages before it."""
        told = []
        while True:
            answer = self.next()
            if not answer.namespace:
                return told
            told.append(answer)

    def until(self, namespace, version):
        while self.versions.get(namespace, 0) < version:
            self.next()

    def cancel(self):
        self.call.cancel()


class Watch(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    def watch(self, **fields):
        watcher = Watcher(self.front, **fields)
        self.addCleanup(watcher.cancel)
        return watcher

    def put(self, namespace, sources, **fields):
        texts = {name: 'syntax = "proto3"; package t.v1;\n' + text
                 for name, text in sources.items()}
        files = [f for f in protos.compile_sources(texts).file if f.name in sources]
        return self.put_files(namespace, files, **fields)

    def put_files(self, namespace, files, **fields):
        return self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=namespace, files=descriptor_pb2.FileDescriptorSet(file=files),
            **fields)).namespace_version

    def remove(self, namespace, name):
        return self.front.registry.Unregister(rg.UnregisterRequest(
            namespace=namespace, file_name=name)).namespace_version

    def test_what_was_there_then_the_marker_then_what_comes(self):
        self.put("w-one", {"a.proto": "message A {}"})
        self.put("w-one", {"b.proto": "message B {}"})
        watcher = self.watch(namespaces=["w-one", "w-two"])
        told = watcher.until_start()
        self.assertEqual([(t.namespace, t.version, list(t.changed_files), t.complete)
                          for t in told], [("w-one", 2, ["a.proto", "b.proto"], True)])
        self.put("w-two", {"c.proto": "message C {}"})
        answer = watcher.next()
        self.assertEqual((answer.namespace, answer.version, list(answer.changed_files)),
                         ("w-two", 1, ["c.proto"]))
        self.put("w-one", {"a.proto": "message A { string s = 1; }"})
        answer = watcher.next()
        self.assertEqual(
            (answer.namespace, answer.version, list(answer.changed_files),
             list(answer.removed_files), answer.complete),
            ("w-one", 3, ["a.proto"], [], False))
        self.remove("w-one", "b.proto")
        answer = watcher.next()
        self.assertEqual((answer.version, list(answer.changed_files),
                          list(answer.removed_files)), (4, [], ["b.proto"]))
        # What is the same is no change, and other namespaces were not asked for.
        self.put("w-one", {"a.proto": "message A { string s = 1; }"})
        self.put("w-three", {"a.proto": "message A {}"})
        self.put("w-two", {"d.proto": "message D {}"})
        self.assertEqual(watcher.next().namespace, "w-two")

    def test_from_a_version_on(self):
        self.put("w-from", {"a.proto": "message A {}", "b.proto": "message B {}"})
        self.put("w-from", {"c.proto": "message C {}"})
        self.remove("w-from", "a.proto")
        self.put("w-from", {"b.proto": "message B { string s = 1; }"})
        told = self.watch(namespaces=["w-from"], known_versions={"w-from": 1}).until_start()
        self.assertEqual([(t.version, sorted(t.changed_files), list(t.removed_files), t.complete)
                          for t in told], [(4, ["b.proto", "c.proto"], ["a.proto"], False)])
        self.assertEqual(self.watch(namespaces=["w-from"], known_versions={
            "w-from": 4}).until_start(), [])
        # A version that never was, of a namespace that there is and of one that there is not.
        told = self.watch(namespaces=["w-from", "w-never"], known_versions={
            "w-from": 99, "w-never": 5}).until_start()
        self.assertEqual([(t.namespace, t.version, sorted(t.changed_files), t.complete)
                          for t in told],
                         [("w-from", 4, ["b.proto", "c.proto"], True), ("w-never", 0, [], True)])
        # Removals are remembered over a restart.
        self.restart("registry")
        told = self.watch(namespaces=["w-from"], known_versions={"w-from": 2}).until_start()
        self.assertEqual([(t.version, list(t.changed_files), list(t.removed_files))
                          for t in told], [(4, ["b.proto"], ["a.proto"])])

    def test_all_namespaces_also_those_to_come(self):
        watcher = self.watch()
        watcher.until_start()
        for i in range(5):
            self.put("w-new-%d" % i, {"a.proto": "message A {}"})
            watcher.until("w-new-%d" % i, 1)

    def test_with_descriptors_in_import_order(self):
        self.put("w-set", {"z.proto": "message Z {}",
                           "a.proto": 'import "z.proto"; message A { Z z = 1; }'})
        told = self.watch(namespaces=["w-set"], include_descriptors=True).until_start()
        self.assertEqual(list(told[0].changed_files), ["z.proto", "a.proto"])
        files = descriptor_pb2.FileDescriptorSet.FromString(told[0].file_descriptor_set).file
        self.assertEqual([f.name for f in files], ["z.proto", "a.proto"])
        self.assertEqual(files[1].message_type[0].field[0].type_name, ".t.v1.Z")

    def test_large_changes_come_in_parts(self):
        files = [descriptor_pb2.FileDescriptorProto(
            name="f%03d.proto" % i, package="big.p%d" % i, syntax="proto3") for i in range(40)]
        for f in files:
            f.source_code_info.location.add(leading_comments="x" * 100000)
        self.put_files("w-large", files)
        watcher = self.watch(namespaces=["w-large"], include_descriptors=True)
        told = watcher.until_start()
        self.assertGreater(len(told), 3)
        self.assertEqual([t.more for t in told], [True] * (len(told) - 1) + [False])
        self.assertEqual({t.complete for t in told}, {True})
        self.assertLess(max(len(t.file_descriptor_set) for t in told), 2 << 20)
        names = [n for t in told for n in t.changed_files]
        self.assertEqual(sorted(names), [f.name for f in files])
        self.assertEqual(watcher.versions["w-large"], 1)

    def test_who_does_not_read_is_told_together(self):
        """Larger messages than what connections take unread: the rest waits as a version."""
        rounds = 40

        def file(i):
            out = descriptor_pb2.FileDescriptorProto(
                name="a%d.proto" % i, package="slow.p%d" % i, syntax="proto3")
            out.source_code_info.location.add(leading_comments="x" * 200000)
            return out

        self.put_files("w-slow", [file(0)])
        slow, fast = [self.watch(namespaces=["w-slow"], include_descriptors=True)
                      for _ in range(2)]
        for watcher in (slow, fast):
            watcher.until_start()
        before = slow.messages
        for i in range(1, rounds):
            version = self.put_files("w-slow", [file(i)])
            fast.until("w-slow", version)
        version = self.remove("w-slow", "a0.proto")
        for watcher in (fast, slow):
            watcher.until("w-slow", version)
            self.assertEqual(watcher.files["w-slow"],
                             {"a%d.proto" % i for i in range(1, rounds)})
        self.assertLess(slow.messages - before, rounds)

    def test_many_watchers_see_the_same(self):
        watchers = [self.watch(namespaces=["w-many"]) for _ in range(20)]
        for watcher in watchers:
            watcher.until_start()

        def write(writer):
            for i in range(10):
                self.put_files("w-many", [descriptor_pb2.FileDescriptorProto(
                    name="w%d/f%d.proto" % (writer, i), package="w%d.f%d" % (writer, i),
                    syntax="proto3")])
        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for writer in writers:
            writer.start()
        for watcher in watchers:
            watcher.until("w-many", 40)
            self.assertEqual(len(watcher.files["w-many"]), 40)
        for writer in writers:
            writer.join()

    def test_bad_requests(self):
        for fields in ({"namespaces": ["No!"]}, {"known_versions": {"No!": 1}},
                       {"namespaces": ["n%d" % i for i in range(5000)]}):
            with self.assertRpcError(Code.INVALID_ARGUMENT):
                Watcher(self.front, **fields).next()

    def test_the_number_of_watchers_is_bounded(self):
        client = self.client("registry")
        client.wait_serving()  # another test may just have started it again
        watchers = []

        def open_until_refused():
            while True:
                watcher = Watcher(client, namespaces=["w-none"])
                try:
                    watcher.next()
                except grpc.RpcError as error:
                    return error
                watchers.append(watcher)

        error = open_until_refused()
        self.assertEqual(error.code(), Code.RESOURCE_EXHAUSTED)
        self.assertGreater(len(watchers), 100)
        # Those who go make room.
        for watcher in watchers:
            watcher.cancel()

        def there_is_room():
            watcher = Watcher(client, namespaces=["w-none"])
            watcher.next()
            watcher.cancel()
            return True

        eventually(there_is_room, "a watch is taken again")

    def test_a_stopping_registry_ends_them(self):
        watcher = Watcher(self.client("registry"))
        watcher.until_start()
        self.cluster["registry"].signal_stop()
        with self.assertRpcError(Code.UNAVAILABLE):
            while True:
                watcher.next()
        self.assertEqual(self.cluster["registry"].wait_stopped(), 0)
        self.cluster["registry"].start()
        self.wait_back("registry")
