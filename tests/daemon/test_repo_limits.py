"""The repo's limits: sizes, open collections, a full disk, queries that are given up."""

import os
import random
import stat
import subprocess
import threading
import unittest

import grpc
from collector_testing import (
    Code, CollectorTest, collection_repo_pb2, collection_server_pb2 as cs, daemon_pb2, eventually,
    json_format, protos, struct_pb2)
from daemons import Cluster, Daemon

ORDER = "shop.v1.Order"
MIB = 1 << 20


class Limits(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    def setUp(self):
        self.Order = protos.shop().message(ORDER)
        self.front.register(protos.shop())

    def of_size(self, size):
        """An order of exactly so many bytes."""
        order = self.Order(note="x" * (size - 16))
        order.note += "x" * (size - order.ByteSize())
        self.assertEqual(order.ByteSize(), size)
        return order


class Sizes(Limits):
    def test_a_record_of_4_mib_and_no_more(self):
        self.front.create_collection("large", ORDER, full_text_disabled=True)
        self.front.create("large", self.of_size(4 * MIB), "most")
        self.assertEqual(len(self.front.get("large", "most").item.value), 4 * MIB)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED) as expected:
            self.front.create("large", self.of_size(4 * MIB + 1), "more")
        self.assertBlames(expected.error, "item")
        # Nor by what a mask leaves of it.
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            self.front.records.Update(cs.UpdateRequest(
                collection_name="large", id="most", update_mask=["number"],
                item=protos.pack(self.Order(number="n" * 100))))
        self.assertEqual(len(self.front.get("large", "most").item.value), 4 * MIB)

    def test_a_page_is_taken_by_a_client_with_grpc_s_defaults(self):
        self.front.create_collection("pages", ORDER, full_text_disabled=True)
        for i in range(5):
            self.front.create("pages", self.of_size(MIB), str(i), labels={"k": "v" * 500})
        with grpc.insecure_channel(self.cluster.address("dispatcher")) as channel:
            list_page = channel.unary_unary(
                "/collector.CollectionService/List",
                request_serializer=cs.ListRequest.SerializeToString,
                response_deserializer=cs.ListResponse.FromString)
            seen, token = [], ""
            while True:
                page = list_page(cs.ListRequest(collection_name="pages", page_token=token),
                                 timeout=30)
                seen += [i.id for i in page.infos]
                token = page.next_page_token
                if not token:
                    break
        self.assertEqual(seen, ["0", "1", "2", "3", "4"])
        seen = []
        while len(seen) < 5:
            found = self.front.records.Search(cs.SearchRequest(
                collection_name="pages", offset=len(seen)))
            self.assertEqual(found.total_count, 5)
            self.assertGreater(len(found.results), 0)
            seen += [r.info.id for r in found.results]
        self.assertEqual(seen, ["0", "1", "2", "3", "4"])


