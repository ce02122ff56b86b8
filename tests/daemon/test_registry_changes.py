"""The registry: sets of files, changes and what they break, policies, versions, removals."""

import random

import grpc
from collector_testing import (
    Code, CollectorTest, error_details, error_details_pb2, protos, registry_pb2 as rg)
from google.protobuf import descriptor_pb2

NONE, WIRE, WIRE_JSON, SOURCE = (
    rg.COMPATIBILITY_POLICY_NONE, rg.COMPATIBILITY_POLICY_WIRE,
    rg.COMPATIBILITY_POLICY_WIRE_JSON, rg.COMPATIBILITY_POLICY_SOURCE)


def violations(error):
    """What the details say stands in the way: [(type, subject, description)]."""
    return [(v.type, v.subject, v.description)
            for detail in error_details(error).details
            if detail.Is(error_details_pb2.PreconditionFailure.DESCRIPTOR)
            for v in error_details_pb2.PreconditionFailure.FromString(detail.value).violations]


class Changes(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    def put(self, namespace, sources, **fields):
        """Register sources, {"a.proto": "message ..."} in package t.v1, as one set."""
        texts = {name: 'syntax = "proto3"; package t.v1;\n' + text
                 for name, text in sources.items()}
        files = [f for f in protos.compile_sources(texts).file if f.name in sources]
        return self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=namespace, files=descriptor_pb2.FileDescriptorSet(file=files), **fields))

    def names(self, namespace):
        listed = self.front.registry.ListProtos(rg.ListProtosRequest(namespace=namespace))
        return [p.file_name for p in listed.protos]

    def versions(self, namespace, name, **fields):
        return self.front.registry.ListVersions(rg.ListVersionsRequest(
            namespace=namespace, file_name=name, **fields))

    def set_policy(self, namespace, policy):
        return self.front.registry.SetPolicy(rg.SetPolicyRequest(
            namespace=namespace, policy=policy)).policy

    def unregister(self, namespace, name, **fields):
        return self.front.registry.Unregister(rg.UnregisterRequest(
            namespace=namespace, file_name=name, **fields))

    # ------------------------------------------------------------------ sets

    def test_a_set_in_any_order(self):
        files = list(protos.shop().files.file)
        self.assertGreater(len(files), 2)  # with google/protobuf/timestamp.proto
        random.Random(7).shuffle(files)
        request = rg.RegisterFilesRequest(
            namespace="set-order", files=descriptor_pb2.FileDescriptorSet(file=files))
        answer = self.front.registry.RegisterFiles(request)
        own = [f.name for f in files if not f.name.startswith("google/")]
        self.assertEqual([f.proto_id for f in answer.files], ["set-order/" + n for n in own])
        self.assertEqual({f.version for f in answer.files}, {1})
        self.assertEqual(answer.namespace_version, 1)
        again = self.front.registry.RegisterFiles(request)
        self.assertEqual({f.unchanged for f in again.files}, {True})
        self.assertEqual(again.namespace_version, 1)
        self.assertEqual(self.names("set-order"), sorted(own))

    def test_a_set_is_all_or_nothing(self):
        files = list(protos.shop().files.file)
        files.append(descriptor_pb2.FileDescriptorProto(
            name="bad.proto", package="bad", syntax="proto3", dependency=["no/such.proto"]))
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="no/such.proto"):
            self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
                namespace="set-bad", files=descriptor_pb2.FileDescriptorSet(file=files)))
        self.assertEqual(self.names("set-bad"), [])
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="files"):
            self.front.registry.RegisterFiles(rg.RegisterFilesRequest(namespace="set-bad"))

    def test_a_large_set(self):
        """Thousands of files at once, in the original bytes."""
        files = descriptor_pb2.FileDescriptorSet()
        for i in range(3000):
            file = files.file.add(name="d%02d/f%d.proto" % (i % 50, i), package="big.p%d" % i,
                                  syntax="proto3")
            file.message_type.add(name="M").field.add(
                name="f", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
            if i >= 10:
                file.dependency.append("d%02d/f%d.proto" % ((i - 10) % 50, i - 10))
        answer = self.front.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace="set-large", files=files))
        self.assertEqual(len(answer.files), 3000)
        self.restart("registry")
        got = self.front.registry.GetDescriptors(rg.GetDescriptorsRequest(namespace="set-large"))
        there = descriptor_pb2.FileDescriptorSet.FromString(got.file_descriptor_set).file
        self.assertEqual({f.name: f for f in there}, {f.name: f for f in files.file})

    def test_a_set_that_would_be_huge_unpacked(self):
        """A million empty locations: 2 MB on the wire, and more than 64 MiB as structs."""
        def field(number, data):
            size, length = len(data), b""
            while size > 127:
                length += bytes([size & 127 | 128])
                size >>= 7
            return bytes([number << 3 | 2]) + length + bytes([size]) + data

        files = b""
        for i in range(40):
            file = descriptor_pb2.FileDescriptorProto(
                name="h%d.proto" % i, package="huge.p%d" % i, syntax="proto3")
            files += field(1, file.SerializeToString() + field(9, 25000 * field(1, b"")))
        answer = rg.RegisterFilesResponse.FromString(self.front.unary(
            "/collector.CollectorRegistry/RegisterFiles",
            field(1, b"set-huge") + field(2, files)))
        self.assertEqual(len(answer.files), 40)
        # It is checked all the same.
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.unary("/collector.CollectorRegistry/RegisterFiles",
                             field(1, b"set-huge") + field(2, files[:-1]))

    def test_comments_are_not_lost_to_who_lacks_them(self):
        text = {"c.proto": 'syntax = "proto3"; package t.v1;\n\n// Why.\nmessage M {}\n'}
        plain = protos.compile_sources(text).file[0]
        commented = protos.compile_sources(text, source_info=True).file[0]

        def register(file):
            return self.front.registry.RegisterProto(rg.RegisterProtoRequest(
                namespace="set-comments", file_descriptor=file))

        register(plain)
        self.assertFalse(register(commented).unchanged)
        self.assertTrue(register(plain).unchanged)
        found = self.front.registry.LookupMessage(rg.LookupMessageRequest(
            namespace="set-comments", message_name="t.v1.M"))
        self.assertIn("Why.", found.comment)

    # ----------------------------------------------------------------- changes

    def test_a_breaking_change_is_refused_with_the_whole_list(self):
        before = {"m.proto": "message M { string a = 1; int32 b = 2; } enum E { X = 0; Y = 1; }"}
        after = {"m.proto": "message M { bytes b = 2; } enum E { X = 0; }"}
        self.put("break", before)
        asked = self.put("break", after, validate_only=True)
        self.assertEqual(asked.namespace_version, 1)
        self.assertEqual([(f.version, f.unchanged) for f in asked.files], [(2, False)])
        self.assertGreaterEqual(len(asked.breakages), 3)
        self.assertEqual({b.file_name for b in asked.breakages}, {"m.proto"})
        paths = {b.path for b in asked.breakages}
        self.assertTrue(any(p.startswith("t.v1.M") for p in paths), paths)
        self.assertIn("t.v1.Y", paths)
        with self.assertRaises(grpc.RpcError) as caught:
            self.put("break", after)
        self.assertEqual(caught.exception.code(), Code.FAILED_PRECONDITION)
        self.assertEqual([v[:2] for v in violations(caught.exception)],
                         [(b.rule, b.path) for b in asked.breakages])
        self.assertIn("%d breakages" % len(asked.breakages), caught.exception.details())
        self.assertIn(asked.breakages[0].path, caught.exception.details())
        self.assertEqual(len(self.versions("break", "m.proto").versions), 1)

        forced = self.put("break", after, force=True)
        self.assertEqual(list(forced.breakages), list(asked.breakages))
        self.assertEqual(forced.namespace_version, 2)
        log = self.cluster["registry"].log()
        for b in asked.breakages:
            self.assertIn("%s %s" % (b.rule, b.path), log)

    def test_a_long_list_is_cut_to_what_clients_take(self):
        fields = " ".join("string a_rather_long_field_name_%d = %d;" % (i, i)
                          for i in range(1, 500))
        self.put("long", {"m.proto": "message M { %s }" % fields})
        with self.assertRaises(grpc.RpcError) as caught:
            self.put("long", {"m.proto": "message M { reserved 1 to 499; }"})
        self.assertEqual(caught.exception.code(), Code.FAILED_PRECONDITION)
        self.assertIn("499 breakages", caught.exception.details())
        told = violations(caught.exception)
        self.assertGreater(len(told), 5)
        self.assertLess(len(told), 499)

    def test_policies(self):
        namespace = "policy"
        get = rg.GetPolicyRequest(namespace=namespace)
        self.assertEqual(self.front.registry.GetPolicy(get).policy, WIRE_JSON)
        self.put(namespace, {"m.proto": "message M { string a = 1; }"})
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.put(namespace, {"m.proto": "message M { string renamed = 1; }"})
        self.assertEqual(self.set_policy(namespace, WIRE), WIRE)
        self.put(namespace, {"m.proto": "message M { string renamed = 1; }"})
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.put(namespace, {"m.proto": "message M { int32 renamed = 1; }"})
        self.assertEqual(self.set_policy(namespace, NONE), NONE)
        self.put(namespace, {"m.proto": "message M { int32 renamed = 1; }"})
        self.restart("registry")
        self.assertEqual(self.front.registry.GetPolicy(get).policy, NONE)
        self.assertEqual(self.set_policy(namespace, rg.COMPATIBILITY_POLICY_UNSPECIFIED),
                         WIRE_JSON)
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="policy"):
            self.set_policy(namespace, 77)
        self.assertEqual(self.front.registry.GetPolicy(
            rg.GetPolicyRequest(namespace="other")).policy, WIRE_JSON)

    def test_what_would_not_link_is_refused_even_by_force(self):
        self.put("import", {"a.proto": "message A {} message Kept {}",
                            "b.proto": 'import "a.proto"; message B { A a = 1; }'})
        without = {"a.proto": "message Kept {}"}
        asked = self.put("import", without, validate_only=True)
        self.assertIn(("IMPORT", "t.v1.B.a", "file b.proto"),
                      [(b.rule, b.path, b.user) for b in asked.breakages])
        with self.assertRaises(grpc.RpcError) as caught:
            self.put("import", without, force=True)
        self.assertEqual(caught.exception.code(), Code.FAILED_PRECONDITION)
        self.assertTrue(any("file b.proto" in v[2] for v in violations(caught.exception)))
        # Nobody needs it any more.
        self.put("import", {"a.proto": "message Kept {}",
                            "b.proto": 'import "a.proto"; message B { Kept a = 1; }'},
                 force=True)

    def test_a_forced_change_by_the_other_ways(self):
        types = protos.Types(protos.single_file("m.proto", "message M { string a = 1; }"))
        broken = protos.Types(protos.single_file("m.proto", "message M { int32 a = 1; }"))
        self.front.register(types, "ways")
        request = rg.RegisterProtoRequest(
            namespace="ways", file_descriptor=broken.file("m.proto"), validate_only=True)
        asked = self.front.registry.RegisterProto(request)
        self.assertEqual([b.path for b in asked.breakages], ["t.v1.M.a"])
        self.assertEqual(asked.namespace_version, 1)
        request = rg.RegisterProtoRequest(
            namespace="ways", file_descriptor=broken.file("m.proto"), force=True)
        self.assertEqual(self.front.registry.RegisterProto(request).namespace_version, 2)
        service = descriptor_pb2.ServiceDescriptorProto(name="t.v1.S")
        service.method.add(name="Do", input_type=".t.v1.M", output_type=".t.v1.M")
        request = rg.RegisterServiceRequest(
            namespace="ways", service_descriptor=service, validate_only=True)
        answer = self.front.registry.RegisterService(request)
        self.assertEqual((list(answer.registered_methods), answer.namespace_version), (["Do"], 2))
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.registry.LookupService(rg.LookupServiceRequest(
                namespace="ways", service_name="t.v1.S"))

    # ---------------------------------------------------------------- versions

    def test_versions_are_listed_and_survive(self):
        sizes = []
        for i in range(7):
            body = "message M { %s }" % " ".join(
                "string f%d = %d;" % (k, k + 1) for k in range(i))
            answer = self.put("versions", {"m.proto": body})
            self.assertEqual(answer.files[0].version, i + 1)
            got = self.front.registry.GetDescriptors(rg.GetDescriptorsRequest(
                namespace="versions", file_name="m.proto"))
            sizes.append(len(descriptor_pb2.FileDescriptorSet.FromString(
                got.file_descriptor_set).file[0].SerializeToString()))
        for again in (False, True):
            if again:
                self.restart("registry")
            seen, token = [], ""
            while True:
                page = self.versions("versions", "m.proto", page_size=3, page_token=token)
                self.assertEqual(page.total_count, 7)
                seen += page.versions
                token = page.next_page_token
                if not token:
                    break
            self.assertEqual([v.version for v in seen], [7, 6, 5, 4, 3, 2, 1])
            self.assertEqual([v.size_bytes for v in seen], sizes[::-1])
            self.assertEqual([v.current for v in seen], [True] + 6 * [False])
            times = [v.registered_at.ToNanoseconds() for v in seen]
            self.assertEqual(times, sorted(times, reverse=True))
        with self.assertRpcError(Code.NOT_FOUND, text="no.proto"):
            self.versions("versions", "no.proto")
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="page_token"):
            self.versions("versions", "m.proto", page_token="x")
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="page_size"):
            self.versions("versions", "m.proto", page_size=-1)

    # ---------------------------------------------------------------- removals

    def test_a_file_is_removed_when_nobody_uses_it(self):
        self.put("remove", {"a.proto": "message A {}",
                            "b.proto": 'import "a.proto"; message B { A a = 1; }'})
        asked = self.unregister("remove", "a.proto", validate_only=True)
        self.assertEqual([(u.rule, u.user) for u in asked.users], [("IMPORT", "file b.proto")])
        for force in (False, True):
            with self.assertRaises(grpc.RpcError) as caught:
                self.unregister("remove", "a.proto", force=force)
            self.assertEqual(caught.exception.code(), Code.FAILED_PRECONDITION)
            self.assertIn("file b.proto", violations(caught.exception)[0][2])
        self.assertEqual(self.unregister("remove", "b.proto").namespace_version, 2)
        self.assertEqual(self.unregister("remove", "a.proto").namespace_version, 3)
        self.assertEqual(self.names("remove"), [])
        self.restart("registry")
        self.assertEqual(self.names("remove"), [])
        with self.assertRpcError(Code.NOT_FOUND, text="a.proto"):
            self.unregister("remove", "a.proto")
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="built in"):
            self.unregister("remove", "google/protobuf/any.proto")
        # What it was is remembered, and what comes next is another version.
        listed = self.versions("remove", "a.proto").versions
        self.assertEqual([(v.version, v.current) for v in listed], [(1, False)])
        self.assertEqual(self.put("remove", {"a.proto": "message A {}"}).files[0].version, 2)

    def test_the_system_namespace_is_not_for_clients(self):
        for call in (lambda: self.put("system", {"a.proto": "message A {}"}),
                     lambda: self.unregister("system", "a.proto"),
                     lambda: self.set_policy("system", NONE)):
            with self.assertRpcError(Code.PERMISSION_DENIED, text="system"):
                call()
