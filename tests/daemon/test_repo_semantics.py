"""What design promises of records, lists and searches beyond what other files look at: combined
searches against brute force, tokens across restarts, orders of catalogues, sizes as they are."""

import itertools
import math
import os
import random

from collector_testing import (
    Code, CollectorTest, collection_pb2, collection_repo_pb2 as cr, collection_server_pb2 as cs,
    common_pb2, json_format, protos, struct_pb2)

SCHEMA = """
message Doc {
  string title = 1;
  string body = 2;
  int64 number = 3;
  repeated float embedding = 4;
}
"""
DOC = "semantics.v1.Doc"


def struct(value):
    return json_format.ParseDict(value, struct_pb2.Struct())


class Semantics(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.types = protos.Types(protos.single_file("semantics/v1/doc.proto", SCHEMA,
                                                    package="semantics.v1"))
        cls.Doc = cls.types.message(DOC)
        cls.front.register(cls.types)
        cls._made = 0

    def collection(self, namespace="", **fields):
        type(self)._made += 1
        name = "c-%d" % self._made
        self.front.create_collection(name, DOC, namespace=namespace, **fields)
        return name

    def namespace(self):
        type(self)._made += 1
        name = "ns-%d" % self._made
        self.front.register(self.types, namespace=name)
        return name

    def search(self, name, **fields):
        return self.front.records.Search(cs.SearchRequest(collection_name=name, **fields))

    def list(self, name, **fields):
        return self.front.records.List(cs.ListRequest(collection_name=name, **fields))

    def update(self, name, record_id, **fields):
        return self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id=record_id, **fields))


