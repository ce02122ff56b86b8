"""What the end-to-end tests are written with.

An independent client: Debian's python3-grpcio with stubs that protoc made from
our protos, against real daemons. See daemons.py for the processes.
"""

import os
import sys
import threading
import time
import unittest
from concurrent import futures

PY_DIR = os.environ.get("COLLECTOR_PY_DIR", os.path.abspath("build/py"))
sys.path.insert(0, PY_DIR)

import grpc  # noqa: E402

# Our stubs of grpc.health and grpc.reflection live beside the real package.
grpc.__path__.append(os.path.join(PY_DIR, "grpc"))

from collector import (  # noqa: E402,F401
    collection_pb2, collection_repo_pb2, collection_repo_pb2_grpc, collection_server_pb2,
    collection_server_pb2_grpc, common_pb2, console_pb2, console_pb2_grpc, daemon_pb2,
    daemon_pb2_grpc, dispatcher_pb2, dispatcher_pb2_grpc, registry_pb2, registry_pb2_grpc,
    worker_pb2, worker_pb2_grpc)
from google.rpc import error_details_pb2, status_pb2  # noqa: E402
from grpc.health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from google.protobuf import json_format, struct_pb2  # noqa: E402,F401

import protos  # noqa: E402
from daemons import Cluster, NAMES, START_TIMEOUT_S, eventually  # noqa: E402,F401

Code = grpc.StatusCode
CALL_TIMEOUT_S = 30

# Each daemon's own service, as the front door answers for it.
SERVICES = {
    "registry": ["collector.CollectorRegistry"],
    "repo": ["collector.CollectionRepo", "collector.CollectionService"],
    "dispatcher": ["collector.CollectiveDispatcher"],
    "worker": ["collector.CollectiveWorker"],
    "console": ["collector.CollectorConsole"],
}

CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
)


class _Stub:
    """A stub whose calls have a deadline unless one is given."""

    def __init__(self, stub):
        self._stub = stub

    def __getattr__(self, name):
        method = getattr(self._stub, name)

        def call(request, timeout=CALL_TIMEOUT_S, **options):
            return method(request, timeout=timeout, **options)

        call.future = method.future if hasattr(method, "future") else None
        return call


class Client:
    """Everything that can be called at one address."""

    def __init__(self, address, process=None):
        self.address = address
        self.process = process
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.registry = _Stub(registry_pb2_grpc.CollectorRegistryStub(self.channel))
        self.records = _Stub(collection_server_pb2_grpc.CollectionServiceStub(self.channel))
        self.repo = _Stub(collection_repo_pb2_grpc.CollectionRepoStub(self.channel))
        self.dispatcher = _Stub(dispatcher_pb2_grpc.CollectiveDispatcherStub(self.channel))
        self.worker = _Stub(worker_pb2_grpc.CollectiveWorkerStub(self.channel))
        self.console = _Stub(console_pb2_grpc.CollectorConsoleStub(self.channel))
        self.daemon = _Stub(daemon_pb2_grpc.DaemonServiceStub(self.channel))
        self.health = _Stub(health_pb2_grpc.HealthStub(self.channel))

    def close(self):
        self.channel.close()

    def is_serving(self, service=""):
        request = health_pb2.HealthCheckRequest(service=service)
        answer = self.health.Check(request, wait_for_ready=True, timeout=START_TIMEOUT_S)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def wait_serving(self, service="", wanted=True):
        """Wait, told by the server, until the service is (not) SERVING."""
        request = health_pb2.HealthCheckRequest(service=service)
        what = "%s at %s %s SERVING" % (
            service or "daemon", self.address, "is" if wanted else "is not")
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process is not None and not self.process.is_alive():
                raise AssertionError("%s died; waited until %s" % (self.process.name, what))
            try:
                # Asked anew now and then, to see a daemon that died.
                for answer in self.health.Watch(request, wait_for_ready=True, timeout=2):
                    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
                    if serving == wanted:
                        return
            except grpc.RpcError:
                pass
        raise AssertionError("not within %d s: %s" % (START_TIMEOUT_S, what))

    def unary(self, method, request, timeout=CALL_TIMEOUT_S, metadata=None, **options):
        """Call a method by its path with bytes, as no generated stub would."""
        call = self.channel.unary_unary(method)
        return call(request, timeout=timeout, metadata=metadata, **options)

    # The steps that most tests begin with.

    def register(self, types, namespace="", name=None):
        """Register a Types; its last file (or `name`) with the others as dependencies."""
        files = types.own_files()
        main = types.file(name) if name else files[-1]
        return self.registry.RegisterProto(registry_pb2.RegisterProtoRequest(
            namespace=namespace, file_descriptor=main,
            dependencies=[f for f in files if f is not main]))

    def create_collection(self, name, message_name, namespace="", **fields):
        return self.repo.CreateCollection(collection_repo_pb2.CreateCollectionRequest(
            collection=collection_pb2.Collection(
                namespace=namespace, name=name,
                message_type=common_pb2.MessageTypeRef(message_name=message_name), **fields)))

    def create(self, collection, message, record_id="", namespace="", **fields):
        return self.records.Create(collection_server_pb2.CreateRequest(
            namespace=namespace, collection_name=collection, id=record_id,
            item=protos.pack(message), **fields))

    def get(self, collection, record_id, namespace="", **fields):
        return self.records.Get(collection_server_pb2.GetRequest(
            namespace=namespace, collection_name=collection, id=record_id, **fields))

    def register_handler(self, service, address, namespace="", **fields):
        return self.dispatcher.RegisterHandler(dispatcher_pb2.RegisterHandlerRequest(
            namespace=namespace, address=address,
            service=common_pb2.ServiceTypeRef(service_name=service), **fields)).server

    def dispatch(self, service, method, message, namespace="", timeout=CALL_TIMEOUT_S, **fields):
        return self.dispatcher.Dispatch(dispatcher_pb2.DispatchRequest(
            namespace=namespace, service=common_pb2.ServiceTypeRef(service_name=service),
            method_name=method, input=protos.pack(message), **fields), timeout=timeout)


