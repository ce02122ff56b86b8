"""Reflection with the real thing: buf curl, and npm's reflection client and server."""

import json
import os
import tempfile

import grpc
import protos
from collector_testing import Backend, CollectorTest, eventually, registry_pb2 as rg
from npm_clients import ReflectingServer, buf, reflect

VERSIONS = ("v1", "v1alpha")
SERVICE = "talk.v1.Talk"
# A service of all four kinds of methods; what is said comes back.
BODY = """
// Says things.
service Talk {
  // Says it once.
  rpc Once(Said) returns (Said);
  rpc Up(stream Said) returns (Said);
  rpc Down(Said) returns (stream Said);
  rpc Both(stream Said) returns (stream Said);
}
// Something said.
message Said {
  // The words.
  string text = 1;
  google.protobuf.Timestamp at = 2;
  map<string, int64> counts = 3;
  Tone tone = 4;
  %s
}
enum Tone { TONE_UNSPECIFIED = 0; TONE_LOUD = 1; }
"""


def talk(more=""):
    source = 'syntax = "proto3";\npackage talk.v1;\n' \
        'import "google/protobuf/timestamp.proto";\n' + BODY % more
    return protos.Types(protos.compile_sources({"talk/v1/talk.proto": source}, source_info=True))


class ReflectionClients(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.doors = {"front door": cls.front.address,
                     "registry": cls.cluster.address("registry")}
        cls.talk, cls.other = talk(), talk("bool other = 5;")
        cls.front.register(cls.talk)
        cls.front.register(cls.other, "other")
        backend = Backend(cls.methods())
        cls.addClassCleanup(backend.stop)
        for namespace in ("", "other"):
            cls.front.register_handler(SERVICE, backend.address, namespace)

    @staticmethod
    def methods():
        def last(requests, context):
            said = b""
            for said in requests:
                pass
            return said

        def twice(request, context):
            yield request
            yield request

        def each(requests, context):
            yield from requests
        return {"/talk.v1.Talk/Once": lambda request, context: request,
                "/talk.v1.Talk/Up": grpc.stream_unary_rpc_method_handler(last),
                "/talk.v1.Talk/Down": grpc.unary_stream_rpc_method_handler(twice),
                "/talk.v1.Talk/Both": grpc.stream_stream_rpc_method_handler(each)}

    # ------------------------------------------------------------- buf curl

    def curl(self, address, path, version, *arguments, data=None, namespace=None):
        command = ["curl", "--http2-prior-knowledge", "--reflect-protocol", "grpc-" + version,
                   "--protocol", "grpc", "--timeout", "60s"]
        if namespace:
            command += ["-H", "collector-namespace: " + namespace]
            command += ["--reflect-header", "collector-namespace: " + namespace]
        if data is not None:
            command += ["-d", "@-"]
        code, out, err = buf(*command, *arguments, "http://%s%s" % (address, path),
                             stdin=data or "")
        self.assertEqual(code, 0, err)
        return out

    def each_road(self):
        for door, address in self.doors.items():
            for version in VERSIONS:
                with self.subTest(door=door, version=version):
                    yield address, version

    def test_buf_lists_services_and_methods(self):
        for address, version in self.each_road():
            services = self.curl(address, "", version, "--list-services").split()
            self.assertIn(SERVICE, services)
            self.assertIn("collector.CollectorRegistry", services)
            methods = self.curl(address, "", version, "--list-methods").split()
            for method in ("Once", "Up", "Down", "Both"):
                self.assertIn(SERVICE + "/" + method, methods)

    def test_buf_calls_methods_of_all_kinds(self):
        said = {"text": "hé", "at": "2024-02-29T12:00:00.000000001Z",
                "counts": {"a": "9007199254740993"}, "tone": "TONE_LOUD"}
        for version in VERSIONS:
            for method, sent, count in (("Once", [said], 1), ("Up", [{}, said], 1),
                                        ("Down", [said], 2), ("Both", [said, said, said], 3)):
                with self.subTest(version=version, method=method):
                    out = self.curl(self.front.address, "/%s/%s" % (SERVICE, method), version,
                                    data="\n".join(json.dumps(s) for s in sent))
                    self.assertEqual(documents(out), [said] * count)

    def test_buf_in_another_namespace(self):
        for version in VERSIONS:
            said = {"text": "there", "other": True}
            out = self.curl(self.front.address, "/%s/Once" % SERVICE, version,
                            data=json.dumps(said), namespace="other")
            self.assertEqual(documents(out), [said])
            code, _, err = buf("curl", "--http2-prior-knowledge", "--protocol", "grpc", "-d",
                               json.dumps(said), "http://%s/%s/Once" % (
                                   self.front.address, SERVICE))
            self.assertNotEqual(code, 0)
            self.assertIn("other", err)

    # ----------------------------------------------- grpc-js-reflection-client

    def check_methods(self, found):
        self.assertEqual({m["path"]: (m["input"], m["output"], m["requestStream"],
                                      m["responseStream"]) for m in found["methods"]},
                         {"/talk.v1.Talk/Once": ("Said", "Said", False, False),
                          "/talk.v1.Talk/Up": ("Said", "Said", True, False),
                          "/talk.v1.Talk/Down": ("Said", "Said", False, True),
                          "/talk.v1.Talk/Both": ("Said", "Said", True, True)})

    def test_npm_lists_describes_and_calls(self):
        # No map: protobuf.js makes repeated messages of those that it reads from descriptors.
        said = {"text": "hé", "tone": "TONE_LOUD"}
        for version in VERSIONS:
            for method, sent, count in (("Once", said, 1), ("Up", [{}, said], 1),
                                        ("Down", said, 2), ("Both", [said, said], 2)):
                with self.subTest(version=version, method=method):
                    found = reflect(self.front.address, version, "", SERVICE, method, sent)
                    self.assertIn(SERVICE, found["services"])
                    self.assertIn("collector.CollectionService", found["services"])
                    self.check_methods(found)
                    self.assertEqual(found["answers"], [said] * count)

    def test_npm_in_another_namespace(self):
        for version in VERSIONS:
            said = {"text": "there", "other": True}
            found = reflect(self.front.address, version, "other", SERVICE, "Once", said)
            self.check_methods(found)
            self.assertEqual(found["answers"], [said])
            # The same question without the namespace gets a type without the field.
            found = reflect(self.front.address, version, "", SERVICE, "Once", said)
            self.assertEqual(found["answers"], [{"text": "there"}])

    def test_npm_at_the_registry_itself(self):
        """The registry tells the types, and serves its own service by them."""
        for version in VERSIONS:
            found = reflect(self.doors["registry"], version, "", "collector.CollectorRegistry",
                            "LookupService", {"service_name": SERVICE})
            self.assertIn(SERVICE, found["services"])
            service = found["answers"][0]["service"]
            self.assertEqual(service["method_names"], ["Once", "Up", "Down", "Both"])
            self.assertEqual(service["methods"][0]["comment"].strip(), "Says it once.")

    # ---------------------------------------------------------- @grpc/reflection

    def test_a_node_server_is_called_by_what_was_imported(self):
        """Without imports, which npm's @grpc/reflection leaves out of its files."""
        with tempfile.TemporaryDirectory() as root:
            with open(os.path.join(root, "plain.proto"), "w", encoding="utf-8") as f:
                f.write('syntax = "proto3"; package plain.v1;'
                        "message Word { string text = 1; repeated Word next_words = 2; }"
                        "service Plain { rpc Say(Word) returns (Word); }")
            server = ReflectingServer(root, "plain.proto")
        self.addCleanup(server.stop)
        answer = self.front.registry.ImportFromReflection(rg.ImportFromReflectionRequest(
            namespace="node", address=server.address))
        self.assertEqual(list(answer.service_names), ["plain.v1.Plain"])
        self.front.register_handler("plain.v1.Plain", server.address, "node")
        said = {"text": "a", "next_words": [{"text": "b"}]}
        found = eventually(lambda: reflect(self.front.address, "v1", "node", "plain.v1.Plain",
                                           "Say", said), "the imported service is called")
        self.assertEqual(found["answers"], [said])


def documents(text):
    """The JSON documents that follow each other in a text."""
    decoder, found, at = json.JSONDecoder(), [], 0
    text = text.strip()
    while at < len(text):
        document, end = decoder.raw_decode(text, at)
        found.append(document)
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found
