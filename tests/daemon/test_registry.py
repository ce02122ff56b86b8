"""The registry: registering, linking, looking up, surviving."""

from collector_testing import Code, CollectorTest, protos, registry_pb2
from google.protobuf import descriptor_pb2, descriptor_pool

SHOP = "shop/v1/order.proto"


class Registry(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    def lookup(self, service, namespace=""):
        return self.front.registry.LookupService(registry_pb2.LookupServiceRequest(
            namespace=namespace, service_name=service)).service

    def descriptors(self, **fields):
        return self.front.registry.GetDescriptors(registry_pb2.GetDescriptorsRequest(**fields))

    def register_file(self, file, namespace, dependencies=()):
        return self.front.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
            namespace=namespace, file_descriptor=file, dependencies=dependencies))

    def test_a_file_with_what_it_needs(self):
        answer = self.front.register(protos.shop(), "reg-a")
        self.assertEqual(answer.proto_id, "reg-a/" + SHOP)
        self.assertEqual(set(answer.registered_messages) - {"shop.v1.Order.TagsEntry"}, {
            "shop.v1.Line", "shop.v1.Order", "shop.v1.OrderReply", "shop.v1.OrderRequest"})
        self.assertEqual(list(answer.registered_services), ["shop.v1.OrderService"])
        self.assertFalse(answer.unchanged)
        self.assertTrue(self.front.register(protos.shop(), "reg-a").unchanged)

        service = self.lookup("shop.v1.OrderService", "reg-a")
        self.assertEqual(list(service.method_names),
                         ["Charge", "Ship", "Track", "Follow", "Upload", "Talk"])
        methods = {m.name: m for m in service.methods}
        self.assertEqual(methods["Charge"].input_type, "shop.v1.OrderRequest")
        self.assertEqual(methods["Charge"].output_type, "shop.v1.OrderReply")
        self.assertEqual(methods["Track"].idempotency_level,
                         registry_pb2.MethodInfo.NO_SIDE_EFFECTS)
        streaming = {n: (m.client_streaming, m.server_streaming) for n, m in methods.items()}
        self.assertEqual(streaming["Charge"], (False, False))
        self.assertEqual(streaming["Follow"], (False, True))
        self.assertEqual(streaming["Upload"], (True, False))
        self.assertEqual(streaming["Talk"], (True, True))

    def test_a_missing_import_is_refused_with_its_path(self):
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="shop/v1/customer.proto"):
            self.register_file(protos.shop().file(SHOP), "reg-missing")
        with self.assertRpcError(Code.NOT_FOUND):
            self.lookup("shop.v1.OrderService", "reg-missing")

    def test_an_unresolved_type_is_refused_with_its_path(self):
        file = descriptor_pb2.FileDescriptorProto(
            name="t/v1/t.proto", package="t.v1", syntax="proto3")
        file.message_type.add(name="M").field.add(
            name="f", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
            label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL, type_name=".t.v1.Nothing")
        with self.assertRpcError(Code.INVALID_ARGUMENT, text=["t.v1.M.f", "Nothing"]):
            self.register_file(file, "reg-missing")

    def test_all_or_nothing(self):
        good = protos.single_file("good/v1/good.proto", "message Good {}", "good.v1").file[0]
        bad = descriptor_pb2.FileDescriptorProto(
            name="bad/v1/bad.proto", package="bad.v1", syntax="proto3",
            dependency=["good/v1/good.proto", "no/such.proto"])
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.register_file(bad, "reg-atomic", [good])
        with self.assertRpcError(Code.NOT_FOUND):
            self.descriptors(namespace="reg-atomic", file_name="good/v1/good.proto")

    def test_descriptors_are_closed_and_in_the_original_bytes(self):
        file = protos.shop().file(SHOP)
        # An option that nobody here knows must survive.
        original = file.SerializeToString() + bytes([0xba, 0xbb, 0x18, 2]) + b"hi"
        request = registry_pb2.RegisterProtoRequest(
            namespace="reg-bytes", dependencies=[protos.shop().file("shop/v1/customer.proto")])
        request = request.SerializeToString() + b"\x12" + _varint(len(original)) + original
        self.front.unary("/collector.CollectorRegistry/RegisterProto", request)

        answer = self.descriptors(namespace="reg-bytes", symbol="shop.v1.Order")
        self.assertEqual(answer.file_name, SHOP)
        self.assertIn(original, answer.file_descriptor_set)
        files = descriptor_pb2.FileDescriptorSet.FromString(answer.file_descriptor_set).file
        names = [f.name for f in files]
        self.assertEqual(set(names), {
            "google/protobuf/timestamp.proto", "shop/v1/customer.proto", SHOP})
        self.assertEqual(names[-1], SHOP)
        pool = descriptor_pool.DescriptorPool()
        for f in files:
            pool.Add(f)
        self.assertEqual(len(pool.FindServiceByName("shop.v1.OrderService").methods), 6)

        for symbol in ("shop.v1.Customer", "shop.v1.State", "shop.v1.OrderService",
                       "shop.v1.OrderService.Ship"):
            self.assertTrue(
                self.descriptors(namespace="reg-bytes", symbol=symbol).file_descriptor_set)
        with self.assertRpcError(Code.NOT_FOUND, text="shop.v1.Nothing"):
            self.descriptors(namespace="reg-bytes", symbol="shop.v1.Nothing")
        with self.assertRpcError(Code.NOT_FOUND, text="no.proto"):
            self.descriptors(namespace="reg-bytes", file_name="no.proto")

    def test_versions_grow_and_are_known(self):
        self.front.register(protos.shop(), "reg-ver")
        first = self.descriptors(namespace="reg-ver")
        self.assertFalse(first.not_modified)
        again = self.descriptors(namespace="reg-ver", known_version=first.version)
        self.assertTrue(again.not_modified)
        self.assertEqual(again.file_descriptor_set, b"")
        more = protos.Types(protos.single_file("t/v1/t.proto", "message T {}"))
        self.front.register(more, "reg-ver")
        changed = self.descriptors(namespace="reg-ver", known_version=first.version)
        self.assertFalse(changed.not_modified)
        self.assertGreater(changed.version, first.version)
        names = [f.name for f in descriptor_pb2.FileDescriptorSet.FromString(
            changed.file_descriptor_set).file]
        self.assertIn("t/v1/t.proto", names)
        self.assertIn(SHOP, names)

    def test_namespaces_do_not_see_each_other(self):
        one = protos.Types(protos.single_file("same.proto", "message Same { string a = 1; }"))
        two = protos.Types(protos.single_file("same.proto", "message Same { int32 b = 7; }"))
        self.front.register(one, "reg-one")
        self.front.register(two, "reg-two")
        for namespace, field in (("reg-one", "a"), ("reg-two", "b")):
            answer = self.descriptors(namespace=namespace, symbol="t.v1.Same")
            file = descriptor_pb2.FileDescriptorSet.FromString(answer.file_descriptor_set).file[0]
            self.assertEqual(file.message_type[0].field[0].name, field)
        namespaces = self.front.registry.ListNamespaces(registry_pb2.ListNamespacesRequest())
        self.assertTrue({"reg-one", "reg-two"} <= set(namespaces.namespaces))

    def test_a_compatible_change_is_taken_and_a_breaking_one_refused(self):
        def version(body):
            return protos.Types(protos.single_file("change.proto", body))

        self.front.register(version("message M { string a = 1; int64 n = 2; }"), "reg-change")
        self.front.register(
            version("message M { string a = 1; int64 n = 2; bool more = 3; } message N {}"),
            "reg-change")
        for body in ("message M { string a = 1; int64 n = 2; }",  # more is gone
                     "message M { string a = 1; bool more = 3; } message N {}",
                     "message M { bytes a = 1; int64 n = 2; bool more = 3; } message N {}"):
            with self.assertRpcError(Code.FAILED_PRECONDITION, text="t.v1."):
                self.front.register(version(body), "reg-change")

    def test_reserved_names_cannot_be_registered(self):
        for package, name in (("collector", "x/c.proto"), ("grpc.health", "x/g.proto"),
                              ("google.protobuf", "x/p.proto"), ("collections.shop", "x/s.proto")):
            types = protos.Types(protos.single_file(name, "message Mine {}", package))
            with self.assertRpcError(Code.INVALID_ARGUMENT, text=package):
                self.front.register(types, "reg-reserved")
        mine = descriptor_pb2.FileDescriptorProto(
            name="google/protobuf/any.proto", package="mine", syntax="proto3")
        with self.assertRpcError(Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION,
                                 Code.ALREADY_EXISTS):
            self.register_file(mine, "reg-reserved")

    def test_what_is_built_in_is_everywhere_and_nobodys(self):
        """google/protobuf/* and collector/* can be imported in any namespace, and not replaced."""
        for namespace in ("reg-built-in-a", "reg-built-in-b"):
            file = descriptor_pb2.FileDescriptorProto(
                name="uses.proto", package="uses", syntax="proto3",
                dependency=["collector/common.proto", "google/protobuf/struct.proto"])
            message = file.message_type.add(name="M")
            for number, type_name in enumerate((".collector.Status", ".google.protobuf.Struct"), 1):
                message.field.add(name="f%d" % number, number=number, type_name=type_name,
                                  type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
                                  label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
            self.register_file(file, namespace)
            got = self.front.registry.GetDescriptors(registry_pb2.GetDescriptorsRequest(
                namespace=namespace, symbol="uses.M"))
            self.assertTrue({"collector/common.proto", "google/protobuf/struct.proto"} <= {
                f.name for f in descriptor_pb2.FileDescriptorSet.FromString(
                    got.file_descriptor_set).file})
        for name in ("google/protobuf/any.proto", "collector/common.proto",
                     "collector/registry.proto"):
            mine = descriptor_pb2.FileDescriptorProto(name=name, package="mine", syntax="proto3")
            with self.assertRpcError(Code.INVALID_ARGUMENT, text="built in"):
                self.register_file(mine, "reg-built-in-a")
            # In a set, where compilers put what they include, they are left out.
            self.front.registry.RegisterFiles(registry_pb2.RegisterFilesRequest(
                namespace="reg-built-in-a", files=descriptor_pb2.FileDescriptorSet(file=[mine])))
        listed = self.front.registry.ListProtos(registry_pb2.ListProtosRequest(
            namespace="reg-built-in-a"))
        self.assertEqual([p.file_name for p in listed.protos], ["uses.proto"])

    def test_a_service_by_its_descriptor_alone_again(self):
        """With streams and options, which are kept; the same again changes nothing."""
        types = protos.Types(protos.single_file("pay/v1/pay.proto", "message Pay {}", "pay.v1"))
        self.front.register(types, "reg-service-again")
        service = descriptor_pb2.ServiceDescriptorProto(name="pay.v1.PayService")
        method = service.method.add(name="Do", input_type=".pay.v1.Pay", output_type=".pay.v1.Pay",
                                    client_streaming=True, server_streaming=True)
        method.options.idempotency_level = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
        request = registry_pb2.RegisterServiceRequest(
            namespace="reg-service-again", service_descriptor=service)
        first, again = (self.front.registry.RegisterService(request) for _ in range(2))
        self.assertEqual(first.namespace_version, again.namespace_version)
        found = self.lookup("pay.v1.PayService", "reg-service-again")
        self.assertTrue(found.methods[0].client_streaming and found.methods[0].server_streaming)
        self.assertEqual(found.methods[0].idempotency_level,
                         registry_pb2.MethodInfo.NO_SIDE_EFFECTS)
        self.assertEqual(found.service_descriptor.method[0].options, method.options)

    def test_a_service_by_its_descriptor_alone(self):
        types = protos.Types(protos.single_file("pay/v1/pay.proto", "message Pay {}", "pay.v1"))
        self.front.register(types, "reg-service")
        service = descriptor_pb2.ServiceDescriptorProto(name="pay.v1.PayService")
        service.method.add(name="Do", input_type=".pay.v1.Pay", output_type=".pay.v1.Pay")
        answer = self.front.registry.RegisterService(registry_pb2.RegisterServiceRequest(
            namespace="reg-service", service_descriptor=service))
        self.assertEqual(list(answer.registered_methods), ["Do"])
        self.assertEqual(self.lookup("pay.v1.PayService", "reg-service").methods[0].input_type,
                         "pay.v1.Pay")
        service.name = "pay.v1.Other"
        service.method[0].output_type = ".pay.v1.Nothing"
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="Nothing"):
            self.front.registry.RegisterService(registry_pb2.RegisterServiceRequest(
                namespace="reg-service", service_descriptor=service))

    def test_a_method_is_validated(self):
        self.front.register(protos.shop(), "reg-validate")

        def validate(service, method):
            return self.front.registry.ValidateMethod(registry_pb2.ValidateMethodRequest(
                namespace="reg-validate", service_name=service, method_name=method))

        self.assertTrue(validate("shop.v1.OrderService", "Ship").is_valid)
        for service, method in (("shop.v1.OrderService", "Sink"), ("shop.v1.Nothing", "Ship"),
                                ("", "")):
            answer = validate(service, method)
            self.assertFalse(answer.is_valid)
            self.assertTrue(answer.message)

    def test_lists_in_pages(self):
        body = "message M {} " + " ".join(
            "service S%02d { rpc Do(M) returns (M); }" % i for i in range(25))
        self.front.register(protos.Types(protos.single_file("many.proto", body)), "reg-pages")
        self.front.register(protos.shop(), "reg-pages")

        seen, token = [], ""
        while True:
            page = self.front.registry.ListServices(registry_pb2.ListServicesRequest(
                namespace="reg-pages", prefix="t.v1.", page_size=10, page_token=token))
            self.assertLessEqual(len(page.services), 10)
            self.assertEqual(page.total_count, 25)
            seen += [s.service_name for s in page.services]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(seen, ["t.v1.S%02d" % i for i in range(25)])

        protos_page = self.front.registry.ListProtos(registry_pb2.ListProtosRequest(
            namespace="reg-pages", prefix="shop/"))
        self.assertEqual([p.file_name for p in protos_page.protos],
                         ["shop/v1/customer.proto", SHOP])
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.registry.ListServices(registry_pb2.ListServicesRequest(
                namespace="reg-pages", page_size=-1))

    def test_bad_paths_are_refused(self):
        for name in ("../up.proto", "/etc/abs.proto", "a/../b.proto", "a//b.proto", "no-suffix",
                     ".proto/..", "", "a\tb.proto"):
            file = descriptor_pb2.FileDescriptorProto(name=name, package="t.v1", syntax="proto3")
            with self.assertRpcError(Code.INVALID_ARGUMENT):
                self.register_file(file, "reg-paths")
        for namespace in ("..", "Up", "a/b", "-a", "x" * 64, "é"):
            with self.assertRpcError(Code.INVALID_ARGUMENT, text="namespace"):
                self.front.register(protos.shop(), namespace)
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="file_descriptor"):
            self.front.registry.RegisterProto(registry_pb2.RegisterProtoRequest())

    def test_everything_survives_kill_9(self):
        self.front.register(protos.shop(), "reg-kill")
        before = self.descriptors(namespace="reg-kill")
        self.restart("registry")
        after = self.descriptors(namespace="reg-kill")
        self.assertEqual(after.file_descriptor_set, before.file_descriptor_set)
        self.assertEqual(after.version, before.version)
        self.assertTrue(self.front.register(protos.shop(), "reg-kill").unchanged)

    def test_kill_9_amid_registrations(self):
        """What was acknowledged is there, and nothing is there by half."""
        acknowledged = 0
        pairs = []
        for i in range(40):
            name = "p%d" % i
            sources = {
                name + "/a.proto": 'syntax = "proto3"; package %s; message A {}' % name,
                name + "/b.proto": 'syntax = "proto3"; package %s; import "%s/a.proto"; '
                                   'message B { A a = 1; }' % (name, name)}
            pairs.append((name, sources))
        compiled = [(name, protos.Types(protos.compile_sources(s))) for name, s in pairs]
        for i, (name, types) in enumerate(compiled):
            request = registry_pb2.RegisterProtoRequest(
                namespace="reg-amid", file_descriptor=types.file(name + "/b.proto"),
                dependencies=[types.file(name + "/a.proto")])
            call = self.front.registry.RegisterProto.future(request, timeout=30)
            if i == 25:
                self.cluster["registry"].kill()
            try:
                call.result()
            except Exception:  # pylint: disable=broad-except
                break
            acknowledged = i + 1
        self.assertGreaterEqual(acknowledged, 25)
        if not self.cluster["registry"].is_alive():
            self.cluster["registry"].start()
        self.wait_back("registry")
        listed = self.front.registry.ListProtos(registry_pb2.ListProtosRequest(
            namespace="reg-amid", page_size=1000))
        names = {p.file_name for p in listed.protos}
        for name, _ in compiled[:acknowledged]:
            self.assertTrue({name + "/a.proto", name + "/b.proto"} <= names, name)
        for name, _ in compiled:
            self.assertIn(len({name + "/a.proto", name + "/b.proto"} & names), (0, 2), name)


def _varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])
