"""What a collection's feed and its leases must be, for test_repo_model.py.

`Feed` is the list of all changes as they were made; a `Watcher` is a stream of the
daemon's, compared with it. A record that changes again may be told of once, as it is
then: what is told are the changes in their order, each at most once, and the last one
of every record.
"""

import grpc
from collector_testing import Code, collection_server_pb2 as cs, json_format, protos, struct_pb2

STREAM_S = 30  # a stream ends then and goes on from its cursor, as any may
BREAKS_MAX = 3  # one after the other, without a message


class Change:
    """One write of one record; `record` is as it is then, before it if it deletes."""

    def __init__(self, record_id, record, is_new, is_delete):
        self.record_id, self.item, self.etag = record_id, record.item, record.etag
        self.number, self.is_new, self.is_delete = record.number, is_new, is_delete

    def kind(self, is_wanted):
        """None: nobody is told, as nobody was told of the record before."""
        if not is_wanted(self.item):
            return None if self.is_new else cs.RECORD_UNMATCHED
        return cs.RECORD_DELETED if self.is_delete else cs.RECORD_UPSERTED


class Feed:
    """Its changes are numbered from 1: none is left out, not even by a kill."""

    def __init__(self):
        self.changes = []
        self.last = {}  # number of a record -> its last change's place

    def add(self, record_id, record, is_delete=False):
        change = Change(record_id, record, record.number not in self.last, is_delete)
        self.last[record.number] = len(self.changes)
        self.changes.append(change)

    def is_last(self, place):
        return self.last[self.changes[place].number] == place


class Watcher:
    """A stream with a filter ({}: none), and the copy that a client makes by it."""

    def __init__(self, test, condition, is_wanted):
        self.test, self.condition, self.is_wanted = test, condition, is_wanted
        self.call = None
        self.begin()

    def open(self, **fields):
        if self.call is not None:
            self.call.cancel()
        self.call = self.test.front.records.Watch(cs.WatchRecordsRequest(
            collection_name="model", include_unmatched=True,
            filter=json_format.ParseDict(self.condition, struct_pb2.Struct()), **fields),
            timeout=STREAM_S)

    def begin(self):
        """A snapshot is all that there is now, each once."""
        told = []
        self.open(initial_snapshot=True)
        while True:
            answer = next(self.call)
            told += answer.events
            if answer.caught_up:
                break
        self.cursor = answer.cursor
        self.test.assertEqual({e.kind for e in told} - {cs.RECORD_SNAPSHOT}, set())
        self.copy = {e.info.id: (e.info.etag, e.item.value) for e in told}
        self.test.assertEqual(len(self.copy), len(told), "a record is told of twice")
        self.place = len(self.test.feed.changes)
        self.compare()

    def go_on(self):
        """Another stream, from where the last one was."""
        self.open(cursor=self.cursor)

    def next(self):
        """The next events, through however many streams."""
        for _ in range(BREAKS_MAX):
            try:
                answer = next(self.call)
            except grpc.RpcError as error:
                self.test.assertIn(error.code(), (
                    Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED), error)
                self.go_on()
                continue
            self.test.assertGreaterEqual(answer.cursor.sequence, self.cursor.sequence)
            self.cursor = answer.cursor
            return answer.events
        raise self.test.fail("the watch does not go on")

    def must_be_told(self, place):
        feed = self.test.feed
        return feed.is_last(place) and feed.changes[place].kind(self.is_wanted) is not None

    def take(self, event):
        """The change that the event is about; those that it passes over changed again."""
        feed = self.test.feed
        place = event.sequence - 1
        self.test.assertIn(place, range(self.place, len(feed.changes)), event)
        change = feed.changes[place]
        self.test.assertEqual((event.info.id, event.kind),
                              (change.record_id, change.kind(self.is_wanted)))
        self.test.assertIn(event.info.etag, ("", change.etag))
        self.test.assertEqual(self.missing(place), [], "changes are left out")
        self.place = place + 1
        return change

    def missing(self, end):
        """Changes before the end that were not told of, and should have been."""
        return [p for p in range(self.place, end) if self.must_be_told(p)]

    def apply(self, event, change):
        if event.kind == cs.RECORD_UPSERTED:
            self.copy[event.info.id] = (event.info.etag, event.item.value)
        else:
            self.copy.pop(event.info.id, None)
        if event.kind != cs.RECORD_UNMATCHED:
            self.test.assertEqual(protos.unpack(event.item, self.test.Item), change.item)

    def catch_up(self):
        count = len(self.test.feed.changes)
        wanted = self.missing(count)
        while wanted and self.place <= wanted[-1]:
            for event in self.next():
                self.apply(event, self.take(event))
        self.place = count
        self.compare()

    def compare(self):
        self.test.assertEqual(
            {i: (etag, self.test.Item.FromString(value))
             for i, (etag, value) in self.copy.items()},
            {i: (r.etag, r.item) for i, r in self.test.records.items()
             if self.is_wanted(r.item)})


