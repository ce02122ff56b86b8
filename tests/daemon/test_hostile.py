"""Bad input: a clear error each time, and daemons that live on."""

import random
import socket
import struct

import grpc
from collector_testing import (
    Code, CollectorTest, NAMES, collection_repo_pb2, collection_server_pb2 as cs, common_pb2,
    daemon_pb2, dispatcher_pb2, protos, registry_pb2, worker_pb2)
from daemons import is_instrumented
from google.protobuf import any_pb2

ORDER = "shop.v1.Order"
MESSAGE_LIMIT = 64 << 20
# Of a daemon whose buffers are bounded.
MEMORY_LIMIT = 450 << 20 if not is_instrumented() else 2 << 30

METHODS = [
    "/collector.CollectorRegistry/RegisterProto", "/collector.CollectorRegistry/RegisterService",
    "/collector.CollectorRegistry/GetDescriptors", "/collector.CollectionService/Create",
    "/collector.CollectionService/List", "/collector.CollectionService/Search",
    "/collector.CollectionService/Update", "/collector.CollectionRepo/CreateCollection",
    "/collector.CollectionRepo/Discover", "/collector.CollectiveDispatcher/Serve",
    "/collector.CollectiveDispatcher/Dispatch", "/collector.CollectiveDispatcher/Connect",
    "/collector.CollectiveDispatcher/RegisterHandler", "/collector.CollectiveWorker/DefineWorkflow",
    "/collector.CollectiveWorker/StartWorkflow", "/collector.CollectorConsole/Display",
]


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def nested(number, depth, inner=b""):
    """A message in a message in a message, made from the inside out."""
    for _ in range(depth):
        inner = field(number, inner)
    return inner


