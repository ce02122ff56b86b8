"""Random operations on a collection, compared with a model of it in memory.

The model is written from the documented meaning alone: a dict of messages, a list of
changes, a dict of leases. Both get the same operations, and must give the same answers,
through restarts and kill -9; who watches is told of every change (repo_model.py).

MODEL_SEED repeats a run (it is printed), MODEL_STEPS makes it longer:
`make test-model`.
"""

import itertools
import os
import random
import sys

import grpc
from collector_testing import (
    Code, CollectorTest, collection_server_pb2 as cs, eventually, json_format, protos, struct_pb2)
from repo_model import Feed, Leases, Watcher

SCHEMA = """
message Item {
  string name = 1;
  int64 count = 2;
  optional int64 limit = 3;
  bool paid = 4;
  repeated string tags = 5;
  Owner owner = 6;
}
message Owner { string city = 1; }
"""
ITEM = "model.v1.Item"
NAMES = ["", "ada", "bob", "eve", "mallory"]
CITIES = ["", "Berlin", "Paris"]
TAGS = ["red", "green", "blue"]
LABELS = ["x", "y"]
STEPS_OF_A_PROCESS = 250


class Record:
    def __init__(self, item, labels, etag, number):
        self.item, self.labels, self.etag = item, labels, etag
        self.number = number  # no other has it, not even one of the same id


def value_at(item, path):
    """None: absent."""
    if path == "owner.city":
        return item.owner.city if item.HasField("owner") else None
    if path == "limit":
        return item.limit if item.HasField("limit") else None
    return getattr(item, path)


def compare(op, value, wanted):
    if op == "exists":
        return (value is not None) == wanted
    if op == "ne":
        return not compare("eq", value, wanted)
    if value is None:
        return False
    return {"eq": lambda: value == wanted, "lt": lambda: value < wanted,
            "le": lambda: value <= wanted, "gt": lambda: value > wanted,
            "ge": lambda: value >= wanted, "in": lambda: value in wanted,
            "contains": lambda: wanted in value}[op]()


def holds_for(item, path, op, wanted):
    if path != "tags":
        return compare(op, value_at(item, path), wanted)
    if op == "ne":
        return wanted not in item.tags
    if op == "exists":
        return bool(item.tags) == wanted
    return any(compare("eq" if op == "contains" else op, tag, wanted) for tag in item.tags)


def holds(item, condition):
    for key, value in condition.items():
        if key == "$not":
            good = not holds(item, value)
        elif key == "$or":
            good = any(holds(item, one) for one in value)
        elif key == "$and":
            good = all(holds(item, one) for one in value)
        elif isinstance(value, dict):
            good = all(holds_for(item, key, op, wanted) for op, wanted in value.items())
        else:
            good = holds_for(item, key, "eq", value)
        if not good:
            return False
    return True


class Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def item(self, cls):
        r = self.rng
        item = cls(name=r.choice(NAMES), count=r.randrange(-3, 8), paid=r.random() < 0.5,
                   tags=r.sample(TAGS, r.randrange(3)))
        if r.random() < 0.5:
            item.limit = r.randrange(3)
        if r.random() < 0.6:
            item.owner.city = r.choice(CITIES)
        return item

    def condition(self, depth=0):
        r = self.rng
        if depth < 3 and r.random() < 0.35:
            key = r.choice(["$not", "$or", "$and"])
            if key == "$not":
                return {key: self.condition(depth + 1)}
            return {key: [self.condition(depth + 1) for _ in range(r.randrange(1, 4))]}
        path = r.choice(["name", "count", "limit", "paid", "tags", "owner.city"])
        values = {"name": NAMES, "owner.city": CITIES, "tags": TAGS, "paid": [True, False]}.get(
            path, range(-3, 8))
        value = r.choice(values)
        ops = ["eq", "ne", "in", "exists"]
        if path != "paid":
            ops += ["lt", "le", "gt", "ge"]
        if path in ("name", "owner.city", "tags"):
            ops.append("contains")
        op = r.choice(ops)
        if op == "in":
            value = r.sample(list(values), 2)
        elif op == "exists":
            value = r.random() < 0.5
        elif op == "contains" and path != "tags":
            value = value[:2]
        return {path: {op: value}}

    def order(self):
        paths = self.rng.sample(["name", "count", "limit", "paid", "owner.city"],
                                self.rng.randrange(3))
        return [(path, self.rng.random() < 0.5) for path in paths]


