"""The query language is as services/repo/README.md says: its tables, cell by cell."""

import json
import os
import re

from collector_testing import (
    Code, CollectorTest, collection_server_pb2 as cs, json_format, protos, struct_pb2)
from daemons import ctl, ctl_json

README = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "..", "..", "services", "repo", "README.md")
THING = "readme.v1.Thing"


def read_readme():
    """(proto source, [(records, [(filter, cells)])]) out of the README."""
    with open(README, encoding="utf-8") as f:
        text = f.read()
    source = re.search(r"```proto\n(.*?)```", text, re.S).group(1)
    tables = []
    for line in text.split("\n"):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| filter | `{"):
            tables.append(([json.loads(cell.strip("`")) for cell in cells[1:]], []))
        elif line.startswith("| `{") and tables:
            tables[-1][1].append((json.loads(cells[0].strip("`")), cells[1:]))
    return source, tables


class QueryLanguage(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        source, cls.tables = read_readme()
        types = protos.Types(protos.compile_sources({
            "readme/v1/thing.proto": 'syntax = "proto3"; package readme.v1;'
            'import "google/protobuf/struct.proto"; import "google/protobuf/timestamp.proto";'
            + source}))
        cls.front.register(types)
        cls.Thing = types.message(THING)

    def collection(self, name, records, **fields):
        self.front.create_collection(name, THING, **fields)
        for i, record in enumerate(records):
            self.front.create(name, json_format.ParseDict(record, self.Thing()), str(i))

    def answers(self, name, condition, count):
        """yes, no or error for each of the records, as List and as Search say."""
        condition = json_format.ParseDict(condition, struct_pb2.Struct())
        requests = (
            lambda: self.front.records.List(cs.ListRequest(
                collection_name=name, filter=condition)),
            lambda: self.front.records.Search(cs.SearchRequest(
                collection_name=name, filter=condition)))
        given = []
        for request in requests:
            try:
                answer = request()
            except Exception as error:  # pylint: disable=broad-except
                self.assertEqual(error.code(), Code.INVALID_ARGUMENT, error)
                self.assertBlames(error, "filter")
                given.append(["error"] * count)
                continue
            infos = getattr(answer, "infos", None) or [
                r.info for r in getattr(answer, "results", ())]
            found = {info.id for info in infos}
            self.assertEqual(answer.total_count, len(found))
            given.append(["yes" if str(i) in found else "no" for i in range(count)])
        self.assertEqual(given[0], given[1], "List and Search differ")
        return given[0]

    def test_the_readme_has_tables(self):
        self.assertEqual(len(self.tables), 11)
        self.assertGreater(sum(len(rows) for _, rows in self.tables), 90)

    def test_every_cell(self):
        for number, (records, rows) in enumerate(self.tables):
            name = "table-%d" % number
            self.collection(name, records)
            for condition, cells in rows:
                with self.subTest(json.dumps(condition)):
                    self.assertEqual(self.answers(name, condition, len(records)), cells)

    def test_every_cell_with_an_index(self):
        """An index changes how, never what."""
        paths = ["count", "limit", "name", "state", "paid", "ratio", "labels.k", "owner.city",
                 "at", "data.v"]
        for number, (records, rows) in enumerate(self.tables):
            name = "indexed-%d" % number
            self.collection(name, records, indexed_fields=paths)
            for condition, cells in rows:
                with self.subTest(json.dumps(condition)):
                    self.assertEqual(self.answers(name, condition, len(records)), cells)

    def test_malformed_groups(self):
        self.collection("groups", [])
        deep = {"count": 1}
        for _ in range(20):
            deep = {"$not": deep}
        for bad in ({"$or": {}}, {"$or": []}, {"$or": [1]}, {"$and": "x"}, {"$not": []},
                    {"$not": {}}, {"$nor": [{}]}, {"$or": [{"nothing": 1}]}, deep,
                    {"$or": [{"count": i} for i in range(65)]}, {"count": {}},
                    {"count": {"almost": 1}}):
            with self.subTest(str(bad)[:60]):
                self.assertEqual(self.answers("groups", bad, 1), ["error"])

    def test_explain(self):
        self.collection("explained", [
            {"count": i, "name": "n%d" % (i % 7), "tags": ["t%d" % (i % 3)]} for i in range(60)],
            indexed_fields=["count"])

        def explain(max_records=0, plan_only=False, **query):
            return self.front.records.ExplainQuery(cs.ExplainQueryRequest(
                max_records=max_records, plan_only=plan_only, **query))

        def listing(condition, **fields):
            return cs.ListRequest(collection_name="explained", filter=json_format.ParseDict(
                condition, struct_pb2.Struct()), **fields)

        answer = explain(list=listing({"count": {"lt": 10}}, page_size=100))
        self.assertEqual(answer.record_count, 60)
        self.assertEqual([s.name for s in answer.steps], ["page", "count"])
        for step in answer.steps:
            self.assertEqual(list(step.indexed_fields), ["count"])
            self.assertIn("USING INDEX", step.plan[0])
            self.assertEqual(
                (step.estimated_records, step.scanned_records, step.matched_records),
                (10, 10, 10))
        self.assertIn("the index on count", answer.summary)

        answer = explain(list=listing({"name": "n1"}, skip_total_count=True))
        step, = answer.steps
        self.assertEqual((step.estimated_records, step.scanned_records, step.matched_records),
                         (60, 60, 9))
        self.assertFalse(step.indexed_fields)
        step, = explain(list=listing({}, order_by="name desc")).steps
        self.assertTrue(step.sorts)
        step = explain(max_records=7, list=listing({"name": "n1"})).steps[0]
        self.assertTrue(step.is_cut_off)
        self.assertEqual(step.scanned_records, 7)
        step = explain(plan_only=True, list=listing({"name": "n1"})).steps[0]
        self.assertEqual((step.estimated_records, step.scanned_records), (60, 0))
        step = explain(search=cs.SearchRequest(
            collection_name="explained", full_text="n3")).steps[0]
        self.assertTrue(step.uses_full_text)
        self.assertEqual(step.matched_records, 9)

        for bad in ({"list": listing({"nothing": 1})}, {"list": listing({}), "max_records": -1},
                    {}):
            with self.assertRpcError(Code.INVALID_ARGUMENT):
                explain(**bad)
        with self.assertRpcError(Code.NOT_FOUND):
            explain(list=cs.ListRequest(collection_name="no-such"))

    def test_the_command_line_explains(self):
        self.collection("shown", [{"count": i, "name": "x"} for i in range(5)],
                        indexed_fields=["count"])
        code, out, err = ctl(self.cluster, "record", "explain", "shown", "--where",
                             '{"$or": [{"count": 1}, {"count": 3}]}')
        self.assertEqual(code, 0, err)
        self.assertIn("page: the index on count; about 2 records", out)
        self.assertIn("count: the index on count", out)
        code, out, err = ctl(self.cluster, "record", "explain", "shown", "--text", "x")
        self.assertIn("the full-text index", out)
        listed = ctl_json(self.cluster, "record", "list", "shown", "--where",
                          '{"$not": {"count": {"ge": 2}}}')
        self.assertEqual([i["id"] for i in listed["infos"]], ["0", "1"])
        found = ctl_json(self.cluster, "record", "search", "shown", "--where",
                         '{"$not": {"count": {"ge": 2}}}', "--filter", "count>0")
        self.assertEqual([r["info"]["id"] for r in found["results"]], ["1"])