class Hostile(CollectorTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Order = protos.shop().message(ORDER)
        cls.front.register(protos.shop())
        cls.front.create_collection("orders", ORDER)
        cls.pids = {name: cls.cluster[name].process.pid for name in NAMES}

    def tearDown(self):
        """Whatever came in, the same processes still answer."""
        self.assertAllAlive()
        for name in NAMES:
            stats = self.client(name).daemon.GetStats(daemon_pb2.GetStatsRequest())
            self.assertEqual(stats.pid, self.pids[name], name + " was restarted")

    def create(self, item=None, collection="orders", **fields):
        return self.front.records.Create(cs.CreateRequest(
            collection_name=collection, item=item, **fields))

    def test_items(self):
        good = protos.pack(self.Order(number="1"))
        bad = {
            "no item": None,
            "no type": any_pb2.Any(value=good.value),
            "another type": protos.pack(protos.shop().message("shop.v1.Line")()),
            "an unknown type": any_pb2.Any(type_url="type.googleapis.com/no.Such"),
            "a name without a slash": any_pb2.Any(type_url=ORDER, value=good.value),
            "truncated": any_pb2.Any(type_url=good.type_url, value=good.value[:-1]),
            "a bad tag": any_pb2.Any(type_url=good.type_url, value=b"\x00\x01"),
            "field 0": any_pb2.Any(type_url=good.type_url, value=b"\x02\x00"),
            "an endless varint": any_pb2.Any(type_url=good.type_url, value=b"\x20" + b"\xff" * 11),
            "a length past the end": any_pb2.Any(type_url=good.type_url, value=b"\x0a\xff\xff\x7f"),
            "a broken inner message": any_pb2.Any(type_url=good.type_url, value=b"\x12\x02\x0a\x05"),
            "not UTF-8": any_pb2.Any(type_url=good.type_url, value=b"\x0a\x02\xc3\x28"),
            "an unclosed group": any_pb2.Any(type_url=good.type_url, value=b"\xf3\x3e"),
            "deep groups": any_pb2.Any(
                type_url=good.type_url, value=b"\xf3\x3e" * 5000 + b"\xf4\x3e" * 5000),
        }
        for what, item in bad.items():
            with self.subTest(what), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.create(item)
            self.assertBlames(expected.error, "item")
        self.assertEqual(
            self.front.records.List(cs.ListRequest(collection_name="orders")).total_count, 0)

    def test_names(self):
        item = protos.pack(self.Order())
        for name in ("..", "../orders", "a/../b", "orders/", "Orders", "x" * 10000, "é", " ",
                     "orders ", "a\tb", ".", ""):
            with self.subTest(name):
                with self.assertRpcError(Code.INVALID_ARGUMENT):
                    self.create(item, collection=name)
                with self.assertRpcError(Code.INVALID_ARGUMENT):
                    self.front.create_collection(name, ORDER)
            if name:
                with self.subTest(namespace=name), self.assertRpcError(Code.INVALID_ARGUMENT):
                    self.create(item, namespace=name)

    def test_nul_is_not_the_end_of_a_name(self):
        """protobuf-c would take "orders\\0x" for "orders"."""
        item = protos.pack(self.Order())
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.create(item, collection="orders\0x")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.create(item, id="a\0b")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.get("orders", "a\0b")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.create_collection("nul\0x", ORDER)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.registry.LookupService(registry_pb2.LookupServiceRequest(
                service_name="shop.v1.OrderService\0x"))

    def test_a_descriptor_nested_10000_deep(self):
        # FileDescriptorProto.message_type = 4, DescriptorProto.nested_type = 3
        deep = field(4, nested(3, 10000))
        self.assertGreater(len(deep), 34000)
        request = field(2, field(1, b"deep.proto") + deep)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.unary("/collector.CollectorRegistry/RegisterProto", request)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.unary("/collector.CollectorRegistry/RegisterProto",
                             field(2, field(1, b"ok.proto")) + field(3, deep))

    def test_other_deep_messages(self):
        # A Struct in a Value in a Struct ...: filter = 3, fields = 1, value = 2, struct_value = 5
        deep = b""
        for _ in range(3000):
            deep = field(1, field(2, field(5, deep)))
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.unary("/collector.CollectionService/List",
                             field(2, b"orders") + field(3, deep))
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.unary("/collector.CollectiveWorker/DefineWorkflow",
                             field(1, field(4, field(7, deep))))

    def test_hostile_descriptors(self):
        bad = {
            "importing itself": {"dependency": ["x.proto"]},
            "an import out of the tree": {"dependency": ["../../etc/passwd"]},
            "an unknown syntax": {"syntax": "proto9"},
            "a message without a name": {"message_type": [{}]},
            "a dot in a name": {"message_type": [{"name": "a.b"}]},
            "the same name twice": {"message_type": [{"name": "A"}, {"name": "A"}]},
            "a field 0": {"message_type": [{"name": "A", "field": [
                {"name": "f", "number": 0, "type": 5, "label": 1}]}]},
            "a reserved field": {"message_type": [{"name": "A", "field": [
                {"name": "f", "number": 19500, "type": 5, "label": 1}]}]},
            "a field number twice": {"message_type": [{"name": "A", "field": [
                {"name": "f", "number": 1, "type": 5, "label": 1},
                {"name": "g", "number": 1, "type": 5, "label": 1}]}]},
            "a oneof that is not there": {"message_type": [{"name": "A", "field": [
                {"name": "f", "number": 1, "type": 5, "label": 1, "oneof_index": 7}]}]},
            "an enum without 0": {"enum_type": [{"name": "E", "value": [
                {"name": "ONE", "number": 1}]}]},
            "a public import that is not there": {"public_dependency": [3]},
        }
        from google.protobuf import descriptor_pb2, json_format
        for what, fields in bad.items():
            file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="x", syntax="proto3")
            json_format.ParseDict(fields, file)
            with self.subTest(what), self.assertRpcError(Code.INVALID_ARGUMENT):
                self.front.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
                    file_descriptor=file))

    def test_a_message_over_the_limit(self):
        huge = self.Order(note="x" * (MESSAGE_LIMIT // 2))
        item = protos.pack(huge)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT):
            self.create(item)
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED):
            self.front.unary("/no.such.Service/Do", b"x" * (MESSAGE_LIMIT // 2))
        self.assertEqual(self.create(protos.pack(self.Order(note="x" * (1 << 20)))).status.code,
                         common_pb2.Status.OK)
        self.front.records.Delete(cs.DeleteRequest(collection_name="orders", id="big"))
        for info in self.front.records.List(cs.ListRequest(collection_name="orders")).infos:
            self.front.records.Delete(cs.DeleteRequest(collection_name="orders", id=info.id))

    def test_a_length_of_4_gigabytes(self):
        """An HTTP/2 client that announces a message of 4 GB and sends what it can of it."""
        headers = b"".join(
            b"\x00" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in (
                (b":method", b"POST"), (b":scheme", b"http"),
                (b":path", b"/grpc.health.v1.Health/Check"), (b":authority", b"x"),
                (b"te", b"trailers"), (b"content-type", b"application/grpc")))
        chunk = frame(0, 0, 1, b"x" * 16384) * 64
        for name in NAMES:
            host, port = self.cluster.address(name).split(":")
            with socket.create_connection((host, int(port)), timeout=2) as connection:
                connection.sendall(
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") +
                    frame(1, 4, 1, headers) + frame(0, 0, 1, b"\x00\xff\xff\xff\xff"))
                try:
                    # Up to 512 MiB: it refuses, or stops reading, well before.
                    for _ in range(512):
                        connection.sendall(chunk)
                except (ConnectionError, socket.timeout):
                    pass
                stats = self.client(name).daemon.GetStats(daemon_pb2.GetStatsRequest())
                self.assertLess(stats.memory_bytes, MEMORY_LIMIT, name)

    def test_garbage_on_the_port(self):
        rng = random.Random(1)
        for name in NAMES:
            host, port = self.cluster.address(name).split(":")
            for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(rng.randrange(256) for _ in range(4096)),
                         b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64, b""):
                with socket.create_connection((host, int(port)), timeout=30) as connection:
                    try:
                        connection.sendall(data)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(4096):
                            pass
                    except (ConnectionError, socket.timeout):
                        pass

    def test_random_bytes_to_every_method(self):
        rng = random.Random(2)
        for method in METHODS:
            for size in (1, 7, 40, 400):
                data = bytes(rng.randrange(256) for _ in range(size))
                try:
                    self.front.unary(method, data)
                except grpc.RpcError as error:
                    self.assertIn(error.code(), (
                        Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED), method)

    def test_an_empty_request_to_every_method(self):
        for method in METHODS:
            try:
                self.front.unary(method, b"")
            except grpc.RpcError as error:
                self.assertIn(error.code(), (Code.INVALID_ARGUMENT, Code.NOT_FOUND), method)
                self.assertTrue(error.details(), method)

    def test_many_small_parts(self):
        """Two bytes that would become a whole message each."""
        operations = b"\x1a\x00" * 2_000_000
        with self.assertRpcError(Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT,
                                 Code.UNIMPLEMENTED):
            self.front.unary("/collector.CollectionService/Batch",
                             field(2, b"orders") + operations)

    def test_injection(self):
        self.create(protos.pack(self.Order(number="kept")), id="kept")
        for text in ("'; DROP TABLE records; --", '" OR 1=1', "$.number')--", "a]b", "x\\'"):
            for request in (
                    lambda t: cs.SearchRequest(collection_name="orders", filters={
                        t: cs.Filter(operator=cs.OP_EXISTS)}),
                    lambda t: cs.SearchRequest(collection_name="orders", order_by=t)):
                with self.assertRpcError(Code.INVALID_ARGUMENT):
                    self.front.records.Search(request(text))
            answer = self.front.records.Search(cs.SearchRequest(
                collection_name="orders", full_text=text, label_filters={text: text}))
            self.assertEqual(answer.total_count, 0)
        self.assertEqual(self.front.get("orders", "kept").info.id, "kept")
        self.front.records.Delete(cs.DeleteRequest(collection_name="orders", id="kept"))

    def test_unknown_methods(self):
        for path in ("/collector.CollectionService/Nothing", "/collector.Nothing/Do",
                     "/no.such.Service/Do", "/x", "/", "//", "/a/b/c", "/../../etc/passwd"):
            with self.subTest(path), self.assertRpcError(
                    Code.UNIMPLEMENTED, Code.INVALID_ARGUMENT):
                self.front.unary(path, b"")
        for name in NAMES:
            with self.assertRpcError(Code.UNIMPLEMENTED):
                self.client(name).unary("/no.such.Service/Do", b"")

    def test_endpoints_of_others_are_not_dialled(self):
        for address in ("169.254.169.254:80", "unix:/var/run/docker.sock", "10.0.0.1:1"):
            with self.assertRpcError(Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED):
                self.front.dispatcher.ConnectPeer(dispatcher_pb2.ConnectPeerRequest(
                    address=address))
            with self.assertRpcError(Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED):
                self.front.dispatcher.Connect(dispatcher_pb2.ConnectRequest(
                    address=address, collector_id="x", namespaces=["default"], nonce="n"))

    def test_what_is_not_served_yet_says_so(self):
        name = common_pb2.NamespacedName(name="orders")
        for call in (
                lambda: self.front.repo.Clone(collection_repo_pb2.CloneRequest(
                    source_collection=name, dest_name="copy")),
                lambda: self.front.repo.BackupCollection(
                    collection_repo_pb2.BackupCollectionRequest(collection=name))):
            with self.assertRpcError(Code.UNIMPLEMENTED):
                call()

    def test_workflow_templates(self):
        bad = ("{{}}", "{{input.number", "{{input.number.x.y}}", "{{nothing.x}}",
               "{{tasks.a.output.number}}", "{{input." + "a." * 3000 + "b}}")
        for text in bad:
            task = worker_pb2.Task(
                id="a", method_name="Charge",
                service=common_pb2.ServiceTypeRef(service_name="shop.v1.OrderService"))
            task.input_config.update({"number": text})
            definition = worker_pb2.WorkflowDefinition(
                name="bad", tasks=[task],
                input_type=common_pb2.MessageTypeRef(message_name="shop.v1.OrderRequest"))
            with self.subTest(text[:40]), self.assertRpcError(
                    Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED):
                self.front.worker.DefineWorkflow(worker_pb2.DefineWorkflowRequest(
                    definition=definition))


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload
