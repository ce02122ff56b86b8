"""The history of calls: what is kept, for how long, and what it tells."""

import os
from concurrent import futures

from collector_testing import (
    CollectorTest, collection_server_pb2 as records, common_pb2, daemon_pb2,
    dispatcher_pb2 as dp, eventually, protos)
from google.protobuf import wrappers_pb2
from mesh import MeshTest

TRACE = "0af7651916cd43dd8448eb211c80319c"
SMALL = 60


def text(value):
    return wrappers_pb2.StringValue(value=value)


class Kept(MeshTest):
    def dispatches(self, namespace, **fields):
        """All of a namespace, oldest first."""
        request = records.ListRequest(namespace="system", collection_name="dispatches",
                                      page_size=1000, **fields)
        request.filter.update({"namespace": namespace})
        found = []
        while True:
            page = self.front.records.List(request)
            found += [protos.unpack(item, dp.Dispatch) for item in page.items]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def number(self, name):
        return self.front.daemon.GetStats(daemon_pb2.GetStatsRequest()).numbers[name]

    def test_what_a_record_tells(self):
        self.attach(self.front, "told", "A", "Do", lambda i, c: text(i.value * 2))
        call = dict(timeout=30, metadata=(
            ("traceparent", "00-%s-b7ad6b7169203331-01" % TRACE),))
        self.front.dispatcher.Dispatch(dp.DispatchRequest(
            namespace="told", service=common_pb2.ServiceTypeRef(service_name="A"),
            method_name="Do", input=protos.pack(text("abc"))), **call)
        record = eventually(lambda: self.dispatches("told"), "the call is recorded")[0]
        self.assertEqual((record.service.service_name, record.method_name), ("A", "Do"))
        self.assertEqual(record.trace_id, TRACE)
        self.assertEqual(record.result_status.code, common_pb2.Status.OK)
        self.assertEqual((record.source_collector_id, record.target_collector_id),
                         (self.me, self.me))
        self.assertEqual((record.request_bytes, record.response_bytes, record.candidates_tried),
                         (5, 8, 1))
        self.assertGreater(record.duration_us, 0)
        self.assertEqual(record.stands_for, 0)

    def test_a_call_to_oneself_and_one_that_failed_are_recorded_too(self):
        self.attach(self.front, "self", "A", "Do", lambda i, c: i)
        self.front.dispatch("A", "Do", text(""), "self", target_collector_id=self.me)
        try:
            self.front.dispatch("A", "Nothing", text(""), "self")
        except Exception:  # pylint: disable=broad-except
            pass
        eventually(lambda: len(self.dispatches("self")) == 2, "both are recorded")
        failed = [d for d in self.dispatches("self") if d.result_status.code]
        self.assertEqual([d.method_name for d in failed], ["Nothing"])
        self.assertIn("nobody serves", failed[0].result_status.message)

    def test_none_is_dropped_below_the_limit(self):
        self.attach(self.front, "many", "A", "Do", lambda i, c: i)
        with futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: self.front.dispatch("A", "Do", text(str(i)), "many"),
                          range(800)))
        eventually(lambda: len(self.dispatches("many")) == 800, "all are recorded")
        self.assertEqual(self.number("history_dropped"), 0)

    def test_calls_while_the_repo_is_away_are_recorded_later(self):
        self.attach(self.front, "later", "A", "Do", lambda i, c: i)
        self.front.dispatch("A", "Do", text(""), "later")
        self.cluster["repo"].kill()
        for _ in range(20):
            self.front.dispatch("A", "Do", text(""), "later")
        self.cluster["repo"].start()
        self.wait_back("repo")
        eventually(lambda: len(self.dispatches("later")) == 21, "all are recorded")


class Limited(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")
    options = {"dispatcher": ["--history-max-records", str(SMALL),
                              "--history-max-age-hours", "1"]}

    def number(self, name):
        return self.front.daemon.GetStats(daemon_pb2.GetStatsRequest()).numbers[name]

    def ids(self):
        page = self.front.records.List(records.ListRequest(
            namespace="system", collection_name="dispatches", page_size=1000))
        return [info.id for info in page.infos]

    def call(self, count):
        for _ in range(count):
            try:
                self.front.dispatch("A", "B", text(""))
            except Exception:  # pylint: disable=broad-except
                pass

    def test_the_oldest_go(self):
        self.call(2 * SMALL)
        eventually(lambda: self.number("history_written") == 2 * SMALL, "all were recorded")
        eventually(lambda: len(self.ids()) == SMALL, "no more than so many are left")
        ids = self.ids()
        self.call(10)
        eventually(lambda: self.ids()[:-10] == ids[10:], "the oldest ten went")

        # One that is older than an hour goes, whatever the count; a daemon writes it.
        with open(os.path.join(self.cluster.data, "daemon.key"), encoding="ascii") as f:
            key = f.read().strip()
        old = "01000000-0000-7000-8000-000000000000"
        self.client("repo").records.Create(records.CreateRequest(
            namespace="system", collection_name="dispatches", id=old,
            item=protos.pack(dp.Dispatch(id=old))), metadata=(
                ("collector-internal-key", key), ("collector-internal-daemon", "test")))
        self.assertIn(old, self.ids())
        eventually(lambda: old not in self.ids(), "the old one is removed")
