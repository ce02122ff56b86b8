"""Workflows: defined, run, retried, finished after a crash."""

import threading

from collector_testing import (
    Code, CollectorTest, collection_server_pb2 as cs, common_pb2, dispatcher_pb2, eventually,
    protos, worker_pb2 as wp)
from google.protobuf import json_format

SERVICE = "shop.v1.OrderService"


class Workflows(CollectorTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Request = protos.shop().message("shop.v1.OrderRequest")
        cls.Reply = protos.shop().message("shop.v1.OrderReply")
        cls.front.register(protos.shop())
        cls.client("worker").wait_serving()

    def serve(self, **methods):
        """A backend for methods given as functions from a request to a reply."""
        def handler(function):
            def call(data, context):
                reply = function(self.Request.FromString(data), context)
                return (reply or self.Reply()).SerializeToString()
            return call

        backend = self.backend({"/%s/%s" % (SERVICE, name): handler(function)
                                for name, function in methods.items()})
        for name in methods:
            made = self.front.register_handler(SERVICE, backend.address, method_name=name)
            self.addCleanup(self.unregister, made.id)
        return backend

    def unregister(self, handler_id):
        self.front.dispatcher.UnregisterHandler(
            dispatcher_pb2.UnregisterHandlerRequest(id=handler_id))

    def define(self, name, tasks, validate_only=False, **fields):
        definition = json_format.ParseDict({
            "name": name, "inputType": {"messageName": "shop.v1.OrderRequest"},
            "tasks": [dict({"service": {"serviceName": SERVICE}}, **t) for t in tasks],
            **fields}, wp.WorkflowDefinition())
        return self.front.worker.DefineWorkflow(wp.DefineWorkflowRequest(
            definition=definition, validate_only=validate_only)).definition

    def start(self, name, workflow_id="", **fields):
        return self.front.worker.StartWorkflow(wp.StartWorkflowRequest(
            workflow_name=name, workflow_id=workflow_id,
            input=protos.pack(self.Request(**fields)))).workflow_id

    def wait(self, workflow_id):
        """The run, once it has ended."""
        return self.front.worker.WaitWorkflow(wp.WaitWorkflowRequest(
            workflow_id=workflow_id), timeout=120).workflow

    def history(self, workflow_id):
        executions, token = [], ""
        while True:
            page = self.front.worker.GetWorkflowHistory(wp.GetWorkflowHistoryRequest(
                workflow_id=workflow_id, page_size=3, page_token=token))
            executions += page.executions
            token = page.next_page_token
            if not token:
                return executions

    def assertSucceeded(self, run):
        self.assertEqual(run.state, wp.WORKFLOW_SUCCEEDED, str(run.error))

    CHARGE_AND_SHIP = [
        {"id": "charge", "methodName": "Charge"},
        {"id": "ship", "methodName": "Ship", "dependencies": ["charge"], "inputConfig": {
            "number": "{{input.number}}/{{tasks.charge.output.receipt}}",
            "amount_cents": "{{tasks.charge.output.amount_cents}}"}}]


class Running(Workflows):
    def test_tasks_run_in_order_with_each_others_outputs(self):
        self.serve(
            Charge=lambda r, c: self.Reply(receipt="R-" + r.number, amount_cents=r.amount_cents),
            Ship=lambda r, c: self.Reply(number=r.number, receipt="shipped",
                                         amount_cents=r.amount_cents + 1))
        self.define("order", self.CHARGE_AND_SHIP)
        run = self.wait(self.start("order", number="42", amount_cents=1 << 60))
        self.assertSucceeded(run)
        output = protos.unpack(run.current_output, self.Reply)
        self.assertEqual(output, self.Reply(number="42/R-42", receipt="shipped",
                                            amount_cents=(1 << 60) + 1))
        self.assertEqual({t: e.state for t, e in run.task_executions.items()},
                         {"charge": wp.EXECUTION_SUCCEEDED, "ship": wp.EXECUTION_SUCCEEDED})
        history = self.history(run.id)
        self.assertEqual([e.task_id for e in history], ["charge", "ship"])
        for execution in history:
            self.assertEqual(execution.state, wp.EXECUTION_SUCCEEDED)
            self.assertEqual(execution.attempt_number, 1)
            self.assertEqual(execution.workflow_id, run.id)
            self.assertTrue(execution.executor_id)
        self.assertEqual(protos.unpack(history[0].output, self.Reply).receipt, "R-42")
        for name in ("GetWorkflowStatus", "QueryWorkflowStatus"):
            answer = getattr(self.front.worker, name)(
                wp.GetWorkflowStatusRequest(workflow_id=run.id))
            self.assertSucceeded(answer.workflow)

    def test_a_diamond_joins(self):
        both = threading.Barrier(2, timeout=60)

        def left_or_right(request, _context):
            both.wait()  # passes only if the two are called side by side
            return self.Reply(receipt=request.number)

        self.serve(Charge=lambda r, c: self.Reply(number=r.number), Ship=left_or_right,
                   Track=lambda r, c: self.Reply(receipt=r.number))
        self.define("diamond", [
            {"id": "top", "methodName": "Charge"},
            {"id": "left", "methodName": "Ship", "dependencies": ["top"],
             "inputConfig": {"number": "L{{tasks.top.output.number}}"}},
            {"id": "right", "methodName": "Ship", "dependencies": ["top"],
             "inputConfig": {"number": "R{{tasks.top.output.number}}"}},
            {"id": "end", "methodName": "Track", "dependencies": ["left", "right"],
             "inputConfig": {"number":
                             "{{tasks.left.output.receipt}}+{{tasks.right.output.receipt}}"}}])
        run = self.wait(self.start("diamond", number="1"))
        self.assertSucceeded(run)
        self.assertEqual(protos.unpack(run.current_output, self.Reply).receipt, "L1+R1")

    def test_a_task_is_retried_and_then_succeeds(self):
        attempts = []

        def charge(_request, context):
            attempts.append(1)
            if len(attempts) < 3:
                context.abort(Code.UNAVAILABLE, "not yet")

        self.serve(Charge=charge)
        self.define("retry", [{"id": "charge", "methodName": "Charge", "retryPolicy": {
            "maxAttempts": 5, "initialDelaySeconds": 1, "maxDelaySeconds": 1}}])
        run = self.wait(self.start("retry"))
        self.assertSucceeded(run)
        self.assertEqual([(e.attempt_number, e.state) for e in self.history(run.id)], [
            (1, wp.EXECUTION_FAILED), (2, wp.EXECUTION_FAILED), (3, wp.EXECUTION_SUCCEEDED)])
        self.assertEqual(len(attempts), 3)

    def test_a_task_that_fails_for_good_fails_the_run(self):
        shipped = []
        self.serve(Charge=lambda r, c: c.abort(Code.FAILED_PRECONDITION, "card refused"),
                   Ship=lambda r, c: shipped.append(1))
        self.define("refused", self.CHARGE_AND_SHIP)
        run = self.wait(self.start("refused"))
        self.assertEqual(run.state, wp.WORKFLOW_FAILED)
        self.assertEqual(run.error.code, common_pb2.Status.FAILED_PRECONDITION)
        self.assertIn("card refused", run.error.message)
        self.assertEqual(shipped, [])
        history = self.history(run.id)
        self.assertEqual([(e.task_id, e.state) for e in history],
                         [("charge", wp.EXECUTION_FAILED)])
        self.assertIn("card refused", history[0].error.message)

    def test_a_run_is_started_once_per_id(self):
        calls = []
        self.serve(Charge=lambda r, c: calls.append(1))
        self.define("once", [{"id": "charge", "methodName": "Charge"}])
        first = self.start("once", workflow_id="my-run")
        self.wait(first)
        again = self.front.worker.StartWorkflow(wp.StartWorkflowRequest(
            workflow_name="once", workflow_id="my-run", input=protos.pack(self.Request())))
        self.assertEqual((first, again.workflow_id), ("my-run", "my-run"))
        self.assertTrue(again.already_started)
        self.assertEqual(len(calls), 1)

    def test_many_runs_at_once(self):
        self.serve(Charge=lambda r, c: self.Reply(receipt=r.number),
                   Ship=lambda r, c: self.Reply(receipt=r.number))
        self.define("many", self.CHARGE_AND_SHIP)
        ids = [self.start("many", number=str(i)) for i in range(60)]
        for i, workflow_id in enumerate(ids):
            run = self.wait(workflow_id)
            self.assertSucceeded(run)
            self.assertEqual(protos.unpack(run.current_output, self.Reply).receipt,
                             "%d/%d" % (i, i))
        listed = self.front.worker.ListWorkflows(wp.ListWorkflowsRequest(
            workflow_name="many", states=[wp.WORKFLOW_SUCCEEDED], page_size=50))
        self.assertEqual((len(listed.workflows), listed.total_count), (50, 60))

    def test_the_state_is_records(self):
        self.serve(Charge=lambda r, c: None)
        self.define("searched", [{"id": "charge", "methodName": "Charge"}])
        run = self.wait(self.start("searched"))

        def records(collection):
            page = self.front.records.List(cs.ListRequest(
                namespace="system", collection_name=collection, page_size=1000))
            return [i.value for i in page.items]

        self.assertIn("searched", [wp.WorkflowDefinition.FromString(v).name
                                   for v in records("workflow_definitions")])
        self.assertIn(run.id, [wp.ActiveWorkflow.FromString(v).id
                               for v in records("active_workflows")])
        self.assertIn(run.id, [wp.Execution.FromString(v).workflow_id
                               for v in records("executions")])


class Defining(Workflows):
    def test_versions(self):
        first = self.define("versioned", [{"id": "a", "methodName": "Charge"}])
        second = self.define("versioned", [{"id": "b", "methodName": "Ship"}])
        self.assertEqual((first.version, second.version), (1, 2))

        def get(version=0):
            return self.front.worker.GetWorkflowDefinition(wp.GetWorkflowDefinitionRequest(
                name="versioned", version=version)).definition

        self.assertEqual([t.id for t in get().tasks], ["b"])
        self.assertEqual([t.id for t in get(1).tasks], ["a"])
        with self.assertRpcError(Code.NOT_FOUND):
            get(3)
        listed = self.front.worker.ListWorkflowDefinitions(
            wp.ListWorkflowDefinitionsRequest()).definitions
        self.assertEqual([d.version for d in listed if d.name == "versioned"], [1, 2])

    def test_checking_stores_nothing(self):
        self.define("checked", [{"id": "a", "methodName": "Charge"}], validate_only=True)
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.worker.GetWorkflowDefinition(
                wp.GetWorkflowDefinitionRequest(name="checked"))

    def test_what_cannot_be_defined(self):
        charge = {"id": "a", "methodName": "Charge"}
        for what, tasks in (
                ("no tasks", []),
                ("no id", [{"methodName": "Charge"}]),
                ("the same id twice", [charge, charge]),
                ("an unknown dependency", [dict(charge, dependencies=["z"])]),
                ("itself", [dict(charge, dependencies=["a"])]),
                ("a cycle", [dict(charge, dependencies=["b"]),
                             {"id": "b", "methodName": "Ship", "dependencies": ["a"]}]),
                ("an unknown method", [{"id": "a", "methodName": "Sink"}]),
                ("a streaming method", [{"id": "a", "methodName": "Follow"}]),
                ("an unknown service", [dict(charge, service={"serviceName": "no.Such"})]),
                ("an unknown field", [dict(charge, inputConfig={"nothing": "1"})]),
                ("an unknown input", [dict(charge, inputConfig={"number": "{{input.nothing}}"})]),
                ("a task that is no dependency", [
                    charge, {"id": "b", "methodName": "Ship", "inputConfig": {
                        "number": "{{tasks.a.output.number}}"}}]),
                ("a broken template", [dict(charge, inputConfig={"number": "{{input.number"})]),
                ("a policy out of bounds", [dict(charge, retryPolicy={"maxAttempts": -1})]),
                ("too many tasks", [{"id": "t%d" % i, "methodName": "Charge"}
                                    for i in range(257)])):
            with self.subTest(what), self.assertRpcError(
                    Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED) as expected:
                self.define("bad", tasks)
            self.assertBlames(expected.error, "task")
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.define("Bad Name", [charge])

    def test_what_cannot_be_started(self):
        self.define("typed", [{"id": "a", "methodName": "Charge"}])
        with self.assertRpcError(Code.NOT_FOUND, text="no-such"):
            self.start("no-such")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.worker.StartWorkflow(wp.StartWorkflowRequest(
                workflow_name="typed", input=protos.pack(self.Reply())))
        self.assertBlames(expected.error, "input")
        for method in (self.front.worker.GetWorkflowStatus, self.front.worker.QueryWorkflowStatus):
            with self.assertRpcError(Code.NOT_FOUND, text="nobody"):
                method(wp.GetWorkflowStatusRequest(workflow_id="nobody"))
        with self.assertRpcError(Code.NOT_FOUND, text="nobody"):
            self.front.worker.GetWorkflowHistory(
                wp.GetWorkflowHistoryRequest(workflow_id="nobody"))


class Crashes(Workflows):
    def run_through(self, kill, runs=6):
        """Start runs, do kill() while their first tasks are in a handler, let all end."""
        entered, leave = threading.Semaphore(0), threading.Event()

        def charge(request, _context):
            entered.release()
            leave.wait(60)
            return self.Reply(receipt="R" + request.number)

        self.serve(Charge=charge, Ship=lambda r, c: self.Reply(receipt="shipped"))
        self.define("crash", self.CHARGE_AND_SHIP)
        ids = [self.start("crash", number=str(i)) for i in range(runs)]
        for _ in range(2):
            self.assertTrue(entered.acquire(timeout=60))
        kill()
        leave.set()
        for workflow_id in ids:
            run = eventually(lambda: self.wait(workflow_id), "the run has ended")
            self.assertSucceeded(run)
            history = self.history(workflow_id)
            self.assertEqual(sorted(e.task_id for e in history
                                    if e.state == wp.EXECUTION_SUCCEEDED), ["charge", "ship"])

    def test_a_killed_workers_runs_are_finished(self):
        self.run_through(lambda: self.restart("worker"))

    def test_a_stopped_workers_runs_are_finished(self):
        self.run_through(lambda: self.restart("worker", kill=False))

    def test_a_killed_repo_holds_nothing_up(self):
        self.run_through(lambda: self.restart("repo"))

    def test_without_the_repo_the_worker_says_so(self):
        self.cluster["repo"].kill()
        self.front.wait_serving("collector.CollectiveWorker", wanted=False)
        with self.assertRpcError(Code.UNAVAILABLE):
            self.start("crash")
        self.cluster["repo"].start()
        self.wait_back("repo")
        self.wait_back("worker")