class Model(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")
    seed = int(os.environ.get("MODEL_SEED", random.SystemRandom().randrange(1 << 32)))
    steps = int(os.environ.get("MODEL_STEPS", "1500"))

    def setUp(self):
        print("MODEL_SEED=%d MODEL_STEPS=%d" % (self.seed, self.steps), file=sys.stderr)
        types = protos.Types(protos.single_file("model/v1/item.proto", SCHEMA, "model.v1"))
        self.front.register(types)
        self.Item = types.message(ITEM)
        self.front.create_collection("model", ITEM, indexed_fields=["name", "count", "owner.city"])
        self.records = {}  # in the order of creation, as the daemon's
        self.made = 0
        self.feed = Feed()
        self.generator = Generator(self.seed)
        self.rng = self.generator.rng
        self.leases = Leases(self)
        condition = {"$or": [{"paid": True}, {"count": {"gt": 3}}]}
        self.watchers = [Watcher(self, {}, lambda item: True),
                         Watcher(self, condition, lambda item: holds(item, condition))]
        self.addCleanup(lambda: [w.call.cancel() for w in self.watchers])

    def describe(self):
        return self.front.records.Describe(cs.DescribeRequest(collection_name="model"))

    @staticmethod
    def order_text(order):
        return ", ".join(path + (" desc" if down else "") for path, down in order)

    # ------------------------------------------------------------ writes

    def id(self):
        if self.records and self.rng.random() < 0.8:
            return self.rng.choice(list(self.records))
        return "id-%d" % self.rng.randrange(200)

    def labels(self):
        return {k: self.rng.choice("12") for k in self.rng.sample(LABELS, self.rng.randrange(3))}

    def etag(self, record_id):
        """The right etag, a wrong one or none; and whether it fits."""
        record = self.records.get(record_id)
        kind = self.rng.randrange(4)
        if kind == 0 and record:
            return record.etag
        return "r0" if kind == 1 else ""

    def expect(self, call, wanted):
        """Call; its answer, or None if it failed as it should."""
        try:
            answer = call()
        except grpc.RpcError as error:
            self.assertEqual(error.code(), wanted, error.details())
            return None
        self.assertEqual(wanted, Code.OK)
        return answer

    def token(self, record_id):
        """Usually none; else of the lease that is held, or another; and whether it fits."""
        held = self.leases.held.get(record_id)
        if self.rng.random() < (0.3 if held else 0.9):
            return 0, True
        token = held if held and self.rng.random() < 0.8 else self.rng.randrange(1, 1 << 20)
        return token, token == held

    def why_not(self, record_id, etag, missing_is=Code.NOT_FOUND, is_held=True):
        record = self.records.get(record_id)
        if not record:
            return Code.NOT_FOUND if etag else missing_is if is_held or missing_is != Code.OK \
                else Code.ABORTED
        return Code.ABORTED if etag and etag != record.etag or not is_held else Code.OK

    def made_one(self):
        self.made += 1
        return self.made

    def request_create(self):
        record_id, item, labels = self.id(), self.generator.item(self.Item), self.labels()
        wanted = Code.ALREADY_EXISTS if record_id in self.records else Code.OK

        def apply(answer):
            record = self.records[record_id] = Record(item, labels, answer.etag, self.made_one())
            self.feed.add(record_id, record)
        return cs.CreateRequest(collection_name="model", id=record_id, item=protos.pack(item),
                                labels=labels), wanted, apply

    def request_update(self):
        record_id, item, labels = self.id(), self.generator.item(self.Item), self.labels()
        allow_missing = self.rng.random() < 0.2
        etag = "" if allow_missing else self.etag(record_id)
        mask = self.rng.sample(["name", "count", "limit", "tags", "owner"], self.rng.randrange(3))
        replace = self.rng.random() < 0.3
        token, is_held = self.token(record_id)
        wanted = self.why_not(record_id, etag, Code.OK if allow_missing else Code.NOT_FOUND,
                              is_held)

        def apply(answer):
            record = self.records.get(record_id)
            if not record:
                record = self.records[record_id] = Record(None, {}, "", self.made_one())
            new = self.Item()
            new.CopyFrom(record.item if mask and record.item is not None else item)
            if record.item is not None:
                for path in mask:
                    new.ClearField(path)
                    if path == "limit" and not item.HasField("limit"):
                        continue
                    if path == "owner" and not item.HasField("owner"):
                        continue
                    part = self.Item()
                    if path == "tags":
                        part.tags.extend(item.tags)
                    elif path == "owner":
                        part.owner.CopyFrom(item.owner)
                    else:
                        setattr(part, path, getattr(item, path))
                    new.MergeFrom(part)
            record.item = new
            record.labels = dict(labels) if replace else {**record.labels, **labels}
            record.etag = answer.etag
            self.feed.add(record_id, record)
        return cs.UpdateRequest(
            collection_name="model", id=record_id, item=protos.pack(item), update_mask=mask,
            etag=etag, allow_missing=allow_missing, labels=labels, lease_token=token,
            replace_labels=replace), wanted, apply

    def request_delete(self):
        record_id = self.id()
        etag, must_exist = self.etag(record_id), self.rng.random() < 0.5
        token, is_held = self.token(record_id)
        wanted = self.why_not(record_id, etag, Code.NOT_FOUND if must_exist else Code.OK, is_held)

        def apply(_):
            if record_id in self.records:
                self.feed.add(record_id, self.records.pop(record_id), is_delete=True)
            self.leases.forget(record_id)
        return cs.DeleteRequest(collection_name="model", id=record_id, etag=etag,
                                must_exist=must_exist, lease_token=token), wanted, apply

    def write(self):
        make, method = self.rng.choice([
            (self.request_create, "Create"), (self.request_create, "Create"),
            (self.request_update, "Update"), (self.request_delete, "Delete")])
        request, wanted, apply = make()
        answer = self.expect(lambda: getattr(self.front.records, method)(request), wanted)
        if answer:
            apply(answer)

    def batch(self):
        """One operation after the other, each seeing those before it."""
        kinds = {"create": self.request_create, "update": self.request_update,
                 "delete": self.request_delete}
        names = [self.rng.choice(list(kinds)) for _ in range(self.rng.randrange(1, 6))]
        requests, seen = [], set()
        for name in names:
            request, wanted, apply = kinds[name]()
            # What an operation gets to see of one before it, its etag, is not known yet.
            if request.id in seen:
                continue
            seen.add(request.id)
            requests.append((name, request, wanted, apply))
        answer = self.front.records.Batch(cs.BatchRequest(
            collection_name="model",
            operations=[cs.RequestOp(**{name: request}) for name, request, _, _ in requests]))
        self.assertEqual(len(answer.responses), len(requests))
        for (name, _, wanted, apply), response in zip(requests, answer.responses):
            good = response.WhichOneof("response") is not None
            self.assertEqual(good, wanted == Code.OK, response.status)
            if good:
                apply(getattr(response, name))

    # ------------------------------------------------------------ reads

    def get(self):
        record_id = self.id()
        record = self.records.get(record_id)
        answer = self.expect(lambda: self.front.get("model", record_id),
                             Code.OK if record else Code.NOT_FOUND)
        if answer:
            self.check(record_id, answer.item, answer.info)

    def check(self, record_id, item, info):
        record = self.records[record_id]
        self.assertEqual(protos.unpack(item, self.Item), record.item, record_id)
        self.assertEqual(dict(info.metadata.labels), record.labels)
        self.assertEqual(info.etag, record.etag)

    def matching(self, condition, labels):
        return [i for i, record in self.records.items()
                if holds(record.item, condition) and
                all(record.labels.get(k) == v for k, v in labels.items())]

    def ordered(self, ids, order):
        """Absent first, or last when descending; ties as created, backwards after a descent."""
        rank = {i: n for n, i in enumerate(self.records)}

        def key(path):
            def of(i):
                value = value_at(self.records[i].item, path)
                return (value is not None, 0 if value is None else
                        value.encode() if isinstance(value, str) else value)
            return of
        ids = sorted(ids, key=rank.get, reverse=bool(order) and order[-1][1])
        for path, descending in reversed(order):
            ids = sorted(ids, key=key(path), reverse=descending) if not descending else \
                list(reversed(sorted(reversed(ids), key=key(path))))
        return ids

    def list(self):
        condition = self.generator.condition() if self.rng.random() < 0.8 else {}
        order, labels = self.generator.order(), self.labels() if self.rng.random() < 0.2 else {}
        wanted = self.ordered(self.matching(condition, labels), order)
        request = cs.ListRequest(
            collection_name="model", label_filters=labels,
            filter=json_format.ParseDict(condition, struct_pb2.Struct()),
            order_by=self.order_text(order),
            page_size=self.rng.choice([1, 3, 10, 1000]))
        got = []
        while True:
            page = self.front.records.List(request)
            self.assertEqual(page.total_count, len(wanted), condition)
            for item, info in zip(page.items, page.infos):
                self.check(info.id, item, info)
                got.append(info.id)
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        self.assertEqual(got, wanted, (condition, order))

    def search(self):
        condition = self.generator.condition() if self.rng.random() < 0.5 else {}
        word = self.rng.choice(["ada", "mallory", "Berlin", "red", "nobody"])
        wanted = {i for i in self.matching(condition, {})
                  if word.lower() in [t.lower() for t in [
                      self.records[i].item.name, self.records[i].item.owner.city,
                      *self.records[i].item.tags]]}
        found = self.front.records.Search(cs.SearchRequest(
            collection_name="model", full_text=word, limit=1000,
            filter=json_format.ParseDict(condition, struct_pb2.Struct())))
        self.assertEqual({r.info.id for r in found.results}, wanted, (word, condition))
        self.assertEqual(found.total_count, len(wanted))
        scores = [r.score for r in found.results]
        self.assertEqual(scores, sorted(scores, reverse=True))

    # ------------------------------------------------------------ ends

    def kill_during_a_write(self):
        """The write under way is done or not: the daemon tells which, and is believed."""
        request, wanted, apply = self.request_create()
        call = self.front.records.Create.future(request, timeout=30)
        self.restart("repo")
        try:
            answer = call.result()
        except grpc.RpcError as error:
            if error.code() == wanted:
                return
        else:
            apply(answer)
            return
        if wanted != Code.OK:
            return
        try:
            info = eventually_get(self.front, request.id)
        except grpc.RpcError:
            return
        apply(info)

    def kill_during_a_lease(self):
        request, wanted = self.leases.request()
        call = self.front.records.Lease.future(request, timeout=30)
        self.restart("repo")
        # One that was answered is as if it was not: nobody knows its token.
        call.exception()
        self.leases.interrupted(wanted)

    def restart_cleanly(self):
        self.restart("repo", kill=False)

    # ------------------------------------------------------------ watches

    def catch_up(self):
        self.rng.choice(self.watchers).catch_up()

    def watch_anew(self):
        watcher = self.rng.choice(self.watchers)
        watcher.begin() if self.rng.random() < 0.3 else watcher.go_on()

    def test_random_operations(self):
        operations = [(self.write, 60), (self.batch, 8), (self.get, 12), (self.list, 20),
                      (self.search, 8), (self.catch_up, 5), (self.watch_anew, 1),
                      (self.leases.lease, 8), (self.leases.renew, 3), (self.leases.release, 3)]
        ends = itertools.cycle([self.kill_during_a_write, self.restart_cleanly,
                                self.kill_during_a_lease, self.kill_during_a_write])
        for step in range(self.steps):
            with self.subTest(seed=self.seed, step=step):
                if step % STEPS_OF_A_PROCESS == STEPS_OF_A_PROCESS - 1:
                    next(ends)()
                self.rng.choices([o for o, _ in operations],
                                 [weight for _, weight in operations])[0]()
            if self._outcome and not self._outcome.success:
                break
        self.assertEqual(self.describe().record_count, len(self.records))
        self.leases.count()
        for watcher in self.watchers:
            watcher.catch_up()


def eventually_get(front, record_id):
    """What Get says once the repo answers: the info, or NOT_FOUND."""
    def ask():
        try:
            return front.get("model", record_id).info
        except grpc.RpcError as error:
            if error.code() == Code.NOT_FOUND:
                return error
            raise
    answer = eventually(ask, "the repo answers")
    if isinstance(answer, grpc.RpcError):
        raise answer
    return answer
