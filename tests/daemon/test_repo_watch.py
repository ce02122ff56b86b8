"""Watch of a collection: every change once, from a cursor on, whatever happens in between."""

import threading

import grpc
from collector_testing import (
    Code, CollectorTest, collection_repo_pb2, collection_server_pb2 as cs, common_pb2, daemon_pb2,
    eventually, protos)
from google.protobuf import json_format, struct_pb2

ORDER = "shop.v1.Order"
WAIT_S = 60
UPSERTED, DELETED, UNMATCHED, SNAPSHOT = (
    cs.RECORD_UPSERTED, cs.RECORD_DELETED, cs.RECORD_UNMATCHED, cs.RECORD_SNAPSHOT)


def struct(value):
    return json_format.ParseDict(value, struct_pb2.Struct())


class Watcher:
    """A stream, and what a client makes of it: {id: (etag, bytes)}."""

    def __init__(self, client, name, **fields):
        self.call = client.records.Watch(
            cs.WatchRecordsRequest(collection_name=name, **fields), timeout=WAIT_S)
        self.events, self.records, self.cursor = [], {}, None
        self.sequences = []

    def next(self):
        answer = next(self.call)
        self.cursor = answer.cursor
        for event in answer.events:
            self.events.append((event.kind, event.info.id))
            if event.kind != SNAPSHOT:
                self.sequences.append(event.sequence)
            if event.kind in (UPSERTED, SNAPSHOT):
                self.records[event.info.id] = (event.info.etag, event.item.value)
            else:
                self.records.pop(event.info.id, None)
        return answer

    def until_caught_up(self):
        while not self.next().caught_up:
            pass
        return self

    def until(self, condition):
        while not condition(self):
            self.next()
        return self

    def take(self, count):
        self.until(lambda w: len(w.events) >= count)
        events, self.events = self.events, []
        return events


