"""The registry's system collections: what is registered, searchable in the repo, sooner or later."""

import os
import shutil
import threading

import grpc
from collector_testing import (
    Code, CollectorTest, collection_server_pb2 as cs, daemon_pb2, eventually, protos,
    registry_pb2 as rg)
from google.protobuf import descriptor_pb2, json_format

PROTOS, SERVICES = "registered_protos", "registered_services"
FIELD = descriptor_pb2.FieldDescriptorProto


def plain_file(name, package, fields=("a",), services=()):
    """A FileDescriptorProto without protoc: a message M, and services of it."""
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
    message = file.message_type.add(name="M")
    for number, field in enumerate(fields, 1):
        message.field.add(name=field, number=number, type=FIELD.TYPE_STRING,
                          label=FIELD.LABEL_OPTIONAL)
    for service in services:
        file.service.add(name=service).method.add(
            name="Do", input_type=".%s.M" % package, output_type=".%s.M" % package)
    return file


class Published(CollectorTest):
    """What the tests are made of."""

    daemons = ("registry", "repo", "dispatcher")

    def setUp(self):
        self.ns = self._testMethodName.replace("test_", "").replace("_", "-")[:60]
        self.maxDiff = None

    def put(self, *files, namespace=None, client=None, **fields):
        return (client or self.front).registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=namespace or self.ns, files=descriptor_pb2.FileDescriptorSet(file=files),
            **fields))

    def remove(self, name):
        self.front.registry.Unregister(rg.UnregisterRequest(
            namespace=self.ns, file_name=name, force=True))

    def records(self, collection, kind, **filter_):
        """{id: record} of all pages; empty while there is no collection."""
        found, token = {}, ""
        while True:
            try:
                page = self.front.records.List(cs.ListRequest(
                    namespace="system", collection_name=collection, page_size=1000,
                    page_token=token, filter=json_format.ParseDict(
                        filter_, cs.ListRequest().filter) if filter_ else None))
            except grpc.RpcError as error:
                if error.code() in (Code.NOT_FOUND, Code.UNAVAILABLE):
                    return {}
                raise
            for item, info in zip(page.items, page.infos):
                found[info.id] = protos.unpack(item, kind)
            token = page.next_page_token
            if not token:
                return found

    def protos(self, **filter_):
        return self.records(PROTOS, rg.RegisteredProto, **filter_)

    def services(self, **filter_):
        return self.records(SERVICES, rg.RegisteredService, **filter_)

    def registered(self):
        """({id: (version, when)}, {id: when}) of everything, as the registry itself says."""
        files, services = {}, {}
        for ns in self.front.registry.ListNamespaces(rg.ListNamespacesRequest()).namespaces:
            token = ""
            while True:
                page = self.front.registry.ListProtos(rg.ListProtosRequest(
                    namespace=ns, page_size=1000, page_token=token))
                for p in page.protos:
                    files[p.id] = (p.version, p.metadata.updated_at.ToNanoseconds())
                token = page.next_page_token
                if not token:
                    break
            token = ""
            while True:
                page = self.front.registry.ListServices(rg.ListServicesRequest(
                    namespace=ns, page_size=1000, page_token=token))
                for s in page.services:
                    services[s.id] = s.metadata.updated_at.ToNanoseconds()
                token = page.next_page_token
                if not token:
                    break
        return files, services

    def published(self):
        return ({i: (r.version, r.metadata.updated_at.ToNanoseconds())
                 for i, r in self.protos().items()},
                {i: r.metadata.updated_at.ToNanoseconds() for i, r in self.services().items()})

    def wait_published(self):
        # The services of collections, these two as well, come by themselves.
        eventually(lambda: self.published() == self.registered(), "all of it is published")

    def numbers(self):
        stats = self.client("registry").daemon.GetStats(daemon_pb2.GetStatsRequest())
        return dict(stats.numbers)


