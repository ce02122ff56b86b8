"""One address for everything: services, health, reflection."""

from collector_testing import (
    Code, CollectorTest, SERVICES, eventually, health_pb2, protos, registry_pb2)
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc.reflection.v1 import reflection_pb2 as v1, reflection_pb2_grpc as v1_grpc
from grpc.reflection.v1alpha import (
    reflection_pb2 as v1alpha, reflection_pb2_grpc as v1alpha_grpc)

VERSIONS = {"v1": (v1, v1_grpc), "v1alpha": (v1alpha, v1alpha_grpc)}


class FrontDoor(CollectorTest):
    def test_health_per_service(self):
        for services in SERVICES.values():
            for service in services:
                self.assertTrue(self.front.is_serving(service), service)
        self.assertTrue(self.front.is_serving(""))
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.health.Check(health_pb2.HealthCheckRequest(service="no.Such"))
        stream = self.front.health.Watch(
            health_pb2.HealthCheckRequest(service="no.Such"), timeout=60)
        self.assertEqual(next(stream).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        stream.cancel()

    def test_a_watch_follows_a_daemon(self):
        stream = self.front.health.Watch(
            health_pb2.HealthCheckRequest(service="collector.CollectorConsole"), timeout=120)
        serving = health_pb2.HealthCheckResponse.SERVING
        self.assertEqual(next(stream).status, serving)
        self.cluster["console"].kill()
        self.assertNotEqual(next(stream).status, serving)
        self.cluster["console"].start()
        self.assertEqual(next(stream).status, serving)
        stream.cancel()

    def test_errors_of_a_daemon_pass_untouched(self):
        direct = self.client("registry")
        errors = []
        for client in (direct, self.front):
            with self.assertRpcError(Code.NOT_FOUND) as expected:
                client.registry.LookupService(
                    registry_pb2.LookupServiceRequest(service_name="no.such.Service"),
                    metadata=(("x-request-id", "the-same"),))
            errors.append(expected.error)
        self.assertEqual(errors[0].details(), errors[1].details())
        details = [dict(e.trailing_metadata()).get("grpc-status-details-bin") for e in errors]
        self.assertTrue(details[0])
        self.assertEqual(details[0], details[1])


class Reflection(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    def ask(self, version, client=None, metadata=None, **question):
        """Answers to one or several questions on one stream."""
        messages, stubs = VERSIONS[version]
        stub = stubs.ServerReflectionStub((client or self.front).channel)
        request = messages.ServerReflectionRequest(**question)
        return next(iter(stub.ServerReflectionInfo(
            iter([request]), timeout=60, metadata=metadata)))

    def services(self, version="v1", **options):
        answer = self.ask(version, list_services="*", **options)
        return {s.name for s in answer.list_services_response.service}

    def test_built_in_services_are_listed(self):
        for version in VERSIONS:
            listed = self.services(version)
            for services in SERVICES.values():
                self.assertTrue(set(services) <= listed, listed)
            self.assertTrue({"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                             "grpc.reflection.v1alpha.ServerReflection"} <= listed, listed)

    def test_files_close_over_their_imports(self):
        for version in VERSIONS:
            pool, todo, seen = descriptor_pool.DescriptorPool(), [], {}
            answer = self.ask(version, file_containing_symbol="collector.CollectionService")
            todo = list(answer.file_descriptor_response.file_descriptor_proto)
            while todo:
                file = descriptor_pb2.FileDescriptorProto.FromString(todo.pop())
                if file.name in seen:
                    continue
                seen[file.name] = file
                for dependency in file.dependency:
                    if dependency not in seen:
                        answer = self.ask(version, file_by_filename=dependency)
                        todo += answer.file_descriptor_response.file_descriptor_proto
            added = set()

            def add(name):
                if name not in added:
                    added.add(name)
                    for dependency in seen[name].dependency:
                        add(dependency)
                    pool.Add(seen[name])

            for name in list(seen):
                add(name)
            service = pool.FindServiceByName("collector.CollectionService")
            self.assertIn("Create", service.methods_by_name)

    def test_what_was_registered_a_moment_ago(self):
        for i, version in enumerate(VERSIONS):
            package = "moment%d.v1" % i
            types = protos.Types(protos.single_file(
                "moment%d.proto" % i, "message M {} service S { rpc Do(M) returns (M); }",
                package))
            self.front.register(types)

            def files():
                answer = self.ask(version, file_containing_symbol=package + ".S")
                return [descriptor_pb2.FileDescriptorProto.FromString(f).name
                        for f in answer.file_descriptor_response.file_descriptor_proto]

            eventually(lambda: "moment%d.proto" % i in files(), "the new file is found")
            self.assertIn(package + ".S", self.services(version))
            by_method = self.ask(version, file_containing_symbol=package + ".S.Do")
            self.assertTrue(by_method.file_descriptor_response.file_descriptor_proto)

    def test_original_bytes(self):
        self.front.register(protos.shop(), name="shop/v1/order.proto")
        answer = self.ask("v1", file_by_filename="shop/v1/order.proto")
        self.assertIn(protos.shop().file("shop/v1/order.proto").SerializeToString(),
                      answer.file_descriptor_response.file_descriptor_proto)

    def test_namespaces(self):
        types = protos.Types(protos.single_file(
            "apart.proto", "message M {} service Apart { rpc Do(M) returns (M); }", "apart.v1"))
        self.front.register(types, "apart")
        self.assertNotIn("apart.v1.Apart", self.services())
        eventually(lambda: "apart.v1.Apart" in self.services(metadata=(
            ("collector-namespace", "apart"),)), "the service is listed in its namespace")

    def test_what_is_not_there(self):
        for version in VERSIONS:
            for question in ({"file_by_filename": "no.proto"},
                             {"file_containing_symbol": "no.such.Symbol"},
                             {"all_extension_numbers_of_type": "no.such.Message"}):
                answer = self.ask(version, **question)
                self.assertEqual(answer.error_response.error_code, Code.NOT_FOUND.value[0])
                self.assertTrue(answer.error_response.error_message)

    def test_several_questions_on_one_stream(self):
        requests = [v1.ServerReflectionRequest(list_services=""),
                    v1.ServerReflectionRequest(file_by_filename="no.proto", host="h"),
                    v1.ServerReflectionRequest(file_by_filename="collector/common.proto")]
        answers = list(v1_grpc.ServerReflectionStub(self.front.channel).ServerReflectionInfo(
            iter(requests), timeout=60))
        self.assertEqual([a.WhichOneof("message_response") for a in answers], [
            "list_services_response", "error_response", "file_descriptor_response"])
        self.assertEqual(answers[1].original_request, requests[1])
        self.assertEqual(answers[1].valid_host, "h")

    def test_a_generic_client_can_call_what_it_found(self):
        """What grpcurl does: reflect, build messages, call."""
        backend = self.backend({"/shop.v1.OrderService/Charge": lambda d, c: d})
        self.front.register(protos.shop())
        self.front.register_handler("shop.v1.OrderService", backend.address, method_name="Charge")
        answer = self.ask("v1", file_containing_symbol="shop.v1.OrderService")
        names = set()
        file_set = descriptor_pb2.FileDescriptorSet()
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            names.add(file.name)
            file_set.file.append(file)
        for name in ("google/protobuf/timestamp.proto", "shop/v1/customer.proto"):
            if name not in names:
                more = self.ask("v1", file_by_filename=name)
                file_set.file.insert(0, descriptor_pb2.FileDescriptorProto.FromString(
                    more.file_descriptor_response.file_descriptor_proto[0]))
        order = {"google/protobuf/timestamp.proto": 0, "shop/v1/customer.proto": 1}
        files = sorted(file_set.file, key=lambda f: order.get(f.name, 2))
        types = protos.Types(descriptor_pb2.FileDescriptorSet(file=files))
        request = types.message("shop.v1.OrderRequest")(number="g")
        reply = self.front.unary("/shop.v1.OrderService/Charge", request.SerializeToString())
        self.assertEqual(types.message("shop.v1.OrderReply").FromString(reply).number, "g")
