"""collectorctl handler, mesh and dispatch: what a person types, and what comes of it."""

import protos
from collector_testing import (
    Backend, collection_server_pb2 as records, console_pb2, dispatcher_pb2 as dp, eventually)
from daemons import ctl, ctl_json
from google.protobuf import json_format, wrappers_pb2
from mesh import MeshTest

USAGE, INVALID_ARGUMENT, NOT_FOUND, DENIED, UNAVAILABLE = 2, 64 + 3, 64 + 5, 64 + 7, 64 + 14
SERVICE = "shop.v1.OrderService"


class Typed(MeshTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())

    def run_ctl(self, *arguments, code=0):
        """Standard output of what must end with the code; an error says something."""
        got, out, err = ctl(self.cluster, *arguments)
        self.assertEqual(got, code, out + err)
        self.assertTrue(err or not code)
        return out

    def rows(self, *arguments):
        return [line.split() for line in self.run_ctl(*arguments).splitlines()[1:]]

    def assertNothing(self, text, *arguments):
        """An empty list is told as such, to people alone."""
        code, out, err = ctl(self.cluster, *arguments)
        self.assertEqual((code, out, err), (0, "", text + "\n"))

    def backend(self, *methods):
        backend = Backend({"/%s/%s" % (SERVICE, m): lambda request, context: request
                           for m in methods})
        self.addCleanup(backend.stop)
        return backend


class Handlers(Typed):
    def test_bound_listed_called_removed(self):
        backend = self.backend("Charge")
        self.assertNothing("no handlers in this namespace", "handler", "list")
        made = self.run_ctl("handler", "register", SERVICE + "/Charge", backend.address).strip()
        self.assertEqual(made, "default/%s/Charge@%s" % (SERVICE, backend.address))
        self.assertEqual(self.rows("handler", "list"), [
            [made, "HANDLER_BACKEND", SERVICE, "Charge", backend.address]])
        self.run_ctl("rpc", "call", SERVICE + "/Charge", "-d", "{}")
        self.run_ctl("handler", "remove", made)
        self.assertNothing("no handlers in this namespace", "handler", "list")
        self.run_ctl("rpc", "call", SERVICE + "/Charge", "-d", "{}", code=UNAVAILABLE)
        self.run_ctl("handler", "remove", made, code=NOT_FOUND)

    def test_a_whole_service_and_its_callers_credentials(self):
        backend = self.backend("Charge", "Ship")
        made = ctl_json(self.cluster, "handler", "register", SERVICE, backend.address,
                        "--forward-authorization")["server"]
        self.assertEqual((made.get("methodName", ""), made["forwardAuthorization"]), ("", True))
        self.assertEqual(self.rows("handler", "list")[0][3], "*")
        for method in ("Charge", "Ship"):
            self.run_ctl("rpc", "call", "%s/%s" % (SERVICE, method), "-d", "{}")
        self.run_ctl("handler", "remove", made["id"])

    def test_a_collection(self):
        self.front.create_collection("orders", "shop.v1.Order")
        types = protos.Types(protos.single_file(
            "archive/v1/archive.proto", "message Named { string id = 3; } message Found {}"
            " service Archive { rpc Get(Named) returns (Found); }", package="archive.v1"))
        self.front.register(types)
        made = self.run_ctl("handler", "register", "archive.v1.Archive/Get",
                            "--collection", "orders").strip()
        self.assertEqual(self.rows("handler", "list")[0][:2], [made, "HANDLER_COLLECTION"])
        self.run_ctl("handler", "remove", made)

    def test_what_is_refused(self):
        backend = self.backend()
        for code, arguments in (
                (NOT_FOUND, (SERVICE + "/Nothing", backend.address)),
                (NOT_FOUND, ("no.Such", backend.address)),
                (DENIED, (SERVICE, "10.0.0.1:80")),
                (DENIED, (SERVICE, "169.254.169.254:80")),
                (INVALID_ARGUMENT, (SERVICE, "nonsense")),
                (INVALID_ARGUMENT, (SERVICE,)),
                (INVALID_ARGUMENT, ("collections.default.Orders", backend.address)),
                (USAGE, ())):
            with self.subTest(arguments):
                self.run_ctl("handler", "register", *arguments, code=code)
        self.run_ctl("handler", "remove", code=USAGE)


class Mesh(Typed):
    def test_connected_shown_and_parted(self):
        peer = self.start_collector("peer", "orders", "users")
        self.assertNothing("no peers", "mesh", "peers")
        self.assertEqual(self.run_ctl("mesh", "connect", peer.address, "orders"),
                         "connected to peer\n")
        self.assertEqual(self.rows("mesh", "peers")[0][:3],
                         ["peer", peer.address, "CONNECTION_UP"])
        routes = {row[0]: row[2] for row in self.rows("mesh", "routes")}
        self.assertEqual(routes, {self.me: "here", "peer": "peer"})
        connection = ctl_json(self.cluster, "mesh", "peers")["connections"][0]
        self.assertEqual(connection["targetCollectorId"], "peer")
        self.assertTrue(connection["outbound"])
        self.run_ctl("mesh", "disconnect", "peer")
        self.assertNothing("no peers", "mesh", "peers")
        eventually(lambda: not self.links(peer), "the peer knows of it")
        self.run_ctl("mesh", "disconnect", "peer", code=NOT_FOUND)

    def test_explained(self):
        peer = self.start_collector("peer", "orders")
        self.run_ctl("mesh", "connect", peer.address)
        out = self.run_ctl("-n", "orders", "mesh", "explain", "a.B/C")
        self.assertTrue(out.startswith("collector peer is called"), out)
        out = self.run_ctl("-n", "orders", "mesh", "explain", "a.B/C", "--target", "nobody")
        self.assertIn("nobody", out)
        out = self.run_ctl("-n", "elsewhere", "mesh", "explain", "a.B/C")
        self.assertIn("nobody", out.lower())
        self.run_ctl("mesh", "disconnect", "peer")

    def test_what_is_refused(self):
        self.run_ctl("mesh", "connect", "10.0.0.1:80", code=DENIED)
        self.run_ctl("mesh", "connect", "nonsense", code=INVALID_ARGUMENT)
        self.run_ctl("mesh", "connect", "127.0.0.1:1", code=UNAVAILABLE)
        self.run_ctl("mesh", "connect", code=USAGE)
        self.run_ctl("mesh", "disconnect", code=USAGE)
        self.run_ctl("mesh", "explain", code=USAGE)


