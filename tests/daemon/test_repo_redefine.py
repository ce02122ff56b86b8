"""Modify of what records are found by in space, and of how many there may be."""

import random
import threading

import grpc
from collector_testing import (
    Code, CollectorTest, collection_pb2, collection_server_pb2 as cs, eventually, json_format,
    protos, registry_pb2, struct_pb2)

DOC = "space.v1.Doc"
OLD = """message Doc {
  string title = 1;
  repeated float near = 2;
  Inner inner = 3;
}
message Inner { repeated float far = 1; }
"""
NEW = """message Doc {
  string title = 1;
  Inner inner = 3;
  string more = 4;
  reserved 2;
  reserved "near";
}
message Inner { repeated float far = 1; }
"""


def vector_of(field="near", dimensions=4, metric=collection_pb2.VECTOR_L2):
    return collection_pb2.VectorIndex(field=field, dimensions=dimensions, metric=metric)


class Redefined(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.types = protos.Types(protos.single_file("space/v1/doc.proto", OLD, "space.v1"))
        cls.front.register(cls.types)
        cls.Doc = cls.types.message(DOC)
        cls._made = 0

    def collection(self, **fields):
        type(self)._made += 1
        name = "space-%d" % self._made
        self.front.create_collection(name, DOC, **fields)
        return name

    def doc(self, rng, **fields):
        doc = self.Doc(title="t%d" % rng.randrange(9), near=[rng.uniform(-1, 1) for _ in range(4)])
        doc.inner.far.extend(rng.uniform(-1, 1) for _ in range(3))
        for name, value in fields.items():
            doc.ClearField(name)
            getattr(doc, name).extend(value)
        return doc

    def fill(self, name, count):
        rng = random.Random(count)
        docs = {"%05d" % i: self.doc(rng) for i in range(count)}
        items = list(docs.items())
        for start in range(0, count, 500):
            self.front.records.Batch(cs.BatchRequest(collection_name=name, operations=[
                cs.RequestOp(create=cs.CreateRequest(id=i, item=protos.pack(doc)))
                for i, doc in items[start:start + 500]]))
        return docs

    def modify(self, name, **fields):
        return self.front.records.Modify(
            cs.ModifyRequest(collection_name=name, **fields), timeout=60).collection

    def describe(self, name):
        return self.front.records.Describe(cs.DescribeRequest(collection_name=name))

    def built(self, name):
        def done():
            d = self.describe(name)
            return not d.HasField("build") and not d.collection_definition.building and d
        return eventually(done, "it is built")

    def create(self, name, doc, record_id):
        return self.front.create(name, doc, record_id)

    def nearest(self, name, vector, limit=5, **fields):
        return [r.info.id for r in self.front.records.Search(cs.SearchRequest(
            collection_name=name, vector=vector, limit=limit, **fields)).results]

    def assertNearest(self, name, vectors, by=lambda a, b: sum((x - y) ** 2 for x, y in zip(a, b))):
        """For some vectors: the same as by looking at all."""
        rng = random.Random(7)
        dimensions = len(next(iter(vectors.values())))
        self.assertEqual(self.describe(name).vector_count, len(vectors))
        for _ in range(5):
            wanted = [rng.uniform(-1, 1) for _ in range(dimensions)]
            best = sorted(vectors, key=lambda i: by(vectors[i], wanted))
            self.assertEqual(self.nearest(name, wanted), best[:5])


class Vectors(Redefined):
    def test_a_vector_where_there_was_none(self):
        name = self.collection()
        docs = self.fill(name, 1500)
        rng = random.Random(1)
        self.create(name, self.doc(rng, near=[]), "none")
        self.create(name, self.doc(rng, near=[1, 2, 3]), "short")
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="no vector"):
            self.nearest(name, [0] * 4)
        answer = self.modify(name, update_mask=["vector"], vector=vector_of())
        self.assertEqual(answer.vector, vector_of())
        self.assertEqual(self.built(name).collection_definition.vector, vector_of())
        self.assertNearest(name, {i: doc.near for i, doc in docs.items()})
        # A record that has another number of them stays, and is found by all the rest.
        self.assertEqual(len(protos.unpack(self.front.get(name, "short").item, self.Doc).near), 3)
        self.assertEqual(self.front.records.Search(cs.SearchRequest(
            collection_name=name, full_text="t*")).total_count, 1502)
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="near"):
            self.create(name, self.doc(rng, near=[1, 2, 3]), "another")
        # The same again is no change: nothing is built.
        self.assertFalse(self.modify(name, update_mask=["vector"], vector=vector_of()).building)

    def test_another_field_metric_and_none(self):
        name = self.collection(vector=vector_of())
        docs = self.fill(name, 700)
        self.assertNearest(name, {i: doc.near for i, doc in docs.items()})
        self.modify(name, update_mask=["vector"],
                    vector=vector_of("inner.far", 3, collection_pb2.VECTOR_DOT))
        self.built(name)
        self.assertNearest(name, {i: doc.inner.far for i, doc in docs.items()},
                           lambda a, b: -sum(x * y for x, y in zip(a, b)))
        # The metric alone: what is kept of a vector differs with it.
        self.modify(name, update_mask=["vector"], vector=vector_of("inner.far", 3))
        self.built(name)
        self.assertNearest(name, {i: doc.inner.far for i, doc in docs.items()})
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.nearest(name, [0] * 4)
        self.assertBlames(expected.error, "vector")
        self.assertFalse(self.modify(name, update_mask=["vector"]).HasField("vector"))
        self.assertEqual(self.built(name).vector_count, 0)
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="no vector"):
            self.nearest(name, [0] * 3)
        # What was kept apart is part of the document again.
        self.assertEqual(self.front.records.List(cs.ListRequest(
            collection_name=name, filter=json_format.ParseDict(
                {"near": {"exists": True}}, struct_pb2.Struct()))).total_count, 700)

    def test_what_is_no_vector(self):
        name = self.collection()
        for vector, blamed in ((vector_of("title"), "vector.field"),
                               (vector_of("nothing"), "vector.field"),
                               (vector_of(dimensions=0), "vector.dimensions"),
                               (vector_of(dimensions=4097), "vector.dimensions"),
                               (vector_of(metric=9), "vector.metric")):
            with self.subTest(blamed), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.modify(name, update_mask=["vector"], vector=vector)
            self.assertBlames(expected.error, blamed)
        self.assertFalse(self.describe(name).collection_definition.HasField("vector"))

    def test_writes_while_vectors_are_made(self):
        """Each record is found by the vector that it has, whenever it was written."""
        name = self.collection(vector=vector_of())
        docs = self.fill(name, 3000)
        stop, problems = threading.Event(), []

        def write(seed):
            rng = random.Random(seed)
            while not stop.is_set():
                record_id = "%05d" % (2 * rng.randrange(1500) + seed)
                doc = self.doc(rng)
                try:
                    self.front.records.Update(cs.UpdateRequest(
                        collection_name=name, id=record_id, item=protos.pack(doc)))
                except grpc.RpcError as error:
                    problems.append(error)
                docs[record_id] = doc

        writers = [threading.Thread(target=write, args=(seed,)) for seed in (0, 1)]
        for writer in writers:
            writer.start()
        try:
            for vector in (vector_of("inner.far", 3), vector_of(), vector_of("inner.far", 3)):
                self.modify(name, update_mask=["vector"], vector=vector)
                self.built(name)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        self.assertEqual(problems, [])
        self.built(name)
        self.assertNearest(name, {i: doc.inner.far for i, doc in docs.items()})

    def both(self, docs, wanted, limit=5):
        """The nearest by one field, and by the other."""
        def best(vectors):
            return sorted(vectors, key=lambda i: sum(
                (x - y) ** 2 for x, y in zip(vectors[i], wanted)))[:limit]
        return (best({i: doc.near for i, doc in docs.items()}),
                best({i: doc.inner.far for i, doc in docs.items()}))

    def fill_alike(self, name, count):
        """Both fields have four numbers, so that a search cannot tell which it goes by."""
        rng = random.Random(count)
        docs = {"%05d" % i: self.doc(rng) for i in range(count)}
        for doc in docs.values():
            doc.inner.far.append(rng.uniform(-1, 1))
        items = list(docs.items())
        for start in range(0, count, 1000):
            self.front.records.Batch(cs.BatchRequest(collection_name=name, operations=[
                cs.RequestOp(create=cs.CreateRequest(id=i, item=protos.pack(doc)))
                for i, doc in items[start:start + 1000]]))
        return docs

    def states(self, name):
        return [(v.index.field, v.state) for v in self.describe(name).vectors]

    def found_meanwhile(self, name, serving, coming, wanted):
        """A record that is written while others are collected, by those of before. False: too
        late, they are collected."""
        doc = self.Doc(title="here")
        other = [5] * 4
        doc.near.extend(wanted if serving == "near" else other)
        doc.inner.far.extend(wanted if serving == "inner.far" else other)
        self.create(name, doc, "here")
        found = self.nearest(name, wanted, limit=1)
        by_new = self.nearest(name, other, limit=1)
        described = self.describe(name)
        is_building = [(v.index.field, v.state) for v in described.vectors] == [
            (serving, cs.INDEX_READY), (coming, cs.INDEX_BUILDING)]
        if is_building:
            self.assertEqual(described.vectors[0].vector_count, 6001)
            self.assertEqual(described.vector_count, 6001)
            self.assertEqual(described.build.step, "vectors are collected")
            self.assertEqual(described.build.records_total, 6000)
            self.assertEqual(found, ["here"])
            self.assertNotEqual(by_new, ["here"])
        self.built(name)
        self.assertEqual(self.nearest(name, other, limit=1), ["here"])
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="here"))
        return is_building

    def test_what_is_written_meanwhile_is_in_both(self):
        name = self.collection(vector=vector_of())
        self.fill_alike(name, 6000)
        fields = ["near", "inner.far"]
        for _ in range(10):
            self.modify(name, update_mask=["vector"], vector=vector_of(fields[1]))
            if self.found_meanwhile(name, *fields, wanted=[0.1, -0.2, 0.3, -0.4]):
                return
            fields.reverse()
        self.fail("all are collected before anything can be written")

    def test_the_old_ones_serve_until_the_new_are_collected(self):
        """No search fails, none finds a part: the old ones, then at once the new ones."""
        name = self.collection(vector=vector_of())
        docs = self.fill_alike(name, 6000)
        wanted = [0.1, -0.2, 0.3, -0.4]
        old, new = self.both(docs, wanted)
        self.assertNotEqual(old, new)
        self.assertEqual(self.states(name), [("near", cs.INDEX_READY)])
        stop, answers, problems = threading.Event(), [], []

        def search():
            try:
                while not stop.is_set():
                    answers.append(self.nearest(name, wanted))
            except grpc.RpcError as error:
                problems.append(error)

        searchers = [threading.Thread(target=search) for _ in range(2)]
        for searcher in searchers:
            searcher.start()
        try:
            self.modify(name, update_mask=["vector"], vector=vector_of("inner.far"))
            self.built(name)
        finally:
            stop.set()
            for searcher in searchers:
                searcher.join()
        self.assertEqual(problems, [])
        self.assertEqual(self.states(name), [("inner.far", cs.INDEX_READY)])
        answers += [self.nearest(name, wanted)] * 3
        self.assertEqual([a for a in answers if a not in (old, new)], [])
        # Two searchers: what one is told may be noted after the other's.
        self.assertEqual(answers[0], old)
        self.assertNotIn(old, answers[answers.index(new) + 2:])

    def test_a_kill_while_vectors_are_made(self):
        name = self.collection(vector=vector_of())
        docs = self.fill_alike(name, 6000)
        wanted = [0.4, 0.3, -0.2, -0.1]
        old, new = self.both(docs, wanted)
        self.modify(name, update_mask=["vector", "indexed_fields"], indexed_fields=["title"],
                    vector=vector_of("inner.far"))
        was_new = False
        for _ in range(5):
            self.restart("repo")
            found = self.nearest(name, wanted)
            was_new = was_new or found == new
            self.assertEqual(found, new if was_new else old)
        self.built(name)
        self.assertEqual(self.nearest(name, wanted), new)
        self.assertNearest(name, {i: doc.inner.far for i, doc in docs.items()})

    def test_a_version_of_the_type_without_the_field(self):
        types = protos.Types(protos.single_file(
            "space/v2/doc.proto", OLD, "space.v2"))
        self.front.register(types)
        self.front.create_collection("versions", "space.v2.Doc", vector=vector_of())
        doc = types.message("space.v2.Doc")(title="t", near=[1, 2, 3, 4])
        self.create("versions", doc, "1")
        # The registry warns of it; the repo must not rely on that.
        self.front.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
            force=True, file_descriptor=protos.Types(protos.single_file(
                "space/v2/doc.proto", NEW, "space.v2")).own_files()[-1]))
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.modify("versions", update_mask=["schema"], schema=True)
        self.assertBlames(expected.error, "vector.field")
        self.assertEqual(self.nearest("versions", [1, 2, 3, 4]), ["1"])
        self.modify("versions", update_mask=["schema", "vector"], schema=True,
                    vector=vector_of("inner.far", 3))
        self.assertEqual(self.built("versions").collection_definition.schema_version, 2)
        self.assertEqual(self.front.get("versions", "1").item.value, doc.SerializeToString())