class Watches(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")
    options = {"repo": ["--change-retention-count", "2000"]}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Order = protos.shop().message(ORDER)
        cls.front.register(protos.shop())
        cls._made = 0

    def collection(self):
        type(self)._made += 1
        name = "watched-%d" % self._made
        self.front.create_collection(name, ORDER, indexed_fields=["total_cents"])
        return name

    def watch(self, name, **fields):
        watcher = Watcher(self.front, name, **fields)
        self.addCleanup(watcher.call.cancel)
        return watcher

    def put(self, name, record_id, labels=None, **fields):
        return self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id=record_id, allow_missing=True, labels=labels,
            replace_labels=labels is not None, item=protos.pack(self.Order(**fields)))).etag

    def delete(self, name, record_id):
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id=record_id))

    def everything(self, name):
        records, token = {}, ""
        while True:
            page = self.front.records.List(cs.ListRequest(
                collection_name=name, page_size=1000, page_token=token))
            records.update((i.id, (i.etag, item.value)) for i, item in zip(page.infos, page.items))
            token = page.next_page_token
            if not token:
                return records

    def test_changes_from_now_on(self):
        name = self.collection()
        self.put(name, "before", number="0")
        w = self.watch(name).until_caught_up()
        self.assertEqual(w.events, [])
        etag = self.put(name, "a", number="1", labels={"k": "v"})
        answer = w.next()
        event, = answer.events
        self.assertEqual((event.kind, event.info.id, event.info.etag), (UPSERTED, "a", etag))
        self.assertEqual(dict(event.info.metadata.labels), {"k": "v"})
        self.assertEqual(protos.unpack(event.item, self.Order).number, "1")
        self.assertGreater(event.happened_at.seconds, 1600000000)
        self.assertEqual(answer.cursor.sequence, event.sequence)
        self.delete(name, "a")
        event, = w.next().events
        self.assertEqual((event.kind, event.info.id, event.info.etag), (DELETED, "a", etag))
        self.assertEqual(protos.unpack(event.item, self.Order).number, "1")
        described = self.front.records.Describe(cs.DescribeRequest(collection_name=name))
        self.assertEqual(described.last_sequence, event.sequence)

    def test_a_cursor_goes_on_where_it_was(self):
        name = self.collection()
        w = self.watch(name).until_caught_up()
        self.put(name, "a", number="1")
        w.take(1)
        w.call.cancel()
        self.put(name, "b", number="1")
        self.put(name, "c", number="1")
        self.put(name, "a", number="2")
        self.put(name, "a", number="3")
        self.delete(name, "b")
        again = self.watch(name, cursor=w.cursor).until_caught_up()
        # What changed several times is told once, as it is.
        self.assertEqual(again.events, [(UPSERTED, "c"), (UPSERTED, "a"), (DELETED, "b")])
        self.assertEqual(protos.unpack(self.front.get(name, "a").item, self.Order).number, "3")
        self.assertEqual(again.records, self.everything(name))
        self.assertEqual(again.sequences, sorted(set(again.sequences)))

    def test_a_snapshot_first(self):
        name = self.collection()
        for i in range(700):
            self.front.create(name, self.Order(number=str(i), note="x" * 4000), str(i))
        self.delete(name, "5")
        w = self.watch(name, initial_snapshot=True)
        w.next()
        self.assertGreater(w.cursor.snapshot_row, 0)
        # The stream breaks in the middle; what changes meanwhile is told after it.
        w.call.cancel()
        self.put(name, "699", number="new")
        self.put(name, "1", number="new")
        self.delete(name, "2")
        self.put(name, "700", number="new")
        again = self.watch(name, cursor=w.cursor).until_caught_up()
        told = w.events + again.events
        ids = [i for kind, i in told if kind == SNAPSHOT]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(told[-4:], [
            (UPSERTED, "699"), (UPSERTED, "1"), (DELETED, "2"), (UPSERTED, "700")])
        self.assertNotIn("5", ids)
        self.assertNotIn("699", ids)
        w.records.update(again.records)
        w.records.pop("2", None)
        self.assertEqual(w.records, self.everything(name))

    def test_filters_labels_and_masks(self):
        name = self.collection()
        plain = self.watch(name, filter=struct({"total_cents": {"ge": 10}}),
                           read_mask=["number"]).until_caught_up()
        mirror = self.watch(name, filter=struct({"total_cents": {"ge": 10}}),
                            include_unmatched=True).until_caught_up()
        labelled = self.watch(name, label_filters={"k": "v"}).until_caught_up()
        self.put(name, "a", total_cents=5, number="n")
        self.put(name, "b", total_cents=10, number="n", note="m")
        answer = plain.next()
        self.assertEqual(protos.unpack(answer.events[0].item, self.Order), self.Order(number="n"))
        self.put(name, "b", total_cents=9)
        self.put(name, "a", total_cents=11, labels={"k": "v"})
        self.delete(name, "a")
        self.delete(name, "b")
        self.assertEqual(mirror.take(5), [
            (UPSERTED, "b"), (UNMATCHED, "b"), (UPSERTED, "a"), (DELETED, "a"), (UNMATCHED, "b")])
        self.assertEqual(plain.until(lambda w: len(w.events) == 3).events, [
            (UPSERTED, "b"), (UPSERTED, "a"), (DELETED, "a")])
        self.assertEqual(labelled.take(2), [(UPSERTED, "a"), (DELETED, "a")])

    def test_what_cannot_be_watched(self):
        name = self.collection()
        for fields, blamed in (({"filter": struct({"nothing": 1})}, "filter"),
                               ({"read_mask": ["nothing"]}, "read_mask"),
                               ({"cursor": cs.WatchCursor(sequence=-1)}, "cursor"),
                               ({"cursor": cs.WatchCursor(), "initial_snapshot": True},
                                "initial_snapshot")):
            with self.subTest(fields), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.watch(name, **fields).next()
            self.assertBlames(expected.error, blamed)
        with self.assertRpcError(Code.NOT_FOUND, text="no-such"):
            self.watch("no-such").next()
        cursor = self.watch(name).until_caught_up().cursor
        for sequence in (cursor.sequence + 1, 1 << 62):
            with self.assertRpcError(Code.OUT_OF_RANGE):
                self.watch(name, cursor=cs.WatchCursor(
                    incarnation=cursor.incarnation, sequence=sequence)).next()

    def test_a_cursor_that_is_too_old(self):
        name = self.collection()
        w = self.watch(name).until_caught_up()
        w.call.cancel()
        for _ in range(6):
            self.front.records.Batch(cs.BatchRequest(collection_name=name, operations=[
                cs.RequestOp(update=cs.UpdateRequest(
                    id=str(i), allow_missing=True, item=protos.pack(self.Order())))
                for i in range(1000)]))
        with self.assertRpcError(Code.OUT_OF_RANGE, text="list again"):
            self.watch(name, cursor=w.cursor).next()
        described = self.front.records.Describe(cs.DescribeRequest(collection_name=name))
        self.assertEqual(described.last_sequence, 6000)
        self.assertLessEqual(described.forgotten_sequence, 4000)
        self.assertGreater(described.forgotten_sequence, 3000)

    def test_a_collection_that_goes(self):
        name = self.collection()
        w = self.watch(name).until_caught_up()
        self.front.repo.DeleteCollection(collection_repo_pb2.DeleteCollectionRequest(
            collection=common_pb2.NamespacedName(name=name)))
        with self.assertRpcError(Code.NOT_FOUND):
            w.next()
        self.front.create_collection(name, ORDER)
        with self.assertRpcError(Code.OUT_OF_RANGE, text="replaced"):
            self.watch(name, cursor=w.cursor).next()

    def test_many_watchers_hold_no_threads(self):
        name = self.collection()
        watchers = [self.watch(name).until_caught_up() for _ in range(100)]
        self.put(name, "a", number="1")
        for w in watchers:
            self.assertEqual(w.take(1), [(UPSERTED, "a")])
        for w in watchers:
            w.call.cancel()
        self.put(name, "b", number="1")

    def test_a_slow_watcher_holds_nobody_up(self):
        name = self.collection()
        slow = self.watch(name).until_caught_up()
        quick = self.watch(name).until_caught_up()
        for i in range(300):
            self.put(name, str(i), note="x" * 100000)
        quick.until(lambda w: len(w.events) == 300)
        slow.until(lambda w: len(w.events) == 300)
        self.assertEqual(slow.records, quick.records)

    def test_kill_9_misses_nothing(self):
        """Writers write, the repo is killed again and again, the watcher goes on from its cursor."""
        name = self.collection()
        stop, progress = threading.Event(), threading.Event()
        counts = [0]

        def write(writer):
            n = 0
            while not stop.is_set():
                record_id = "%d-%d" % (writer, n % 40)
                try:
                    if n % 7 == 3:
                        self.delete(name, record_id)
                    else:
                        self.put(name, record_id, number=str(n))
                except grpc.RpcError:
                    self.front.wait_serving("collector.CollectionService")
                n += 1
                counts[0] += 1
                if counts[0] % 200 == 0:
                    progress.set()

        writers = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(4)]
        for writer in writers:
            writer.start()
        records, sequences, cursor = {}, [], None
        for round_ in range(5):
            fields = {"cursor": cursor} if cursor else {"initial_snapshot": True}
            w = eventually(lambda f=fields: self.started(name, f), "a watch")
            w.records, w.sequences = dict(records), sequences
            self.assertTrue(progress.wait(120), "no progress")
            progress.clear()
            if round_ == 4:
                stop.set()
                for writer in writers:
                    writer.join(120)
                w.until_caught_up()
            else:
                threading.Timer(0.05, self.cluster["repo"].process.kill).start()
                try:
                    while True:
                        w.next()
                except grpc.RpcError:
                    pass
                self.cluster["repo"].kill()
                self.cluster["repo"].start()
            records, cursor = w.records, w.cursor
        self.wait_back("repo")
        # Another message may be on its way still.
        last = self.front.records.Describe(cs.DescribeRequest(collection_name=name)).last_sequence
        w.until(lambda w: w.cursor.sequence == last)
        self.assertEqual(w.records, self.everything(name))
        self.assertEqual(sequences, sorted(set(sequences)))

    def started(self, name, fields):
        w = self.watch(name, **fields)
        first = next(w.call)
        # Told again, through the same door as all others.
        w.call, rest = iter([first]), w.call
        w.call = Chain(first, rest)
        return w


