"""Files of collections: streams, ranges, directories, records, quotas, crashes, abuse."""

import hashlib
import os
import random
import resource
import threading

import grpc
from collector_testing import (
    Client, Code, CollectorTest, collection_pb2, collection_repo_pb2, collection_server_pb2 as cs,
    common_pb2, eventually, protos)
from daemons import ctl

ORDER = "shop.v1.Order"
MIB = 1 << 20


def chunks(content, size=MIB):
    return [content[i:i + size] for i in range(0, len(content), size)]


class Files(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Order = protos.shop().message(ORDER)
        cls.front.register(protos.shop())
        cls._made = 0

    def collection(self, **fields):
        type(self)._made += 1
        name = "files-%d" % self._made
        self.front.create_collection(name, ORDER, **fields)
        return name

    def record(self, collection, record_id):
        self.front.create(collection, self.Order(number=record_id), record_id)

    def put(self, collection, path, content, client=None, size=MIB, **header):
        def parts():
            yield cs.PutFileRequest(header=cs.PutFileRequest.Header(
                collection_name=collection, path=path, **header))
            for chunk in chunks(content, size):
                yield cs.PutFileRequest(chunk=chunk)
        return (client or self.front).records.PutFile(parts())

    def get(self, collection="", path="", client=None, **fields):
        """The header of GetFile and all bytes that came."""
        answer = (client or self.front).records.GetFile(cs.GetFileRequest(
            collection_name=collection, path=path, **fields))
        header, content = None, []
        for part in answer:
            if part.WhichOneof("part") == "header":
                self.assertIsNone(header)
                header = part.header
            else:
                self.assertLessEqual(len(part.chunk), MIB)
                content.append(part.chunk)
        return header, b"".join(content)

    def list(self, collection, **fields):
        return self.front.records.ListFiles(cs.ListFilesRequest(
            collection_name=collection, **fields))

    def paths(self, collection, **fields):
        return [f.path for f in self.list(collection, **fields).files]

    def delete(self, collection, path, **fields):
        return self.front.records.DeleteFile(cs.DeleteFileRequest(
            collection_name=collection, path=path, **fields)).files_deleted

    def describe(self, collection):
        return self.front.records.Describe(cs.DescribeRequest(collection_name=collection))

    def on_disk(self, collection):
        """The names of the collection's files on the disk."""
        root = os.path.join(self.cluster.data, "repo", "ns", "default", collection)
        found = []
        for incarnation in os.listdir(root):
            files = os.path.join(root, incarnation, "files")
            if os.path.isdir(files):
                found += os.listdir(files)
        return found


class OneFile(Files):
    def test_sizes_come_back_byte_for_byte(self):
        name = self.collection()
        rng = random.Random(1)
        for size in (0, 1, 1000, MIB - 1, MIB, MIB + 1, 5 * MIB + 17):
            content = rng.randbytes(size)
            stored = self.put(name, "a/b.bin", content, size=rng.choice((MIB, 65536, 999983)))
            self.assertEqual(stored.status.code, common_pb2.Status.OK)
            self.assertEqual(stored.file.size_bytes, size)
            self.assertEqual(stored.file.sha256, hashlib.sha256(content).digest())
            self.assertEqual(stored.file.data_uri, "collector://default/%s//a/b.bin" % name)
            header, got = self.get(name, "a/b.bin")
            self.assertEqual(got, content)
            self.assertEqual(header.file, stored.file)
            self.assertEqual((header.offset, header.length), (0, size))
        self.assertEqual(self.paths(name), ["a/b.bin"])
        self.assertEqual(len(self.on_disk(name)), 1)

    def test_ranges(self):
        name = self.collection()
        content = random.Random(2).randbytes(3 * MIB + 5)
        self.put(name, "f", content)
        for offset, length in ((0, 1), (1, 0), (7, 100), (MIB - 1, 2), (MIB, MIB),
                               (len(content) - 1, 0), (len(content), 0), (5, 1 << 40)):
            header, got = self.get(name, "f", offset=offset, length=length)
            wanted = content[offset:offset + length] if length else content[offset:]
            self.assertEqual(got, wanted, (offset, length))
            self.assertEqual((header.offset, header.length), (offset, len(wanted)))
            self.assertEqual(header.file.size_bytes, len(content))
        with self.assertRpcError(Code.OUT_OF_RANGE):
            self.get(name, "f", offset=len(content) + 1)
        for fields in ({"offset": -1}, {"length": -1}):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.get(name, "f", **fields)
            self.assertBlames(expected.error, list(fields)[0])

    def test_what_is_not_there(self):
        name = self.collection()
        with self.assertRpcError(Code.NOT_FOUND, text="nobody"):
            self.get(name, "nobody")
        with self.assertRpcError(Code.NOT_FOUND):
            self.get("no-such", "f")
        with self.assertRpcError(Code.NOT_FOUND):
            self.put("no-such", "f", b"x")
        self.assertEqual(self.delete(name, "nobody"), 0)
        with self.assertRpcError(Code.NOT_FOUND):
            self.delete(name, "nobody", must_exist=True)

    def test_replacing_keeps_the_time_of_creation(self):
        name = self.collection()
        first = self.put(name, "f", b"one").file
        second = self.put(name, "f", b"two, longer").file
        self.assertEqual(second.metadata.created_at, first.metadata.created_at)
        self.assertGreater(second.metadata.updated_at.ToNanoseconds(),
                           first.metadata.updated_at.ToNanoseconds())
        with self.assertRpcError(Code.ALREADY_EXISTS):
            self.put(name, "f", b"three", must_not_exist=True)
        self.assertEqual(self.get(name, "f")[1], b"two, longer")
        described = self.describe(name)
        self.assertEqual((described.file_count, described.file_bytes), (1, 11))
        self.assertEqual(described.storage_size_bytes,
                         described.database_bytes + described.wal_bytes + 11)
        self.assertEqual(len(self.on_disk(name)), 1)

    def test_a_checksum_that_does_not_fit(self):
        name = self.collection()
        digest = hashlib.sha256(b"content").digest()
        self.put(name, "f", b"content", sha256=digest)
        with self.assertRpcError(Code.DATA_LOSS):
            self.put(name, "f", b"c0ntent", sha256=digest)
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.put(name, "f", b"content", sha256=b"short")
        self.assertBlames(expected.error, "sha256")
        self.assertEqual(self.get(name, "f")[1], b"content")
        self.assertEqual(len(self.on_disk(name)), 1)

    def test_damage_is_told_before_the_end(self):
        name = self.collection()
        self.put(name, "f", b"x" * (MIB + 10))
        root = os.path.join(self.cluster.data, "repo", "ns", "default", name)
        incarnation = os.path.join(root, os.listdir(root)[0], "files")
        with open(os.path.join(incarnation, os.listdir(incarnation)[0]), "r+b") as f:
            f.seek(MIB)
            f.write(b"y")
        with self.assertRpcError(Code.DATA_LOSS):
            self.get(name, "f")
        # A range is not checked.
        self.assertEqual(self.get(name, "f", offset=MIB, length=2)[1], b"yx")
        os.truncate(os.path.join(incarnation, os.listdir(incarnation)[0]), 5)
        with self.assertRpcError(Code.DATA_LOSS):
            self.get(name, "f", offset=MIB, length=2)

    def test_bad_paths_and_names(self):
        name = self.collection()
        for path in ("", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\nb", "x" * 513,
                     "/".join(["d"] * 33)):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.put(name, path, b"x")
            self.assertBlames(expected.error, "path")
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.get(name, path)
        for path in ("a b", "é漢", "..a", "%2e%2e", "'; --", '"', "x" * 512):
            self.put(name, path, path.encode())
            header, content = self.get(name, path)
            self.assertEqual(content, path.encode())
            self.assertEqual(self.get(data_uri=header.file.data_uri)[1], content)
        for ns in ("..", "A", "system/x"):
            with self.assertRpcError(Code.INVALID_ARGUMENT):
                self.put(name, "f", b"x", namespace=ns)

    def test_a_path_is_a_file_or_a_directory(self):
        name = self.collection()
        self.put(name, "a/b", b"x")
        for path in ("a", "a/b/c", "a/b/c/d"):
            with self.assertRpcError(Code.FAILED_PRECONDITION):
                self.put(name, path, b"y")
        self.put(name, "a!", b"beside")
        self.put(name, "a0", b"beside")
        self.assertEqual(self.paths(name), ["a!", "a/b", "a0"])
        self.assertEqual(self.delete(name, "a", recursive=True), 1)
        self.put(name, "a", b"now a file")
        self.assertEqual(self.paths(name), ["a", "a!", "a0"])

    def test_the_order_of_messages(self):
        name = self.collection()
        header = cs.PutFileRequest(header=cs.PutFileRequest.Header(collection_name=name, path="f"))
        for messages in ([], [cs.PutFileRequest(chunk=b"x")], [header, header],
                         [header, cs.PutFileRequest()],
                         [header, cs.PutFileRequest(chunk=b"x" * (MIB + 1))]):
            with self.assertRpcError(Code.INVALID_ARGUMENT):
                self.front.records.PutFile(iter(messages))
        self.assertEqual(self.paths(name), [])
        eventually(lambda: not self.on_disk(name), "nothing is left of them")

    def test_namespace_system_is_not_written_by_others(self):
        with self.assertRpcError(Code.PERMISSION_DENIED):
            self.put("collections", "f", b"x", namespace="system")
        with self.assertRpcError(Code.PERMISSION_DENIED):
            self.front.records.DeleteFile(cs.DeleteFileRequest(
                namespace="system", collection_name="collections", path="f"))


class Lists(Files):
    def test_pages_prefixes_and_records(self):
        name = self.collection()
        self.record(name, "r1")
        self.record(name, "r/2")
        wanted = ["d%d/f%02d" % (d, f) for d in range(3) for f in range(10)]
        for path in random.Random(3).sample(wanted, len(wanted)):
            self.put(name, path, path.encode())
        self.put(name, "mine", b"1", record_id="r1")
        self.put(name, "mine", b"2", record_id="r/2")
        seen, token = [], ""
        while True:
            page = self.list(name, page_size=7, page_token=token)
            seen += [f.path for f in page.files]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(seen, wanted)
        self.assertEqual(self.paths(name, prefix="d1/"), wanted[10:20])
        self.assertEqual(self.paths(name, prefix="d1/f0"), wanted[10:20])
        self.assertEqual(self.paths(name, prefix="d1/f03"), ["d1/f03"])
        self.assertEqual(self.paths(name, prefix="x"), [])
        self.assertEqual(self.paths(name, record_id="r1"), ["mine"])
        everything, token = [], ""
        while True:
            page = self.list(name, all_records=True, page_size=3, page_token=token)
            everything += [(f.record_id, f.path) for f in page.files]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(everything, [("", p) for p in wanted] + [("r/2", "mine"), ("r1", "mine")])

    def test_tokens_belong_to_their_query(self):
        name = self.collection()
        for i in range(3):
            self.put(name, "f%d" % i, b"")
        token = self.list(name, page_size=1).next_page_token
        self.assertEqual(self.paths(name, page_token=token), ["f1", "f2"])
        for fields in ({"prefix": "f"}, {"all_records": True}):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.list(name, page_token=token, **fields)
            self.assertBlames(expected.error, "page_token")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.list(name, page_size=-1)
        self.assertBlames(expected.error, "page_size")


class Records(Files):
    def test_files_of_a_record(self):
        name = self.collection()
        with self.assertRpcError(Code.NOT_FOUND, text="a b/c"):
            self.put(name, "f", b"x", record_id="a b/c")
        self.assertEqual(self.on_disk(name), [])
        self.record(name, "a b/c")
        etag = self.front.get(name, "a b/c").info.etag
        stored = self.put(name, "photo.jpg", b"jpeg", record_id="a b/c")
        self.assertEqual(stored.file.data_uri,
                         "collector://default/%s/a%%20b%%2Fc/photo.jpg" % name)
        self.assertEqual(self.front.get(name, "a b/c").info.etag, etag)
        self.assertEqual(self.get(data_uri=stored.file.data_uri)[1], b"jpeg")
        # The same path of the collection itself is another file.
        with self.assertRpcError(Code.NOT_FOUND):
            self.get(name, "photo.jpg")
        for uri in ("http://x", "collector://", "collector://default/%s" % name,
                    "collector://default/%s/%%zz/f" % name):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.get(data_uri=uri)
            self.assertBlames(expected.error, "data_uri")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.get(name, "photo.jpg", data_uri=stored.file.data_uri)

    def test_a_file_becomes_the_data_uri(self):
        name = self.collection()
        self.record(name, "r")
        before = self.front.get(name, "r")
        stored = self.put(name, "f", b"x", record_id="r", set_data_uri=True)
        after = self.front.get(name, "r")
        self.assertEqual(after.info.data_uri, stored.file.data_uri)
        self.assertEqual(after.info.etag, stored.etag)
        self.assertNotEqual(after.info.etag, before.info.etag)
        self.assertEqual(after.item, before.item)
        self.assertEqual(after.info.metadata.created_at, before.info.metadata.created_at)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.put(name, "f", b"x", set_data_uri=True)
        # Both or neither.
        with self.assertRpcError(Code.ALREADY_EXISTS):
            self.put(name, "f", b"y", record_id="r", set_data_uri=True, must_not_exist=True)
        self.assertEqual(self.front.get(name, "r").info.etag, stored.etag)
        with self.assertRpcError(Code.NOT_FOUND):
            self.put(name, "f", b"y", record_id="nobody", set_data_uri=True)

    def test_deleted_with_the_record_when_asked(self):
        name = self.collection()
        for record_id in ("r1", "r2", "r3"):
            self.record(name, record_id)
            for path in ("f", "d/g"):
                self.put(name, path, b"12345", record_id=record_id)
        self.put(name, "f", b"1")
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="r1"))
        self.assertEqual(self.get(name, "f", record_id="r1")[1], b"12345")
        self.front.records.Delete(cs.DeleteRequest(
            collection_name=name, id="r2", delete_files=True))
        with self.assertRpcError(Code.NOT_FOUND):
            self.get(name, "f", record_id="r2")
        self.assertEqual(self.paths(name, record_id="r2"), [])
        self.assertEqual(self.paths(name, record_id="r3"), ["d/g", "f"])
        described = self.describe(name)
        self.assertEqual((described.file_count, described.file_bytes), (5, 21))
        eventually(lambda: len(self.on_disk(name)) == 5, "the bytes are gone")
        # A delete that is refused deletes no files.
        with self.assertRpcError(Code.ABORTED):
            self.front.records.Delete(cs.DeleteRequest(
                collection_name=name, id="r3", etag="r0", delete_files=True))
        self.assertEqual(self.paths(name, record_id="r3"), ["d/g", "f"])
        # Also of a record that is gone, and in a batch.
        self.front.records.Batch(cs.BatchRequest(collection_name=name, operations=[
            cs.RequestOp(delete=cs.DeleteRequest(id="r1", delete_files=True)),
            cs.RequestOp(delete=cs.DeleteRequest(id="r3", delete_files=True))]))
        self.assertEqual(self.paths(name, all_records=True), ["f"])
        eventually(lambda: len(self.on_disk(name)) == 1, "the bytes are gone")


