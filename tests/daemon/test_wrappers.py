"""Serve wrappers: a method that gets every call of a namespace instead of its handlers."""

import grpc
from collector_testing import (
    Code, common_pb2, dispatcher_pb2 as dp, eventually, protos)
from mesh import MeshTest

SERVICE = "shop.v1.OrderService"
STATUS = common_pb2.Status
GUARD = """
import "collector/dispatcher.proto";
service Guard {
  rpc Serve(collector.ServeRequest) returns (collector.ServeResponse);
  rpc Watch(collector.ServeRequest) returns (stream collector.ServeResponse);
  rpc Other(collector.ServeRequest) returns (collector.ServeRequest);
}
"""


def path(method):
    return "/%s/%s" % (SERVICE, method)


class Wrapped(MeshTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")
        cls.front.register(protos.shop(), "guarded")
        cls.front.register(protos.Types(protos.single_file(
            "guard/v1/guard.proto", GUARD, package="guard.v1")), "guards")

    def setUp(self):
        super().setUp()
        self.addCleanup(self.set_wrapper, "")

    def set_wrapper(self, method, namespace="guarded", wrapper_namespace="guards", client=None):
        (client or self.front).dispatcher.SetServeWrapper(dp.SetServeWrapperRequest(
            wrapper=dp.ServeWrapper(
                namespace=namespace, wrapper_namespace=wrapper_namespace if method else "",
                service_name="guard.v1.Guard" if method else "", method_name=method)))

    def charge(self, client=None, number="1"):
        return (client or self.front).dispatch(
            SERVICE, "Charge", self.Request(number=number), "guarded")

    def backend_of(self, answer, method="Charge"):
        backend = self.backend({path(method): answer})
        server = self.front.register_handler(SERVICE, backend.address, "guarded",
                                             method_name=method)
        self.addCleanup(self.front.dispatcher.UnregisterHandler, dp.UnregisterHandlerRequest(
            namespace="guarded", id=server.id))
        return server

    def guard(self, function):
        """A wrapper, attached in Python; `function(ServeRequest)` returns a ServeResponse."""
        self.attach(self.front, "guards", "guard.v1.Guard", "Serve",
                    lambda request, call: function(request))

    def test_it_gets_every_call_instead_of_the_handler(self):
        called, seen = [], []
        server = self.backend_of(lambda data, c: called.append(data) or b"")

        def guard(request):
            seen.append((request.namespace, request.service.service_name, request.method_name,
                         request.input.type_url, dict(request.execution_context)))
            response = dp.ServeResponse()
            response.output.CopyFrom(protos.pack(self.Reply(receipt="guarded")))
            return response

        self.guard(guard)
        self.set_wrapper("Serve")
        answer = self.charge()
        self.assertEqual(answer.status.code, STATUS.OK, answer.status.message)
        self.assertEqual(protos.unpack(answer.output, self.Reply).receipt, "guarded")
        self.assertEqual(answer.handled_by_collector_id, self.me)
        native = self.front.unary(path("Charge"), b"", metadata=(
            ("collector-namespace", "guarded"),))
        self.assertEqual(self.Reply.FromString(native).receipt, "guarded")
        self.assertEqual(called, [])
        namespace, service, method, url, context = seen[0]
        self.assertEqual((namespace, service, method), ("guarded", SERVICE, "Charge"))
        self.assertTrue(url.endswith("/shop.v1.OrderRequest"))
        self.assertEqual((context["handler-id"], context["handler-kind"],
                          context["handler-address"]), (server.id, "backend", server.address))
        # Other namespaces are not wrapped; and this one no longer, when it is told so.
        self.set_wrapper("")
        self.charge()
        self.assertEqual(len(called), 1)
        self.assertEqual(len(seen), 2)

    def test_its_answer_is_the_handlers(self):
        self.backend_of(lambda data, c: b"")
        answers = [dp.ServeResponse(status=STATUS(code=STATUS.NOT_FOUND, message="no order")),
                   dp.ServeResponse(output=protos.pack(self.Request()))]
        self.guard(lambda request: answers.pop(0))
        self.set_wrapper("Serve")
        answer = self.charge()
        self.assertEqual((answer.status.code, answer.status.message),
                         (STATUS.NOT_FOUND, "no order"))
        self.assertEqual(self.charge().status.code, STATUS.INTERNAL)  # not the method's type

    def test_never_a_call_without_it(self):
        called = []
        self.backend_of(lambda data, c: called.append(data) or b"")
        self.set_wrapper("Serve")
        with self.assertRpcError(Code.UNAVAILABLE, text="wrapper"):
            self.charge()
        with self.assertRpcError(Code.UNAVAILABLE, text="wrapper"):
            self.front.unary(path("Charge"), b"", metadata=(("collector-namespace", "guarded"),))
        # Not after a restart either, whatever is there first.
        self.restart("dispatcher")

        def refused():
            try:
                self.charge()
            except grpc.RpcError as error:
                return "wrapper" in error.details()
            return False

        eventually(refused, "the call is refused for want of the wrapper")
        self.assertEqual(called, [])

    def test_another_dispatcher_of_the_repo_learns_of_it(self):
        called = []
        other = self.start_collector("other", "guarded")
        self.attach(other, "guarded", SERVICE, "Charge",
                    lambda order, call: called.append(order) or self.Reply())
        self.charge(other)
        self.set_wrapper("Serve")

        def refused():
            try:
                return not self.charge(other)
            except grpc.RpcError as error:
                return "wrapper" in error.details()

        eventually(refused, "the other collector asks the wrapper too")

    def test_streams_are_refused(self):
        def follow(_data, _context):
            yield b""

        self.backend_of(grpc.unary_stream_rpc_method_handler(follow), "Follow")
        self.guard(lambda request: dp.ServeResponse())
        self.set_wrapper("Serve")
        with self.assertRpcError(Code.FAILED_PRECONDITION, text="streams"):
            list(self.front.channel.unary_stream(path("Follow"))(
                b"", timeout=30, metadata=(("collector-namespace", "guarded"),)))

    def test_what_is_no_wrapper(self):
        for method, code in (("Watch", Code.INVALID_ARGUMENT), ("Other", Code.INVALID_ARGUMENT),
                             ("None", Code.NOT_FOUND)):
            with self.subTest(method), self.assertRpcError(code):
                self.set_wrapper(method)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.set_wrapper("Serve", "guards", "guards")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.dispatcher.SetServeWrapper(dp.SetServeWrapperRequest())

    def test_they_are_listed_and_explained(self):
        self.set_wrapper("Serve")
        listed = self.front.dispatcher.ListServeWrappers(dp.ListServeWrappersRequest()).wrappers
        self.assertEqual([(w.namespace, w.wrapper_namespace, w.service_name, w.method_name)
                          for w in listed], [("guarded", "guards", "guard.v1.Guard", "Serve")])
        explained = self.front.dispatcher.Explain(dp.ExplainRequest(
            namespace="guarded", service=common_pb2.ServiceTypeRef(service_name=SERVICE),
            method_name="Charge"))
        self.assertEqual(explained.wrapper.service_name, "guard.v1.Guard")