class SlowQueries(Limits):
    """Queries that would take minutes: long lists are looked through for each of 60 others."""

    SLOW = json_format.ParseDict({"$or": [
        {"lines.sku": "x%d" % k} for k in range(60)]}, struct_pb2.Struct())
    LINES = 200000
    ORDERS = {"slow": 12, "slow-2": 4, "slow-3": 4, "slow-4": 4}
    OTHERS = 5
    METHODS = ("List", "Search", "ExplainQuery", "SearchCollections")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        front, order = cls.front, protos.shop().message(ORDER)
        front.register(protos.shop())
        long = order()
        for _ in range(cls.LINES):
            long.lines.add(sku="n")
        item = protos.pack(long)
        for name, count in cls.ORDERS.items():
            front.create_collection(name, ORDER, full_text_disabled=True)
            for _ in range(count):
                front.records.Create(cs.CreateRequest(collection_name=name, item=item))
        front.create_collection("other", ORDER)
        front.create("other", order(number="1"), "1")

    def live_calls(self):
        return self.client("repo").daemon.GetStats(daemon_pb2.GetStatsRequest()).live_calls

    def slow(self, count, timeout, method="List", names=("slow",)):
        """So many slow calls of each collection, more than OTHERS, of which the repo has taken
        more than it runs."""
        service = self.front.repo if method == "SearchCollections" else self.front.records
        calls = []
        self.idle()
        for name in names:
            requests = {
                "List": cs.ListRequest(collection_name=name, filter=self.SLOW),
                "Search": cs.SearchRequest(collection_name=name, filter=self.SLOW),
                "ExplainQuery": cs.ExplainQueryRequest(max_records=100000, list=cs.ListRequest(
                    collection_name=name, filter=self.SLOW)),
                "SearchCollections": collection_repo_pb2.SearchCollectionsRequest(
                    query=self.SLOW, collection_names=[name])}
            calls += [getattr(service, method).future(requests[method], timeout=timeout)
                      for _ in range(count)]
        self.addCleanup(lambda: [call.cancel() for call in calls])
        eventually(lambda: self.live_calls() >= len(calls), "the calls are in")
        return calls

    def idle(self):
        """Until there is no call but that which asks, and the daemons' own."""
        eventually(lambda: self.live_calls() <= self.OTHERS, "all calls have ended")

    def answers(self):
        """What others ask for is answered while none of the calls is."""
        self.front.records.List(cs.ListRequest(collection_name="other"))
        self.front.records.Search(cs.SearchRequest(collection_name="other", full_text="1"))
        self.front.create("other", self.Order())

    def test_they_end_when_nobody_waits_for_them(self):
        # Some of each run, and others wait.
        for call in self.slow(12, timeout=1):
            self.assertEqual(call.code(), Code.DEADLINE_EXCEEDED)
        for method in self.METHODS:
            for call in self.slow(12, timeout=600, method=method):
                call.cancel()
        self.idle()
        self.front.records.List(cs.ListRequest(collection_name="slow", page_size=1,
                                               skip_total_count=True))

    def test_one_collection_keeps_no_other_from_answering(self):
        for method in self.METHODS:
            with self.subTest(method):
                calls = self.slow(12, timeout=600, method=method)
                self.answers()
                self.assertFalse(any(call.done() for call in calls))
                for call in calls:
                    call.cancel()

    def test_nor_do_several_together(self):
        calls = self.slow(12, timeout=600, names=self.ORDERS)
        self.answers()
        self.assertFalse(any(call.done() for call in calls))
        for call in calls:
            call.cancel()
        # Those that waited, and those that came, go on.
        self.idle()
        for name in self.ORDERS:
            self.front.records.List(cs.ListRequest(collection_name=name, page_size=1,
                                                   skip_total_count=True))

    def test_no_more_wait_than_there_is_room_for(self):
        calls = self.slow(200, timeout=600)
        more = [self.front.records.List.future(cs.ListRequest(
            collection_name="slow", filter=self.SLOW), timeout=600) for _ in range(100)]
        self.addCleanup(lambda: [call.cancel() for call in more])
        refused = eventually(lambda: [c for c in more if c.done()], "some are refused")
        self.assertEqual({c.code() for c in refused}, {Code.RESOURCE_EXHAUSTED})
        self.assertIn("default/slow", refused[0].details())
        self.answers()
        self.assertFalse(any(call.done() for call in calls))


