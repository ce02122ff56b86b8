"""collectorctl registry: what a person types, and what comes of it."""

import itertools
import json
import os
import subprocess
import tempfile

import protos
from collector_testing import CollectorTest, registry_pb2 as rg
from daemons import BIN_DIR, Port, clean_environment, ctl, ctl_json
from google.protobuf import descriptor_pb2
from reflecting import Reflection

USAGE, NOT_FOUND, FAILED_PRECONDITION, INVALID_ARGUMENT, UNAVAILABLE, DENIED = (
    2, 64 + 5, 64 + 9, 64 + 3, 64 + 14, 64 + 7)
COMMANDS = ("register", "check", "list", "describe", "versions", "diff", "import",
            "unregister", "policy")


class CtlTest(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")
    counter = itertools.count()

    def setUp(self):
        self.namespace = "ctl-%d" % next(self.counter)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        return path

    def write_proto(self, name, body, imports=(), package="t.v1"):
        return self.write(name, 'syntax = "proto3";\npackage %s;\n%s%s\n' % (
            package, "".join('import "%s";\n' % i for i in imports), body))

    def ctl(self, *arguments, **options):
        """(exit code, standard output, standard error)."""
        return ctl(self.cluster, "-n", self.namespace, "registry", *arguments, **options)

    def done(self, *arguments, code=0):
        """Standard output of what must end with the code."""
        got, out, err = self.ctl(*arguments)
        self.assertEqual(got, code, "%s%s" % (out, err))
        return out

    def rows(self, *arguments):
        """The cells of a table, its first row left out."""
        return [line.split() for line in self.done(*arguments).splitlines()[1:]]

    def json(self, *arguments):
        return ctl_json(self.cluster, "-n", self.namespace, "registry", *arguments)

    def assertFails(self, code, *arguments, text=(), **options):
        got, out, err = self.ctl(*arguments, **options)
        self.assertEqual(got, code, "%s%s" % (out, err))
        self.assertEqual(out, "")
        for part in (text,) if isinstance(text, str) else text:
            self.assertIn(part, err)
        return err

    def registered(self):
        return {row[0] for row in self.rows("list")} if self.json("list").get("protos") else set()


class Register(CtlTest):
    def test_files_with_their_imports(self):
        self.write_proto("a/v1/a.proto", "message A { B b = 1; }", ["a/v1/b.proto"])
        self.write_proto("a/v1/b.proto", "message B {}")
        out = self.done("register", "-I", self.directory,
                        os.path.join(self.directory, "a/v1/a.proto"))
        self.assertEqual(out.splitlines()[0].split(), ["FILE", "RESULT", "VERSION"])
        self.assertEqual({tuple(r) for r in self.rows(
            "register", "-I", self.directory, os.path.join(self.directory, "a/v1/a.proto"))},
            {("a/v1/a.proto", "unchanged", "1"), ("a/v1/b.proto", "unchanged", "1")})
        self.write_proto("a/v1/b.proto", "message B { string x = 1; }")
        self.assertEqual({tuple(r) for r in self.rows(
            "register", "-I", self.directory, os.path.join(self.directory, "a/v1/b.proto"))},
            {("a/v1/b.proto", "updated", "2")})

    def test_directories(self):
        self.write_proto("one/x/v1/x.proto", "message X { y.v1.Y y = 1; }", ["y/v1/y.proto"],
                         "x.v1")
        self.write_proto("one/readme.txt", "not a proto")
        self.write_proto("two/y/v1/y.proto", "message Y {}", package="y.v1")
        self.write_proto("two/y/v1/z.proto", "message Z {}", package="y.v1")
        one, two = (os.path.join(self.directory, d) for d in ("one", "two"))
        self.done("register", one, two + "/")
        self.assertEqual(self.registered(), {"x/v1/x.proto", "y/v1/y.proto", "y/v1/z.proto"})
        # Below a root that the user names.
        self.namespace += "-b"
        self.done("register", "-I", self.directory, two)
        self.assertEqual(self.registered(), {"two/y/v1/y.proto", "two/y/v1/z.proto"})

    def test_descriptor_sets_and_standard_input(self):
        data = protos.shop().files.SerializeToString()
        path = self.write("shop.binpb", data)
        self.done("register", path)
        with open(path, "rb") as f:
            done = subprocess.run(
                [os.path.join(BIN_DIR, "collectorctl"), "--address",
                 self.cluster.address("dispatcher"), "-n", self.namespace, "registry",
                 "register", "-", path], stdin=f, capture_output=True, env=clean_environment(),
                timeout=60, check=True)
        self.assertIn(b"unchanged", done.stdout)
        answer = self.client("registry").registry.GetDescriptors(
            rg.GetDescriptorsRequest(namespace=self.namespace))
        found = {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(
            answer.file_descriptor_set).file}
        for file in protos.shop().own_files():
            self.assertEqual(found[file.name], file)

    def test_schemas(self):
        self.done("register", "-I", self.directory, self.write_proto(
            "plan.proto", "// What to do.\nmessage Plan { Plan next = 1; int64 step = 2; }"))
        schema = json.loads(self.done("schema", "t.v1.Plan"))
        self.assertEqual(schema["$ref"], "#/$defs/t.v1.Plan")
        self.assertEqual(schema["$defs"]["t.v1.Plan"]["description"], "What to do.")
        self.assertEqual(json.loads(self.done("schema", "t.v1.Plan", "--skeleton")),
                         {"step": "0"})
        self.assertFails(NOT_FOUND, "schema", "t.v1.None", text="t.v1.None")

    def test_all_or_nothing(self):
        good = self.write_proto("good.proto", "message G {}")
        bad = descriptor_pb2.FileDescriptorProto(name="bad.proto", dependency=["none.proto"])
        bad = self.write("bad.binpb", descriptor_pb2.FileDescriptorSet(
            file=[bad]).SerializeToString())
        self.assertFails(INVALID_ARGUMENT, "register", "-I", self.directory, good, bad,
                         text="none.proto")
        self.assertEqual(self.registered(), set())

    def test_what_cannot_be_registered(self):
        empty = os.path.join(self.directory, "empty")
        os.mkdir(empty)
        one = self.write("1.binpb", protos.single_file("s.proto", "message A {}").SerializeToString())
        two = self.write("2.binpb", protos.single_file("s.proto", "message B {}").SerializeToString())
        for paths, text in (
                (["no-such-file"], "No such file"), ([empty], "no .proto file"),
                ([self.write("broken.proto", "message {")], "protoc refused"),
                ([self.write("text", "plain text")], "neither a .proto file"),
                ([self.write("nothing", "")], "neither a .proto file"),
                ([one, two], "another s.proto")):
            with self.subTest(paths=paths):
                self.assertFails(INVALID_ARGUMENT, "register", *paths, text=text)
        self.assertFails(INVALID_ARGUMENT, "register", "-", text="standard input", stdin="x")
        self.assertFails(USAGE, "register", text="PATH...")
        self.assertEqual(self.registered(), set())

    def test_json(self):
        path = self.write("shop.binpb", protos.shop().files.SerializeToString())
        answer = self.json("register", path)
        self.assertEqual({f["protoId"] for f in answer["files"]},
                         {"%s/%s" % (self.namespace, f.name) for f in protos.shop().own_files()})
        self.assertEqual(self.json("list", "shop/v1/o")["protos"][0]["fileName"],
                         "shop/v1/order.proto")


class Changes(CtlTest):
    def setUp(self):
        super().setUp()
        self.path = self.write_proto("s.proto", "message M { string a = 1; }")
        self.done("register", "-I", self.directory, self.path)
        self.write_proto("s.proto", "message M { int32 a = 1; }")

    def test_what_breaks_is_checked_refused_and_forced(self):
        arguments = ["-I", self.directory, self.path]
        out = self.done("check", *arguments, code=1)
        self.assertRegex(out, r"^s\.proto: t\.v1\.M\.a: FIELD_\w+ \(WIRE\w*\): ")
        # All that a refusal is for is told, not only the first.
        err = self.assertFails(FAILED_PRECONDITION, "register", *arguments)
        self.assertIn(out, err)
        code, listed, _ = ctl(self.cluster, "-o", "json", "-n", self.namespace, "registry",
                              "check", *arguments)
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(listed)["breakages"][0]["path"], "t.v1.M.a")
        self.assertEqual(self.rows("versions", "s.proto")[0][0], "1")
        code, done, err = self.ctl("register", "--force", *arguments)
        self.assertEqual((code, err), (0, out))
        self.assertIn("updated", done)
        self.assertEqual(self.done("check", *arguments), "nothing breaks\n")

    def test_versions(self):
        self.done("policy", "none")
        self.done("register", "-I", self.directory, self.path)
        rows = self.rows("versions", "s.proto")
        self.assertEqual([r[0] for r in rows], ["2", "1"])
        self.assertEqual([r[-1] for r in rows], ["yes", "-"])
        self.assertEqual([v["version"] for v in self.json("versions", "s.proto")["versions"]],
                         ["2", "1"])
        self.assertFails(NOT_FOUND, "versions", "none.proto", text="none.proto")

    def test_policy(self):
        self.assertEqual(self.done("policy"), "WIRE_JSON\n")
        for word, name in (("none", "NONE"), ("wire", "WIRE"), ("source", "SOURCE"),
                           ("wire-json", "WIRE_JSON"), ("SOURCE", "SOURCE"),
                           ("Wire_Json", "WIRE_JSON"), ("none", "NONE"), ("default", "WIRE_JSON")):
            self.assertEqual(self.done("policy", word), name + "\n")
            self.assertEqual(self.json("policy")["policy"], "COMPATIBILITY_POLICY_" + name)
        self.assertFails(USAGE, "policy", "strict", text=("strict", "wire-json"))

    def test_unregister(self):
        self.write_proto("user.proto", "message U { M m = 1; }", ["s.proto"])
        self.write_proto("s.proto", "message M { string a = 1; }")
        self.done("register", self.directory)
        out = self.done("unregister", "--check", "s.proto", code=1)
        self.assertIn("file user.proto", out)
        err = self.assertFails(FAILED_PRECONDITION, "unregister", "s.proto")
        self.assertIn(out, err)
        self.assertEqual(self.done("unregister", "--check", "user.proto"), "nothing breaks\n")
        self.assertEqual(self.registered(), {"s.proto", "user.proto"})
        self.assertIn(self.namespace, self.done("unregister", "user.proto"))
        self.assertEqual(int(self.json("unregister", "s.proto")["namespaceVersion"]), 4)
        self.assertEqual(self.registered(), set())
        self.assertFails(NOT_FOUND, "unregister", "s.proto", text="s.proto")

    def test_describe(self):
        self.assertEqual(self.done("describe", "t.v1.M"), "message M {\n  string a = 1;\n}\n")
        text = self.done("describe", "s.proto")
        self.assertIn("package t.v1;", text)
        # What is printed compiles to what was registered, but for the lines it is in.
        before = self.json("describe", "t.v1.M")
        copy = self.write("copy/s.proto", text)
        self.done("register", "-I", os.path.dirname(copy), copy)
        after = self.json("describe", "s.proto")
        self.assertNotEqual(before.pop("sourceCodeInfo"), after.pop("sourceCodeInfo"))
        self.assertEqual(before, after)
        self.assertFails(NOT_FOUND, "describe", "t.v1.None", text="t.v1.None")


