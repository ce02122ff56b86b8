"""collectorctl: collections changed, records watched, leased and worked on."""

import json

from collector_testing import CollectorTest, collection_server_pb2 as cs, eventually, protos
from daemons import ctl, ctl_json

ORDER = "shop.v1.Order"


class Repo(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.front.register(protos.shop())
        cls.Order = protos.shop().message(ORDER)
        for name in ("watched", "queue", "changed"):
            cls.front.create_collection(name, ORDER)
            for i in range(3):
                cls.front.create(name, cls.Order(number=str(i), total_cents=i), str(i))

    def run_ctl(self, *arguments, code=0, **options):
        got, out, err = ctl(self.cluster, *arguments, **options)
        self.assertEqual(got, code, err)
        return out, err

    def test_watch(self):
        out, err = self.run_ctl("record", "watch", "watched", "--snapshot", "--once")
        self.assertEqual([line.split()[:2] for line in out.splitlines()],
                         [["SNAPSHOT", str(i)] for i in range(3)])
        cursor = err.split()[1]
        self.front.create("watched", self.Order(number="new", total_cents=50), "new")
        self.front.records.Delete(cs.DeleteRequest(collection_name="watched", id="1"))
        out, err = self.run_ctl("record", "watch", "watched", "--cursor", cursor, "--once")
        self.assertEqual([line.split()[:2] for line in out.splitlines()],
                         [["UPSERTED", "new"], ["DELETED", "1"]])
        out, _ = self.run_ctl("record", "watch", "watched", "--cursor", cursor, "--once",
                              "--filter", "total_cents>=50", "-o", "json")
        self.assertEqual(json.loads(out)["item"]["number"], "new")
        self.run_ctl("record", "watch", "watched", "--cursor", "nonsense", code=67)
        self.run_ctl("record", "watch", "no-such", code=69)

    def test_writes_that_are_sent_again_or_depend_on_a_lease(self):
        self.front.create_collection("writes", ORDER)

        def created(number, code=0):
            return self.run_ctl("record", "create", "writes", "--data",
                                json.dumps({"number": number}), "--request-id", "c", code=code)[0]
        self.assertEqual(created("1"), created("1"))
        created("2", code=67)  # another request
        record_id = created("1").strip()
        token = ctl_json(self.cluster, "record", "lease", "writes", "--owner", "me")["records"][0][
            "token"]
        change = ("record", "update", "writes", record_id, "--data", '{"number": "3"}')
        self.run_ctl(*change, "--lease-token", str(int(token) + 1), code=74)
        self.run_ctl(*change, "--lease-token", "mine", code=67)
        self.run_ctl(*change, "--lease-token", token, "--request-id", "u")
        etag = self.front.get("writes", record_id).info.etag
        self.run_ctl(*change, "--lease-token", token, "--request-id", "u")
        self.assertEqual(self.front.get("writes", record_id).info.etag, etag)
        remove = ("record", "delete", "writes", record_id)
        self.run_ctl(*remove, "--lease-token", str(int(token) + 1), code=74)
        self.run_ctl(*remove, "--etag", "r0", code=74)
        self.run_ctl(*remove, "another", "--request-id", "d", code=67)
        for _ in range(2):
            self.run_ctl(*remove, "--lease-token", token, "--etag", etag, "--request-id", "d")
        self.run_ctl(*remove, code=69)

    def test_leases(self):
        got = ctl_json(self.cluster, "record", "lease", "queue", "--owner", "me", "--limit", "2",
                       "--filter", "total_cents<2")
        ids = [r["info"]["id"] for r in got["records"]]
        self.assertEqual(ids, ["0", "1"])
        token = got["records"][0]["token"]
        out, _ = self.run_ctl("record", "lease", "queue", "--limit", "9")
        self.assertIn("2", out)
        self.run_ctl("record", "renew", "queue", "0", token, "--duration-ms", "60000")
        self.run_ctl("record", "release", "queue", "0", token)
        self.run_ctl("record", "release", "queue", "0", token, code=1)
        self.run_ctl("record", "lease", "queue", "--limit", "x", code=67)

    def test_modify(self):
        self.run_ctl("collection", "modify", "changed", code=2)
        self.run_ctl("collection", "modify", "changed", "--index", "total_cents", "--label", "a=b")
        described = eventually(
            lambda: (lambda d: "build" not in d and d)(
                ctl_json(self.cluster, "collection", "describe", "changed")), "it is built")
        self.assertEqual(described["indexes"][0]["field"], "total_cents")
        self.assertEqual(described["collectionDefinition"]["metadata"]["labels"], {"a": "b"})
        self.run_ctl("collection", "modify", "changed", "--index", "nothing", code=67)
        self.run_ctl("collection", "create", "anything")
        self.run_ctl("record", "create", "anything", "x", "-T", ORDER, "-d", '{"number": "7"}')
        self.assertEqual(ctl_json(self.cluster, "record", "get", "anything", "x")["item"]["number"],
                         "7")

    def test_help(self):
        for verb in ("watch", "lease", "renew", "release", "invoke"):
            self.assertIn("usage:", self.run_ctl("record", verb, "--help")[0])
        self.assertIn("--schema", self.run_ctl("collection", "modify", "--help")[0])

    def test_invoke(self):
        backend = self.backend({"/shop.v1.OrderService/Track": lambda request, context: request})
        self.front.register_handler("shop.v1.OrderService", backend.address)
        self.front.create_collection("requests", "shop.v1.OrderRequest")
        Request = protos.shop().message("shop.v1.OrderRequest")
        self.front.create("requests", Request(number="7"), "a")
        got = ctl_json(self.cluster, "record", "invoke", "requests", "shop.v1.OrderService/Track",
                       "a", "a")
        self.assertEqual([o["number"] for o in got["outputs"]], ["7", "7"])
