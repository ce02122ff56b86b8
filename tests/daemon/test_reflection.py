"""grpc.reflection, v1 and v1alpha, at the front door and at the registry itself."""

import functools
import itertools
import queue
import threading

from collector_testing import (
    Code, CollectorTest, SERVICES, eventually, protos, registry_pb2)
from google.protobuf import descriptor_pb2
from grpc.reflection.v1 import reflection_pb2 as v1, reflection_pb2_grpc as v1_grpc
from grpc.reflection.v1alpha import (
    reflection_pb2 as v1alpha, reflection_pb2_grpc as v1alpha_grpc)

VERSIONS = {"v1": (v1, v1_grpc), "v1alpha": (v1alpha, v1alpha_grpc)}
TIMEOUT_S = 60

KINDS = "reflected/v1/kinds.proto"
PART = "reflected/v1/part.proto"


def symbols(file):
    """Every full name that a FileDescriptorProto declares: {name: kind}."""
    found = {}

    def put(scope, name, kind):
        full = "%s.%s" % (scope, name) if scope else name
        found[full] = kind
        return full

    def enum(scope, e):
        put(scope, e.name, "enum")
        for value in e.value:
            put(scope, value.name, "enum value")  # beside their enum, as in C

    def message(scope, m):
        full = put(scope, m.name, "message")
        for field in m.field:
            put(full, field.name, "field")
        for oneof in m.oneof_decl:
            put(full, oneof.name, "oneof")
        for extension in m.extension:
            put(full, extension.name, "extension")
        for nested in m.nested_type:
            message(full, nested)
        for e in m.enum_type:
            enum(full, e)

    for m in file.message_type:
        message(file.package, m)
    for e in file.enum_type:
        enum(file.package, e)
    for extension in file.extension:
        put(file.package, extension.name, "extension")
    for service in file.service:
        full = put(file.package, service.name, "service")
        for method in service.method:
            put(full, method.name, "method")
    return found


def parse(data):
    return descriptor_pb2.FileDescriptorProto.FromString(data)


def field_bytes(number, data):
    """A length-delimited field as it is on the wire."""
    def varint(value):
        out = b""
        while value >= 0x80:
            out += bytes((value & 0x7F | 0x80,))
            value >>= 7
        return out + bytes((value,))
    return varint(number << 3 | 2) + varint(len(data)) + data