class Import(CtlTest):
    def test_a_live_server(self):
        backend = self.backend(Reflection(protos.shop().files).methods())
        names = {f.name for f in protos.shop().own_files()}
        self.assertEqual(self.done("import", "--check", backend.address), "nothing breaks\n")
        self.assertEqual(self.registered(), set())
        rows = self.rows("import", backend.address, "shop.v1.OrderService")
        self.assertEqual({tuple(r) for r in rows}, {(n, "registered", "1") for n in names})
        self.assertEqual({f["protoId"] for f in self.json("import", backend.address)["files"]},
                         {self.namespace + "/" + n for n in names})
        self.assertFails(NOT_FOUND, "import", backend.address, "no.Such", text="no.Such")

    def test_addresses(self):
        port = Port()
        self.addCleanup(port.close)
        self.assertFails(UNAVAILABLE, "import", port.address, text=port.address)
        self.assertFails(DENIED, "import", "169.254.169.254:80", text="--allow-address")
        self.assertFails(INVALID_ARGUMENT, "import", "localhost", text="host:port")


class Help(CtlTest):
    def test_every_command_explains_itself(self):
        listed = self.done("--help")
        for verb in COMMANDS:
            out = self.done(verb, "--help")
            self.assertIn("usage: collectorctl registry " + verb, out)
            self.assertIn("registry " + verb, listed)
        self.assertIn("--force", self.done("register", "--help"))

    def test_every_command_of_all(self):
        """Each explains itself, and takes no word that it does not know."""
        _, listed, _ = ctl(self.cluster, "--help")
        commands = [line.split() for line in listed.partition("commands:")[2].partition(
            "flags of every")[0].splitlines() if line.strip()]
        self.assertGreater(len(commands), 30)
        for noun, verb, *_ in commands:
            words = [noun] + ([verb] if verb.isalpha() and noun != "status" else [])
            code, out, err = ctl(self.cluster, *words, "--help")
            self.assertEqual((code, err), (0, ""), words)
            self.assertIn("usage: collectorctl " + " ".join(words), out)
            for option in ("--output table|json", "--namespace", "--timeout"):
                self.assertIn(option, out)
            code, out, err = ctl(self.cluster, *words, "--no-such-flag")
            self.assertEqual((code, out), (USAGE, ""), words)
            self.assertIn("no-such-flag", err)
            self.assertIn("--help", err)

    def test_no_command(self):
        for words, code, text in (
                ([], USAGE, "commands:"), (["--no-such-flag"], USAGE, "no-such-flag"),
                (["--timeout"], USAGE, "timeout"), (["nothing"], USAGE, "nothing"),
                (["--help"], 0, ""), (["--version"], 0, "")):
            got, _, err = ctl(self.cluster, *words)
            self.assertEqual(got, code, words)
            self.assertIn(text, err)

    def test_wrong_usage(self):
        for words in (["describe"], ["list", "a", "b"], ["register", "--no-such-flag", "x"],
                      ["no-such-verb"], ["-o", "yaml", "list"], ["policy", "a", "b"]):
            code, out, err = self.ctl(*words)
            self.assertEqual((code, out), (USAGE, ""), words)
            self.assertTrue(err)
