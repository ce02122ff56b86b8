"""Search by text and vector, in one collection and in several, against brute force."""

import math
import random
import threading

import grpc
from collector_testing import (
    Code, CollectorTest, collection_pb2, collection_repo_pb2 as cr, collection_server_pb2 as cs,
    common_pb2, field_violations, protos)
from google.protobuf import json_format, struct_pb2

SCHEMA = """
message Doc {
  string title = 1;
  string body = 2;
  int64 number = 3;
  repeated float embedding = 4;
  Meta meta = 5;
}
message Meta { repeated float inner = 1; string note = 2; }
"""
DOC = "search.v1.Doc"
METRICS = {collection_pb2.VECTOR_COSINE: "cosine", collection_pb2.VECTOR_L2: "l2",
           collection_pb2.VECTOR_DOT: "dot"}


def struct(value):
    return json_format.ParseDict(value, struct_pb2.Struct())


def score_and_distance(metric, a, b):
    """The oracle, in doubles."""
    dot = sum(x * y for x, y in zip(a, b))
    if metric == collection_pb2.VECTOR_DOT:
        return dot, -dot
    if metric == collection_pb2.VECTOR_L2:
        distance = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)))
        return 1 / (1 + distance), distance
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    cosine = dot / lengths if lengths else 0
    return cosine, 1 - cosine


