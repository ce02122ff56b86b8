"""What is registered, by name: messages, enums, methods, extensions."""

import json

from collector_testing import Code, CollectorTest, protos, registry_pb2

SOURCE = """
syntax = "proto2";
package look.v1;

// A thing.
message Thing {
  message Part { optional int32 size = 1; }
  // In which state.
  enum State { NEW = 1; OLD = 2; }
  optional Part part = 1;
  extensions 100 to 199;
  extend Thing { optional string inside = 101; }
}

message Endless { required Endless again = 1; }

// Colours.
enum Colour { RED = 0; }

extend Thing { optional Colour colour = 100; }

service Things {
  // Makes one.
  rpc Make(Thing) returns (stream Thing.Part) { option idempotency_level = IDEMPOTENT; }
}
"""


class Lookups(CollectorTest):
    daemons = ("registry", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        files = protos.compile_sources({"look/v1/look.proto": SOURCE}, source_info=True)
        cls.file = files.file[0]
        cls.front.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
            file_descriptor=cls.file))

    def message(self, name, **fields):
        return self.front.registry.LookupMessage(
            registry_pb2.LookupMessageRequest(message_name=name, **fields))

    def extension(self, **fields):
        return self.front.registry.LookupExtension(
            registry_pb2.LookupExtensionRequest(**fields))

    def test_messages(self):
        found = self.message("look.v1.Thing")
        self.assertEqual(found.message_descriptor, self.file.message_type[0])
        self.assertEqual(found.file_name, "look/v1/look.proto")
        self.assertEqual(found.comment.strip(), "A thing.")
        part = self.message("look.v1.Thing.Part")
        self.assertEqual(part.message_descriptor, self.file.message_type[0].nested_type[0])
        # What comes with the system is there in every namespace.
        stamp = self.message("google.protobuf.Timestamp", namespace="elsewhere")
        self.assertEqual([f.name for f in stamp.message_descriptor.field],
                         ["seconds", "nanos"])

    def test_json_schemas(self):
        def ask(name):
            return self.front.registry.GetJsonSchema(
                registry_pb2.GetJsonSchemaRequest(message_name=name))

        found = ask("look.v1.Thing")
        self.assertEqual(found.file_name, "look/v1/look.proto")
        schema = json.loads(found.json_schema)
        self.assertEqual(schema["$ref"], "#/$defs/look.v1.Thing")
        thing = schema["$defs"]["look.v1.Thing"]
        self.assertEqual(thing["description"], "A thing.")
        self.assertEqual(thing["properties"]["part"]["$ref"], "#/$defs/look.v1.Thing.Part")
        self.assertIn("[look.v1.Thing.inside]", thing["properties"])
        self.assertEqual(json.loads(found.skeleton), {"part": {"size": 0}})
        self.assertEqual(ask("look.v1.Endless").skeleton, "")
        self.assertIn("look.v1.Endless", ask("look.v1.Endless").json_schema)
        with self.assertRpcError(Code.NOT_FOUND, "look.v1.None"):
            ask("look.v1.None")
        with self.assertRpcError(Code.INVALID_ARGUMENT, "message_name"):
            ask("not a name")

    def test_enums(self):
        for name, declared in (
                ("look.v1.Colour", self.file.enum_type[0]),
                ("look.v1.Thing.State", self.file.message_type[0].enum_type[0])):
            found = self.front.registry.LookupEnum(
                registry_pb2.LookupEnumRequest(enum_name=name))
            self.assertEqual(found.enum_descriptor, declared)
            self.assertTrue(found.comment)

    def test_methods(self):
        found = self.front.registry.LookupMethod(registry_pb2.LookupMethodRequest(
            service_name="look.v1.Things", method_name="Make"))
        self.assertEqual(found.method.input_type, "look.v1.Thing")
        self.assertEqual(found.method.output_type, "look.v1.Thing.Part")
        self.assertFalse(found.method.client_streaming)
        self.assertTrue(found.method.server_streaming)
        self.assertEqual(found.method.idempotency_level, registry_pb2.MethodInfo.IDEMPOTENT)
        self.assertEqual(found.method.comment.strip(), "Makes one.")
        self.assertEqual(found.file_name, "look/v1/look.proto")

    def test_extensions(self):
        outer, inner = self.file.extension[0], self.file.message_type[0].extension[0]
        for fields, declared in (
                ({"extension_name": "look.v1.colour"}, outer),
                ({"extension_name": "look.v1.Thing.inside"}, inner),
                ({"extended_message": "look.v1.Thing", "number": 100}, outer),
                ({"extended_message": "look.v1.Thing", "number": 101}, inner)):
            found = self.extension(**fields)
            self.assertEqual(found.field_descriptor, declared)
            self.assertIn(found.extension_name, ("look.v1.colour", "look.v1.Thing.inside"))

    def test_what_is_not_there(self):
        registry = self.front.registry
        with self.assertRpcError(Code.NOT_FOUND, text="look.v1.Nothing"):
            self.message("look.v1.Nothing")
        with self.assertRpcError(Code.NOT_FOUND):  # an enum is no message
            self.message("look.v1.Colour")
        with self.assertRpcError(Code.NOT_FOUND, text="elsewhere"):
            self.message("look.v1.Thing", namespace="elsewhere")
        with self.assertRpcError(Code.NOT_FOUND):
            registry.LookupEnum(registry_pb2.LookupEnumRequest(enum_name="look.v1.Thing"))
        with self.assertRpcError(Code.NOT_FOUND, text="look.v1.Nothing"):
            registry.LookupMethod(registry_pb2.LookupMethodRequest(
                service_name="look.v1.Nothing", method_name="Make"))
        with self.assertRpcError(Code.NOT_FOUND, text="Break"):
            registry.LookupMethod(registry_pb2.LookupMethodRequest(
                service_name="look.v1.Things", method_name="Break"))
        with self.assertRpcError(Code.NOT_FOUND):
            self.extension(extension_name="look.v1.nothing")
        for number in (1, 102, 0, -5):  # a field, nothing, no numbers
            with self.assertRpcError(Code.NOT_FOUND):
                self.extension(extended_message="look.v1.Thing", number=number)

    def test_bad_requests(self):
        for field, request in (
                ("message_name", lambda: self.message("")),
                ("message_name", lambda: self.message("a..b")),
                ("namespace", lambda: self.message("look.v1.Thing", namespace="../x")),
                ("extension_name", lambda: self.extension())):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as failed:
                request()
            self.assertBlames(failed.error, field)