class Searches(Semantics):
    METRIC = collection_pb2.VECTOR_L2

    def score(self, a, b):
        distance = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)))
        return 1 / (1 + distance)

    def test_text_filters_labels_and_vector_in_every_combination(self):
        name = self.collection(indexed_fields=["number"], vector=collection_pb2.VectorIndex(
            field="embedding", dimensions=3, metric=self.METRIC))
        rng = random.Random(11)
        docs = {}
        for i in range(200):
            doc = self.Doc(title="even" if i % 2 == 0 else "odd", number=i % 10,
                           body=rng.choice(["pear", "plum", "pear and plum"]))
            if i % 7:
                doc.embedding.extend(rng.uniform(-1, 1) for _ in range(3))
            labels = {"shelf": "abc"[i % 3]}
            self.front.create(name, doc, str(i), labels=labels)
            docs[str(i)] = (doc, labels)
        query = list(self.Doc(embedding=[0.25, -0.5, 0.125]).embedding)
        parts = {
            "full_text": ("pear", lambda d, l: "pear" in d.body),
            "filter": (struct({"number": {"lt": 5}}), lambda d, l: d.number < 5),
            "label_filters": ({"shelf": "b"}, lambda d, l: l["shelf"] == "b"),
            "vector": (query, lambda d, l: len(d.embedding) > 0),
            "similarity_threshold": (0.5, lambda d, l: len(d.embedding) > 0 and
                                     self.score(query, d.embedding) >= 0.5),
        }
        for count in range(len(parts) + 1):
            for chosen in itertools.combinations(parts, count):
                if "similarity_threshold" in chosen and "vector" not in chosen:
                    continue
                with self.subTest(chosen):
                    wanted = {i for i, (doc, labels) in docs.items()
                              if all(parts[p][1](doc, labels) for p in chosen)}
                    answer = self.search(name, limit=1000, **{p: parts[p][0] for p in chosen})
                    self.assertEqual({r.info.id for r in answer.results}, wanted)
                    self.assertEqual(answer.total_count, len(wanted))
                    self.assertGreater(len(wanted), 0)
                    for result in answer.results:
                        if "vector" not in chosen:
                            continue
                        score = self.score(query, docs[result.info.id][0].embedding)
                        self.assertAlmostEqual(result.distance, 1 / score - 1, 5)
                        if "full_text" not in chosen:
                            self.assertAlmostEqual(result.score, score, 5)
                    if set(chosen) & {"vector", "full_text"}:
                        scores = [r.score for r in answer.results]
                        self.assertEqual(scores, sorted(scores, reverse=True))

    def test_thresholds_of_other_metrics(self):
        for metric, threshold, wanted in (
                (collection_pb2.VECTOR_DOT, 2.5, {"3", "4"}),
                (collection_pb2.VECTOR_DOT, -0.5, {"0", "1", "2", "3", "4"}),
                (collection_pb2.VECTOR_L2, 0.25, {"0", "1", "2", "3", "4"}),
                (collection_pb2.VECTOR_L2, 0.6, {"1"}),
                (collection_pb2.VECTOR_L2, 1, {"1"})):
            with self.subTest(metric=metric, threshold=threshold):
                name = self.collection(vector=collection_pb2.VectorIndex(
                    field="embedding", dimensions=1, metric=metric))
                for i in range(5):
                    self.front.create(name, self.Doc(embedding=[i]), str(i))
                self.front.create(name, self.Doc(embedding=[-20]), "far")
                answer = self.search(name, vector=[1], similarity_threshold=threshold)
                self.assertEqual({r.info.id for r in answer.results}, wanted)
                self.assertEqual(answer.total_count, len(wanted))

    def test_limits_and_offsets(self):
        name = self.collection()
        self.front.records.Batch(cs.BatchRequest(collection_name=name, operations=[
            cs.RequestOp(create=cs.CreateRequest(id="%04d" % i, item=protos.pack(
                self.Doc(number=i % 2, body="x")))) for i in range(1000)]))
        for i in range(1000, 1020):
            self.front.create(name, self.Doc(body="x"), "%04d" % i)
        everything = ["%04d" % i for i in range(1020)]

        def ids(**fields):
            answer = self.search(name, **fields)
            self.assertEqual(answer.total_count, 1020)
            return [r.info.id for r in answer.results]

        self.assertEqual(ids(), everything[:100])
        self.assertEqual(ids(limit=5000), everything[:1000])
        self.assertEqual(ids(limit=3, offset=1015), everything[1015:1018])
        self.assertEqual(ids(limit=30, offset=1015), everything[1015:])
        self.assertEqual(ids(offset=1020), [])
        self.assertEqual(ids(offset=2 ** 31 - 1), [])
        self.assertEqual(len(ids(full_text="x", limit=7, offset=1016)), 4)
        for fields in ({"limit": -1}, {"offset": -1}):
            with self.subTest(fields), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.search(name, **fields)
            self.assertBlames(expected.error, list(fields)[0])

    def test_text_and_vector_in_several_collections(self):
        """Each collection's order is by both, the one list by the ranks in them."""
        ns = self.namespace()
        vector = collection_pb2.VectorIndex(field="embedding", dimensions=2)
        for name, bodies in (("a", ["pear pear pear", "pear with much beside it", "plum"]),
                             ("b", ["pear", "no pear here, or there"])):
            self.front.create_collection(name, DOC, namespace=ns, vector=vector)
            for i, body in enumerate(bodies):
                self.front.create(name, self.Doc(body=body, embedding=[1, i]), name + str(i),
                                  namespace=ns)
        answer = self.front.repo.SearchCollections(cr.SearchCollectionsRequest(
            namespace=ns, full_text="pear", vector=[1, 0]))
        ranked = sorted((rank, info.id) for r in answer.results
                        for rank, info in zip(r.ranks, r.infos))
        singly = {name: [r.info.id for r in self.front.records.Search(cs.SearchRequest(
            namespace=ns, collection_name=name, full_text="pear", vector=[1, 0])).results]
            for name in ("a", "b")}
        self.assertEqual(singly, {"a": ["a0", "a1"], "b": ["b0", "b1"]})
        self.assertEqual({i for _, i in ranked}, {"a0", "a1", "b0", "b1"})
        order = [i for _, i in ranked]
        for own in singly.values():
            self.assertEqual([i for i in order if i in own], own)
        self.assertEqual(set(order[:2]), {"a0", "b0"})
        self.assertEqual(answer.total_matches, 4)

    def test_masks_that_name_nothing(self):
        name = self.collection()
        self.front.create(name, self.Doc(title="t"), "1")
        for call in (lambda: self.list(name, read_mask=["title", "nothing"]),
                     lambda: self.search(name, read_mask=["title.deeper"]),
                     lambda: self.front.get(name, "1", read_mask=["nothing"])):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                call()
            self.assertBlames(expected.error, "read_mask")