class StalledClient(CollectorTest):
    daemons = ("registry", "repo")  # nobody else watches
    options = {"repo": ["--watch-stall-seconds", "3"]}

    def test_a_client_that_does_not_read_is_told_and_loses_nothing(self):
        order = protos.shop().message(ORDER)
        self.client("registry").register(protos.shop())
        repo = self.client("repo")
        repo.create_collection("stalled", ORDER, full_text_disabled=True)
        stalled = Watcher(repo, "stalled").until_caught_up()
        quick = Watcher(repo, "stalled").until_caught_up()
        for call in (stalled.call, quick.call):
            self.addCleanup(call.cancel)
        for i in range(64):
            repo.create("stalled", order(number=str(i), note="x" * (1 << 20)), str(i))
            quick.until(lambda w, n=i: len(w.events) > n)

        def ended():
            return [m.errors for m in repo.daemon.GetStats(daemon_pb2.GetStatsRequest()).methods
                    if m.method.endswith("CollectionService/Watch") and m.errors]
        eventually(ended, "the watch has ended")
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, text="last cursor"):
            while True:
                stalled.next()
        # What was on its way is little: nothing was queued for it.
        self.assertLess(len(stalled.events), 32)
        again = Watcher(repo, "stalled", cursor=stalled.cursor)
        self.addCleanup(again.call.cancel)
        again.until(lambda w: len(w.events) + len(stalled.events) >= 64)
        self.assertEqual(stalled.events + again.events, quick.events)


class Chain:
    """A stream of which the first message was looked at."""

    def __init__(self, first, rest):
        self.first, self.rest = [first], rest

    def __next__(self):
        return self.first.pop() if self.first else next(self.rest)

    def cancel(self):
        self.rest.cancel()
