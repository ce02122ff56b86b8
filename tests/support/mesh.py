"""Several dispatchers of one registry and repo, with functions attached to them."""

import os
import shutil
import sys

from collector_testing import Client, CollectorTest, dispatcher_pb2 as dp, eventually
from daemons import Cluster

SUPPORT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(SUPPORT, "..", "..", "examples", "handlers"))
import collector_handlers  # noqa: E402


class MeshTest(CollectorTest):
    """self.front is the dispatcher of the first collector; start_collector() adds others."""

    daemons = ("registry", "repo", "dispatcher")

    def setUp(self):
        self.me = self.connections(self.front).collector_id

    def start_collector(self, name, *namespaces, seeds=(), options=()):
        """A collector that is a dispatcher alone; ended with the test."""
        arguments = ["--collector-id", name, "--namespaces", ",".join(namespaces)]
        for other in ("registry", "repo"):
            arguments += ["--%s-address" % other, self.cluster.address(other)]
        for seed in seeds:
            arguments += ["--seeds", seed]
        cluster = Cluster(("dispatcher",), {"dispatcher": arguments + list(options)})
        os.makedirs(cluster.data, mode=0o700)
        shutil.copy2(os.path.join(self.cluster.data, "daemon.key"), cluster.data)
        self.addCleanup(self._stop_collector, cluster)
        cluster.start()
        client = Client(cluster.address("dispatcher"), cluster["dispatcher"])
        self.addCleanup(client.close)
        client.cluster, client.name = cluster, name
        client.wait_serving()
        return client

    def _stop_collector(self, cluster):
        problems = cluster.stop()
        if problems or self._failed:
            cluster.print_logs()
        cluster.close()
        self.assertEqual(problems, [])

    def attach(self, client, namespace, service, method, function):
        """register() of the helper library; ended with the test."""
        collector = collector_handlers.Collector(
            client.address, includes=[SUPPORT],
            protos=["shop/v1/order.proto", "google/protobuf/wrappers.proto"])
        self.addCleanup(collector.close)
        collector.register(namespace, service, method, function)
        return collector

    def connect(self, here, there, *namespaces):
        return here.dispatcher.ConnectPeer(dp.ConnectPeerRequest(
            address=there.address, namespaces=namespaces)).connection

    def connections(self, client):
        return client.dispatcher.ListConnections(dp.ListConnectionsRequest())

    def links(self, client):
        """{collector id: Connection} of a collector."""
        return {c.target_collector_id: c for c in self.connections(client).connections}

    def wait_link(self, client, name, state=dp.CONNECTION_UP):
        return eventually(
            lambda: [c for c in [self.links(client).get(name)] if c and c.state == state],
            "%s is linked to %s: %s" % (client.address, name, dp.ConnectionState.Name(state)))[0]


class TwoHopsTest(MeshTest):
    """`before` is the front door of another collector, whole, that has no handlers: what
    it gets for the first collector's namespaces takes two hops."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first = Cluster(cls.daemons, {"dispatcher": [
            "--collector-id", "before", "--namespaces", "nothing",
            "--seeds", cls.cluster.address("dispatcher")]})
        cls.addClassCleanup(cls._stop_first)
        cls.first.start()
        cls.before = Client(cls.first.address("dispatcher"))
        cls._clients.append(cls.before)
        for service in ("collector.CollectorRegistry", "collector.CollectionService"):
            cls.before.wait_serving(service)

    @classmethod
    def _stop_first(cls):
        problems = cls.first.stop()
        if problems or cls._failed:
            cls.first.print_logs()
        cls.first.close()
        if problems:
            raise AssertionError("; ".join(problems))

    def wait_two_hops(self, namespace="default"):
        eventually(lambda: [c for c in self.connections(self.before).collectors
                            if c.is_direct_peer and namespace in c.namespaces],
                   "`before` knows who serves the namespace")
