"""An acknowledged write is on disk."""

import os
import sqlite3
import threading

import grpc
from collector_testing import (
    Code, CollectorTest, collection_server_pb2 as cs, eventually, protos)

ORDER = "shop.v1.Order"


class Durability(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    def setUp(self):
        self.Order = protos.shop().message(ORDER)
        self.front.register(protos.shop())

    def all_ids(self, collection):
        ids, token = set(), ""
        while True:
            page = self.front.records.List(cs.ListRequest(
                collection_name=collection, page_size=1000, page_token=token,
                read_mask=["number"]))
            ids |= {i.id for i in page.infos}
            token = page.next_page_token
            if not token:
                return ids

    def test_kill_9_during_creates_loses_nothing_acknowledged(self):
        self.front.create_collection("stream", ORDER, indexed_fields=["total_cents"])
        acknowledged, lock, enough = [], threading.Lock(), threading.Event()
        stop = threading.Event()

        def write(writer):
            n = 0
            while not stop.is_set():
                record_id = "%d-%d" % (writer, n)
                order = self.Order(number=record_id, total_cents=n, note="x" * 500)
                try:
                    self.front.create("stream", order, record_id)
                except grpc.RpcError:
                    # It may or may not be there; this id is not used again.
                    self.front.wait_serving("collector.CollectionService")
                else:
                    with lock:
                        acknowledged.append(record_id)
                        if len(acknowledged) % 200 == 0:
                            enough.set()
                n += 1

        writers = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(8)]
        for writer in writers:
            writer.start()
        for _ in range(5):
            self.assertTrue(enough.wait(120), "no progress")
            self.cluster["repo"].kill()
            enough.clear()
            self.cluster["repo"].start()
        self.assertTrue(enough.wait(120), "no progress")
        stop.set()
        for writer in writers:
            writer.join(120)
            self.assertFalse(writer.is_alive())

        self.wait_back("repo")
        there = eventually(lambda: self.all_ids("stream"), "the repo answers")
        self.assertGreaterEqual(len(acknowledged), 1000)
        self.assertEqual(set(acknowledged) - there, set())
        described = self.front.records.Describe(cs.DescribeRequest(collection_name="stream"))
        self.assertEqual(described.record_count, len(there))
        # The indexes and the text agree with the records.
        listed = self.front.records.List(cs.ListRequest(
            collection_name="stream", order_by="total_cents", page_size=1000))
        self.assertEqual(listed.total_count, len(there))
        found = self.front.records.Search(cs.SearchRequest(
            collection_name="stream", full_text="x" * 500, limit=1))
        self.assertEqual(found.total_count, len(there))

        self.assertEqual(self.cluster["repo"].stop(), 0)
        for database in self.databases("stream"):
            with sqlite3.connect("file:%s?mode=ro" % database, uri=True) as connection:
                self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(),
                                 [("ok",)])
        self.cluster["repo"].start()
        self.wait_back("repo")

    def databases(self, collection):
        found = []
        root = os.path.join(self.cluster.data, "repo", "ns", "default", collection)
        for directory, _, files in os.walk(root):
            found += [os.path.join(directory, f) for f in files if f == "collection.db"]
        self.assertTrue(found, "no collection.db under " + root)
        return found

    def test_kill_9_during_collection_creation(self):
        """A collection whose creation was acknowledged is whole, others are absent or whole."""
        acknowledged = []
        for i in range(30):
            name = "made-%d" % i
            if i == 20:
                threading.Timer(0, self.cluster["repo"].process.kill).start()
            try:
                self.front.create_collection(name, ORDER, indexed_fields=["number"])
                acknowledged.append(name)
            except grpc.RpcError:
                if i >= 20:
                    break
                raise
        self.restart("repo")
        for name in acknowledged:
            self.front.create(name, self.Order(number="1"), "1")
        for i in range(len(acknowledged), 30):
            name = "made-%d" % i
            try:
                self.front.create_collection(name, ORDER)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.ALREADY_EXISTS)
            self.front.create(name, self.Order(number="1"), "1")

    def test_updates_and_deletes_survive(self):
        self.front.create_collection("changes", ORDER)
        for i in range(50):
            self.front.create("changes", self.Order(number="a"), str(i))
        for i in range(50):
            if i % 2:
                self.front.records.Delete(cs.DeleteRequest(collection_name="changes", id=str(i)))
            else:
                self.front.records.Update(cs.UpdateRequest(
                    collection_name="changes", id=str(i),
                    item=protos.pack(self.Order(number="b"))))
        self.restart("repo")
        page = eventually(lambda: self.front.records.List(
            cs.ListRequest(collection_name="changes")), "the repo answers")
        self.assertEqual([i.id for i in page.infos], [str(i) for i in range(0, 50, 2)])
        self.assertEqual({protos.unpack(i, self.Order).number for i in page.items}, {"b"})
        self.assertEqual(page.total_count, 25)
