"""Files as they are and as they were: LookupFile, ListVersions, Diff."""

import itertools
import os

import protos
from collector_testing import Code, CollectorTest, registry_pb2 as rg
from daemons import ctl, ctl_json
from google.protobuf import descriptor_pb2

ADDED, REMOVED, CHANGED = (rg.SymbolChange.KIND_ADDED, rg.SymbolChange.KIND_REMOVED,
                           rg.SymbolChange.KIND_CHANGED)


class VersionsTest(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")
    counter = itertools.count()

    def setUp(self):
        self.registry = self.client("registry").registry
        self.namespace = "diff-%d" % next(self.counter)
        self.registry.SetPolicy(rg.SetPolicyRequest(
            namespace=self.namespace, policy=rg.COMPATIBILITY_POLICY_NONE))

    def put(self, sources):
        """Register {name: body of a proto3 file}; the descriptors."""
        files = protos.compile_sources({name: 'syntax = "proto3";\n' + text
                                        for name, text in sources.items()}, source_info=True)
        self.registry.RegisterFiles(rg.RegisterFilesRequest(
            namespace=self.namespace, files=files))
        return {f.name: f for f in files.file}

    def versions(self, *bodies):
        """Versions of s.proto, of package t."""
        return [self.put({"s.proto": "package t;\n" + b})["s.proto"] for b in bodies]

    def diff(self, name="s.proto", **fields):
        return self.registry.Diff(rg.DiffRequest(
            namespace=self.namespace, file_name=name, **fields))

    def changes(self, **fields):
        return [(c.kind, c.path, c.before, c.after) for c in self.diff(**fields).changes]

    def lookup(self, name="s.proto", version=0):
        return self.registry.LookupFile(rg.LookupFileRequest(
            namespace=self.namespace, file_name=name, version=version)).proto


class LookupFile(VersionsTest):
    def test_every_version(self):
        files = self.versions("message A {}", "message A {} enum E { Z = 0; }",
                              "message B {} service S {}")
        for version, file in enumerate(files, 1):
            found = self.lookup(version=version)
            self.assertEqual(found.file_descriptor, file)
            self.assertEqual((found.version, found.id), (version, self.namespace + "/s.proto"))
            self.assertEqual(list(found.message_names), ["t." + m.name for m in file.message_type])
            self.assertEqual(list(found.enum_names), ["t." + e.name for e in file.enum_type])
            self.assertEqual(list(found.service_names), ["t." + s.name for s in file.service])
            self.assertLessEqual(found.metadata.created_at.ToNanoseconds(),
                                 found.metadata.updated_at.ToNanoseconds())
        self.assertEqual(self.lookup(), self.lookup(version=3))
        self.restart("registry")
        self.setUpClient()
        self.assertEqual(self.lookup(version=1).file_descriptor, files[0])

    def setUpClient(self):
        self.registry = self.client("registry").registry

    def test_a_version_whose_imports_have_changed(self):
        self.put({"dep.proto": "package d; message D { string a = 1; }"})
        self.put({"dep.proto": "package d; message D { string a = 1; }",
                  "s.proto": 'package t; import "dep.proto"; message A { d.D d = 1; }'})
        self.put({"s.proto": "package t; message A {}"})
        self.put({"dep.proto": "package other; message X {}"})
        self.registry.Unregister(rg.UnregisterRequest(
            namespace=self.namespace, file_name="dep.proto"))
        old = self.lookup(version=1)
        self.assertEqual(list(old.dependencies), ["dep.proto"])
        self.assertEqual([c.path for c in self.diff().changes], ["s.proto", "t.A.d"])
        # A file that is gone has its versions still.
        self.assertEqual(list(self.lookup("dep.proto", 2).message_names), ["other.X"])
        with self.assertRpcError(Code.NOT_FOUND, text="dep.proto"):
            self.lookup("dep.proto")

    def test_built_in_files(self):
        found = self.lookup("google/protobuf/any.proto")
        self.assertEqual(list(found.message_names), ["google.protobuf.Any"])
        self.assertTrue(found.file_descriptor.source_code_info.location)
        self.assertEqual(found.version, 0)

    def test_what_is_not_there(self):
        self.versions("message A {}")
        for name, version, code in (("none.proto", 0, Code.NOT_FOUND),
                                    ("none.proto", 1, Code.NOT_FOUND),
                                    ("s.proto", 2, Code.NOT_FOUND),
                                    ("s.proto", -1, Code.INVALID_ARGUMENT),
                                    ("", 0, Code.INVALID_ARGUMENT),
                                    ("../s.proto", 0, Code.INVALID_ARGUMENT)):
            with self.assertRpcError(code):
                self.lookup(name, version)

    def test_a_damaged_version(self):
        large = " ".join("message %s { string %s = 1; }" % ("M%d" % i, "f" * 200)
                         for i in range(400))
        self.versions(large, "message A {}")
        path = os.path.join(self.cluster.data, "registry", "versions", self.namespace, "s.proto",
                            "1.binpb")
        with open(path, "r+b") as f:
            f.seek(10)
            f.write(b"damage")
        with self.assertRpcError(Code.DATA_LOSS, text="version 1"):
            self.lookup(version=1)
        with self.assertRpcError(Code.DATA_LOSS, text="version 1"):
            self.diff()
        self.assertEqual(list(self.lookup().message_names), ["t.A"])


class Diff(VersionsTest):
    def test_each_kind_of_symbol(self):
        self.versions(
            "message M { string a = 1; string b = 2; repeated M c = 3; map<string, M> d = 4;"
            " oneof o { int32 x = 5; int32 y = 6; } message In { bool i = 1; } }"
            " message Gone { string g = 1; message Inner {} }"
            " enum E { Z = 0; ONE = 1; } enum Same { SAME = 0; }"
            " service S { rpc Do(M) returns (M); rpc Keep(M) returns (M); }",
            # A comment, and a oneof in front, change nothing.
            "// About M.\nmessage M { oneof p { string e = 7; } oneof q { int32 x = 5; }"
            " string a = 1; bytes b = 2; repeated M c = 3; map<string, string> d = 4;"
            " int32 y = 6; reserved 9; message In { bool i = 1; message New { bool n = 1; } } }"
            " enum E { Z = 0; TWO = 2; } enum Same { SAME = 0; }"
            " service S { rpc Do(M) returns (stream M); rpc Keep(M) returns (M); }"
            " service More { rpc Again(M) returns (M); }")
        answer = self.diff()
        self.assertEqual((answer.from_version, answer.to_version, answer.is_cut), (1, 2, False))
        found = {c.path: (c.kind, " ".join(c.before.split()), " ".join(c.after.split()))
                 for c in answer.changes}
        self.assertEqual([c.path for c in answer.changes], sorted(found))
        whole = {p: found.pop(p) for p in ("t.M", "t.Gone", "t.More", "t.M.In.New")}
        self.assertEqual(found, {
            "t.M.b": (CHANGED, "string b = 2;", "bytes b = 2;"),
            "t.M.d": (CHANGED, "map<string, M> d = 4;", "map<string, string> d = 4;"),
            "t.M.e": (ADDED, "", "oneof p: string e = 7;"),
            "t.M.x": (CHANGED, "oneof o: int32 x = 5;", "oneof q: int32 x = 5;"),
            "t.M.y": (CHANGED, "oneof o: int32 y = 6;", "int32 y = 6;"),
            "t.E": (CHANGED, "enum E { Z = 0; ONE = 1; }", "enum E { Z = 0; TWO = 2; }"),
            "t.S.Do": (CHANGED, "rpc Do(M) returns (M);", "rpc Do(M) returns (stream M);")})
        self.assertEqual(whole["t.M"][0], CHANGED)
        self.assertIn("reserved 9;", whole["t.M"][2])
        self.assertEqual(whole["t.Gone"], (
            REMOVED, "message Gone { message Inner { } string g = 1; }"
            if "{ message" in whole["t.Gone"][1]
            else "message Gone { string g = 1; message Inner { } }", ""))
        self.assertEqual(whole["t.More"], (
            ADDED, "", "service More { rpc Again(M) returns (M); }"))
        self.assertEqual(whole["t.M.In.New"][0], ADDED)

    def test_what_a_file_says_of_itself(self):
        self.put({"s.proto": "package t; message A {}"})
        self.put({"s.proto": 'package t; option java_package = "x"; message A {}'})
        self.put({"s.proto": 'package u; option java_package = "x"; message A {}'})
        self.assertEqual(self.changes(from_version=1, to_version=2), [
            (CHANGED, "s.proto", 'syntax = "proto3";\n\npackage t;\n',
             'syntax = "proto3";\n\npackage t;\n\noption java_package = "x";\n')])
        self.assertEqual([c[:2] for c in self.changes()], [
            (CHANGED, "s.proto"), (REMOVED, "t.A"), (ADDED, "u.A")])

    def test_extensions(self):
        def source(kind):
            return {"s.proto": 'package t; import "google/protobuf/descriptor.proto";'
                    " extend google.protobuf.FieldOptions { %s unit = 50001; }" % kind}
        self.put(source("string"))
        self.put(source("int32"))
        found = self.changes()
        self.assertEqual([c[:2] for c in found], [(CHANGED, "t.unit")])
        self.assertIn("extend google.protobuf.FieldOptions", found[0][3])

    def test_which_versions(self):
        self.versions("message A {}", "message A {} message B {}",
                      "message A {} message B {} message C {}")
        for fields, versions, paths in (
                ({}, (2, 3), ["t.C"]), ({"from_version": 1}, (1, 3), ["t.B", "t.C"]),
                ({"to_version": 2}, (1, 2), ["t.B"]),
                ({"to_version": 1}, (0, 1), ["s.proto", "t.A"]),
                ({"from_version": 3, "to_version": 1}, (3, 1), ["t.B", "t.C"]),
                ({"from_version": 2, "to_version": 2}, (2, 2), [])):
            answer = self.diff(**fields)
            self.assertEqual((answer.from_version, answer.to_version), versions)
            self.assertEqual([c.path for c in answer.changes], paths)
        for fields, code in (({"from_version": 4}, Code.NOT_FOUND),
                             ({"to_version": 9}, Code.NOT_FOUND),
                             ({"from_version": -1}, Code.INVALID_ARGUMENT),
                             ({"name": "none.proto"}, Code.NOT_FOUND),
                             ({"name": "/"}, Code.INVALID_ARGUMENT)):
            with self.assertRpcError(code):
                self.diff(**fields)

    def test_what_breaks_at_any_policy(self):
        self.versions("message A { int32 a = 1; string b = 2; }",
                      "message A { string a = 1; string c = 2; }")
        found = {(b.path, b.policy) for b in self.diff().breakages}
        self.assertIn(("t.A.a", rg.COMPATIBILITY_POLICY_WIRE), found)
        self.assertIn(("t.A.c", rg.COMPATIBILITY_POLICY_WIRE_JSON), found)
        self.assertFalse(self.diff(from_version=2, to_version=2).breakages)

    def test_more_than_is_told(self):
        self.versions("message M { %s }" % " ".join("string f%d = %d;" % (i, i)
                                                    for i in range(1, 1500)),
                      "message M { %s }" % " ".join("string g%d = %d;" % (i, i)
                                                    for i in range(1, 1500)))
        answer = self.diff()
        self.assertEqual((len(answer.changes), answer.is_cut), (1000, True))
        self.assertEqual(len(answer.breakages), 1000)

    def test_many_small_messages(self):
        """Each costs what it is, not what the file is."""
        def file(prefix):
            f = descriptor_pb2.FileDescriptorProto(name="s.proto", package="t", syntax="proto3")
            for i in range(60000):
                f.message_type.add(name="%s%d" % (prefix, i))
            return descriptor_pb2.FileDescriptorSet(file=[f])
        for prefix in "ab":
            self.registry.RegisterFiles(rg.RegisterFilesRequest(
                namespace=self.namespace, files=file(prefix)), timeout=60)
        self.assertTrue(self.diff().is_cut)


class Ctl(VersionsTest):
    def test_collectorctl(self):
        self.versions("message A { int32 a = 1; }", "message A { string a = 1; }",
                      "message A { string a = 1; } message B {}")

        def run(*words):
            return ctl(self.cluster, "-n", self.namespace, "registry", "diff", *words)
        code, out, _ = run("s.proto")
        self.assertEqual((code, out), (0, "s.proto, version 2 to 3\n\nt.B\n+ message B {\n+ }\n"))
        code, out, _ = run("s.proto", "1", "2")
        self.assertEqual(code, 0)
        self.assertIn("\nt.A.a\n- int32 a = 1;\n+ string a = 1;\n\nbreaks:\ns.proto: t.A.a: ", out)
        self.assertEqual(ctl_json(self.cluster, "-n", self.namespace, "registry", "diff",
                                  "s.proto", "1")["toVersion"], "3")
        for words, expected in ((["s.proto", "x"], 2), (["s.proto", "0"], 2), ([], 2),
                                (["s.proto", "7"], 69), (["none.proto"], 69)):
            code, out, err = run(*words)
            self.assertEqual((code, out), (expected, ""), words)
            self.assertTrue(err)
