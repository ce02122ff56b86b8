"""Methods served from a Python process, without a port: functions attached to Collector.

    from collector_handlers import Collector, HandlerError

    collector = Collector("127.0.0.1:50051", protos=["shop/v1/order.proto"])
    collector.register("users", "UserService", "GetUser", get_user)
    collector.wait()

A function takes the input message and a Call, and returns the output message. Messages
are of the classes in collector.types, made by protoc from `protos` (found below
`includes`); what is in none of them is a google.protobuf.Any. A HandlerError is the
caller's error; any other exception is UNKNOWN. A lost connection is made again.

Needs python3-grpcio, python3-protobuf and protoc.
"""

import os
import queue
import subprocess
import tempfile
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 2
FINAL = (  # trying again would end the same way
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED)


class HandlerError(Exception):
    """Ends a call with a code of collector.Status.Code ("NOT_FOUND") and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Types:
    """Message classes by full name."""

    def __init__(self, protos, includes):
        with tempfile.NamedTemporaryFile() as out:
            command = ["protoc", "--include_imports", "--descriptor_set_out=" + out.name]
            command += ["-I" + path for path in includes] + list(protos)
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
        self._pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self._pool.Add(file)
        self._factory = message_factory.MessageFactory(self._pool)

    def __call__(self, name):
        make = getattr(message_factory, "GetMessageClass", self._factory.GetPrototype)
        return make(self._pool.FindMessageTypeByName(name))

    def unpack(self, packed):
        """The message in an Any; the Any itself when its type is not known."""
        try:
            return self(packed.type_url.split("/")[-1]).FromString(packed.value)
        except KeyError:
            return packed

    def pack(self, message, packed):
        if message.DESCRIPTOR.full_name == "google.protobuf.Any":
            packed.CopyFrom(message)
        else:
            packed.type_url = "type.googleapis.com/" + message.DESCRIPTOR.full_name
            packed.value = message.SerializeToString()


class Call:
    """What a function is told beside its input."""

    def __init__(self, request, timeout_s):
        self.request = request  # the collector.ServeRequest
        self.context = dict(request.execution_context)
        self.cancelled = threading.Event()  # nobody waits for the answer any more
        self._until = time.monotonic() + timeout_s

    def time_remaining(self):
        return max(0.0, self._until - time.monotonic())


class Registration:
    """One attached method; leave() ends it after the calls that are under way."""

    def __init__(self, collector, hello, function):
        self.error = None
        self._collector, self._hello, self._function = collector, hello, function
        self._welcomed, self._left = threading.Event(), threading.Event()
        self._calls, self._requests = {}, queue.Queue()
        self._pool = futures.ThreadPoolExecutor(hello.max_in_flight)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def wait_welcome(self, timeout_s=None):
        """Wait until calls come; raises why they never will."""
        self._welcomed.wait(timeout_s)
        if self.error:
            raise self.error
        return self._welcomed.is_set()

    def leave(self):
        self._left.set()
        self._requests.put(self._collector.types("collector.AttachRequest")(leave={}))
        self.thread.join()

    def _run(self):
        delay = RETRY_FIRST_S
        while not self._left.is_set():
            self._requests = queue.Queue()
            try:
                for response in self._collector.attach(self._outgoing(self._requests)):
                    delay = RETRY_FIRST_S
                    self._take(response, self._requests)
            except grpc.RpcError as error:
                if error.code() in FINAL:
                    self.error = error
                    break
            self._requests.put(None)
            for call_id in list(self._calls):
                self._calls.pop(call_id).cancelled.set()
            self._left.wait(delay)
            delay = min(delay * 2, RETRY_MAX_S)
        self._welcomed.set()
        self._pool.shutdown(wait=False)

    def _outgoing(self, requests):
        yield self._collector.types("collector.AttachRequest")(hello=self._hello)
        yield from iter(requests.get, None)

    def _take(self, response, requests):
        kind = response.WhichOneof("kind")
        if kind == "welcome":
            self._welcomed.set()
        elif kind == "call":
            timeout = response.call.timeout
            call = Call(response.call.request, timeout.seconds + timeout.nanos / 1e9)
            self._calls[response.call.call_id] = call
            self._pool.submit(self._answer, response.call.call_id, call, requests)
        elif kind == "cancel" and response.cancel.call_id in self._calls:
            self._calls[response.cancel.call_id].cancelled.set()
        elif kind == "ping":
            requests.put(self._collector.types("collector.AttachRequest")(pong={}))

    def _answer(self, call_id, call, requests):
        types = self._collector.types
        message = types("collector.AttachRequest")()
        message.answer.call_id = call_id
        status = message.answer.response.status
        try:
            output = self._function(types.unpack(call.request.input), call)
            if output is not None:
                types.pack(output, message.answer.response.output)
        except HandlerError as error:
            status.code, status.message = status.Code.Value(error.code), str(error)
        except Exception as error:  # pylint: disable=broad-except
            status.code = status.Code.Value("UNKNOWN")
            status.message = "%s: %s" % (type(error).__name__, error)
        self._calls.pop(call_id, None)
        requests.put(message)


class Collector:
    """A front door to attach functions to."""

    def __init__(self, address, protos=(), includes=(), max_in_flight=16):
        self.types = Types(["collector/dispatcher.proto", *protos],
                           [*includes, PROTOS, "/usr/include"])
        self._channel = grpc.insecure_channel(address)
        self._max_in_flight, self._registrations = max_in_flight, []
        self.attach = self._channel.stream_stream(
            "/collector.CollectiveDispatcher/Attach",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=self.types("collector.AttachResponse").FromString)

    def register(self, namespace, service, method, function, timeout_s=10):
        """Serve the method with `function(input, call)` from now on; returns its Registration."""
        served = dict(namespace=namespace, service_name=service, method_name=method)
        hello = self.types("collector.AttachHello")(
            name="python-%d" % os.getpid(), max_in_flight=self._max_in_flight, methods=[served])
        registration = Registration(self, hello, function)
        self._registrations.append(registration)
        registration.wait_welcome(timeout_s)
        return registration

    def wait(self):
        for registration in self._registrations:
            registration.thread.join()

    def close(self):
        for registration in self._registrations:
            registration.leave()
        self._channel.close()