class Directories(Files):
    def directory(self, spec, name=""):
        """{"name": b"content" or "uri" or {...}} as a CollectionDir."""
        result = collection_pb2.CollectionDir(name=name)
        for key, value in spec.items():
            if isinstance(value, dict):
                result.subdirs[key].CopyFrom(self.directory(value, key))
            elif isinstance(value, bytes):
                result.files[key].CopyFrom(collection_pb2.CollectionData(name=key, data=value))
            else:
                result.files[key].CopyFrom(collection_pb2.CollectionData(name=key, uri=value))
        return result

    def put_dir(self, collection, path, spec, **fields):
        return self.front.records.PutDir(cs.PutDirRequest(
            collection_name=collection, path=path, dir=self.directory(spec), **fields))

    def get_dir(self, collection="", path="", **fields):
        return self.front.records.GetDir(cs.GetDirRequest(
            collection_name=collection, path=path, **fields)).dir

    def test_a_tree_comes_back(self):
        name = self.collection()
        spec = {"README": b"read me", "empty": {}, "src": {
            "a.c": b"int a;", "lib": {"b.c": b"", "deep": {"er": {"c": b"c"}}}, "a": {"x": b"1"},
            "a-b": b"2"}, "elsewhere": "https://example.org/x"}
        stored = self.put_dir(name, "", spec)
        self.assertEqual((stored.files_stored, stored.files_removed), (7, 0))
        self.assertEqual(self.get_dir(name), self.directory(spec))
        self.assertEqual(self.get_dir(name, "src/lib"), self.directory(spec["src"]["lib"], "lib"))
        self.assertEqual(self.get_dir(name, "empty"), self.directory({}, "empty"))
        self.assertEqual(self.get(name, "src/lib/deep/er/c")[1], b"c")
        self.assertEqual(self.paths(name), sorted(
            ["README", "src/a.c", "src/lib/b.c", "src/lib/deep/er/c", "src/a/x", "src/a-b",
             "elsewhere"]))
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="https://example.org/x"):
            self.get(name, "elsewhere")
        with self.assertRpcError(Code.NOT_FOUND):
            self.get_dir(name, "nowhere")
        uris = self.get_dir(name, "src/a", uris_only=True)
        self.assertEqual(self.get(data_uri=uris.files["x"].uri)[1], b"1")
        self.assertEqual(
            self.get_dir(data_uri="collector://default/%s//src/a" % name),
            self.directory(spec["src"]["a"], "a"))

    def test_replaced_or_merged(self):
        name = self.collection()
        self.put(name, "beside", b"stays")
        self.put_dir(name, "d", {"a": b"1", "b": b"2", "s": {"c": b"3"}})
        stored = self.put_dir(name, "d", {"b": b"new", "e": b"4"}, merge=True)
        self.assertEqual((stored.files_stored, stored.files_removed), (2, 1))
        self.assertEqual(self.paths(name), ["beside", "d/a", "d/b", "d/e", "d/s/c"])
        stored = self.put_dir(name, "d", {"only": b"5"})
        self.assertEqual((stored.files_stored, stored.files_removed), (1, 4))
        self.assertEqual(self.paths(name), ["beside", "d/only"])
        self.assertEqual(len(self.on_disk(name)), 2)
        self.put_dir(name, "d", {})
        self.assertEqual(self.get_dir(name, "d"), self.directory({}, "d"))
        self.assertEqual(self.paths(name), ["beside"])

    def test_all_or_nothing(self):
        name = self.collection()
        self.put(name, "d/x", b"old")
        self.put(name, "file", b"f")
        for path, spec in (("d", {"a": b"1", "b/c": b"2"}), ("d", {"a": b"1", "..": b"2"}),
                           ("d", {"a": b"1", "n": {"": b"2"}}), ("d", {"a": b"1", "u": ""}),
                           ("d", {"n%d" % i: b"" for i in range(1001)})):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.put_dir(name, path, spec)
            self.assertBlames(expected.error, "dir")
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.put_dir(name, "file", {"a": b"1"})
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.put_dir(name, "", {"z": b"1", "d": b"a file"}, merge=True)
        with self.assertRpcError(Code.NOT_FOUND):
            self.put_dir(name, "d", {"a": b"1"}, record_id="nobody")
        self.assertEqual(self.paths(name), ["d/x", "file"])
        self.assertEqual(self.get(name, "d/x")[1], b"old")
        self.assertEqual(len(self.on_disk(name)), 2)

    def test_too_much_to_get(self):
        name = self.collection()
        self.put(name, "d/a", b"x" * (2 * MIB))
        self.put(name, "d/b", b"y" * (2 * MIB))
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.get_dir(name, "d")
        self.assertEqual(len(self.get_dir(name, "d", max_bytes=5 * MIB).files["b"].data), 2 * MIB)
        self.assertEqual(set(self.get_dir(name, "d", uris_only=True).files), {"a", "b"})
        for max_bytes in (-1, 16 * MIB):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.get_dir(name, "d", max_bytes=max_bytes)
            self.assertBlames(expected.error, "max_bytes")

    def test_readers_see_one_version_or_the_other(self):
        name = self.collection()
        versions = [{"f%d" % i: b"%d" % v for i in range(5)} for v in range(2)]
        self.put_dir(name, "d", versions[0])
        stop = threading.Event()
        seen = []

        def read():
            while not stop.is_set():
                got = self.get_dir(name, "d")
                seen.append({k: v.data for k, v in got.files.items()})

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for i in range(20):
            self.put_dir(name, "d", versions[i % 2])
        stop.set()
        for reader in readers:
            reader.join()
        self.assertTrue(seen)
        for got in seen:
            self.assertIn(got, versions)


