"""Modify: indexes, full text, labels, versions of the type; built in the background."""

import contextlib
import os
import sqlite3
import threading

import grpc
from collector_testing import (
    Code, CollectorTest, collection_pb2, collection_repo_pb2, collection_server_pb2 as cs, eventually,
    protos)
from google.protobuf import json_format, struct_pb2

ORDER = "shop.v1.Order"
OLD = "message Item { string name = 1; string color = 2; }"
BUILD_INDEX = 2  # as the table of builds has it
NEW = "message Item { string name = 1; string color = 2; int32 weight = 3; repeated string tags = 4; }"


def struct(value):
    return json_format.ParseDict(value, struct_pb2.Struct())


class Modifies(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Order = protos.shop().message(ORDER)
        cls.front.register(protos.shop())
        cls._made = 0

    def collection(self, message=ORDER, **fields):
        type(self)._made += 1
        name = "modified-%d" % self._made
        self.front.create_collection(name, message, **fields)
        return name

    def fill(self, name, count, **fields):
        for start in range(0, count, 500):
            self.front.records.Batch(cs.BatchRequest(collection_name=name, operations=[
                cs.RequestOp(create=cs.CreateRequest(id=str(i), item=protos.pack(self.Order(
                    number=str(i), total_cents=i, note="note %d" % i, **fields))))
                for i in range(start, min(start + 500, count))]))

    def modify(self, name, **fields):
        return self.front.records.Modify(cs.ModifyRequest(collection_name=name, **fields)).collection

    def describe(self, name):
        return self.front.records.Describe(cs.DescribeRequest(collection_name=name))

    def built(self, name):
        def done():
            d = self.describe(name)
            return not d.HasField("build") and not d.collection_definition.building and d
        return eventually(done, "it is built")

    def listed(self, name, **fields):
        if "filter" in fields:
            fields["filter"] = struct(fields["filter"])
        return [i.id for i in self.front.records.List(cs.ListRequest(
            collection_name=name, **fields)).infos]

    def found(self, name, text):
        return self.front.records.Search(cs.SearchRequest(
            collection_name=name, full_text=text)).total_count

    def plan(self, name, **filters):
        answer = self.front.records.ExplainQuery(cs.ExplainQueryRequest(
            list=cs.ListRequest(collection_name=name, filter=struct(filters))))
        return [list(s.indexed_fields) for s in answer.steps if s.name == "page"][0]

    def test_indexes(self):
        name = self.collection(indexed_fields=["number", "note"])
        self.fill(name, 50)
        answer = self.modify(name, indexed_fields=["total_cents", "number"])
        self.assertEqual(list(answer.indexed_fields), ["total_cents", "number"])
        described = self.built(name)
        self.assertEqual([(i.field, i.state) for i in described.indexes],
                         [("total_cents", cs.INDEX_READY), ("number", cs.INDEX_READY)])
        self.assertEqual(self.plan(name, total_cents=7), ["totalCents"])
        self.assertEqual(self.plan(name, note="note 7"), [])
        self.assertEqual(self.plan(name, number="7"), ["number"])
        self.assertEqual(self.listed(name, filter={"total_cents": 7}), ["7"])
        self.modify(name)
        self.assertEqual(list(self.built(name).indexes), [])
        self.assertEqual(self.listed(name, filter={"total_cents": 7}), ["7"])

    def test_labels_and_masks(self):
        name = self.collection(indexed_fields=["number"])
        self.modify(name, update_mask=["labels"], labels={"a": "1"})
        definition = self.describe(name).collection_definition
        self.assertEqual(dict(definition.metadata.labels), {"a": "1"})
        self.assertEqual(list(definition.indexed_fields), ["number"])
        self.assertEqual(dict(self.front.repo.Discover(collection_repo_pb2.DiscoverRequest(
            label_filter={"a": "1"})).collections[0].metadata.labels), {"a": "1"})
        self.restart("repo")
        definition = self.describe(name).collection_definition
        self.assertEqual(dict(definition.metadata.labels), {"a": "1"})
        for fields, blamed in (({"indexed_fields": ["nothing"]}, "indexed_fields"),
                               ({"indexed_fields": ["lines"]}, "indexed_fields"),
                               ({"full_text_fields": ["nothing"]}, "full_text_fields"),
                               ({"update_mask": ["name"]}, "update_mask")):
            with self.subTest(fields), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.modify(name, **fields)
            self.assertBlames(expected.error, blamed)
        with self.assertRpcError(Code.NOT_FOUND):
            self.modify("no-such")
        self.assertEqual(list(self.describe(name).collection_definition.indexed_fields), ["number"])

    def test_full_text(self):
        name = self.collection(full_text_fields=["number"])
        self.fill(name, 600)
        self.assertEqual(self.found(name, "note"), 0)
        self.modify(name, update_mask=["full_text_fields"], full_text_fields=["note"])
        self.built(name)
        self.assertEqual(self.found(name, "note"), 600)
        self.assertEqual(self.found(name, "note 599"), 1)
        # What is written from now on is in the new one, what is deleted is not.
        self.front.create(name, self.Order(note="note brandnew"), "new")
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="599"))
        self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="1", item=protos.pack(self.Order(note="other"))))
        self.assertEqual(self.found(name, "note"), 599)
        self.assertEqual(self.found(name, "brandnew"), 1)

        self.modify(name, update_mask=["full_text_disabled"], full_text_disabled=True)
        described = self.built(name)
        self.assertFalse(described.HasField("full_text"))
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.found(name, "note")
        self.front.create(name, self.Order(note="note without"), "without")
        self.modify(name, update_mask=["full_text_disabled", "full_text_fields"])
        self.assertEqual(self.built(name).full_text.state, cs.INDEX_READY)
        self.assertEqual(self.found(name, "note"), 600)
        self.assertEqual(self.found(name, "without"), 1)

    def item_types(self, package, text):
        return protos.Types(protos.single_file(package.replace(".", "/") + "/item.proto", text,
                                               package=package))

    def test_a_new_version_of_the_type(self):
        old, new = self.item_types("mod.v1", OLD), self.item_types("mod.v1", NEW)
        self.front.register(old)
        Old, New = old.message("mod.v1.Item"), new.message("mod.v1.Item")
        name = self.collection("mod.v1.Item", indexed_fields=["color"])
        for i in range(300):
            self.front.create(name, Old(name=str(i), color="red"), "old-%d" % i)
        # One that knows more than the collection: kept, but not found by it.
        self.front.create(name, New(name="more", weight=5), "more")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.listed(name, filter={"weight": 5})
        before = self.front.get(name, "old-1")
        self.front.register(new)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.modify(name, indexed_fields=["weight"])
        answer = self.modify(name, indexed_fields=["color", "weight"], schema=True)
        self.assertEqual(answer.schema_version, 2)
        described = self.built(name)
        self.assertEqual([v.version for v in described.schema_versions], [1, 2])
        self.assertEqual(described.schema_version_count, 2)
        self.assertEqual(self.listed(name, filter={"weight": 5}), ["more"])
        self.assertEqual(len(self.listed(name, filter={"weight": 0}, page_size=1000)), 300)
        self.assertEqual(self.plan(name, weight=5), ["weight"])
        # What was stored is what it was.
        self.assertEqual(self.front.get(name, "old-1"), before)
        self.front.create(name, New(name="new", weight=7, tags=["a"]), "new")
        self.assertEqual(self.listed(name, filter={"tags": "a"}), ["new"])
        self.assertEqual(self.found(name, "more"), 1)
        # Nothing new: no version.
        self.assertEqual(self.modify(name, update_mask=["schema"]).schema_version, 2)
        self.restart("repo")
        self.assertEqual(self.listed(name, filter={"weight": 5}), ["more"])

    def test_writes_go_on_while_it_is_built(self):
        name = self.collection(full_text_fields=["number"])
        self.fill(name, 3000)
        stop, problems, written = threading.Event(), [], {}

        def write(writer):
            n = 0
            while not stop.is_set():
                record_id = "%d" % ((writer * 1000 + 7 * n) % 3500)
                try:
                    if n % 5 == 4:
                        self.front.records.Delete(cs.DeleteRequest(
                            collection_name=name, id=record_id))
                        written.pop(record_id, None)
                    else:
                        self.front.records.Update(cs.UpdateRequest(
                            collection_name=name, id=record_id, allow_missing=True,
                            item=protos.pack(self.Order(note="while w%d" % writer))))
                        written[record_id] = True
                except grpc.RpcError as error:
                    problems.append(error)
                    return
                n += 1

        writers = [threading.Thread(target=write, args=(i,)) for i in range(3)]
        for writer in writers:
            writer.start()
        self.modify(name, indexed_fields=["note"], update_mask=["indexed_fields", "full_text_fields"],
                    full_text_fields=["note"])
        with self.assertRpcError(Code.FAILED_PRECONDITION) as expected:
            while True:
                self.modify(name, update_mask=["full_text_fields"], full_text_fields=["note"])
        self.assertIn("built", expected.error.details())
        self.built(name)
        stop.set()
        for writer in writers:
            writer.join(60)
        self.assertEqual(problems, [])
        self.built(name)
        everything = self.front.records.List(cs.ListRequest(
            collection_name=name, page_size=1)).total_count
        by_text = {r: self.found(name, r) for r in ("note", "while")}
        self.assertEqual(by_text["note"] + by_text["while"], everything)
        by_index = self.front.records.List(cs.ListRequest(
            collection_name=name, page_size=1, filter=struct({"note": "while w1"}))).total_count
        self.assertEqual(self.found(name, "while w1"), by_index)

    def watched(self, look, name, **change):
        """What `look` gives again and again from before a change until it is built."""
        stop, seen, problems = threading.Event(), [look()], []

        def run():
            try:
                while not stop.is_set():
                    seen.append(look())
            except Exception as error:  # not told by a thread
                problems.append(error)

        looker = threading.Thread(target=run)
        looker.start()
        try:
            self.modify(name, **change)
            self.built(name)
        finally:
            stop.set()
            looker.join()
        self.assertEqual(problems, [])
        seen.append(look())
        return [seen[i] for i in range(len(seen)) if i == 0 or seen[i] != seen[i - 1]]

    def test_the_old_text_serves_until_the_new_is_built(self):
        name = self.collection(full_text_fields=["number"])
        self.fill(name, 3000, coupon="someone")
        look = lambda: (self.found(name, "2999"), self.found(name, "someone"))
        states = self.watched(look, name, update_mask=["full_text_fields"],
                              full_text_fields=["coupon"])
        self.assertEqual((states[0], states[-1]), ((1, 0), (0, 3000)))
        # Between the two searches of one look it may have been switched, never in part.
        self.assertEqual(set(states) - {(1, 0), (0, 3000), (1, 3000)}, set())

    def test_text_that_is_removed_serves_until_it_is(self):
        name = self.collection()
        self.fill(name, 1000)

        def look():
            try:
                return self.found(name, "note")
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.FAILED_PRECONDITION, error)
                return None

        for _ in range(5):
            states = self.watched(look, name, update_mask=["full_text_disabled"],
                                  full_text_disabled=True)
            self.assertEqual(states, [1000, None])
            states = self.watched(look, name, update_mask=["full_text_disabled"])
            self.assertEqual(states, [None, 1000])

    def test_an_old_index_serves_until_the_new_is_built(self):
        name = self.collection(indexed_fields=["number", "total_cents"])
        self.fill(name, 5000)
        steps = []

        def look():
            # Before what it says of another: what is there then is there.
            steps.append(bool(self.plan(name, number="7")))
            self.assertEqual(self.listed(name, filter={"number": "7"}), ["7"])
            self.assertEqual(self.listed(name, filter={"note": "note 7"}), ["7"])
            return {i.field: i.state for i in self.describe(name).indexes}

        self.watched(look, name, indexed_fields=["note", "total_cents"])
        # It goes when the new one is there.
        self.assertEqual(steps, sorted(steps, reverse=True))
        self.assertTrue(steps[0])
        self.assertEqual(self.plan(name, number="7"), [])
        self.assertEqual(self.plan(name, note="note 7"), ["note"])
        order = []
        self.watched(lambda: order.append((bool(self.plan(name, note="note 7")), bool(
            self.plan(name, number="7")))), name, indexed_fields=["number", "total_cents"])
        self.assertNotIn((False, False), order)

    def test_records_are_found_while_they_are_made_ready_for_a_version(self):
        old, new = self.item_types("mod.v3", OLD), self.item_types("mod.v3", NEW)
        self.front.register(old)
        New = new.message("mod.v3.Item")
        name = self.collection("mod.v3.Item", indexed_fields=["color"])
        operations = [cs.RequestOp(create=cs.CreateRequest(id=str(i), item=protos.pack(
            New(name="n%d" % i, color="c%d" % (i % 2), weight=5)))) for i in range(4000)]
        for start in range(0, 4000, 1000):
            self.front.records.Batch(cs.BatchRequest(
                collection_name=name, operations=operations[start:start + 1000]))
        self.front.register(new)

        def count(**condition):
            return self.front.records.List(cs.ListRequest(
                collection_name=name, page_size=1, filter=struct(condition))).total_count

        look = lambda: (count(color="c1"), self.found(name, "n7"), self.found(name, "c0"))
        self.assertEqual(self.watched(look, name, schema=True, indexed_fields=["color", "weight"]),
                         [(2000, 1, 2000)])
        self.assertEqual(count(weight=5), 4000)
        self.assertEqual(self.front.get(name, "7").item.value,
                         New(name="n7", color="c1", weight=5).SerializeToString())

    def test_no_change_is_lost_to_another(self):
        """Two change different things at once, again and again: each finds what it said last."""
        name = self.collection()
        problems, lost = [], []

        def change(mask, made, found):
            try:
                for i in range(1, 150):
                    self.modify(name, update_mask=[mask], **{mask: made(i)})
                    definition = self.describe(name).collection_definition
                    if found(definition) != made(i):
                        lost.append((mask, i))
            except Exception as error:  # not told by a thread
                problems.append(error)

        changers = [
            threading.Thread(target=change, args=(
                "quota", lambda i: collection_pb2.CollectionQuota(max_records=i),
                lambda d: d.quota)),
            threading.Thread(target=change, args=(
                "labels", lambda i: {"i": str(i)}, lambda d: dict(d.metadata.labels)))]
        for changer in changers:
            changer.start()
        for changer in changers:
            changer.join()
        self.assertEqual((problems, lost), ([], []))

    def test_changes_at_once_are_one_after_the_other(self):
        """None is lost: what the definition says is what there is."""
        name = self.collection()
        self.fill(name, 300)
        problems = []

        def change(field, label):
            for i in range(10):
                try:
                    self.modify(name, update_mask=["labels"], labels={label: str(i)})
                    self.modify(name, update_mask=["indexed_fields"], indexed_fields=[field])
                except grpc.RpcError as error:
                    if error.code() not in (Code.FAILED_PRECONDITION, Code.ABORTED):
                        problems.append(error)

        changers = [threading.Thread(target=change, args=pair)
                    for pair in (("number", "a"), ("note", "b"), ("total_cents", "c"))]
        for changer in changers:
            changer.start()
        for changer in changers:
            changer.join()
        self.assertEqual(problems, [])
        described = self.built(name)
        field, = described.collection_definition.indexed_fields
        value = {"number": "7", "note": "note 7", "total_cents": 7}
        json_names = {"number": "number", "note": "note", "total_cents": "totalCents"}
        self.assertEqual(self.plan(name, **{field: value[field]}), [json_names[field]])
        self.restart("repo")
        self.assertEqual(self.describe(name).collection_definition,
                         described.collection_definition)
        # Nothing is left that would keep another from being made.
        self.modify(name, indexed_fields=["note"])
        self.built(name)

    def test_a_kill_in_between(self):
        old, new = self.item_types("mod.v2", OLD), self.item_types("mod.v2", NEW)
        self.front.register(old)
        Old = old.message("mod.v2.Item")
        name = self.collection("mod.v2.Item")
        for _ in range(6):
            self.front.records.Batch(cs.BatchRequest(collection_name=name, operations=[
                cs.RequestOp(create=cs.CreateRequest(item=protos.pack(Old(name="n", color="c"))))
                for _ in range(1000)]))
        self.front.register(new)
        self.modify(name, schema=True, indexed_fields=["weight"], full_text_fields=["color"])
        for _ in range(4):
            self.restart("repo")
            self.describe(name)
        described = self.built(name)
        self.assertEqual([i.state for i in described.indexes], [cs.INDEX_READY])
        self.assertEqual(described.collection_definition.schema_version, 2)
        answer = self.front.records.List(cs.ListRequest(
            collection_name=name, page_size=1, filter=struct({"weight": 0})))
        self.assertEqual(answer.total_count, 6000)
        self.assertEqual(self.found(name, "c"), 6000)
        self.assertEqual(self.found(name, "n"), 0)
        # Also when nobody asks for the collection: what is left goes on by itself.
        self.modify(name, update_mask=["full_text_fields"], full_text_fields=["name"])
        self.restart("repo")
        self.front.repo.Discover(collection_repo_pb2.DiscoverRequest())
        self.assertEqual(self.built(name).full_text.state, cs.INDEX_READY)
        self.assertEqual(self.found(name, "n"), 6000)

    def test_what_cannot_be_built_holds_up_nothing_else(self):
        stuck = [self.collection() for _ in range(3)]
        others = [self.collection() for _ in range(3)]
        self.assertEqual(self.cluster["repo"].stop(), 0)
        for name in stuck:
            root = os.path.join(self.cluster.data, "repo", "ns", "default", name)
            for directory, _, files in os.walk(root):
                if "collection.db" not in files:
                    continue
                path = os.path.join(directory, "collection.db")
                with contextlib.closing(sqlite3.connect(path)) as connection, connection:
                    # An index of no field: damage that only its build finds.
                    connection.execute("INSERT INTO builds (kind, detail, position, last)"
                                       " VALUES (%d, ')', 0, 0)" % BUILD_INDEX)
        self.cluster["repo"].start()
        self.wait_back("repo")
        for name in stuck:
            self.describe(name)
        for name in others:
            self.modify(name, indexed_fields=["number"])
        for name in stuck:
            eventually(lambda name=name: self.describe(name).build.problem, "all are tried")
        for name in others:
            self.built(name)