class Leases:
    """Who holds what: {id: token}, 0 being a token that nobody was told."""

    def __init__(self, test):
        self.test, self.rng = test, test.rng
        self.held, self.over = {}, {}
        self.last_token = 0

    def forget(self, record_id):
        if record_id in self.held:
            self.over[record_id] = self.held.pop(record_id)

    def some(self, count):
        """References to leases that are held, that are over, or never were."""
        refs = []
        for _ in range(count):
            known = self.rng.choice([self.held, self.held, self.over, {}])
            record_id = self.rng.choice(list(known or self.test.records or ["id-0"]))
            token = known.get(record_id, 0) or self.wrong_token()
            if record_id not in [r.id for r, _ in refs]:
                refs.append((cs.LeaseRef(id=record_id, token=token),
                             self.held.get(record_id) == token))
        return refs

    def wrong_token(self):
        """Another record's, or nobody's; never one that nobody was told: it might be right."""
        told = [t for t in (*self.held.values(), *self.over.values()) if t]
        return self.rng.choice([*told, self.last_token + 1000])

    def request(self):
        """A Lease, and the ids that it must be given."""
        condition = self.test.generator.condition() if self.rng.random() < 0.7 else {}
        order = self.test.generator.order()
        wanted = [i for i in self.test.ordered(self.test.matching(condition, {}), order)
                  if i not in self.held]
        count = self.rng.randrange(1, 4)
        return cs.LeaseRequest(
            collection_name="model", owner="model", duration_ms=24 * 3600 * 1000,
            max_records=count, filter=json_format.ParseDict(condition, struct_pb2.Struct()),
            order_by=self.test.order_text(order)), wanted[:count]

    def lease(self):
        request, wanted = self.request()
        records = self.test.front.records.Lease(request).records
        self.test.assertEqual([r.info.id for r in records], wanted, request)
        for record in records:
            self.test.check(record.info.id, record.item, record.info)
            self.test.assertGreater(record.token, self.last_token)
            self.last_token = record.token
            self.held[record.info.id] = record.token
        self.count()

    def renew(self):
        refs = self.some(3)
        answer = self.test.front.records.Renew(cs.RenewRequest(
            collection_name="model", duration_ms=24 * 3600 * 1000, leases=[r for r, _ in refs]))
        self.test.assertEqual(list(answer.renewed), [r for r, good in refs if good])

    def release(self):
        refs = self.some(2)
        answer = self.test.front.records.Release(cs.ReleaseRequest(
            collection_name="model", leases=[r for r, _ in refs]))
        self.test.assertEqual(list(answer.released), [r for r, good in refs if good])
        for ref in answer.released:
            self.forget(ref.id)
        self.count()

    def count(self):
        described = self.test.describe()
        self.test.assertEqual(described.lease_count, len(self.held))
        self.test.assertEqual(described.last_sequence, len(self.test.feed.changes))

    def interrupted(self, wanted):
        """Of a Lease that was not answered: all of it was done, or nothing."""
        more = self.test.describe().lease_count - len(self.held)
        self.test.assertIn(more, (0, len(wanted)))
        for record_id in wanted if more else ():
            self.held[record_id] = 0