class Quotas(Files):
    def quota(self, **limits):
        return self.collection(quota=collection_pb2.CollectionQuota(**limits))

    def test_of_files(self):
        name = self.quota(max_files=2, max_file_bytes=100)
        self.put(name, "a", b"x" * 60)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="quota"):
            self.put(name, "b", b"x" * 41)
        self.put(name, "b", b"x" * 40)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="quota"):
            self.put(name, "c", b"")
        self.assertEqual(len(self.on_disk(name)), 2)
        # What makes less of it is fine, and what replaces.
        self.put(name, "a", b"x" * 60)
        self.put(name, "a", b"x" * 10)
        self.delete(name, "b")
        self.put(name, "c", b"x" * 90)
        described = self.describe(name)
        self.assertEqual((described.file_count, described.file_bytes), (2, 100))
        self.assertEqual(described.collection_definition.quota.max_files, 2)

    def test_of_records(self):
        name = self.quota(max_records=2, max_record_bytes=1000)
        self.front.create(name, self.Order(note="x" * 400), "a")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="quota"):
            self.front.create(name, self.Order(note="x" * 700), "b")
        self.front.create(name, self.Order(note="x" * 400), "b")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="quota"):
            self.front.create(name, self.Order(), "c")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="quota"):
            self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id="a", item=protos.pack(self.Order(note="x" * 900))))
        self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="a", item=protos.pack(self.Order(note="x" * 10))))
        described = self.describe(name)
        self.assertEqual(described.record_count, 2)
        self.assertEqual(described.record_bytes, sum(
            len(self.front.get(name, i).item.value) for i in "ab"))
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="b"))
        self.front.create(name, self.Order(), "c")
        for bad in ({"max_files": -1}, {"max_records": -5}):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.quota(**bad)
            self.assertBlames(expected.error, "quota")


class Interrupted(Files):
    options = {"repo": ["--max-file-streams", "4", "--max-file-bytes", str(8 * MIB)]}

    def test_a_cancelled_upload_leaves_nothing(self):
        name = self.collection()
        sent, go_on = threading.Event(), threading.Event()

        def parts():
            yield cs.PutFileRequest(header=cs.PutFileRequest.Header(
                collection_name=name, path="f"))
            for _ in range(3):
                yield cs.PutFileRequest(chunk=b"x" * MIB)
            sent.set()
            go_on.wait(60)

        call = self.front.records.PutFile.future(parts(), timeout=60)
        self.assertTrue(sent.wait(60))
        eventually(lambda: self.on_disk(name), "it has begun")
        call.cancel()
        go_on.set()
        eventually(lambda: not self.on_disk(name), "it is gone")
        self.assertEqual(self.paths(name), [])

    def test_a_killed_repo_keeps_what_it_acknowledged_and_nothing_else(self):
        name = self.collection()
        self.put(name, "kept", b"k" * (2 * MIB))
        sent, go_on = threading.Event(), threading.Event()

        def parts():
            yield cs.PutFileRequest(header=cs.PutFileRequest.Header(
                collection_name=name, path="lost"))
            yield cs.PutFileRequest(chunk=b"x" * MIB)
            sent.set()
            go_on.wait(60)

        call = self.front.records.PutFile.future(parts(), timeout=60)
        self.assertTrue(sent.wait(60))
        eventually(lambda: len(self.on_disk(name)) == 2, "it has begun")
        self.restart("repo")
        go_on.set()
        self.assertNotEqual(call.code(), Code.OK)
        self.assertEqual(self.paths(name), ["kept"])
        self.assertEqual(self.get(name, "kept")[1], b"k" * (2 * MIB))
        self.assertEqual(len(self.on_disk(name)), 1)

    def test_streams_are_bounded_and_a_stalled_client_holds_no_thread(self):
        name = self.collection()
        self.put(name, "f", b"x" * (8 * MIB))
        client = Client(self.cluster.address("dispatcher"))
        self.addCleanup(client.close)
        # They take the header and then nothing.
        stalled = []
        for _ in range(4):
            call = client.records.GetFile(
                cs.GetFileRequest(collection_name=name, path="f"), timeout=120)
            next(call)
            stalled.append(call)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.get(name, "f")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.put(name, "g", b"x")
        # More than the pool has threads are stalled, all else goes on.
        self.record(name, "r")
        self.assertEqual(self.list(name).files[0].path, "f")
        stalled.pop().cancel()
        eventually(lambda: self.put(name, "g", b"x"), "there is room again")
        # Who goes on reading gets all of it.
        rest = b"".join(part.chunk for part in stalled.pop())
        self.assertEqual(rest, b"x" * (8 * MIB))
        for call in stalled:
            call.cancel()

    def test_a_file_may_be_replaced_while_it_is_read(self):
        name = self.collection()
        self.put(name, "f", b"1" * (8 * MIB))
        answer = self.front.records.GetFile(cs.GetFileRequest(collection_name=name, path="f"))
        next(answer)
        self.put(name, "f", b"2" * (8 * MIB))
        self.assertEqual(b"".join(part.chunk for part in answer), b"1" * (8 * MIB))
        self.assertEqual(self.get(name, "f")[1], b"2" * (8 * MIB))
        eventually(lambda: len(self.on_disk(name)) == 1, "the old bytes are gone")

    def test_a_file_over_the_limit(self):
        name = self.collection()
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.put(name, "f", b"x" * (8 * MIB + 1))
        eventually(lambda: not self.on_disk(name), "it is gone")

    def test_many_at_once(self):
        name = self.collection()
        contents = {"f%d" % i: random.Random(i).randbytes(300000 + i) for i in range(24)}

        def put_and_get(path, content):
            # Four at a time fit.
            eventually(lambda: self.put(name, path, content), "stored")
            eventually(lambda: self.get(name, path)[1] == content, "comes back")

        threads = [threading.Thread(target=put_and_get, args=item) for item in contents.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({f.path: f.sha256 for f in self.list(name).files},
                         {p: hashlib.sha256(c).digest() for p, c in contents.items()})

    def test_a_deleted_collection_takes_its_files_along(self):
        name = self.collection()
        self.put(name, "f", b"x")
        self.front.repo.DeleteCollection(collection_repo_pb2.DeleteCollectionRequest(
            collection=common_pb2.NamespacedName(name=name)))
        root = os.path.join(self.cluster.data, "repo", "ns", "default", name)
        eventually(lambda: not os.path.isdir(root) or not os.listdir(root), "it is gone")
        self.front.create_collection(name, ORDER)
        self.assertEqual(self.paths(name), [])


class Stalled(Files):
    options = {"repo": ["--max-file-streams", "2", "--file-stall-seconds", "1"]}

    def test_a_stalled_stream_gives_its_place(self):
        name = self.collection()
        self.put(name, "f", b"x" * (32 * MIB))
        client = Client(self.cluster.address("dispatcher"))
        self.addCleanup(client.close)
        download = client.records.GetFile(
            cs.GetFileRequest(collection_name=name, path="f"), timeout=120)
        next(download)
        go_on = threading.Event()

        def parts():
            yield cs.PutFileRequest(header=cs.PutFileRequest.Header(
                collection_name=name, path="g"))
            yield cs.PutFileRequest(chunk=b"1")
            go_on.wait(60)
            yield cs.PutFileRequest(chunk=b"2")

        upload = self.front.records.PutFile.future(parts(), timeout=120)
        eventually(lambda: len(self.on_disk(name)) == 2, "the upload has begun")

        def open_another():
            call = client.records.GetFile(
                cs.GetFileRequest(collection_name=name, path="f"), timeout=120)
            next(call)
            return call

        # Both places are taken; the two that stand still lose theirs to two others.
        others = [eventually(open_another, "there is a place") for _ in range(2)]
        go_on.set()
        self.assertEqual(upload.code(), Code.RESOURCE_EXHAUSTED)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            for _ in download:
                pass
        for call in others:
            call.cancel()
        self.assertEqual(self.paths(name), ["f"])
        eventually(lambda: len(self.on_disk(name)) == 1, "nothing is left of the upload")


class NoSpace(Files):
    def limit_file_size(self, size):
        """As on a full disk: no file of the repo may grow beyond size."""
        pid = self.cluster["repo"].process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    def test_without_space_nothing_changes(self):
        name = self.collection()
        self.put(name, "f", b"old")
        self.addCleanup(self.limit_file_size, None)
        self.limit_file_size(3 * MIB)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.put(name, "f", b"x" * (5 * MIB))
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.front.records.PutDir(cs.PutDirRequest(
                collection_name=name, path="d", dir=collection_pb2.CollectionDir(files={
                    "small": collection_pb2.CollectionData(data=b"s"),
                    "large": collection_pb2.CollectionData(data=b"x" * (5 * MIB))})))
        self.put(name, "small", b"fits")
        self.assertEqual(len(self.on_disk(name)), 2)
        # The bytes fit, the row does not.
        root = os.path.join(self.cluster.data, "repo", "ns", "default", name)
        log = os.path.join(root, os.listdir(root)[0], "collection.db-wal")
        self.limit_file_size(os.path.getsize(log))
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="full"):
            self.put(name, "f", b"new")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="full"):
            self.put(name, "another", b"new")
        self.assertEqual(self.get(name, "f")[1], b"old")
        self.limit_file_size(None)
        self.put(name, "f", b"new")
        self.assertEqual(self.paths(name), ["f", "small"])
        self.restart("repo")
        self.assertEqual(self.get(name, "f")[1], b"new")
        self.assertEqual(len(self.on_disk(name)), 2)