class ManyCollections(Limits):
    options = {"repo": ["--max-open-collections", "4"]}

    def test_more_collections_than_are_kept_open(self):
        names = ["c-%d" % i for i in range(40)]
        for name in names:
            self.front.create_collection(name, ORDER, indexed_fields=["number"])
            self.front.create(name, self.Order(number=name), "1")
        pid = self.cluster["repo"].process.pid
        before = len(os.listdir("/proc/%d/fd" % pid))
        problems = []

        def visit(seed):
            rng = random.Random(seed)
            for i in range(40):
                name = rng.choice(names)
                try:
                    item = self.front.get(name, "1").item
                    self.assertEqual(protos.unpack(item, self.Order).number, name)
                    self.front.create(name, self.Order(number="more"), "%d-%d" % (seed, i))
                except Exception as error:  # pylint: disable=broad-except
                    problems.append(error)

        threads = [threading.Thread(target=visit, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        total = sum(self.front.records.Describe(cs.DescribeRequest(
            collection_name=name)).record_count for name in names)
        self.assertEqual(total, 40 + 6 * 40)
        # A few each of those that are open, and some for connections; not of all 40.
        self.assertLess(len(os.listdir("/proc/%d/fd" % pid)), before + 60)

    def open_ones(self):
        """The collections whose database the repo has open now, by name."""
        directory = "/proc/%d/fd" % self.cluster["repo"].process.pid
        found = set()
        for fd in os.listdir(directory):
            try:
                parts = os.readlink(os.path.join(directory, fd)).split("/")
            except FileNotFoundError:
                continue
            if parts[-1] == "collection.db":
                found.add(parts[-3])
        return found

    def test_those_used_last_stay_open(self):
        names = ["u-%d" % i for i in range(12)]
        for name in names:
            self.front.create_collection(name, ORDER)
        for name in names:
            self.front.create("u-0", self.Order(number="1"))
            self.front.create(name, self.Order(number="1"))
        # The catalogue's own is one of the four; an answer comes a moment before its end.
        is_open = self.open_ones() - {"collections"}
        self.assertLessEqual({"u-0", "u-11"}, is_open)
        self.assertLessEqual(is_open, {"u-0", "u-8", "u-9", "u-10", "u-11"})


class OnSmallDisk(Daemon):
    """The repo with its data on a file system of its own, which ends with it."""

    size_mib = 24

    @property
    def program(self):
        script = os.path.join(os.path.dirname(self.log_path), "on-small-disk")
        data = os.path.join(self.arguments[self.arguments.index("--data") + 1], "repo")
        os.makedirs(data, exist_ok=True)
        with open(script, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs -o size=%dm none %s && "
                    "exec %s \"$@\"' sh \"$@\"\n" % (self.size_mib, data, super().program))
        os.chmod(script, stat.S_IRWXU)
        return script


def may_mount():
    return subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


@unittest.skipUnless(may_mount(), "needs the right to mount")
class SmallDisk(Limits):
    @classmethod
    def setUpClass(cls):
        original = Cluster.start

        def start(cluster):
            cluster.daemons["repo"].__class__ = OnSmallDisk
            original(cluster)

        Cluster.start = start
        try:
            super().setUpClass()
        finally:
            Cluster.start = original


class FullDisk(SmallDisk):
    def test_a_full_disk_and_room_again(self):
        repo = self.cluster["repo"]
        ballast = "/proc/%d/root%s/repo/ballast" % (repo.process.pid, self.cluster.data)
        with open(ballast, "wb") as f:
            f.write(b"b" * (8 * MIB))
        self.front.create_collection("full", ORDER, indexed_fields=["number"])
        acknowledged = []
        refused = 0
        for i in range(2000):
            order = self.Order(number=str(i), note="word " * (6000 if i % 2 else 10))
            try:
                self.front.create("full", order, str(i))
                acknowledged.append(str(i))
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.RESOURCE_EXHAUSTED, error)
                refused += 1
                if refused == 20:
                    break
        self.assertEqual(refused, 20)
        self.assertGreater(len(acknowledged), 50)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED):
            for i in range(200):
                self.front.create_collection("no-room-%d" % i, ORDER)
        # What is there can be read.
        self.check("full", acknowledged)
        os.unlink(ballast)
        for i in range(20):
            self.front.create("full", self.Order(number="again"), "again-%d" % i)
            acknowledged.append("again-%d" % i)
        self.front.create_collection("room", ORDER)
        self.front.create("room", self.Order(number="1"), "1")
        self.check("full", acknowledged)
        self.assertAllAlive()

    def check(self, name, wanted):
        ids, token = [], ""
        while True:
            page = self.front.records.List(cs.ListRequest(
                collection_name=name, page_token=token, read_mask=["number"]))
            ids += [i.id for i in page.infos]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(ids, wanted)
        self.assertEqual(page.total_count, len(wanted))
        found = self.front.records.Search(cs.SearchRequest(
            collection_name=name, full_text="word", limit=1))
        self.assertGreater(found.total_count, 0)


class BuildOnSmallDisk(SmallDisk):
    def test_what_is_to_be_built_waits_for_room(self):
        repo = self.cluster["repo"]
        root = "/proc/%d/root%s/repo" % (repo.process.pid, self.cluster.data)
        self.front.create_collection("built", ORDER, full_text_disabled=True)
        for start in range(0, 1500, 500):
            self.front.records.Batch(cs.BatchRequest(collection_name="built", operations=[
                cs.RequestOp(create=cs.CreateRequest(id=str(i), item=protos.pack(self.Order(
                    note="%04d " % i + "n" * 1000)))) for i in range(start, start + 500)]))
        ballast = os.path.join(root, "ballast-2")
        room = os.statvfs(root)
        with open(ballast, "wb") as f:
            f.write(b"b" * (room.f_bavail * room.f_frsize - MIB // 2))
        self.front.records.Modify(cs.ModifyRequest(
            collection_name="built", indexed_fields=["note"]))

        def describe():
            return self.front.records.Describe(cs.DescribeRequest(collection_name="built"))

        build = eventually(lambda: describe().build.problem and describe().build, "it is told")
        self.assertIn("full", build.problem)
        self.assertEqual(build.step, "an index is built")
        self.assertEqual(self.front.get("built", "7").info.id, "7")
        os.unlink(ballast)
        eventually(lambda: not describe().HasField("build"), "it goes on")
        self.assertEqual([i.state for i in describe().indexes], [cs.INDEX_READY])
