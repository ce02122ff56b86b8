"""Who is calling: nobody is lent rights, no credentials are passed on."""

import os

from collector_testing import (
    Code, CollectorTest, NAMES, collection_pb2, collection_server_pb2 as cs, common_pb2,
    dispatcher_pb2, protos)

SERVICE = "shop.v1.OrderService"
PATH = "/shop.v1.OrderService/Charge"


class Identity(CollectorTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        with open(os.path.join(cls.cluster.data, "daemon.key"), "rb") as f:
            cls.key = f.read().strip()

    def handler(self, **fields):
        backend = self.backend({PATH: lambda d, c: b""})
        made = self.front.register_handler(SERVICE, backend.address, method_name="Charge", **fields)
        self.addCleanup(self.front.dispatcher.UnregisterHandler,
                        dispatcher_pb2.UnregisterHandlerRequest(id=made.id))
        return backend

    CREDENTIALS = (("authorization", "Bearer secret"), ("cookie", "session=secret"))

    def test_credentials_do_not_reach_a_handler(self):
        backend = self.handler()
        self.front.unary(PATH, b"", metadata=self.CREDENTIALS + (("shop-key", "v"),))
        self.front.dispatcher.Dispatch(dispatcher_pb2.DispatchRequest(
            service=common_pb2.ServiceTypeRef(service_name=SERVICE), method_name="Charge",
            input=protos.pack(protos.shop().message("shop.v1.OrderRequest")())),
            metadata=self.CREDENTIALS)
        self.assertEqual(len(backend.calls), 2)
        for _, metadata in backend.calls:
            self.assertNotIn("authorization", metadata)
            self.assertNotIn("cookie", metadata)
        self.assertEqual(backend.calls[0][1]["shop-key"], "v")

    def test_unless_it_was_registered_so(self):
        backend = self.handler(forward_authorization=True)
        self.front.unary(PATH, b"", metadata=self.CREDENTIALS)
        metadata = backend.calls[0][1]
        self.assertEqual(metadata["authorization"], "Bearer secret")

    def test_internal_metadata_is_stripped(self):
        backend = self.handler()
        self.front.unary(PATH, b"", metadata=(
            ("collector-internal-key", "guess"), ("collector-internal-principal", "root"),
            ("collector-internal-daemon", "worker")))
        self.front.unary(PATH, b"")
        for _, metadata in backend.calls:
            internal = {k: v for k, v in metadata.items() if k.startswith("collector-internal-")}
            self.assertEqual(internal, {})
            self.assertNotIn(self.key.decode("ascii", "replace"), str(metadata))

    def write_to_system(self, client, metadata=None):
        item = protos.pack(collection_pb2.Collection(name="mine"))
        client.records.Create(cs.CreateRequest(
            namespace="system", collection_name="collections", id="default/mine", item=item),
            metadata=metadata)

    def test_namespace_system_belongs_to_the_daemons(self):
        repo = self.client("repo")
        for client in (self.front, repo):
            with self.assertRpcError(Code.PERMISSION_DENIED, text="system"):
                self.write_to_system(client)
            with self.assertRpcError(Code.PERMISSION_DENIED, text="system"):
                client.records.Update(cs.UpdateRequest(
                    namespace="system", collection_name="collections", id="default/mine",
                    allow_missing=True, item=protos.pack(collection_pb2.Collection())))
            with self.assertRpcError(Code.PERMISSION_DENIED, text="system"):
                client.records.Delete(cs.DeleteRequest(
                    namespace="system", collection_name="collections", id="default/mine"))
            with self.assertRpcError(Code.PERMISSION_DENIED, text="system"):
                client.create_collection("mine", "collector.Metadata", "system")

    def test_claiming_to_be_a_daemon_does_not_help(self):
        claims = (("collector-internal-daemon", "worker"),
                  ("collector-internal-principal", "worker"),
                  ("collector-internal-principal-kind", "daemon"))
        for client in (self.front, self.client("repo")):
            for key in ((), (("collector-internal-key", "0" * 64),)):
                with self.assertRpcError(Code.PERMISSION_DENIED, Code.UNAUTHENTICATED):
                    self.write_to_system(client, claims + key)

    def test_a_hop_does_not_lend_its_rights(self):
        """The front door is a daemon, those who call through it are not."""
        key = (("collector-internal-key", self.key), ("collector-internal-daemon", "worker"))
        # Even the real key, sent to the front door by a client, must not be taken as
        # the client's own words at the next hop.
        with self.assertRpcError(Code.PERMISSION_DENIED, Code.UNAUTHENTICATED):
            self.write_to_system(self.front, key)

    def test_system_is_readable_by_the_local_admin(self):
        page = self.front.records.List(cs.ListRequest(
            namespace="system", collection_name="collections"))
        self.assertGreaterEqual(page.total_count, 1)

    def test_every_hop_keeps_the_request_id(self):
        backend = self.handler()
        self.front.unary(PATH, b"", metadata=(
            ("x-request-id", "req-77"),
            ("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")))
        metadata = backend.calls[0][1]
        self.assertIn("0123456789abcdef0123456789abcdef", metadata.get("traceparent", ""))
        self.assertAllAlive()

    def test_the_key_is_in_no_log(self):
        for name in NAMES:
            self.assertNotIn(self.key.decode("ascii", "replace"), self.cluster[name].log())