class CommandLine(Files):
    def run_ctl(self, *arguments, **options):
        code, out, err = ctl(self.cluster, *arguments, **options)
        self.assertEqual(code, 0, err)
        return out

    def test_put_list_get_delete(self):
        name = self.collection()
        content = random.Random(5).randbytes(3 * MIB + 1)
        local = os.path.join(self.cluster.directory, "local.bin")
        with open(local, "wb") as f:
            f.write(content)
        uri = self.run_ctl("file", "put", name, "d/f.bin", local).strip()
        self.assertEqual(uri, "collector://default/%s//d/f.bin" % name)
        self.record(name, "r")
        self.run_ctl("file", "put", name, "note", "-", "--record", "r", "--data-uri",
                     stdin="hello")
        self.assertEqual(self.front.get(name, "r").info.data_uri,
                         "collector://default/%s/r/note" % name)
        listed = self.run_ctl("file", "list", name, "--all-records")
        self.assertIn("d/f.bin", listed)
        self.assertIn("note", listed)
        fetched = os.path.join(self.cluster.directory, "fetched.bin")
        self.run_ctl("file", "get", name, "d/f.bin", "--to", fetched)
        with open(fetched, "rb") as f:
            self.assertEqual(f.read(), content)
        self.run_ctl("file", "get", uri, "--offset", "5", "--length", "100", "--to", fetched)
        with open(fetched, "rb") as f:
            self.assertEqual(f.read(), content[5:105])
        self.assertEqual(self.run_ctl("file", "get", name, "note", "--record", "r"), "hello")
        code, _, err = ctl(self.cluster, "file", "put", name, "d/f.bin", local, "--new")
        self.assertEqual(code, 64 + Code.ALREADY_EXISTS.value[0], err)
        code, _, err = ctl(self.cluster, "file", "get", name, "nobody", "--to", fetched + "2")
        self.assertEqual(code, 64 + Code.NOT_FOUND.value[0], err)
        self.assertFalse([f for f in os.listdir(self.cluster.directory) if "fetched.bin2" in f])
        self.assertIn("1 deleted", self.run_ctl("file", "delete", name, "d", "--recursive"))
        self.assertEqual(self.paths(name, all_records=True), ["note"])


del Files