class Following(Published):
    def test_files_and_services_are_found(self):
        files = protos.shop().own_files()
        self.put(*files)
        self.wait_published()
        order = next(f for f in files if f.name.endswith("order.proto"))
        record = self.protos(namespace=self.ns)["%s/%s" % (self.ns, order.name)]
        without = descriptor_pb2.FileDescriptorProto()
        without.CopyFrom(order)
        without.ClearField("source_code_info")
        self.assertEqual(record.file_descriptor, without)
        found = self.front.registry.LookupFile(rg.LookupFileRequest(
            namespace=self.ns, file_name=order.name)).proto
        found.ClearField("file_descriptor")
        record.ClearField("file_descriptor")
        self.assertEqual(record, found)
        service = self.services(serviceName="shop.v1.OrderService", namespace=self.ns)
        self.assertEqual(service, {self.ns + "/shop.v1.OrderService": self.front.registry
                                   .LookupService(rg.LookupServiceRequest(
                                       namespace=self.ns,
                                       service_name="shop.v1.OrderService")).service})
        # By what is in them.
        self.put(plain_file("q.proto", "q", fields=("quaternion_of_the_wing",)))
        self.wait_published()
        hits = self.front.records.Search(cs.SearchRequest(
            namespace="system", collection_name=PROTOS, full_text="quaternion_of_the_wing"))
        self.assertEqual([r.info.id for r in hits.results], [self.ns + "/q.proto"])

    def test_changes_and_removals_follow(self):
        self.put(plain_file("a.proto", "a", services=["S", "T"]), plain_file("b.proto", "b"))
        self.wait_published()
        self.put(plain_file("a.proto", "a", fields=("a", "b"), services=["S", "U"]), force=True)
        self.wait_published()
        self.assertEqual(set(self.services(namespace=self.ns)),
                         {self.ns + "/a.S", self.ns + "/a.U"})
        self.assertEqual(self.protos(namespace=self.ns)[self.ns + "/a.proto"].version, 2)
        # A service moves to another file.
        self.put(plain_file("a.proto", "a", fields=("a", "b"), services=["S"]),
                 descriptor_pb2.FileDescriptorProto(
                     name="u.proto", package="a", syntax="proto3", dependency=["a.proto"],
                     service=[descriptor_pb2.ServiceDescriptorProto(name="U")]), force=True)
        self.wait_published()
        self.assertEqual(self.services()[self.ns + "/a.U"].file_name, "u.proto")
        self.remove("u.proto")
        self.remove("a.proto")
        self.wait_published()
        self.assertEqual(set(self.protos(namespace=self.ns)), {self.ns + "/b.proto"})
        self.assertEqual(self.services(namespace=self.ns), {})

    def test_names_and_files_of_any_size(self):
        long_name = "/".join(["d" * 240] * 2) + "/%s.proto"
        self.put(plain_file(long_name % "a", "long.a"), plain_file(long_name % "b", "long.b"))
        self.put(plain_file("large.proto", "large", ["f%d_%s" % (i, "x" * 200) for i in
                                                     range(1, 6000)]))
        eventually(lambda: len(self.protos(namespace=self.ns)) == 3, "they are all there")
        records = self.protos(namespace=self.ns)
        self.assertEqual({r.file_name for r in records.values()},
                         {long_name % "a", long_name % "b", "large.proto"})
        self.assertFalse(records[self.ns + "/large.proto"].HasField("file_descriptor"))
        self.assertTrue(all(len(i) <= 512 for i in records))
        self.assertEqual(self.numbers()["records_refused"], 0)
        for name in (long_name % "a", long_name % "b"):
            self.remove(name)
        eventually(lambda: set(self.protos(namespace=self.ns)) == {self.ns + "/large.proto"},
                   "the long ones are gone")
        self.remove("large.proto")

    def test_they_are_not_for_clients_to_write(self):
        self.put(plain_file("a.proto", "a"))
        self.wait_published()
        with self.assertRpcError(Code.PERMISSION_DENIED):
            self.front.records.Delete(cs.DeleteRequest(
                namespace="system", collection_name=PROTOS, id=self.ns + "/a.proto"))


class Absence(Published):
    def test_the_repo_was_away(self):
        self.put(plain_file("kept.proto", "kept"), plain_file("gone.proto", "gone"))
        self.wait_published()
        self.cluster["repo"].kill()
        for i in range(20):
            self.put(plain_file("n%d.proto" % i, "n%d" % i, services=["S"]))
        self.put(plain_file("kept.proto", "kept", fields=("a", "b")))
        self.assertGreaterEqual(self.numbers()["namespaces_unpublished"], 1)
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.wait_published()
        eventually(lambda: self.numbers()["namespaces_unpublished"] == 0, "it says so")

    def test_the_registry_was_away(self):
        """Killed between what is registered and what is published."""
        self.cluster["repo"].kill()
        self.put(plain_file("a.proto", "a", services=["S"]))
        self.cluster["registry"].kill()
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.assertNotIn(self.ns + "/a.proto", self.protos())
        self.cluster["registry"].start()
        self.wait_back("registry")
        self.wait_published()
        self.assertIn(self.ns + "/a.proto", self.protos())

    def test_both_are_killed_again_and_again(self):
        stop = threading.Event()
        client = self.client("registry")

        def change():
            for i in range(1000000):
                if stop.is_set():
                    return
                try:
                    self.put(plain_file("f%d.proto" % (i % 50), "f%d" % (i % 50),
                                        fields=["f%d" % k for k in range(i // 50 + 1)],
                                        services=["S"]), client=client)
                except grpc.RpcError:
                    pass

        writer = threading.Thread(target=change)
        writer.start()
        try:
            for name in ("repo", "registry", "repo", "registry"):
                before = self.numbers().get("records_published", 0)
                eventually(lambda: self.numbers().get("records_published", 0) > before + 5,
                           "something is published")
                self.cluster[name].kill()
                if name == "registry":
                    self.cluster["repo"].kill()
                    self.cluster["repo"].start()
                self.cluster[name].start()
                self.wait_back(name)
                self.wait_back("repo")
        finally:
            stop.set()
            writer.join()
        self.wait_published()

    def test_it_catches_up_by_difference(self):
        files = [plain_file("d%02d/f%d.proto" % (i % 20, i), "p%d" % i, services=["S"])
                 for i in range(1500)]
        self.put(*files)
        self.wait_published()
        self.restart("registry", kill=False)
        eventually(lambda: "records_published" in self.numbers() and
                   self.numbers()["namespaces_unpublished"] == 0, "it has looked")
        self.assertEqual(self.numbers()["records_published"], 0)
        self.cluster["repo"].kill()
        self.put(plain_file("d00/f0.proto", "p0", fields=("a", "b"), services=["S"]))
        self.cluster["registry"].kill()
        self.cluster["registry"].start()
        self.cluster["repo"].start()
        self.wait_back("registry")
        self.wait_back("repo")
        self.wait_published()
        self.assertEqual(self.numbers()["records_published"], 2)  # a file and its service


class AnotherRepo(Published):
    def test_the_repo_is_another_one(self):
        """Its data is lost or old: what is missing comes, what is too much goes."""
        self.put(plain_file("a.proto", "a", services=["S"]))
        self.wait_published()
        self.assertEqual(self.cluster["repo"].stop(), 0)
        data = os.path.join(self.cluster.data, "repo")
        shutil.copytree(data, data + ".old")
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.put(plain_file("b.proto", "b"))
        # The registry's connection comes back by itself, within a second.
        eventually(lambda: self.remove("a.proto") or True, "it can ask for users again")
        self.wait_published()
        self.assertEqual(self.cluster["repo"].stop(), 0)
        shutil.rmtree(data)
        shutil.move(data + ".old", data)
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.restart("registry")
        self.wait_published()
        self.assertEqual(self.cluster["repo"].stop(), 0)
        shutil.rmtree(data)
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.put(plain_file("c.proto", "c"))  # which finds that nothing is there
        self.wait_published()
