"""The services of collections are in the registry, as those that people register."""

import json

import protos
from collector_testing import (
    Code, collection_repo_pb2, common_pb2, daemon_pb2, eventually, registry_pb2 as rg)
from daemons import ctl
from google.protobuf import descriptor_pb2
from mesh import MeshTest

NOTE = """
message Note { string text = 1; }
"""
ORDERS = "collections.default.Orders"


def file_of(body, name="note/v1/note.proto", package="note.v1"):
    return protos.Types(protos.single_file(name, body, package=package))


class Published(MeshTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        cls.front.create_collection("orders", "shop.v1.Order")

    def lookup(self, service, namespace=""):
        """None: it is not there."""
        answer = self.front.registry.ListServices(rg.ListServicesRequest(namespace=namespace))
        if service not in [s.service_name for s in answer.services]:
            return None
        return self.front.registry.LookupService(rg.LookupServiceRequest(
            namespace=namespace, service_name=service)).service

    def there(self, service, namespace=""):
        return eventually(lambda: self.lookup(service, namespace), service + " is registered")

    def gone(self, service, namespace=""):
        eventually(lambda: self.lookup(service, namespace) is None, service + " is not there")

    def item_type(self, service, namespace=""):
        """What its Get returns, as the registry describes it."""
        answer = self.front.registry.GetDescriptors(rg.GetDescriptorsRequest(
            namespace=namespace, symbol=service))
        files = descriptor_pb2.FileDescriptorSet.FromString(answer.file_descriptor_set)
        protos.Types(files)  # they link
        file = next(f for f in files.file if f.name == answer.file_name)
        got = next(m for m in file.message_type if m.name.endswith("_GetResponse"))
        return next(f.type_name for f in got.field if f.name == "item")

    def version(self, namespace=""):
        return self.front.registry.GetDescriptors(
            rg.GetDescriptorsRequest(namespace=namespace)).version

    def delete(self, name, namespace=""):
        self.front.repo.DeleteCollection(collection_repo_pb2.DeleteCollectionRequest(
            collection=common_pb2.NamespacedName(namespace=namespace, name=name)))

    def unregister(self, file_name, namespace="", force=False):
        return self.front.registry.Unregister(rg.UnregisterRequest(
            namespace=namespace, file_name=file_name, force=force))

    def test_looked_up_listed_described(self):
        found = self.there(ORDERS)
        self.assertEqual([m.name for m in found.methods], [
            "Create", "Get", "Update", "Delete", "List", "Search", "Watch"])
        self.assertEqual([m.name for m in found.methods if m.server_streaming], ["Watch"])
        self.assertEqual(self.item_type(ORDERS), ".shop.v1.Order")
        self.assertTrue(self.front.registry.ValidateMethod(rg.ValidateMethodRequest(
            service_name=ORDERS, method_name="Get")).is_valid)
        self.there("collections.system.Collections", "system")

    def test_collectorctl(self):
        self.there(ORDERS)
        code, out, err = ctl(self.cluster, "registry", "describe", ORDERS)
        self.assertEqual(code, 0, err)
        self.assertIn("rpc Get", out)
        code, out, err = ctl(self.cluster, "rpc", "call", ORDERS + "/Create", "--data",
                             '{"id": "by-hand", "item": {"number": "n-7"}}')
        self.assertEqual(code, 0, err)
        code, out, err = ctl(self.cluster, "rpc", "call", ORDERS + "/Get", "--data",
                             '{"id": "by-hand"}')
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["item"]["number"], "n-7")

    def test_it_goes_with_its_collection_and_comes_back_with_another_type(self):
        for message in ("shop.v1.Order", "shop.v1.Line"):
            self.front.create_collection("coming-going", message)
            self.there("collections.default.ComingGoing")
            self.assertEqual(self.item_type("collections.default.ComingGoing"), "." + message)
            self.delete("coming-going")
            self.gone("collections.default.ComingGoing")

    def test_it_is_nobodys_to_write(self):
        self.there(ORDERS)
        answer = self.front.registry.GetDescriptors(rg.GetDescriptorsRequest(symbol=ORDERS))
        files = descriptor_pb2.FileDescriptorSet.FromString(answer.file_descriptor_set).file
        made = next(f for f in files if f.name == answer.file_name)
        # Sent back as it is, it is no change.
        self.assertTrue(self.front.registry.RegisterProto(
            rg.RegisterProtoRequest(file_descriptor=made)).unchanged)
        del made.service[0].method[0]
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.registry.RegisterProto(rg.RegisterProtoRequest(file_descriptor=made))
        other = file_of("message X {}", "collections/default/x.proto").own_files()[0]
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.registry.RegisterProto(rg.RegisterProtoRequest(file_descriptor=other))
        self.assertBlames(expected.error, "file_descriptor.name")
        for force in (False, True):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.unregister(answer.file_name, force=force)
            self.assertBlames(expected.error, "file_name")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.register_handler(ORDERS, "127.0.0.1:1")
        self.assertBlames(expected.error, "service.service_name")

    def test_the_type_changes_freely_under_it(self):
        """What is generated never refuses what people may do without it."""
        note = "collections.notes.Notes"
        self.front.register(file_of(NOTE), "notes")
        self.front.create_collection("notes", "note.v1.Note", "notes")
        self.there(note, "notes")
        self.front.register(file_of("message Note { string text = 1; int32 stars = 2; }"),
                            "notes")
        answer = self.front.registry.GetDescriptors(rg.GetDescriptorsRequest(
            namespace="notes", symbol=note))
        files = protos.Types(descriptor_pb2.FileDescriptorSet.FromString(
            answer.file_descriptor_set))
        self.assertIn("stars", files.message("note.v1.Note").DESCRIPTOR.fields_by_name)
        # The file cannot go while a collection has its type, but for force.
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="notes/notes") as expected:
            self.unregister("note/v1/note.proto", "notes")
        self.assertNotIn("collections/", expected.error.details())
        self.unregister("note/v1/note.proto", "notes", force=True)
        self.assertIsNone(self.lookup(note, "notes"))
        # With the type, in another file now, it is back.
        self.front.register(file_of(NOTE, "note/v1/moved.proto"), "notes")
        self.there(note, "notes")
        self.assertEqual(self.item_type(note, "notes"), ".note.v1.Note")
        self.delete("notes", "notes")
        self.gone(note, "notes")
        self.unregister("note/v1/moved.proto", "notes")

    def test_a_message_that_goes_from_its_file_takes_the_service_along(self):
        service = "collections.moving.Notes"
        self.front.register(file_of(NOTE + "message Other {}"), "moving")
        self.front.create_collection("notes", "note.v1.Note", "moving")
        self.there(service, "moving")
        changed = file_of("message Other {}").own_files()[0]
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.front.registry.RegisterProto(rg.RegisterProtoRequest(
                namespace="moving", file_descriptor=changed))
        self.assertIsNotNone(self.lookup(service, "moving"))
        self.front.registry.RegisterProto(rg.RegisterProtoRequest(
            namespace="moving", file_descriptor=changed, force=True))
        self.assertIsNone(self.lookup(service, "moving"))

    def test_it_stays_while_others_import_it(self):
        self.front.register(protos.shop(), "imported")
        self.front.create_collection("orders", "shop.v1.Order", "imported")
        name = "collections.imported.Orders"
        self.there(name, "imported")
        answer = self.front.registry.GetDescriptors(rg.GetDescriptorsRequest(
            namespace="imported", symbol=name))
        user = descriptor_pb2.FileDescriptorProto(
            name="user.proto", package="user", syntax="proto3", dependency=[answer.file_name])
        user.message_type.add(name="Uses").field.add(
            name="got", number=1, label=1, type=11, json_name="got",
            type_name=".%s_GetResponse" % name)
        self.front.registry.RegisterProto(rg.RegisterProtoRequest(
            namespace="imported", file_descriptor=user))
        self.delete("orders", "imported")
        # The next change of the namespace shows that the deletion was seen, and refused.
        self.front.create_collection("lines", "shop.v1.Line", "imported")
        self.there("collections.imported.Lines", "imported")
        self.assertIsNotNone(self.lookup(name, "imported"))
        self.unregister("user.proto", "imported")
        self.gone(name, "imported")

    def test_a_restart_changes_nothing(self):
        self.there(ORDERS)
        self.stays_as_it_is()

    def stays_as_it_is(self):
        before = self.version(), self.lookup(ORDERS)
        for daemon in ("registry", "repo", "dispatcher"):
            self.restart(daemon)
            self.front.create_collection("restarted", "shop.v1.Line")
            self.there("collections.default.Restarted")
            self.delete("restarted")
            self.gone("collections.default.Restarted")
            self.assertEqual(self.lookup(ORDERS), before[1])
        # Two versions for each that came and went, and no other.
        self.assertEqual(self.version(), before[0] + 2 * 3)

    def test_what_happened_while_either_was_away(self):
        self.front.create_collection("early", "shop.v1.Line")
        self.there("collections.default.Early")
        self.front.create_collection("late", "shop.v1.Line")
        self.cluster["registry"].kill()
        self.delete("early")
        self.cluster["registry"].start()
        self.wait_back("registry")
        self.there("collections.default.Late")
        self.gone("collections.default.Early")
        # Without the repo, what is known stays.
        self.cluster["repo"].kill()
        self.restart("registry")
        self.assertIsNotNone(self.lookup("collections.default.Late"))
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.delete("late")
        self.gone("collections.default.Late")

    def test_every_dispatcher_serves_it(self):
        second = self.start_collector("second", "default")
        self.connect(self.front, second)
        self.front.create_collection("shared", "shop.v1.Line")
        self.there("collections.default.Shared")
        version = self.version()
        for client in (self.front, second):
            client.unary("/collections.default.Shared/Create", b"\x1a\x00")
            client.unary("/collections.default.Shared/List", b"")
            client.unary("/collections.default.Shared/List", b"", metadata=(
                ("collector-target", "second"),))
        self.assertEqual(self.version(), version)

    def test_numbers(self):
        self.there(ORDERS)
        numbers = self.client("registry").daemon.GetStats(daemon_pb2.GetStatsRequest()).numbers
        self.assertGreaterEqual(numbers["typed_collections"], 1)
        self.assertEqual(numbers["typed_collections_pending"], 0)
