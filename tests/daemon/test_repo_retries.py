"""Retries under a request_id are answered as the first time; batches that are atomic."""

import threading

import grpc
from collector_testing import Code, CollectorTest, collection_server_pb2 as cs, common_pb2, protos

ORDER = "shop.v1.Order"


class Retries(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Order = protos.shop().message(ORDER)
        cls.front.register(protos.shop())
        cls._made = 0

    def collection(self):
        type(self)._made += 1
        name = "retries-%d" % self._made
        self.front.create_collection(name, ORDER)
        return name

    def item(self, number="1", **fields):
        return protos.pack(self.Order(number=number, **fields))

    def count(self, name):
        return self.front.records.List(cs.ListRequest(collection_name=name)).total_count

    def test_a_create_without_an_id_is_done_once(self):
        name = self.collection()
        request = cs.CreateRequest(collection_name=name, item=self.item(), request_id="once",
                                   labels={"a": "1", "b": "2", "c": "3"})
        first = self.front.records.Create(request)
        self.assertEqual(self.front.records.Create(request), first)
        self.restart("repo")
        self.assertEqual(self.front.records.Create(request), first)
        self.assertEqual(self.count(name), 1)

    def test_updates_and_deletes(self):
        name = self.collection()
        self.front.create(name, self.Order(number="1"), "a")
        update = cs.UpdateRequest(collection_name=name, id="a", item=self.item("2"),
                                  request_id="u")
        first = self.front.records.Update(update)
        self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="a", item=self.item("3")))
        self.assertEqual(self.front.records.Update(update), first)
        self.assertEqual(protos.unpack(self.front.get(name, "a").item, self.Order).number, "3")
        delete = cs.DeleteRequest(collection_name=name, id="a", must_exist=True, request_id="d")
        self.front.records.Delete(delete)
        self.front.records.Delete(delete)
        self.front.create(name, self.Order(number="4"), "a")
        self.front.records.Delete(delete)
        self.assertEqual(self.count(name), 1)

    def test_a_failure_is_repeated(self):
        name = self.collection()
        update = cs.UpdateRequest(collection_name=name, id="a", item=self.item(), request_id="u")
        for _ in range(2):
            with self.assertRpcError(Code.NOT_FOUND, text="a"):
                self.front.records.Update(update)
            self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id="a", item=self.item(), allow_missing=True))

    def test_another_request_is_refused(self):
        name = self.collection()
        request = cs.CreateRequest(collection_name=name, id="a", item=self.item(), request_id="r")
        self.front.records.Create(request)
        for other in (cs.CreateRequest(collection_name=name, id="b", item=self.item(),
                                       request_id="r"),
                      cs.CreateRequest(collection_name=name, id="a", item=self.item("2"),
                                       request_id="r")):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.front.records.Create(other)
            self.assertBlames(expected.error, "request_id")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.records.Delete(cs.DeleteRequest(
                collection_name=name, id="a", request_id="r"))
        self.assertBlames(expected.error, "request_id")
        for bad in ("x" * 129, "a\nb"):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.front.records.Create(cs.CreateRequest(
                    collection_name=name, item=self.item(), request_id=bad))
            self.assertBlames(expected.error, "request_id")
        # Another collection has ids of its own.
        other = self.collection()
        request.collection_name = other
        self.front.records.Create(request)

    def operations(self, *specs):
        made = []
        for kind, record_id in specs:
            if kind == "create":
                made.append(cs.RequestOp(create=cs.CreateRequest(id=record_id, item=self.item())))
            elif kind == "update":
                made.append(cs.RequestOp(update=cs.UpdateRequest(id=record_id, item=self.item())))
            else:
                made.append(cs.RequestOp(delete=cs.DeleteRequest(id=record_id, must_exist=True)))
        return made

    def test_a_batch_is_repeated_whole(self):
        name = self.collection()
        batch = cs.BatchRequest(collection_name=name, request_id="b", operations=self.operations(
            ("create", "a"), ("create", "a"), ("create", ""), ("delete", "none")))
        first = self.front.records.Batch(batch)
        self.assertEqual([r.status.code for r in first.responses], [
            common_pb2.Status.OK, common_pb2.Status.ALREADY_EXISTS,
            common_pb2.Status.OK, common_pb2.Status.NOT_FOUND])
        self.restart("repo")
        self.assertEqual(self.front.records.Batch(batch), first)
        self.assertEqual(self.count(name), 2)
        del batch.operations[3:]
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.records.Batch(batch)
        self.assertBlames(expected.error, "request_id")

    def test_an_atomic_batch(self):
        name = self.collection()
        batch = cs.BatchRequest(collection_name=name, atomic=True, operations=self.operations(
            ("create", "a"), ("update", "a"), ("update", "none"), ("create", "b")))
        with self.assertRpcError(Code.NOT_FOUND, text="none") as expected:
            self.front.records.Batch(batch)
        self.assertBlames(expected.error, "operations[2]")
        self.assertEqual(self.count(name), 0)
        del batch.operations[2]
        answer = self.front.records.Batch(batch)
        self.assertEqual(len(answer.responses), 3)
        self.assertEqual(self.count(name), 2)
        # What cannot even be tried fails the whole as well.
        batch.operations[1].update.item.type_url = "x/not.this.Type"
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.records.Batch(batch)
        self.assertBlames(expected.error, "operations[1].item.type_url")
        self.front.records.Batch(cs.BatchRequest(collection_name=name, atomic=True))

    def test_retries_across_kills_make_each_record_once(self):
        """Who retries under the same id until it is answered never makes two records."""
        name = self.collection()
        done, stop = [], threading.Event()
        progress = threading.Event()

        def write(writer):
            n = 0
            while not stop.is_set():
                request = cs.CreateRequest(collection_name=name, item=self.item("%d-%d" % (writer, n)),
                                           request_id="%d-%d" % (writer, n))
                while True:
                    try:
                        answer = self.front.records.Create(request)
                    except grpc.RpcError as error:
                        assert error.code() in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED), error
                        self.front.wait_serving("collector.CollectionService")
                    else:
                        break
                done.append(answer.id)
                if len(done) % 100 == 0:
                    progress.set()
                n += 1

        writers = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            self.assertTrue(progress.wait(120), "no progress")
            self.cluster["repo"].kill()
            progress.clear()
            self.cluster["repo"].start()
        self.assertTrue(progress.wait(120), "no progress")
        stop.set()
        for writer in writers:
            writer.join(120)
            self.assertFalse(writer.is_alive())
        self.wait_back("repo")
        self.assertEqual(len(set(done)), len(done))
        self.assertEqual(self.count(name), len(done))