class Road:
    """One door and one version of the protocol."""

    def __init__(self, name, channel, version):
        self.name = "%s %s" % (name, version)
        self.version = version
        self.messages, stubs = VERSIONS[version]
        self.call = stubs.ServerReflectionStub(channel).ServerReflectionInfo
        self.raw = channel.stream_stream(
            "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version)

    def request(self, **question):
        if "file_containing_extension" in question:
            type_name, number = question["file_containing_extension"]
            question["file_containing_extension"] = self.messages.ExtensionRequest(
                containing_type=type_name, extension_number=number)
        return self.messages.ServerReflectionRequest(**question)

    def ask_all(self, questions, namespace=None):
        """The answers to all, asked on one stream."""
        metadata = (("collector-namespace", namespace),) if namespace else None
        requests = [self.request(**q) for q in questions]
        answers = list(self.call(iter(requests), timeout=TIMEOUT_S, metadata=metadata))
        assert len(answers) == len(requests), "%d answers to %d questions" % (
            len(answers), len(requests))
        return answers

    def ask(self, namespace=None, **question):
        return self.ask_all([question], namespace)[0]

    def files(self, **question):
        answer = self.ask(**question)
        assert answer.WhichOneof("message_response") == "file_descriptor_response", answer
        return list(answer.file_descriptor_response.file_descriptor_proto)

    def error(self, **question):
        """(code's name, message) of an answer that must be an error."""
        return error_of(self.ask(**question))

    def services(self, namespace=None):
        answer = self.ask(namespace, list_services="*")
        assert answer.WhichOneof("message_response") == "list_services_response", answer
        return [s.name for s in answer.list_services_response.service]


def error_of(answer):
    assert answer.WhichOneof("message_response") == "error_response", answer
    code = answer.error_response.error_code
    return next(c.name for c in Code if c.value[0] == code), answer.error_response.error_message


def each_road(test):
    """A test that is given every road, one after the other."""
    @functools.wraps(test)
    def run(self):
        for road in self.roads:
            with self.subTest(road=road.name):
                test(self, road)
    return run


class ReflectionTest(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.registry = cls.client("registry")
        cls.roads = [Road(name, client.channel, version)
                     for name, client in (("front door", cls.front), ("registry", cls.registry))
                     for version in VERSIONS]
        cls.kinds = protos.Types(protos.compile_files([KINDS], source_info=True))

    def register_kinds(self, namespace=""):
        self.registry.register(self.kinds, namespace, name=KINDS)
        self.wait_registered("reflected.v1.Kinds", namespace)

    def wait_registered(self, service, namespace=""):
        """Until the front door, which asks the registry now and then, knows it too."""
        for road in self.roads:
            eventually(lambda: service in road.services(namespace or None),
                       "%s is listed by %s" % (service, road.name))


class Symbols(ReflectionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.registry.register(cls.kinds, name=KINDS)

    def setUp(self):
        self.wait_registered("reflected.v1.Kinds")

    def check_all_symbols(self, road, file, data):
        names = symbols(file)
        answers = road.ask_all([{"file_containing_symbol": name} for name in names])
        for (name, kind), answer in zip(names.items(), answers):
            files = answer.file_descriptor_response.file_descriptor_proto
            self.assertTrue(files, "%s %s: %s" % (kind, name, answer))
            self.assertEqual(files[0], data, "%s %s" % (kind, name))

    @each_road
    def test_every_kind_of_symbol_of_a_registered_file(self, road):
        kinds = set()
        for name in (KINDS, PART):
            file = self.kinds.file(name)
            kinds |= set(symbols(file).values())
            self.check_all_symbols(road, file, file.SerializeToString())
        self.assertEqual(kinds, {"message", "enum", "enum value", "field", "oneof", "extension",
                             "service", "method"})

    @each_road
    def test_every_symbol_of_every_built_in_file(self, road):
        todo, seen = ["collector/registry.proto", "grpc/reflection/v1/reflection.proto",
                      "grpc/reflection/v1alpha/reflection.proto", "grpc/health/v1/health.proto",
                      "collector/collection_server.proto", "google/rpc/error_details.proto",
                      "collector/worker.proto", "collector/daemon.proto"], set()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            data = road.files(file_by_filename=name)[0]
            file = parse(data)
            self.assertEqual(file.name, name)
            self.assertTrue(file.source_code_info.location, "%s has no comments" % name)
            self.check_all_symbols(road, file, data)
            todo += file.dependency
        self.assertIn("google/protobuf/descriptor.proto", seen)

    @each_road
    def test_names_that_are_nearly_symbols(self, road):
        near = ["", ".", "reflected", "reflected.v1", "reflected.v1.", ".reflected.v1.Whole",
                "reflected.v1.whole", "reflected.v1.Whole.", "reflected.v1.Whole.nam",
                "reflected.v1.Whole.name.x", "reflected.v1.Level.LEVEL_ALL",
                "reflected.v1.Kinds.unary", "reflected.v1.Kinds/Unary", "Whole", KINDS,
                "#100 reflected.v1.Whole", "reflected.v1.Whole\n", "reflected.v1.Wholé", "%s%n"]
        for name, answer in zip(near, road.ask_all(
                [{"file_containing_symbol": name} for name in near])):
            code, message = error_of(answer)
            self.assertEqual(code, "NOT_FOUND", name)
            self.assertIn(name[:8], message)
        for name in ("", "/", "reflected/v1", "/" + KINDS, "./" + KINDS, KINDS + " ",
                     "../" + KINDS, "reflected.v1.Whole", "reflected//v1/kinds.proto"):
            self.assertEqual(road.error(file_by_filename=name)[0], "NOT_FOUND", name)

    @each_road
    def test_extensions(self, road):
        numbers = {100: KINDS, 150: KINDS, 536870911: KINDS}
        answer = road.ask(all_extension_numbers_of_type="reflected.v1.Whole")
        found = answer.all_extension_numbers_response
        self.assertEqual(found.base_type_name, "reflected.v1.Whole")
        self.assertEqual(sorted(found.extension_number), sorted(numbers))
        for number, name in numbers.items():
            files = road.files(file_containing_extension=("reflected.v1.Whole", number))
            self.assertEqual(parse(files[0]).name, name)
        # A built-in message that a registered file extends.
        self.assertEqual(parse(road.files(file_containing_extension=(
            "google.protobuf.FieldOptions", 50123))[0]).name, KINDS)
        answer = road.ask(all_extension_numbers_of_type="google.protobuf.FieldOptions")
        self.assertEqual(list(answer.all_extension_numbers_response.extension_number), [50123])

    @each_road
    def test_extensions_that_are_not_there(self, road):
        missing = [("reflected.v1.Whole", n) for n in (
            1, 101, 0, -1, -100, 2 ** 31 - 1, -2 ** 31, 536870912, 199, 5000)]
        missing += [("reflected.v1.Part", 100), ("reflected.v1.Level", 100), ("no.Such", 1),
                    ("", 100), (".reflected.v1.Whole", 100), ("reflected.v1.Kinds", 100)]
        for extension in missing:
            self.assertEqual(
                road.error(file_containing_extension=extension)[0], "NOT_FOUND", extension)
        for name in ("no.Such", "", "reflected.v1", "reflected.v1.Level",
                     "reflected.v1.Kinds", "reflected.v1.level"):
            self.assertEqual(
                road.error(all_extension_numbers_of_type=name)[0], "NOT_FOUND", name)
        # A message that nobody extends, or that nobody may extend, is there.
        for name in ("reflected.v1.Part", "google.protobuf.FileOptions"):
            answer = road.ask(all_extension_numbers_of_type=name)
            self.assertEqual(answer.WhichOneof("message_response"),
                             "all_extension_numbers_response")
            self.assertFalse(answer.all_extension_numbers_response.extension_number)

    @each_road
    def test_a_file_comes_with_what_it_imports(self, road):
        names = [parse(f).name for f in road.files(file_by_filename=KINDS)]
        self.assertEqual(names[0], KINDS)
        self.assertEqual(sorted(names[1:]), [
            "google/protobuf/descriptor.proto", "google/protobuf/timestamp.proto", PART])
        self.assertEqual([parse(f).name for f in road.files(file_by_filename=PART)], [PART])

    @each_road
    def test_comments_are_kept(self, road):
        file = parse(road.files(file_containing_symbol="reflected.v1.Kinds.Unary")[0])
        comments = {x.leading_comments.strip() for x in file.source_code_info.location}
        self.assertTrue({"Plain.", "Of all kinds.", "Nested.", "Deeper."} <= comments, comments)

    @each_road
    def test_list_services(self, road):
        ours = {"collector.DaemonService", "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
        listed = road.services()
        self.assertEqual(listed, sorted(set(listed)))
        at_door = road.name.startswith("front")
        built_in = set(itertools.chain(*SERVICES.values())) if at_door else set(
            SERVICES["registry"])
        self.assertEqual(set(listed), ours | built_in | {"reflected.v1.Kinds"})
        for name in listed:
            self.assertTrue(road.files(file_containing_symbol=name))
        # The value does not matter.
        for value in ("", "no.Such", "*" * 500):
            self.assertEqual(len(
                road.ask(list_services=value).list_services_response.service), len(listed))


class Bytes(ReflectionTest):
    @each_road
    def test_the_bytes_are_those_that_were_registered(self, road):
        """Fields in another order, unknown ones, and one that was overwritten."""
        name, package = b"odd/bytes.proto", b"odd.v1"
        data = (field_bytes(12, b"proto2") + field_bytes(2, b"wrong") +
                field_bytes(12345, b"not known") + field_bytes(12, b"proto3") +
                field_bytes(4, field_bytes(1, b"M")) + field_bytes(2, package) +
                field_bytes(1, name))
        self.assertNotEqual(parse(data).SerializeToString(), data)
        self.registry.unary("/collector.CollectorRegistry/RegisterProto", field_bytes(2, data))
        files = eventually(lambda: road.ask(
            file_containing_symbol="odd.v1.M").file_descriptor_response.file_descriptor_proto,
            "the file is there")
        self.assertEqual(list(files), [data])
        self.assertEqual(road.files(file_by_filename="odd/bytes.proto"), [data])

    @each_road
    def test_a_change_is_seen(self, road):
        name = "change%d" % self.roads.index(road)
        for body in ("message A {}", "message A { string x = 1; } message B {}"):
            types = protos.Types(protos.single_file(name + ".proto", body, name + ".v1"))
            self.registry.register(types)
            wanted = [types.files.file[0].SerializeToString()]
            eventually(lambda: wanted == list(road.ask(file_by_filename=name + ".proto")
                                              .file_descriptor_response.file_descriptor_proto),
                       "the new bytes are there")

    @each_road
    def test_a_large_closure_leaves_imports_to_be_asked_for(self, road):
        """Most clients take 4 MiB a message."""
        files = descriptor_pb2.FileDescriptorSet()
        for i in range(4):
            file = files.file.add(name="large/%d.proto" % i, package="large.v1", syntax="proto3")
            for k in range(1500):
                message = file.message_type.add(name="M%d_%d_%s" % (i, k, "x" * 600))
                message.field.add(name="f", number=1, type=5, label=1)
            file.dependency.extend("large/%d.proto" % k for k in range(i))
        self.registry.registry.RegisterFiles(registry_pb2.RegisterFilesRequest(files=files))
        answer = eventually(lambda: road.ask(
            file_by_filename="large/3.proto").file_descriptor_response.file_descriptor_proto,
            "the file is there")
        self.assertEqual(list(answer), [files.file[3].SerializeToString()])
        for i in range(4):
            self.assertEqual(road.files(file_by_filename="large/%d.proto" % i)[0],
                             files.file[i].SerializeToString())


class Namespaces(ReflectionTest):
    @each_road
    def test_each_sees_its_own(self, road):
        """One name of a file and of a symbol, three meanings."""
        files = {}
        for namespace in ("", "one", "two"):
            types = protos.Types(protos.single_file(
                "same.proto", "message M { string %s = 1; } service S%s { rpc Do(M) returns (M); }"
                % (namespace or "x", namespace), "same.v1"))
            self.registry.register(types, namespace)
            files[namespace] = types.files.file[0]
        for namespace, file in files.items():
            own = "same.v1." + file.service[0].name
            self.wait_registered(own, namespace)
            for question in ({"file_by_filename": "same.proto"},
                             {"file_containing_symbol": "same.v1.M"},
                             {"file_containing_symbol": own}):
                answer = road.ask(namespace or None, **question)
                self.assertEqual(list(answer.file_descriptor_response.file_descriptor_proto),
                                 [file.SerializeToString()])
            listed = set(road.services(namespace or None))
            self.assertIn(own, listed)
            for other in {"same.v1." + f.service[0].name for f in files.values()} - {own}:
                self.assertNotIn(other, listed)
                answer = road.ask(namespace or None, file_containing_symbol=other)
                self.assertEqual(error_of(answer)[0], "NOT_FOUND")
        self.assertEqual(road.services("default"), road.services())

    @each_road
    def test_a_namespace_in_which_nothing_is(self, road):
        self.register_kinds()
        listed = road.services("nothing-here")
        self.assertIn("collector.CollectorRegistry", listed)
        self.assertNotIn("reflected.v1.Kinds", listed)
        self.assertEqual(error_of(road.ask(
            "nothing-here", file_containing_symbol="reflected.v1.Kinds"))[0], "NOT_FOUND")
        self.assertTrue(road.ask(
            "nothing-here", file_by_filename="collector/common.proto")
            .file_descriptor_response.file_descriptor_proto)

    @each_road
    def test_what_is_no_namespace(self, road):
        for namespace in ("Upper", "-x", "a/b", "../x", "x" * 64, "a.b"):
            for question in ({"list_services": ""}, {"file_by_filename": "x.proto"},
                             {"file_containing_symbol": "collector.CollectorRegistry"}):
                code, message = error_of(road.ask(namespace, **question))
                self.assertEqual(code, "INVALID_ARGUMENT", namespace)
                self.assertIn("namespace", message)

    def test_more_namespaces_than_are_kept(self):
        """Names that somebody makes up must not keep others from theirs."""
        road = self.roads[0]
        self.register_kinds("kept")
        for i in range(1100):
            answer = road.ask("made-up-%d" % i, file_by_filename="no.proto")
            self.assertEqual(error_of(answer)[0], "NOT_FOUND")
        self.register_kinds("late")
        self.wait_registered("reflected.v1.Kinds", "kept")


class Streams(ReflectionTest):
    @each_road
    def test_many_questions_on_one_stream(self, road):
        """Each is answered, in order, errors too; none waits for the half-close."""
        self.register_kinds()
        wheel = [{"file_by_filename": PART}, {"file_by_filename": "no.proto", "host": "h"},
                 {"list_services": ""}, {"file_containing_symbol": "reflected.v1.Whole.name"},
                 {}, {"all_extension_numbers_of_type": "reflected.v1.Whole"}]
        responses = ["file_descriptor_response", "error_response", "list_services_response",
                     "file_descriptor_response", "error_response",
                     "all_extension_numbers_response"]
        questions = [wheel[i % len(wheel)] for i in range(6000)]
        answers = road.ask_all(questions)
        for i, answer in enumerate(answers):
            self.assertEqual(answer.WhichOneof("message_response"), responses[i % len(wheel)])
            self.assertEqual(answer.original_request, road.request(**questions[i]))
            self.assertEqual(answer.valid_host, questions[i].get("host", ""))

    @each_road
    def test_one_question_after_the_other(self, road):
        requests = queue.Queue()
        stream = road.call(iter(requests.get, None), timeout=TIMEOUT_S)
        for i in range(200):
            requests.put(road.request(file_by_filename="no%d.proto" % i))
            answer = next(stream)
            self.assertIn("no%d.proto" % i, error_of(answer)[1])
        requests.put(None)
        self.assertEqual(list(stream), [])
        self.assertEqual(stream.code(), Code.OK)

    @each_road
    def test_a_stream_without_questions(self, road):
        self.assertEqual(list(road.call(iter(()), timeout=TIMEOUT_S)), [])

    @each_road
    def test_streams_that_are_cut_off(self, road):
        for _ in range(50):
            requests = queue.Queue()
            stream = road.call(iter(requests.get, None), timeout=TIMEOUT_S)
            requests.put(road.request(list_services=""))
            next(stream)
            requests.put(road.request(list_services=""))
            stream.cancel()
            requests.put(None)
        self.assertTrue(road.services())


class Hostile(ReflectionTest):
    """What no honest client sends: an error each, and the stream goes on."""

    def check_goes_on(self, road, data, code, text=""):
        good = road.request(file_by_filename="collector/common.proto").SerializeToString()
        answers = [road.messages.ServerReflectionResponse.FromString(a)
                   for a in road.raw(iter([good, data, good]), timeout=TIMEOUT_S)]
        self.assertEqual(len(answers), 3)
        for i in (0, 2):
            self.assertEqual(answers[i].WhichOneof("message_response"),
                             "file_descriptor_response")
        self.assertEqual(error_of(answers[1])[0], code)
        self.assertIn(text, error_of(answers[1])[1])
        # Who takes 4 MiB a message, as most do, gets the answer.
        self.assertLess(answers[1].ByteSize(), 1 << 20)
        return answers[1]

    @each_road
    def test_names_of_megabytes(self, road):
        for size in (1025, 70000, 1 << 20, 15 << 20):
            name = "x" * size
            for question in ({"file_by_filename": name}, {"file_containing_symbol": name},
                             {"file_containing_extension": (name, 100)},
                             {"all_extension_numbers_of_type": name}):
                answer = self.check_goes_on(
                    road, road.request(**question).SerializeToString(),
                    "INVALID_ARGUMENT" if size > 65536 else "NOT_FOUND")
                self.assertLess(len(answer.error_response.error_message), 1024)

    @each_road
    def test_a_host_of_megabytes(self, road):
        self.check_goes_on(road, road.request(
            host="h" * (5 << 20), list_services="").SerializeToString(), "INVALID_ARGUMENT")

    @each_road
    def test_nul_and_text_that_is_none(self, road):
        for number in (3, 4, 6):
            for name in (b"collector/common.proto\0", b"\0", b"a\0b", b"\xff", b"\xc0\x80",
                         b"\xed\xa0\x80", b"ab\xf4\x90\x80\x80"):
                self.check_goes_on(road, field_bytes(number, name), "INVALID_ARGUMENT")
        self.check_goes_on(road, field_bytes(5, field_bytes(1, b"a\0b")), "INVALID_ARGUMENT")
        self.check_goes_on(road, field_bytes(1, b"\xff") + field_bytes(7, b""),
                           "INVALID_ARGUMENT")

    @each_road
    def test_what_is_no_request(self, road):
        self.check_goes_on(road, b"", "INVALID_ARGUMENT", "nothing")
        # Questions of another protocol, or of a later one.
        self.check_goes_on(road, field_bytes(99, b"later"), "INVALID_ARGUMENT", "nothing")
        for data in (b"\xff", b"\x00", b"\x1a\x05ab", b"\x0b", b"\x1a\xff\xff\xff\xff\x0f",
                     b"\x80" * 11, b"\x1b" * 200, b"\x07\x01"):
            self.check_goes_on(road, data, "INVALID_ARGUMENT")

    @each_road
    def test_the_last_of_several_questions_counts(self, road):
        data = field_bytes(3, b"collector/common.proto") + field_bytes(4, b"no.Such")
        self.check_goes_on(road, data, "NOT_FOUND", "no.Such")

    @each_road
    def test_who_asks_for_ever_and_never_reads_holds_nobody_up(self, road):
        """More such streams than the daemon has threads."""
        question = road.request(file_by_filename="collector/registry.proto")
        stop, asked = threading.Event(), threading.Semaphore(0)

        def ask_for_ever():
            while not stop.is_set():
                asked.release()
                yield question

        streams = [road.call(ask_for_ever(), timeout=TIMEOUT_S) for _ in range(16)]
        for _ in range(16 * 40):
            self.assertTrue(asked.acquire(timeout=TIMEOUT_S))
        client = self.front if road.name.startswith("front") else self.registry
        for _ in range(20):
            client.registry.ListProtos(registry_pb2.ListProtosRequest(), timeout=10)
            self.assertTrue(road.call(iter([question]), timeout=10).next())
        stop.set()
        for stream in streams:
            stream.cancel()
        self.assertAllAlive()


class WithoutRegistry(ReflectionTest):
    def test_what_is_built_in_is_told_all_the_same(self):
        self.cluster["registry"].kill()
        try:
            for road in self.roads[:len(VERSIONS)]:
                self.assertIn("collector.CollectiveDispatcher", road.services())
                self.assertTrue(road.files(file_containing_symbol="collector.CollectorRegistry"))
                for question in ({"file_by_filename": "x.proto"},
                                 {"file_containing_symbol": "x.Y"},
                                 {"file_containing_extension": ("x.Y", 100)},
                                 {"all_extension_numbers_of_type": "x.Y"}):
                    self.assertEqual(road.error(**question)[0], "UNAVAILABLE")
        finally:
            self.cluster["registry"].start()
            self.wait_back("registry")


class GenericClient(ReflectionTest):
    @each_road
    def test_it_can_call_what_it_found(self, road):
        """Reflect, build messages, call: nothing is known but the address."""
        backend = self.backend({"/shop.v1.OrderService/Charge": lambda d, c: d})
        self.registry.register(protos.shop())
        self.wait_registered("shop.v1.OrderService")
        self.front.register_handler("shop.v1.OrderService", backend.address, method_name="Charge")
        found = road.files(file_containing_symbol="shop.v1.OrderService")
        types = protos.Types(descriptor_pb2.FileDescriptorSet(
            file=[parse(data) for data in reversed(found)]))
        request = types.message("shop.v1.OrderRequest")(number="g")
        reply = self.front.unary("/shop.v1.OrderService/Charge", request.SerializeToString())
        self.assertEqual(types.message("shop.v1.OrderReply").FromString(reply).number, "g")