class Backend:
    """A gRPC server of somebody else: methods are functions from bytes to bytes.

    {"/pkg.Service/Method": function(request, context)}; streaming ones are given
    as grpc handlers. What each call carried is in `calls`: (method, metadata).
    """

    def __init__(self, methods):
        self.methods = dict(methods)
        self.calls = []
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=(
            ("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.max_send_message_length", 64 << 20)))
        self._server.add_generic_rpc_handlers((self,))
        self.address = "127.0.0.1:%d" % self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    # grpc.GenericRpcHandler
    def service(self, details):
        with self._lock:
            self.calls.append((details.method, dict(details.invocation_metadata)))
        handler = self.methods.get(details.method)
        if handler is None or isinstance(handler, grpc.RpcMethodHandler):
            return handler
        return grpc.unary_unary_rpc_method_handler(handler)

    def calls_of(self, method):
        with self._lock:
            return [metadata for name, metadata in self.calls if name == method]

    def stop(self):
        self._server.stop(None).wait()


def field_violations(error):
    """The fields that an error blames: {path: description}."""
    return {v.field: v.description
            for detail in error_details(error).details
            if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR)
            for v in error_details_pb2.BadRequest.FromString(detail.value).field_violations}


def error_details(error):
    """The google.rpc.Status that came along, or an empty one."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value)
    return status_pb2.Status()


# A cheap call that each daemon answers by itself.
PROBES = {
    "registry": lambda c: c.registry.ListServices(registry_pb2.ListServicesRequest(), timeout=5),
    "repo": lambda c: c.repo.Discover(collection_repo_pb2.DiscoverRequest(), timeout=5),
    "dispatcher": lambda c: c.dispatcher.ListHandlers(
        dispatcher_pb2.ListHandlersRequest(), timeout=5),
    "worker": lambda c: c.worker.ListWorkflowDefinitions(
        worker_pb2.ListWorkflowDefinitionsRequest(), timeout=5),
    "console": lambda c: c.console.Display(console_pb2.DisplayRequest(), timeout=5),
}


class _NoError:
    @staticmethod
    def trailing_metadata():
        return ()

    @staticmethod
    def details():
        return "no error"


class _ExpectRpcError:
    def __init__(self, test, codes, text):
        self.test, self.codes, self.text = test, codes, text
        self.error = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if error is None:
            # What a test asks of the error next must not hide this.
            self.error = _NoError()
            self.test.fail("no error; expected %s" % (self.codes,))
        if not isinstance(error, grpc.RpcError):
            return False
        self.error = error
        self.test.assertIn(error.code(), self.codes, error.details())
        self.test.assertTrue(error.details(), "an error without a message")
        # What a client shows: the message, and which field it is about.
        shown = "%s %s" % (error.details(), " ".join(field_violations(error)))
        for text in self.text:
            self.test.assertIn(text.lower(), shown.lower())
        details = error_details(error)
        if details.code:
            self.test.assertEqual(details.code, error.code().value[0])
        return True


class CollectorTest(unittest.TestCase):
    """A test case with a collector, shared by the tests of the class.

    `daemons` and `options` choose what runs; self.front is the front door.
    """

    daemons = NAMES
    options = None
    _failed = False

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.daemons, cls.options)
        cls.addClassCleanup(cls._stop_cluster)
        cls.cluster.start()
        cls._clients = []
        for name in cls.cluster.names:
            cls.client(name).wait_serving()
        cls.front = cls.client("dispatcher") if "dispatcher" in cls.cluster.names else None
        if cls.front:
            for name in cls.cluster.names:
                for service in SERVICES[name]:
                    cls.front.wait_serving(service)

    @classmethod
    def client(cls, name):
        """A client at a daemon's own port."""
        client = Client(cls.cluster.address(name), cls.cluster[name])
        cls._clients.append(client)
        return client

    @classmethod
    def _stop_cluster(cls):
        for client in getattr(cls, "_clients", ()):
            client.close()
        problems = cls.cluster.stop()
        if problems or cls._failed:
            cls.cluster.print_logs()
        cls.cluster.close()
        if problems:
            raise AssertionError("; ".join(problems))

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            type(self)._failed = True
        return result

    def restart(self, name, kill=True):
        """Kill (or stop) a daemon, start it, wait until it is back at the front door too."""
        if kill:
            self.cluster[name].kill()
        else:
            self.assertEqual(self.cluster[name].stop(), 0)
        self.cluster[name].start()
        self.wait_back(name)

    def wait_back(self, name):
        self.client(name).wait_serving()
        if self.front and name != "dispatcher":
            # The door may not have noticed the end yet: health alone would not tell.
            eventually(lambda: PROBES[name](self.front), name + " is reached through the door")
            for service in SERVICES[name]:
                self.front.wait_serving(service)

    def assertRpcError(self, *codes, text=()):
        """A context in which a call must fail with one of the codes, and a message."""
        return _ExpectRpcError(self, codes, [text] if isinstance(text, str) else text)

    def assertBlames(self, error, field):
        """The error's details name the field (or one below it)."""
        violations = field_violations(error)
        self.assertTrue(any(field in path for path in violations),
                        "no violation names %r: %r (%s)" % (field, violations, error.details()))

    def backend(self, methods):
        backend = Backend(methods)
        self.addCleanup(backend.stop)
        return backend

    def assertAllAlive(self):
        for name in self.cluster.names:
            self.assertTrue(self.cluster[name].is_alive(), name + " is dead")