class Search(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        types = protos.Types(protos.single_file("search/v1/doc.proto", SCHEMA,
                                                package="search.v1"))
        cls.Doc = types.message(DOC)
        cls.front.register(types)
        cls._made = 0

    def collection(self, name=None, namespace="", **fields):
        type(self)._made += 1
        name = name or "docs-%d" % self._made
        self.front.create_collection(name, DOC, namespace=namespace, **fields)
        return name

    def with_vectors(self, dimensions, metric=collection_pb2.VECTOR_COSINE, field="embedding",
                     **fields):
        return self.collection(vector=collection_pb2.VectorIndex(
            field=field, dimensions=dimensions, metric=metric), **fields)

    def put(self, collection, record_id, namespace="", **fields):
        self.front.create(collection, self.Doc(**fields), record_id, namespace=namespace)

    def search(self, collection, **fields):
        return self.front.records.Search(cs.SearchRequest(collection_name=collection, **fields))

    def found(self, collection, text, **fields):
        answer = self.search(collection, full_text=text, **fields)
        self.assertEqual(answer.total_count, len(answer.results))
        return {r.info.id for r in answer.results}

    def describe(self, collection):
        return self.front.records.Describe(cs.DescribeRequest(collection_name=collection))


class Text(Search):
    def test_phrases_prefixes_and_words(self):
        name = self.collection()
        self.put(name, "1", body="the quick brown fox jumps")
        self.put(name, "2", body="brown quick foxes", title="archive")
        self.put(name, "3", body="a quicksilver river; arches")
        for text, wanted in (
                ("quick brown", "12"), ('"quick brown"', "1"), ("quick*", "123"),
                ('"quick bro" *', ""), ('"quick bro"*', "1"), ('"brown quick"', "2"),
                ("fox", "12"), ("arch*", "23"), ("arch* brown", "2"), ("quick -brown", "12"),
                ('"quick', "12"), ('fox"quick brown"', "1"), ("*", ""), ('""', ""), ("fox **", "12"),
                ("NEAR(quick fox)", ""), ("quick AND fox", ""), ("body:fox", ""),
                ("brown^2", ""), ("", "123"), ("  \t", ""), ("—", ""), ("fox —", "12")):
            with self.subTest(text=text):
                self.assertEqual(self.found(name, text), set(wanted))
        self.assertEqual(self.found(name, "quick NOT brown", fts_syntax=True), set())
        self.assertEqual(self.found(name, "quicksilver OR foxes", fts_syntax=True), set("123"))
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.search(name, full_text='"open', fts_syntax=True)
        self.assertBlames(expected.error, "full_text")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.search(name, full_text="a " * 5000, fts_syntax=True)
        self.assertBlames(expected.error, "full_text")

    def test_no_text_of_a_user_is_an_error(self):
        name = self.collection()
        self.put(name, "1", body="words")
        rng = random.Random(4)
        alphabet = "ab \"'*()^:+-{}[],.\\%_\t\n\u00e9\u4e00\U0001f389\u200d\ufffdANDORNOTNEAR"
        for _ in range(300):
            self.search(name, full_text="".join(
                rng.choice(alphabet) for _ in range(rng.randrange(40))))
        for text in ("w" * 100000, "a " * 100000, '"' * 10001, "* " * 5000, "(" * 9000,
                     "é" * 50000):
            self.search(name, full_text=text)

    def test_better_matches_have_higher_scores_and_snippets(self):
        name = self.collection()
        self.put(name, "much", body="pear pear pear")
        self.put(name, "little", body="one pear among very many other words " * 3)
        for i in range(10):
            self.put(name, "none-%d" % i, body="nothing of the kind")
        answer = self.search(name, full_text="pears")
        self.assertEqual([r.info.id for r in answer.results], ["much", "little"])
        self.assertGreater(answer.results[0].score, answer.results[1].score)
        self.assertGreater(answer.results[1].score, 0)
        self.assertEqual(answer.results[0].snippet, "[pear] [pear] [pear]")
        answer = self.search(name, full_text="pears", highlight_start="<b>",
                             highlight_end="</b>")
        self.assertEqual(answer.results[0].snippet, "<b>pear</b> <b>pear</b> <b>pear</b>")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.search(name, full_text="pears", highlight_start="x" * 65)
        self.assertBlames(expected.error, "highlight_start")

    def test_fields_that_full_text_covers(self):
        name = self.collection(full_text_fields=["title"])
        self.put(name, "1", title="apple", body="pear")
        self.assertEqual(self.found(name, "apple"), {"1"})
        self.assertEqual(self.found(name, "pear"), set())
        name = self.collection(full_text_disabled=True)
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.search(name, full_text="x")


class Vectors(Search):
    def fill(self, name, count, dimensions, seed=1, field="embedding"):
        """{id: vector}, as floats of 32 bits have them."""
        rng = random.Random(seed)
        vectors = {}
        pending = []
        for i in range(count):
            doc = self.Doc(number=i, title="even" if i % 2 == 0 else "odd")
            target = doc.embedding if field == "embedding" else doc.meta.inner
            target.extend(rng.uniform(-1, 1) for _ in range(dimensions))
            vectors[str(i)] = list(target)
            pending.append(self.front.records.Create.future(cs.CreateRequest(
                collection_name=name, id=str(i), item=protos.pack(doc)), timeout=60))
        for call in pending:
            call.result()
        return vectors

    def assertNearest(self, answer, metric, query, vectors, limit, threshold=None):
        wanted = sorted(((*score_and_distance(metric, query, v), i) for i, v in vectors.items()),
                        key=lambda w: (-w[0], int(w[2])))
        if threshold is not None:
            wanted = [w for w in wanted if w[0] >= threshold]
        self.assertEqual(answer.total_count, len(wanted))
        self.assertEqual(len(answer.results), min(limit, len(wanted)))
        for result, (score, distance, _) in zip(answer.results, wanted):
            self.assertAlmostEqual(result.score, score, 4)
            self.assertAlmostEqual(result.distance, distance, 3)
            own = score_and_distance(metric, query, vectors[result.info.id])
            self.assertAlmostEqual(result.score, own[0], 4)

    def test_the_nearest_by_every_metric(self):
        for metric in METRICS:
            for dimensions in (1, 3, 33):
                with self.subTest(metric=METRICS[metric], dimensions=dimensions):
                    name = self.with_vectors(dimensions, metric)
                    vectors = self.fill(name, 300, dimensions)
                    query = list(self.Doc(embedding=[0.5] * dimensions).embedding)
                    self.assertNearest(self.search(name, vector=query, limit=20), metric, query,
                                       vectors, 20)
                    self.assertNearest(self.search(name, vector=query, limit=1000), metric, query,
                                       vectors, 1000)
                    paged = [r.info.id for offset in range(0, 300, 70) for r in self.search(
                        name, vector=query, limit=70, offset=offset).results]
                    self.assertEqual(paged, [r.info.id for r in self.search(
                        name, vector=query, limit=1000).results])

    def test_more_than_a_chunk_with_changes(self):
        """Every change of 2,500 vectors, compared with brute force; and after a restart."""
        name = self.with_vectors(4, collection_pb2.VECTOR_L2)
        vectors = self.fill(name, 2500, 4)
        rng = random.Random(9)
        query = list(self.Doc(embedding=[0.1, -0.2, 0.3, 0.05]).embedding)

        def check():
            self.assertNearest(self.search(name, vector=query, limit=50),
                               collection_pb2.VECTOR_L2, query, vectors, 50)
            self.assertEqual(self.describe(name).vector_count, len(vectors))

        check()
        for _ in range(3):
            for record_id in rng.sample(sorted(vectors), 200):
                what = rng.randrange(4)
                if what == 0:
                    self.front.records.Delete(cs.DeleteRequest(
                        collection_name=name, id=record_id))
                    del vectors[record_id]
                elif what == 1:  # no vector any more
                    self.front.records.Update(cs.UpdateRequest(
                        collection_name=name, id=record_id, item=protos.pack(self.Doc(number=1))))
                    del vectors[record_id]
                else:
                    doc = self.Doc(embedding=[rng.uniform(-1, 1) for _ in range(4)])
                    self.front.records.Update(cs.UpdateRequest(
                        collection_name=name, id=record_id, item=protos.pack(doc),
                        update_mask=["embedding"] if what == 2 else []))
                    vectors[record_id] = list(doc.embedding)
            check()
        self.restart("repo")
        check()
        # Down to nothing, and on from there.
        pending = [self.front.records.Delete.future(
            cs.DeleteRequest(collection_name=name, id=record_id), timeout=60)
            for record_id in vectors]
        for call in pending:
            call.result()
        vectors.clear()
        check()
        doc = self.Doc(embedding=[1, 2, 3, 4])
        self.front.create(name, doc, "again")
        self.assertEqual([r.info.id for r in self.search(name, vector=query).results], ["again"])

    def test_a_group_that_fails_leaves_no_vector(self):
        name = self.with_vectors(2, collection_pb2.VECTOR_DOT)
        create = lambda i, number: cs.RequestOp(create=cs.CreateRequest(
            id=i, item=protos.pack(self.Doc(embedding=[number, 0]))))
        self.front.create(name, self.Doc(embedding=[1, 0]), "a")
        with self.assertRpcError(Code.ALREADY_EXISTS):
            self.front.records.Batch(cs.BatchRequest(
                collection_name=name, atomic=True,
                operations=[create("b", 5), create("c", 6), create("a", 7)]))
        self.front.records.Batch(cs.BatchRequest(
            collection_name=name, operations=[create("a", 8), create("d", 2)]))
        answer = self.search(name, vector=[1, 0])
        self.assertEqual([(r.info.id, r.score) for r in answer.results], [("d", 2), ("a", 1)])
        self.assertEqual(self.describe(name).vector_count, 2)

    def test_with_filters_labels_and_threshold(self):
        name = self.with_vectors(8, indexed_fields=["number"])
        vectors = self.fill(name, 1500, 8)
        query = list(self.Doc(embedding=[0.3] * 8).embedding)
        metric = collection_pb2.VECTOR_COSINE
        chosen = [
            ({"title": "odd"}, lambda i: i % 2 == 1),
            ({"number": {"lt": 20}}, lambda i: i < 20),
            ({"number": {"ge": 100, "lt": 1400}}, lambda i: 100 <= i < 1400),
            ({"number": 777}, lambda i: i == 777),
            ({"number": -1}, lambda i: False),
        ]
        for condition, matches in chosen:
            some = {i: v for i, v in vectors.items() if matches(int(i))}
            for threshold in (None, 0.5):
                with self.subTest(condition=condition, threshold=threshold):
                    answer = self.search(name, vector=query, filter=struct(condition), limit=30,
                                         similarity_threshold=threshold or 0)
                    self.assertNearest(answer, metric, query, some, 30, threshold)

    def test_with_text_both_ranks_count(self):
        name = self.with_vectors(2)
        texts = {"a": ("pear pear pear", [0, 1]), "b": ("pear and plum", [1, 0.1]),
                 "c": ("a pear in a long text about many other things", [1, 0]),
                 "d": ("no fruit", [1, 0]), "e": ("pear without a vector", [])}
        for record_id, (body, vector) in texts.items():
            self.put(name, record_id, body=body, embedding=vector)
        by_text = [r.info.id for r in self.search(name, full_text="pear").results]
        answer = self.search(name, full_text="pear", vector=[1, 0])
        both = [i for i in by_text if i in "abc"]
        nearest = sorted(both, key=lambda i: -score_and_distance(
            collection_pb2.VECTOR_COSINE, [1, 0], texts[i][1])[0])
        fused = {i: 1 / (61 + both.index(i)) + 1 / (61 + nearest.index(i)) for i in both}
        self.assertEqual(answer.total_count, 3)
        self.assertEqual({r.info.id for r in answer.results}, set(both))
        scores = [r.score for r in answer.results]
        self.assertEqual(scores, sorted(scores, reverse=True))
        for result in answer.results:
            self.assertAlmostEqual(result.score, fused[result.info.id], 9)
            self.assertIn("[pear]", result.snippet)
            self.assertAlmostEqual(result.distance, score_and_distance(
                collection_pb2.VECTOR_COSINE, [1, 0], texts[result.info.id][1])[1], 4)
        # Many of both: those that the scan finds, not the look-ups.
        for i in range(60):
            self.put(name, "more-%d" % i, body="pear %d" % i, embedding=[i / 60, 1])
        answer = self.search(name, full_text="pear", vector=[1, 0], limit=1000)
        self.assertEqual(answer.total_count, 63)
        self.assertEqual(len({r.info.id for r in answer.results}), 63)

    def test_numbers_are_out_of_document_and_text(self):
        name = self.with_vectors(2, field="meta.inner")
        item = self.Doc(title="t")
        item.meta.inner.extend([1, 2])
        item.meta.note = "noted"
        self.front.create(name, item, "a")
        self.assertEqual(protos.unpack(self.front.get(name, "a").item, self.Doc), item)
        self.assertEqual(self.found(name, "noted"), {"a"})
        exists = self.search(name, filter=struct({"meta.inner": {"exists": True}}))
        self.assertEqual(exists.total_count, 0)
        self.assertEqual(self.search(name, filter=struct({"meta.note": "noted"})).total_count, 1)
        self.assertEqual(self.search(name, vector=[1, 2]).results[0].info.id, "a")

    def test_what_does_not_fit(self):
        name = self.with_vectors(3)
        for vector in ([1], [1, 2, 3, 4], [1, 2, math.nan], [math.inf, 0, 0]):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.put(name, "x", embedding=vector)
            self.assertBlames(expected.error, "item.embedding")
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.search(name, vector=vector)
            self.assertBlames(expected.error, "vector")
        self.put(name, "none")
        self.put(name, "zero", embedding=[0, 0, 0])
        answer = self.search(name, vector=[1, 2, 3])
        self.assertEqual([(r.info.id, r.score) for r in answer.results], [("zero", 0)])
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.search(name, vector=[1, 2, 3], order_by="number")
        self.assertBlames(expected.error, "order_by")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.search(name, vector=[1, 2, 3], offset=10001)
        self.assertBlames(expected.error, "offset")
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.search(self.collection(), vector=[1])
        for field, bad in (("field", {"field": "title", "dimensions": 2}),
                           ("field", {"field": "nothing", "dimensions": 2}),
                           ("field", {"field": "", "dimensions": 2}),
                           ("field", {"field": "title.x", "dimensions": 2}),
                           ("dimensions", {"field": "embedding"}),
                           ("dimensions", {"field": "embedding", "dimensions": 4097}),
                           ("metric", {"field": "embedding", "dimensions": 1, "metric": 9})):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.collection(vector=collection_pb2.VectorIndex(**bad))
            self.assertBlames(expected.error, "collection.vector." + field)

    def test_searches_beside_writes(self):
        """Whatever is found has the score of a vector that it had at some time."""
        name = self.with_vectors(2, collection_pb2.VECTOR_DOT)
        for i in range(50):
            self.put(name, str(i), embedding=[i, 0])
        stop = threading.Event()
        problems = []

        def read():
            while not stop.is_set():
                answer = self.search(name, vector=[1, 0], limit=1000)
                for r in answer.results:
                    if r.score not in (int(r.info.id), int(r.info.id) + 1000):
                        problems.append((r.info.id, r.score))
                if answer.total_count != 50 or len(answer.results) != 50:
                    problems.append(answer.total_count)

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(300):
            self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id=str(i % 50), item=protos.pack(
                    self.Doc(embedding=[i % 50 + 1000 * (i // 50 % 2), 0]))))
        stop.set()
        reader.join()
        self.assertEqual(problems, [])


class Several(Search):
    def namespace(self):
        type(self)._made += 1
        name = "ns-%d" % self._made
        types = protos.Types(protos.single_file("search/v1/doc.proto", SCHEMA,
                                                package="search.v1"))
        self.front.register(types, namespace=name)
        return name

    def ask(self, namespace, **fields):
        if isinstance(fields.get("query"), dict):
            fields["query"] = struct(fields["query"])
        return self.front.repo.SearchCollections(cr.SearchCollectionsRequest(
            namespace=namespace, **fields))

    @staticmethod
    def ranked(answer):
        """[(rank, collection, id, score)] of the one list."""
        return sorted((rank, r.collection_name, info.id, r.scores[info.id])
                      for r in answer.results for rank, info in zip(r.ranks, r.infos))

    def test_text_in_several_collections(self):
        ns = self.namespace()
        for name, bodies in (("a", ["pear pear", "pear and much else beside it", "plum"]),
                             ("b", ["pear", "no"]), ("c", ["plum only"])):
            self.collection(name, namespace=ns)
            for i, body in enumerate(bodies):
                self.put(name, "%s%d" % (name, i), namespace=ns, body=body)
        answer = self.ask(ns, full_text="pear")
        self.assertEqual(self.ranked(answer), [
            (1, "a", "a0", 1 / 61), (2, "b", "b0", 1 / 61), (3, "a", "a1", 1 / 62)])
        self.assertEqual(answer.total_matches, 3)
        self.assertEqual([r.collection_name for r in answer.results], ["a", "b"])
        self.assertEqual(answer.results[0].total_matches, 2)
        self.assertEqual([protos.unpack(i, self.Doc).body for i in answer.results[0].items],
                         ["pear pear", "pear and much else beside it"])
        self.assertEqual(answer.results[1].snippets, ["[pear]"])
        self.assertFalse(answer.next_page_token)
        answer = self.ask(ns, full_text="pear", collection_names=["b", "c"])
        self.assertEqual(self.ranked(answer), [(1, "b", "b0", 1 / 61)])

    def test_pages(self):
        ns = self.namespace()
        for name in ("a", "b", "c"):
            self.collection(name, namespace=ns)
            for i in range(7):
                self.put(name, "%s%d" % (name, i), namespace=ns, number=i, body="x")
        everything = self.ranked(self.ask(ns))
        self.assertEqual(len(everything), 21)
        self.assertEqual([r[2] for r in everything[:6]], ["a0", "b0", "c0", "a1", "b1", "c1"])
        seen, token = [], ""
        while True:
            page = self.ask(ns, limit=4, page_token=token)
            seen += self.ranked(page)
            self.assertEqual(page.total_matches, 21)
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(seen, everything)
        token = self.ask(ns, limit=4).next_page_token
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.ask(ns, full_text="x", page_token=token)
        self.assertBlames(expected.error, "page_token")

    def test_ordered_by_a_field(self):
        ns = self.namespace()
        numbers = {"a": [5, 1, 9], "b": [2, 8, 9]}
        for name, values in numbers.items():
            self.collection(name, namespace=ns)
            for i, number in enumerate(values):
                self.put(name, "%s%d" % (name, i), namespace=ns, number=number)
        for order, wanted in (("number", ["a1", "b0", "a0", "b1", "a2", "b2"]),
                              ("number desc", ["a2", "b2", "b1", "a0", "b0", "a1"])):
            answer = self.ask(ns, order_by=order)
            self.assertEqual([r[2] for r in self.ranked(answer)], wanted, order)
        answer = self.ask(ns, order_by="number", query={"number": {"gt": 4}}, limit=2)
        self.assertEqual([r[2] for r in self.ranked(answer)], ["a0", "b1"])
        self.assertEqual(answer.total_matches, 4)
        for order in ("number, title", "number down"):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.ask(ns, order_by=order)
            self.assertBlames(expected.error, "order_by")

    def test_vectors_of_several_collections(self):
        ns = self.namespace()
        for name, dimensions in (("a", 2), ("b", 2), ("c", 3)):
            self.collection(name, namespace=ns, vector=collection_pb2.VectorIndex(
                field="embedding", dimensions=dimensions))
            for i in range(3):
                self.put(name, "%s%d" % (name, i), namespace=ns,
                         embedding=([1, i] if name == "a" else [1, 2 - i]) + [0] * (dimensions - 2))
        answer = self.ask(ns, vector=[1, 0])
        self.assertEqual([r[1:3] for r in self.ranked(answer)], [
            ("a", "a0"), ("b", "b2"), ("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b0")])
        failed = [r for r in answer.results if r.status.code]
        self.assertEqual([r.collection_name for r in failed], ["c"])
        self.assertEqual(failed[0].status.code, common_pb2.Status.INVALID_ARGUMENT)
        self.assertIn("3", failed[0].status.message)

    def test_errors_of_single_collections_are_told(self):
        ns = self.namespace()
        self.collection("good", namespace=ns)
        self.put("good", "1", namespace=ns, body="pear")
        self.collection("mute", namespace=ns, full_text_disabled=True)
        answer = self.ask(ns, full_text="pear", collection_names=["good", "mute", "missing"])
        self.assertEqual(self.ranked(answer), [(1, "good", "1", 1 / 61)])
        self.assertEqual({r.collection_name: r.status.code for r in answer.results}, {
            "good": common_pb2.Status.OK, "mute": common_pb2.Status.FAILED_PRECONDITION,
            "missing": common_pb2.Status.NOT_FOUND})
        with self.assertRpcError(Code.NOT_FOUND, text="missing"):
            self.ask(ns, collection_names=["missing"])
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.ask(ns, query={"nothing": 1})
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.ask(ns, collection_names=["good", "good"])
        self.assertBlames(expected.error, "collection_names")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.ask(ns, limit=-1)
        self.assertBlames(expected.error, "limit")
        self.assertEqual(len(self.ask(self.namespace()).results), 0)

    def test_masks_labels_and_filters(self):
        ns = self.namespace()
        for name in ("a", "b"):
            self.collection(name, namespace=ns)
            for i in range(3):
                self.front.create(name, self.Doc(number=i, title="t", body="b"), "%s%d" % (name, i),
                                  namespace=ns, labels={"k": str(i)})
        answer = self.ask(ns, label_filters={"k": "1"}, read_mask=["title"])
        self.assertEqual([r[2] for r in self.ranked(answer)], ["a1", "b1"])
        self.assertEqual(protos.unpack(answer.results[0].items[0], self.Doc), self.Doc(title="t"))

    def test_many_collections_at_once(self):
        ns = self.namespace()
        for i in range(20):
            self.collection("c%d" % i, namespace=ns)
            self.put("c%d" % i, "r", namespace=ns, body="pear")
        calls = [self.front.repo.SearchCollections.future(cr.SearchCollectionsRequest(
            namespace=ns, full_text="pear"), timeout=60) for _ in range(16)]
        for call in calls:
            self.assertEqual(call.result().total_matches, 20)

    def test_namespace_system_is_for_admins(self):
        # The test's caller is a local admin: it may read.
        self.assertGreater(self.ask("system", collection_names=["collections"]).total_matches, 0)


del Search
