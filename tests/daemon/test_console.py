"""The console: real numbers of the other daemons."""

from collector_testing import (
    Code, CollectorTest, NAMES, console_pb2, eventually, json_format, protos, worker_pb2)

Display = console_pb2.DisplayRequest


class Console(CollectorTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        Order = protos.shop().message("shop.v1.Order")
        cls.front.create_collection("orders", "shop.v1.Order")
        for i in range(7):
            cls.front.create("orders", Order(number=str(i)))

    def display(self, kind, **fields):
        answer = self.front.console.Display(Display(display_type=kind, **fields))
        self.assertTrue(answer.summary.strip())
        return json_format.MessageToDict(answer.display_data), answer.summary

    def test_overview_names_every_daemon_and_its_state(self):
        data, summary = self.display(Display.OVERVIEW)
        for name in NAMES:
            self.assertIn(name, summary)
            self.assertIn(name, str(data))

    def test_an_unreachable_daemon_is_shown_as_such(self):
        self.cluster["worker"].kill()
        try:
            def unreachable():
                data, summary = self.display(Display.OVERVIEW)
                return "unreachable" in str(data) and "unreachable" in summary

            eventually(unreachable, "the overview shows the dead worker")
        finally:
            self.cluster["worker"].start()
            self.wait_back("worker")

        def reachable():
            return "unreachable" not in str(self.display(Display.OVERVIEW)[0])

        eventually(reachable, "the overview shows it back")

    def test_registries(self):
        data, summary = self.display(Display.REGISTRIES)
        self.assertIn("shop.v1.OrderService", str(data))
        self.assertIn("shop.v1.OrderService", summary)

    def test_collections_have_their_counts(self):
        data, summary = self.display(Display.COLLECTIONS, namespace="default")
        self.assertIn("orders", summary)
        self.assertIn("shop.v1.Order", str(data))
        entry = self.find(data, "orders")
        self.assertIn(7, entry.values(), entry)

    def find(self, data, name):
        """The object in the view that has this name."""
        stack = [data]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                if name in value.values():
                    return value
                stack += value.values()
            elif isinstance(value, list):
                stack += value
        return self.fail("nothing named %s in %r" % (name, data))

    def test_a_namespace_narrows(self):
        self.front.register(protos.shop(), "elsewhere")
        self.front.create_collection("lonely", "shop.v1.Order", "elsewhere")
        data, _ = self.display(Display.COLLECTIONS, namespace="elsewhere")
        self.assertIn("lonely", str(data))
        self.assertNotIn("orders", str(data))

    def test_connections_and_workflows_and_executions(self):
        for kind in (Display.CONNECTIONS, Display.WORKFLOWS, Display.EXECUTIONS):
            self.display(kind)

    def test_workflows_are_listed(self):
        definition = json_format.ParseDict({"name": "shown", "tasks": [{
            "id": "a", "methodName": "Charge",
            "service": {"serviceName": "shop.v1.OrderService"}}]},
            worker_pb2.WorkflowDefinition())
        self.front.worker.DefineWorkflow(worker_pb2.DefineWorkflowRequest(definition=definition))
        data, summary = self.display(Display.WORKFLOWS)
        self.assertIn("shown", str(data))
        self.assertIn("shown", summary)

    def test_an_unknown_view(self):
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.console.Display(Display(display_type=77))

    def test_what_is_not_served_yet(self):
        with self.assertRpcError(Code.UNIMPLEMENTED):
            self.front.console.Stop(console_pb2.StopRequest())
        with self.assertRpcError(Code.UNIMPLEMENTED):
            self.front.console.Reset(console_pb2.ResetRequest(confirm=True))