class Quotas(Redefined):
    def test_a_quota_is_changed(self):
        name = self.collection()
        rng = random.Random(3)
        for i in range(3):
            self.create(name, self.doc(rng), str(i))
        quota = collection_pb2.CollectionQuota(max_records=2)
        answer = self.modify(name, update_mask=["quota"], quota=quota)
        self.assertEqual((answer.quota, answer.building), (quota, False))
        for restart in (False, True):
            if restart:
                self.restart("repo")
            self.assertEqual(self.describe(name).collection_definition.quota, quota)
            with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="2 records"):
                self.create(name, self.doc(rng), "more")
        # What it holds stays, and what makes less of it is taken.
        self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="0", item=protos.pack(self.doc(rng))))
        for i in range(2):
            self.front.records.Delete(cs.DeleteRequest(collection_name=name, id=str(i)))
        self.create(name, self.doc(rng), "more")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.create(name, self.doc(rng), "again")
        self.assertFalse(self.modify(name, update_mask=["quota"]).HasField("quota"))
        self.create(name, self.doc(rng), "again")

    def test_quotas_of_bytes_and_files(self):
        name = self.collection()
        self.modify(name, update_mask=["quota"], quota=collection_pb2.CollectionQuota(
            max_record_bytes=100, max_files=1, max_file_bytes=10))
        self.create(name, self.Doc(title="t" * 80), "fits")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="bytes of records"):
            self.create(name, self.Doc(title="t" * 80), "no")

        def put(path, data):
            return self.front.records.PutDir(cs.PutDirRequest(
                collection_name=name, path="d", merge=True, dir=collection_pb2.CollectionDir(
                    files={path: collection_pb2.CollectionData(data=data)})))
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="bytes of files"):
            put("f", b"x" * 11)
        put("f", b"x" * 10)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="1 files"):
            put("g", b"")

    def test_what_is_no_quota(self):
        name = self.collection()
        for field in ("max_records", "max_record_bytes", "max_files", "max_file_bytes"):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.modify(name, update_mask=["quota"],
                            quota=collection_pb2.CollectionQuota(**{field: -1}))
            self.assertBlames(expected.error, "quota")
        with self.assertRpcError(Code.PERMISSION_DENIED):
            self.front.records.Modify(cs.ModifyRequest(
                namespace="system", collection_name="collections", update_mask=["quota"],
                quota=collection_pb2.CollectionQuota(max_records=1)))


del Redefined