class Lists(Semantics):
    def test_a_token_is_good_after_a_restart_and_for_its_query_alone(self):
        name = self.collection()
        for i in range(6):
            self.front.create(name, self.Doc(title="t", number=i), str(i), labels={"k": "v"})
        query = {"label_filters": {"k": "v"}, "filter": struct({"title": "t"}),
                 "order_by": "number desc"}
        first = self.list(name, page_size=2, **query)
        token = first.next_page_token
        self.restart("repo")
        second = self.list(name, page_size=2, page_token=token, **query)
        self.assertEqual([i.id for page in (first, second) for i in page.infos],
                         ["5", "4", "3", "2"])
        self.assertEqual((first.total_count, second.total_count), (6, 6))
        for changed in ({"label_filters": {"k": "w"}}, {"label_filters": {}},
                        {"filter": struct({"title": "u"})}, {"filter": struct({})},
                        {"order_by": "number"}, {"order_by": "number desc, title"}):
            with self.subTest(changed), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.list(name, page_token=token, **dict(query, **changed))
            self.assertBlames(expected.error, "page_token")
        # Another collection of the same name is not the one of the token.
        self.front.repo.DeleteCollection(cr.DeleteCollectionRequest(
            collection=common_pb2.NamespacedName(name=name)))
        self.front.create_collection(name, DOC)
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.list(name, page_token=token, **query)
        self.assertBlames(expected.error, "page_token")

    def test_discover_is_in_order_whatever_comes_and_goes(self):
        ns = self.namespace()

        def create(name):
            self.front.create_collection(name, DOC, namespace=ns)

        for i in random.Random(2).sample(range(12), 12):
            create("p%02d" % i)
        seen, token = [], ""
        while True:
            page = self.front.repo.Discover(cr.DiscoverRequest(
                namespace=ns, page_size=3, page_token=token))
            seen += [c.name for c in page.collections]
            token = page.next_page_token
            if not token:
                break
            if len(seen) == 3:
                # Behind the page, before it; one that was told goes, one to come goes.
                create("p01-behind")
                create("p08-before")
                for gone in ("p02", "p05"):
                    self.front.repo.DeleteCollection(cr.DeleteCollectionRequest(
                        collection=common_pb2.NamespacedName(namespace=ns, name=gone)))
        self.assertEqual(seen, ["p00", "p01", "p02", "p03", "p04", "p06", "p07", "p08",
                                "p08-before", "p09", "p10", "p11"])
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.repo.Discover(cr.DiscoverRequest(namespace=ns, page_size=-1))
        self.assertBlames(expected.error, "page_size")