class Log(Typed):
    def test_flags_that_say_nothing(self):
        self.attach(self.front, "logged", "A", "Do", lambda i, c: i)
        self.front.dispatch("A", "Do", wrappers_pb2.StringValue(), "logged")
        eventually(lambda: self.rows("-n", "logged", "dispatch", "log"), "it is in the log")
        for flags in (("--slower-than", "soon"), ("--slower-than", "-1"),
                      ("--code", "NONSENSE"), ("--limit", "few")):
            with self.subTest(flags):
                self.run_ctl("-n", "logged", "dispatch", "log", *flags, code=INVALID_ARGUMENT)
        self.assertNothing("no calls match",
                           "-n", "logged", "dispatch", "log", "--slower-than", "60000")
        everywhere = self.rows("dispatch", "log", "--everywhere", "--limit", "1")
        self.assertEqual(everywhere[0][1:3], ["logged", "A/Do"])


class FourCollections(Typed):
    """What is shown is what the collections hold."""

    daemons = ("registry", "repo", "dispatcher", "console")

    def held(self, collection, message):
        page = self.front.records.List(records.ListRequest(
            namespace="system", collection_name=collection, page_size=1000))
        return {info.id: protos.unpack(item, message)
                for item, info in zip(page.items, page.infos)}

    def shown(self):
        """By Display: {collector: address} of peers, and what is bound."""
        answer = self.front.console.Display(console_pb2.DisplayRequest(
            display_type=console_pb2.DisplayRequest.CONNECTIONS))
        data = json_format.MessageToDict(answer.display_data)
        return ({c["collector"]: c["address"] for c in data["connections"]},
                {h["id"] for h in data["handlers"]})

    def test_they_agree(self):
        peer = self.start_collector("peer", "orders")
        self.connect(self.front, peer)
        backend = self.backend("Charge")
        bound = self.run_ctl("handler", "register", SERVICE + "/Charge", backend.address).strip()
        self.attach(self.front, "orders", "A", "Do", lambda i, c: i)
        self.front.dispatch("A", "Do", wrappers_pb2.StringValue(), "orders")

        # DispatchServers: what is bound for good, and what is attached.
        eventually(lambda: len(self.held("dispatch_servers", dp.DispatchServer)) == 2,
                   "both handlers are recorded")
        held = self.held("dispatch_servers", dp.DispatchServer)
        listed = self.rows("handler", "list") + self.rows("-n", "orders", "handler", "list")
        self.assertEqual(set(held), {row[0] for row in listed})
        self.assertEqual(held[bound].address, backend.address)

        # Connections and Collectors, of both observers.
        eventually(lambda: len(self.held("connections", dp.Connection)) == 2,
                   "both ends of the connection are recorded")
        for observer, other in ((self.front, "peer"), (peer, self.me)):
            def agree(observer=observer, other=other):
                link = self.links(observer)[other]
                record = self.held("connections", dp.Connection)[link.id]
                return (record.source_collector_id, record.target_collector_id, record.address,
                        list(record.shared_namespaces)) == (
                            link.source_collector_id, other, link.address, ["orders"]) and (
                                list(link.shared_namespaces) == ["orders"])

            # What is shared grew when something was attached here.
            eventually(agree, "the record is as the connection")
        self.assertEqual([row[0] for row in self.rows("mesh", "peers")], ["peer"])
        peers, handlers = self.shown()
        self.assertEqual(peers, {"peer": peer.address})
        self.assertLessEqual(handlers, set(held))
        self.assertIn(bound, handlers)
        collectors = self.held("collectors", dp.Collector)
        self.assertEqual(collectors[self.me + "/peer"].address, peer.address)
        self.assertTrue(collectors[self.me + "/peer"].is_direct_peer)

        # Dispatches.
        eventually(lambda: self.rows("-n", "orders", "dispatch", "log"), "the call is recorded")
        logged = ctl_json(self.cluster, "-n", "orders", "dispatch", "log")["items"]
        self.assertEqual({d["id"] for d in logged}, {
            i for i, d in self.held("dispatches", dp.Dispatch).items() if d.namespace == "orders"})

        # What ends is not held any more, on either side.
        self.run_ctl("mesh", "disconnect", "peer")
        self.run_ctl("handler", "remove", bound)
        eventually(lambda: not self.held("connections", dp.Connection), "no connection is held")
        self.assertNotIn(bound, self.held("dispatch_servers", dp.DispatchServer))
        self.assertNothing("no peers", "mesh", "peers")
