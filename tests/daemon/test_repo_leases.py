"""Leases: a collection as a durable queue."""

import threading

from collector_testing import Code, CollectorTest, collection_server_pb2 as cs, protos
from google.protobuf import json_format, struct_pb2

ORDER = "shop.v1.Order"
SOON_MS = 300


class Leases(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Order = protos.shop().message(ORDER)
        cls.front.register(protos.shop())
        cls._made = 0

    def queue(self, count=0, **fields):
        type(self)._made += 1
        name = "queue-%d" % self._made
        self.front.create_collection(name, ORDER, indexed_fields=["state", "total_cents"])
        for i in range(count):
            self.front.create(name, self.Order(
                number=str(i), total_cents=i, state="STATE_PLACED"), str(i), **fields)
        return name

    def lease(self, name, owner="me", client=None, **fields):
        if isinstance(fields.get("filter"), dict):
            fields["filter"] = json_format.ParseDict(fields["filter"], struct_pb2.Struct())
        return list((client or self.front).records.Lease(cs.LeaseRequest(
            collection_name=name, owner=owner, **fields)).records)

    def leased(self, name, **fields):
        return [r.info.id for r in self.lease(name, **fields)]

    def release(self, name, *records):
        return [r.id for r in self.front.records.Release(cs.ReleaseRequest(
            collection_name=name, leases=[
                cs.LeaseRef(id=r.info.id, token=r.token) for r in records])).released]

    def renew(self, name, *records, **fields):
        return [r.id for r in self.front.records.Renew(cs.RenewRequest(
            collection_name=name, leases=[
                cs.LeaseRef(id=r.info.id, token=r.token) for r in records], **fields)).renewed]

    def test_nobody_else_is_given_what_is_leased(self):
        name = self.queue(5)
        first = self.lease(name, max_records=2)
        self.assertEqual([r.info.id for r in first], ["0", "1"])
        self.assertLess(first[0].token, first[1].token)
        self.assertEqual(protos.unpack(first[1].item, self.Order).number, "1")
        self.assertGreater(first[0].expires_at.seconds, 1600000000)
        second = self.lease(name, max_records=10)
        self.assertEqual([r.info.id for r in second], ["2", "3", "4"])
        self.assertGreater(second[0].token, first[1].token)
        self.assertEqual(self.lease(name), [])
        self.assertEqual(self.release(name, first[1]), ["1"])
        self.assertEqual(self.release(name, first[1]), [])
        self.assertEqual(self.leased(name), ["1"])
        described = self.front.records.Describe(cs.DescribeRequest(collection_name=name))
        self.assertEqual(described.lease_count, 5)

    def test_filters_and_order(self):
        name = self.queue(6)
        self.assertEqual(self.leased(name, max_records=2, order_by="total_cents desc"), ["5", "4"])
        self.assertEqual(self.leased(name, max_records=9, filter={"total_cents": {"ge": 3}}), ["3"])
        self.front.create(name, self.Order(), "labelled", labels={"k": "v"})
        self.assertEqual(self.leased(name, max_records=9, label_filters={"k": "v"}), ["labelled"])
        record, = self.lease(name, read_mask=["total_cents"], filter={"total_cents": 2})
        self.assertEqual(protos.unpack(record.item, self.Order), self.Order(total_cents=2))
        for fields, blamed in (({"filter": {"nothing": 1}}, "filter"), ({"owner": ""}, "owner"),
                               ({"max_records": -1}, "max_records"),
                               ({"max_records": 1001}, "max_records"),
                               ({"duration_ms": -1}, "duration_ms"),
                               ({"duration_ms": 1 << 50}, "duration_ms"),
                               ({"wait_ms": 60001}, "wait_ms"), ({"order_by": "x"}, "order_by"),
                               ({"read_mask": ["x"]}, "read_mask")):
            with self.subTest(fields), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.lease(name, **fields)
            self.assertBlames(expected.error, blamed)
        with self.assertRpcError(Code.NOT_FOUND):
            self.lease("no-such")

    def test_leasing_changes_neither_etag_nor_feed(self):
        name = self.queue(1)
        before = self.front.get(name, "0").info
        sequence = self.front.records.Describe(cs.DescribeRequest(collection_name=name)).last_sequence
        leased = self.lease(name)
        self.assertEqual(leased[0].info, before)
        self.renew(name, *leased)
        self.release(name, *leased)
        self.assertEqual(self.front.get(name, "0").info, before)
        described = self.front.records.Describe(cs.DescribeRequest(collection_name=name))
        self.assertEqual(described.last_sequence, sequence)

    def test_the_holder_s_writes_and_others(self):
        name = self.queue(1)
        held, = self.lease(name)

        def update(**fields):
            return self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id="0", item=protos.pack(self.Order(number="x")), **fields))

        with self.assertRpcError(Code.ABORTED, text="lease"):
            update(lease_token=held.token + 1)
        # Others are not kept from writing; the holder's etag then no longer fits.
        update()
        with self.assertRpcError(Code.ABORTED):
            update(lease_token=held.token, etag=held.info.etag)
        update(lease_token=held.token, etag=self.front.get(name, "0").info.etag)
        self.release(name, held)
        with self.assertRpcError(Code.ABORTED, text="lease"):
            update(lease_token=held.token)
        with self.assertRpcError(Code.ABORTED, text="lease"):
            self.front.records.Delete(cs.DeleteRequest(
                collection_name=name, id="0", lease_token=held.token))
        again, = self.lease(name)
        self.front.records.Delete(cs.DeleteRequest(
            collection_name=name, id="0", lease_token=again.token))
        # A record of the same id is another one.
        self.front.create(name, self.Order(), "0")
        self.assertEqual(self.leased(name), ["0"])

    def test_a_lease_ends_by_itself(self):
        name = self.queue(1)
        first, = self.lease(name, duration_ms=SOON_MS)
        # Waits for the end of the lease, not longer.
        second, = self.lease(name, wait_ms=30000)
        self.assertGreater(second.token, first.token)
        self.assertEqual(self.renew(name, first), [])
        self.assertEqual(self.release(name, first), [])
        with self.assertRpcError(Code.ABORTED):
            self.front.records.Delete(cs.DeleteRequest(
                collection_name=name, id="0", lease_token=first.token))
        self.assertEqual(self.renew(name, second, duration_ms=60000), ["0"])

    def test_waiting_for_a_record(self):
        name = self.queue()
        self.assertEqual(self.lease(name, wait_ms=100), [])
        waiting = [self.front.records.Lease.future(cs.LeaseRequest(
            collection_name=name, owner=str(i), wait_ms=60000), timeout=60) for i in range(8)]
        for i in range(8):
            self.front.create(name, self.Order(), str(i))
        got = [r.info.id for call in waiting for r in call.result().records]
        self.assertEqual(sorted(got), [str(i) for i in range(8)])
        # One that is released comes back to who waits.
        late = self.front.records.Lease.future(cs.LeaseRequest(
            collection_name=name, owner="late", wait_ms=60000), timeout=60)
        self.release(name, waiting[3].result().records[0])
        self.assertEqual(late.result().records[0].info.id, waiting[3].result().records[0].info.id)
        gone = self.front.records.Lease.future(cs.LeaseRequest(
            collection_name=name, owner="gone", wait_ms=60000), timeout=60)
        gone.cancel()
        short = self.front.records.Lease(cs.LeaseRequest(
            collection_name=name, owner="short", wait_ms=60000), timeout=1)
        self.assertEqual(len(short.records), 0)

    def test_sixteen_clients_never_hold_the_same_record(self):
        count = 400
        name = self.queue(count)
        lock = threading.Lock()
        taken, problems = {}, []

        def work(worker):
            client = self.client("dispatcher")
            while True:
                records = self.lease(name, owner=str(worker), client=client, max_records=3,
                                     duration_ms=600000, filter={"state": "STATE_PLACED"})
                if not records:
                    return
                with lock:
                    for record in records:
                        if record.info.id in taken:
                            problems.append(record.info.id)
                        taken[record.info.id] = record.token

        workers = [threading.Thread(target=work, args=(i,)) for i in range(16)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
            self.assertFalse(worker.is_alive())
        self.assertEqual(problems, [])
        self.assertEqual(len(taken), count)
        self.assertEqual(len(set(taken.values())), count)

    def test_leases_survive_kill_9(self):
        name = self.queue(3)
        held = self.lease(name, max_records=2, duration_ms=600000)
        self.restart("repo")
        other = self.lease(name, max_records=3)
        self.assertEqual([r.info.id for r in other], ["2"])
        self.assertGreater(other[0].token, held[-1].token)
        self.assertEqual(self.renew(name, *held), ["0", "1"])