class Writes(Semantics):
    def test_etags_in_a_batch(self):
        name = self.collection()
        for i in "ab":
            self.front.create(name, self.Doc(title="old"), i)
        old = {i: self.front.get(name, i).info.etag for i in "ab"}
        self.update(name, "a", item=protos.pack(self.Doc(title="new")))
        self.update(name, "b", item=protos.pack(self.Doc(title="new")))
        operations = [
            cs.RequestOp(update=cs.UpdateRequest(id="a", etag=old["a"], item=protos.pack(
                self.Doc(title="lost")))),
            cs.RequestOp(delete=cs.DeleteRequest(id="b", etag=old["b"])),
            cs.RequestOp(create=cs.CreateRequest(id="c", item=protos.pack(self.Doc())))]
        with self.assertRpcError(Code.ABORTED) as expected:
            self.front.records.Batch(cs.BatchRequest(
                collection_name=name, atomic=True, operations=operations[2:] + operations[:2]))
        self.assertBlames(expected.error, "operations[1]")
        self.assertEqual([i.id for i in self.list(name).infos], ["a", "b"])
        answer = self.front.records.Batch(cs.BatchRequest(
            collection_name=name, operations=operations))
        self.assertEqual([r.status.code for r in answer.responses], [
            common_pb2.Status.ABORTED, common_pb2.Status.ABORTED, common_pb2.Status.OK])
        for i in "ab":
            self.assertEqual(protos.unpack(self.front.get(name, i).item, self.Doc).title, "new")
        # An etag of a record that is not there any more, or again.
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="a"))
        with self.assertRpcError(Code.NOT_FOUND):
            self.update(name, "a", etag=old["a"], item=protos.pack(self.Doc()))
        self.front.create(name, self.Doc(), "a")
        with self.assertRpcError(Code.ABORTED):
            self.update(name, "a", etag=old["a"], item=protos.pack(self.Doc()))
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.update(name, "a", etag=old["a"], allow_missing=True, item=protos.pack(self.Doc()))
        self.assertBlames(expected.error, "etag")

    def test_a_mask_where_there_is_no_record(self):
        name = self.collection()
        item = protos.pack(self.Doc(title="t", number=5))
        with self.assertRpcError(Code.NOT_FOUND):
            self.update(name, "a", item=item, update_mask=["title"])
        # It is created whole: there is nothing to merge with.
        self.update(name, "a", item=item, update_mask=["title"], allow_missing=True,
                    labels={"k": "v"})
        self.assertEqual(self.front.get(name, "a").item, item)
        self.update(name, "a", item=protos.pack(self.Doc(title="u")), update_mask=["title"])
        got = self.front.get(name, "a")
        self.assertEqual(protos.unpack(got.item, self.Doc), self.Doc(title="u", number=5))
        self.assertEqual(dict(got.info.metadata.labels), {"k": "v"})

    def test_a_collection_that_is_not_there_is_deleted(self):
        answer = self.front.repo.DeleteCollection(cr.DeleteCollectionRequest(
            collection=common_pb2.NamespacedName(name="never-was")))
        self.assertEqual(answer.records_deleted, 0)

    def test_sizes_are_those_of_the_disk(self):
        name = self.collection()
        for i in range(50):
            self.front.create(name, self.Doc(body="word %d " % i * 500), str(i))
        self.front.records.PutFile(iter([
            cs.PutFileRequest(header=cs.PutFileRequest.Header(collection_name=name, path="f")),
            cs.PutFileRequest(chunk=b"x" * 4321)]))
        described = self.front.records.Describe(cs.DescribeRequest(collection_name=name))
        root = os.path.join(self.cluster.data, "repo", "ns", "default", name)
        directory = os.path.join(root, described.collection_definition.incarnation)
        size = lambda path: os.path.getsize(os.path.join(directory, path))
        self.assertEqual(described.database_bytes, size("collection.db"))
        self.assertEqual(described.wal_bytes, size("collection.db-wal"))
        files = os.listdir(os.path.join(directory, "files"))
        self.assertEqual(described.file_bytes, sum(size(os.path.join("files", f)) for f in files))
        self.assertEqual((described.file_bytes, described.file_count), (4321, 1))
        self.assertEqual(described.storage_size_bytes,
                         described.database_bytes + described.wal_bytes + described.file_bytes)
        self.assertEqual(described.record_bytes, sum(
            len(self.front.get(name, str(i)).item.value) for i in range(50)))


del Semantics
