"""Collections: records in, records out, lists, searches."""

import uuid

from collector_testing import (
    Code, CollectorTest, collection_pb2, collection_repo_pb2, collection_server_pb2 as cs,
    common_pb2, eventually, field_violations, protos)
from google.protobuf import any_pb2, json_format, struct_pb2

ORDER = "shop.v1.Order"
F = cs.FilterOperator


def struct(value):
    return json_format.ParseDict(value, struct_pb2.Struct())


def condition(operator, value=None):
    return cs.Filter(operator=operator, value=json_format.ParseDict(value, struct_pb2.Value()))


class Collections(CollectorTest):
    daemons = ("registry", "repo", "dispatcher")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Order = protos.shop().message(ORDER)
        cls.front.register(protos.shop())
        cls._made = 0

    def collection(self, **fields):
        """A new empty collection of orders; its name."""
        type(self)._made += 1
        name = "orders-%d" % self._made
        fields.setdefault("indexed_fields", ["customer.city", "total_cents"])
        self.front.create_collection(name, ORDER, **fields)
        return name

    def order(self, number, **fields):
        order = self.Order(number=str(number))
        json_format.ParseDict(fields, order)
        return order

    def orders(self, *specs):
        """A collection with orders of these fields, ids and numbers "0", "1", ..."""
        name = self.collection()
        for i, fields in enumerate(specs):
            self.front.create(name, self.order(i, **fields), str(i))
        return name

    def list(self, name, **fields):
        if isinstance(fields.get("filter"), dict):
            fields["filter"] = struct(fields["filter"])
        return self.front.records.List(cs.ListRequest(collection_name=name, **fields))

    def listed(self, name, **fields):
        return [i.id for i in self.list(name, **fields).infos]

    def search(self, name, **fields):
        return self.front.records.Search(cs.SearchRequest(collection_name=name, **fields))

    def found(self, name, **filters):
        answer = self.search(name, filters={k.replace("__", "."): v for k, v in filters.items()})
        self.assertEqual(answer.total_count, len(answer.results))
        return {r.info.id for r in answer.results}


class Records(Collections):
    def test_what_was_stored_comes_back_byte_for_byte(self):
        name = self.collection()
        order = self.order(7, customer={"name": "Ada", "city": "London"}, totalCents="123",
                           lines=[{"sku": "a", "quantity": 2}], state="STATE_PLACED",
                           placedAt="2024-01-02T03:04:05.5Z", tags={"x": "y"}, coupon="")
        # An unknown field, and an order of fields that no serializer makes.
        value = bytes([0xc2, 0x3e, 3]) + b"new" + order.SerializeToString()
        item = any_pb2.Any(type_url="type.googleapis.com/" + ORDER, value=value)
        created = self.front.records.Create(cs.CreateRequest(
            collection_name=name, id="seven", item=item))
        self.assertEqual(created.status.code, common_pb2.Status.OK)
        self.assertEqual(created.id, "seven")
        self.assertTrue(created.etag)

        got = self.front.get(name, "seven")
        self.assertEqual(got.item.type_url, item.type_url)
        self.assertEqual(got.item.value, value)
        self.assertEqual(got.info.id, "seven")
        self.assertEqual(got.info.etag, created.etag)
        self.assertGreater(got.info.metadata.created_at.seconds, 1600000000)
        self.assertEqual(self.list(name).items[0].value, value)
        self.assertEqual(self.search(name).results[0].item.value, value)

    def test_another_type_url_prefix_comes_back(self):
        name = self.collection()
        item = any_pb2.Any(type_url="example.com/types/" + ORDER, value=b"")
        self.front.records.Create(cs.CreateRequest(collection_name=name, id="1", item=item))
        self.assertEqual(self.front.get(name, "1").item, item)

    def test_an_id_is_made_if_none_is_given(self):
        name = self.collection()
        ids = [self.front.create(name, self.order(i)).id for i in range(20)]
        self.assertEqual(len(set(ids)), 20)
        for made in ids:
            self.assertEqual(uuid.UUID(made).version, 7)
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(self.listed(name), ids)

    def test_ids_may_be_any_text(self):
        name = self.collection()
        for record_id in ("a/b", "with space", "'; DROP TABLE records; --", "%_", "é漢🎉",
                          "x" * 512, "..", '"', "\\"):
            self.front.create(name, self.order(record_id[:10]), record_id)
            self.assertEqual(self.front.get(name, record_id).info.id, record_id)
        for record_id in ("x" * 513, "a\nb", "a\x7fb", "a\u0085b"):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.front.create(name, self.order(1), record_id)
            self.assertBlames(expected.error, "id")

    def test_a_taken_id(self):
        name = self.orders({"note": "first"})
        with self.assertRpcError(Code.ALREADY_EXISTS, text="0"):
            self.front.create(name, self.order(1, note="second"), "0")
        self.assertEqual(protos.unpack(self.front.get(name, "0").item, self.Order).note, "first")

    def test_what_is_not_there(self):
        name = self.collection()
        with self.assertRpcError(Code.NOT_FOUND, text="nobody"):
            self.front.get(name, "nobody")
        with self.assertRpcError(Code.NOT_FOUND, text="nobody"):
            self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id="nobody", item=protos.pack(self.order(1))))
        for call in (lambda: self.front.get("no-such", "x"),
                     lambda: self.front.create("no-such", self.order(1)),
                     lambda: self.list("no-such"), lambda: self.search("no-such"),
                     lambda: self.front.records.Describe(
                         cs.DescribeRequest(collection_name="no-such"))):
            with self.assertRpcError(Code.NOT_FOUND, text="no-such"):
                call()

    def test_update_replaces(self):
        name = self.orders({"note": "old", "paid": True})
        before = self.front.get(name, "0")
        answer = self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="0", item=protos.pack(self.order(0, note="new"))))
        after = self.front.get(name, "0")
        self.assertEqual(protos.unpack(after.item, self.Order), self.order(0, note="new"))
        self.assertEqual(after.info.etag, answer.etag)
        self.assertNotEqual(after.info.etag, before.info.etag)
        self.assertEqual(after.info.metadata.created_at, before.info.metadata.created_at)
        self.assertEqual(self.listed(name, filter={"paid": True}), [])

    def test_update_merges_under_a_mask(self):
        name = self.orders({"note": "old", "paid": True, "customer": {
            "name": "Ada", "city": "London"}})
        self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="0", update_mask=["customer.city", "paid"],
            item=protos.pack(self.order("x", customer={"name": "Bob", "city": "Paris"}))))
        self.assertEqual(
            protos.unpack(self.front.get(name, "0").item, self.Order),
            self.order(0, note="old", customer={"name": "Ada", "city": "Paris"}))
        self.assertEqual(self.listed(name, filter={"customer.city": "Paris"}), ["0"])
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="nonsense"):
            self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id="0", update_mask=["customer.nonsense"],
                item=protos.pack(self.order(0))))

    def test_update_may_create(self):
        name = self.collection()
        self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="new", allow_missing=True, item=protos.pack(self.order(1))))
        self.assertEqual(self.listed(name), ["new"])

    def test_etags_guard(self):
        name = self.orders({})
        old = self.front.get(name, "0").info.etag
        update = cs.UpdateRequest(
            collection_name=name, id="0", etag=old, item=protos.pack(self.order(0, note="1")))
        new = self.front.records.Update(update).etag
        with self.assertRpcError(Code.ABORTED):
            self.front.records.Update(update)
        with self.assertRpcError(Code.ABORTED):
            self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="0", etag=old))
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="0", etag=new))
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.get(name, "0")

    def test_only_one_of_many_concurrent_updates_wins(self):
        name = self.orders({})
        etag = self.front.get(name, "0").info.etag
        calls = [self.front.records.Update.future(cs.UpdateRequest(
            collection_name=name, id="0", etag=etag, item=protos.pack(self.order(i))), timeout=30)
            for i in range(16)]
        outcomes = [call.code() for call in calls]
        self.assertEqual(outcomes.count(Code.OK), 1)
        self.assertEqual(outcomes.count(Code.ABORTED), 15)

    def test_delete(self):
        name = self.orders({}, {})
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="0"))
        self.assertEqual(self.listed(name), ["1"])
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="0"))
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.records.Delete(cs.DeleteRequest(
                collection_name=name, id="0", must_exist=True))
        self.front.create(name, self.order(9), "0")
        self.assertEqual(self.list(name).total_count, 2)

    def test_labels_stay_unless_given(self):
        name = self.collection()
        self.front.create(name, self.order(0), "0", labels={"a": "1", "b": "2"}, data_uri="x://y")

        def update(**fields):
            self.front.records.Update(cs.UpdateRequest(
                collection_name=name, id="0", item=protos.pack(self.order(0)), **fields))
            return dict(self.front.get(name, "0").info.metadata.labels)

        self.assertEqual(update(), {"a": "1", "b": "2"})
        self.assertEqual(update(labels={"b": "3"}), {"a": "1", "b": "3"})
        self.assertEqual(self.front.get(name, "0").info.data_uri, "x://y")
        self.assertEqual(self.listed(name, label_filters={"b": "3"}), ["0"])
        self.assertEqual(self.listed(name, label_filters={"b": "2"}), [])
        self.assertEqual(update(labels={"c": "4"}, replace_labels=True), {"c": "4"})

    def test_read_masks(self):
        name = self.orders({"note": "n", "customer": {"name": "Ada", "city": "London"}})
        got = self.front.get(name, "0", read_mask=["customer.city"])
        self.assertEqual(protos.unpack(got.item, self.Order),
                         self.Order(customer={"city": "London"}))
        listed = self.list(name, read_mask=["number"])
        self.assertEqual(protos.unpack(listed.items[0], self.Order), self.Order(number="0"))
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="nothing"):
            self.front.get(name, "0", read_mask=["nothing"])


class Lists(Collections):
    def test_filters(self):
        name = self.orders(
            {"customer": {"city": "London"}, "totalCents": "9", "state": "STATE_PLACED"},
            {"customer": {"city": "Paris"}, "totalCents": "10", "paid": True, "note": "a_b"},
            {"customer": {"city": "London"}, "totalCents": "100", "tags": {"k": "v"}, "coupon": ""})
        for filters, wanted in (
                ({"customer.city": "London"}, ["0", "2"]),
                ({"customer.city": {"eq": "Paris"}}, ["1"]),
                ({"customer.city": "London", "totalCents": 9}, ["0"]),
                ({"total_cents": {"gt": 9}}, ["1", "2"]),
                ({"total_cents": {"ge": 9, "lt": 100}}, ["0", "1"]),
                ({"total_cents": "100"}, ["2"]),
                ({"total_cents": {"in": [9, "100"]}}, ["0", "2"]),
                ({"total_cents": {"ne": 9}}, ["1", "2"]),
                ({"state": "STATE_PLACED"}, ["0"]),
                ({"paid": True}, ["1"]), ({"paid": False}, ["0", "2"]),
                ({"note": {"contains": "a_"}}, ["1"]), ({"note": {"contains": "%"}}, []),
                ({"note": ""}, ["0", "2"]),
                ({"coupon": {"exists": True}}, ["2"]), ({"coupon": {"exists": False}}, ["0", "1"]),
                ({"tags.k": "v"}, ["2"]), ({}, ["0", "1", "2"])):
            with self.subTest(filters):
                answer = self.list(name, filter=filters)
                self.assertEqual([i.id for i in answer.infos], wanted)
                self.assertEqual(answer.total_count, len(wanted))

    def test_what_cannot_be_filtered_is_named(self):
        name = self.orders({})
        for filters in ({"nothing": 1}, {"customer.nothing": 1}, {"total_cents": "many"},
                        {"total_cents": {"near": 3}}, {"note": {"in": "abc"}},
                        {"number'; --": 1}, {"state": "STATE_NONE"}):
            with self.subTest(filters), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.list(name, filter=filters)
            self.assertTrue(field_violations(expected.error), expected.error.details())

    def test_order(self):
        name = self.orders({"totalCents": "5", "note": "b"}, {"totalCents": "10", "note": "a"},
                           {"totalCents": "-1", "note": "b"})
        for order_by, wanted in (
                ("", ["0", "1", "2"]), ("total_cents", ["2", "0", "1"]),
                ("total_cents desc", ["1", "0", "2"]), ("note, total_cents", ["1", "2", "0"]),
                ("note desc, totalCents desc", ["0", "2", "1"])):
            with self.subTest(order_by):
                self.assertEqual(self.listed(name, order_by=order_by), wanted)
        for order_by in ("nothing", "note; drop table records", "note down", ",", "note,,note"):
            with self.subTest(order_by), self.assertRpcError(Code.INVALID_ARGUMENT):
                self.list(name, order_by=order_by)

    def pages(self, name, **fields):
        seen, token = [], ""
        for _ in range(100):
            page = self.list(name, page_token=token, **fields)
            seen += [i.id for i in page.infos]
            token = page.next_page_token
            if not token:
                return seen
        self.fail("pages without end")

    def test_pages_have_every_record_once(self):
        name = self.orders(*({"totalCents": str(i % 4), "note": "odd" if i % 2 else ""}
                             for i in range(25)))
        everything = [str(i) for i in range(25)]
        self.assertEqual(self.pages(name, page_size=7), everything)
        for order_by in ("total_cents", "total_cents desc", "coupon, number desc"):
            self.assertEqual(sorted(self.pages(name, page_size=3, order_by=order_by)),
                             sorted(everything), order_by)
        odd = struct({"note": "odd"})
        self.assertEqual(self.pages(name, page_size=5, filter=odd), everything[1::2])
        self.assertEqual(self.list(name, page_size=5, filter=odd).total_count, 12)
        self.assertEqual(
            self.list(name, page_size=5, filter=odd, skip_total_count=True).total_count, 0)

    def test_the_first_page_counts_for_all_of_them(self):
        name = self.orders(*({"note": "odd"} for _ in range(5)))
        odd = struct({"note": "odd"})
        first = self.list(name, page_size=2, filter=odd)
        self.front.create(name, self.order("late", note="odd"), "late")
        second = self.list(name, page_size=2, filter=odd, page_token=first.next_page_token)
        self.assertEqual((first.total_count, second.total_count), (5, 5))
        self.assertEqual(self.list(name, page_size=2, filter=odd).total_count, 6)

    def test_pages_while_others_write(self):
        name = self.orders(*({} for _ in range(30)))
        seen, token = [], ""
        while True:
            page = self.list(name, page_size=4, page_token=token)
            seen += [i.id for i in page.infos]
            token = page.next_page_token
            if not token:
                break
            self.front.create(name, self.order("late"), "late-%d" % len(seen))
            # One that was listed goes, one that was not goes too.
            self.front.records.Delete(cs.DeleteRequest(collection_name=name, id=seen[0]))
            if len(seen) == 4:
                self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="29"))
        stayed = [str(i) for i in range(29)]
        self.assertEqual([i for i in seen if i in stayed], stayed)
        self.assertEqual(len(seen), len(set(seen)))

    def test_page_tokens_belong_to_their_query(self):
        name, other = self.orders(*({},) * 5), self.orders(*({},) * 5)
        token = self.list(name, page_size=2).next_page_token
        self.assertEqual([i.id for i in self.list(name, page_size=3, page_token=token).infos],
                         ["2", "3", "4"])
        flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
        for request in (cs.ListRequest(collection_name=other, page_token=token),
                        cs.ListRequest(collection_name=name, page_token=token, order_by="note"),
                        cs.ListRequest(collection_name=name, page_token=token,
                                       filter=struct({"paid": True})),
                        cs.ListRequest(collection_name=name, page_token="garbage"),
                        cs.ListRequest(collection_name=name, page_token=flipped)):
            with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.front.records.List(request)
            self.assertBlames(expected.error, "page_token")

    def test_page_sizes(self):
        name = self.collection()
        calls = [self.front.records.Create.future(cs.CreateRequest(
            collection_name=name, item=protos.pack(self.order(i))), timeout=60)
            for i in range(1050)]
        for call in calls:
            call.result()
        self.assertEqual(len(self.listed(name)), 100)
        self.assertEqual(len(self.listed(name, page_size=5000)), 1000)
        self.assertEqual(self.list(name, page_size=1).total_count, 1050)
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.list(name, page_size=-1)
        self.assertBlames(expected.error, "page_size")


class Searches(Collections):
    def test_operators(self):
        name = self.orders(
            {"customer": {"city": "London"}, "totalCents": "5", "lines": [{"sku": "a"}]},
            {"customer": {"city": "Paris"}, "totalCents": "50", "coupon": "",
             "lines": [{"sku": "b"}, {"sku": "a"}]},
            {"totalCents": "-5", "note": "50% off_season"})
        for path, operator, value, wanted in (
                ("customer__city", F.OP_EQUALS, "London", {"0"}),
                ("customer__city", F.OP_IN, ["London", "Paris"], {"0", "1"}),
                ("customer__city", F.OP_EXISTS, None, {"0", "1"}),
                ("customer__city", F.OP_NOT_EXISTS, None, {"2"}),
                ("total_cents", F.OP_GREATER_THAN, 5, {"1"}),
                ("totalCents", F.OP_GREATER_EQUAL, "5", {"0", "1"}),
                ("total_cents", F.OP_LESS_THAN, 5, {"2"}),
                ("total_cents", F.OP_LESS_EQUAL, 5, {"0", "2"}),
                ("total_cents", F.OP_NOT_EQUALS, 5, {"1", "2"}),
                ("note", F.OP_CONTAINS, "50%", {"2"}), ("note", F.OP_CONTAINS, "5_", set()),
                ("coupon", F.OP_EXISTS, None, {"1"}), ("coupon", F.OP_NOT_EXISTS, None, {"0", "2"}),
                ("lines__sku", F.OP_EQUALS, "a", {"0", "1"}),
                ("lines__sku", F.OP_CONTAINS, "b", {"1"})):
            with self.subTest((path, operator, value)):
                self.assertEqual(self.found(name, **{path: condition(operator, value)}), wanted)
        both = {"customer__city": condition(F.OP_IN, ["London", "Paris"]),
                "total_cents": condition(F.OP_GREATER_THAN, 10)}
        self.assertEqual(self.found(name, **both), {"1"})

    def test_what_cannot_be_searched_is_named(self):
        name = self.orders({})
        for path, operator, value in (
                ("nothing", F.OP_EQUALS, 1), ("total_cents", F.OP_EQUALS, "many"),
                ("note", F.OP_IN, "abc"), ("customer", F.OP_GREATER_THAN, 1),
                ("x') OR 1=1 --", F.OP_EQUALS, 1)):
            with self.subTest(path), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.search(name, filters={path: condition(operator, value)})
            self.assertBlames(expected.error, "filters")

    def test_full_text_ranks(self):
        name = self.orders(
            {"note": "fast shipping wanted"}, {"note": "nothing of the kind"},
            {"note": "ships shipping shipped: the ship of ships"},
            {"note": "keyword only", "customer": {"name": "Shipley", "city": "Shipping Norton"}})
        answer = self.search(name, full_text="shipping")
        self.assertEqual(answer.total_count, 3)
        self.assertEqual({r.info.id for r in answer.results}, {"0", "2", "3"})
        scores = [r.score for r in answer.results]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertGreater(scores[0], scores[-1])
        self.assertIn("[shipping]", {r.info.id: r.snippet for r in answer.results}["0"].lower())
        # Keys are not text.
        self.assertEqual(self.search(name, full_text="customer").total_count, 0)
        # Parts combine, and limits cut the best off.
        self.assertEqual([r.info.id for r in self.search(
            name, full_text="shipping",
            filters={"customer.city": condition(F.OP_EXISTS)}).results], ["3"])
        best = [r.info.id for r in answer.results]
        self.assertEqual([r.info.id for r in self.search(
            name, full_text="shipping", limit=1, offset=1).results], best[1:2])
        self.assertEqual(self.search(name, full_text="shipping", limit=1).total_count, 3)

    def test_full_text_is_taken_literally(self):
        name = self.orders({"note": "plain words AND more"})
        for text in ('"', "a OR", "NEAR(", "note:plain", "*", "words)", "(", "^", "-", "' OR 1",
                     "\\", "plain*"):
            with self.subTest(text):
                self.search(name, full_text=text)
        self.assertEqual(self.search(name, full_text="plain AND").total_count, 1)
        self.assertEqual(self.search(name, full_text="plain OR nothing").total_count, 0)
        self.assertEqual(
            self.search(name, full_text="plain OR nothing", fts_syntax=True).total_count, 1)
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.search(name, full_text="AND (", fts_syntax=True)

    def test_full_text_follows_changes(self):
        name = self.orders({"note": "alpha"})
        self.front.records.Update(cs.UpdateRequest(
            collection_name=name, id="0", item=protos.pack(self.order(0, note="beta"))))
        self.assertEqual(self.search(name, full_text="alpha").total_count, 0)
        self.assertEqual(self.search(name, full_text="beta").total_count, 1)
        self.front.records.Delete(cs.DeleteRequest(collection_name=name, id="0"))
        self.assertEqual(self.search(name, full_text="beta").total_count, 0)

    def test_order_and_labels(self):
        name = self.collection()
        for i, cents in enumerate((5, 9, 7)):
            self.front.create(name, self.order(i, totalCents=str(cents)), str(i),
                              labels={"odd": str(i % 2)})

        def ids(**fields):
            return [r.info.id for r in self.search(name, **fields).results]

        self.assertEqual(ids(order_by="total_cents"), ["1", "2", "0"])
        self.assertEqual(ids(order_by="total_cents", ascending=True), ["0", "2", "1"])
        self.assertEqual(ids(label_filters={"odd": "0"}, order_by="total_cents"), ["2", "0"])
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            ids(order_by="nothing")

    def test_no_full_text_where_it_is_disabled(self):
        name = self.collection(full_text_disabled=True)
        self.front.create(name, self.order(1, note="word"), "1")
        with self.assertRpcError(Code.FAILED_PRECONDITION):
            self.search(name, full_text="word")
        self.assertEqual(self.search(name).total_count, 1)


class Repo(Collections):
    def test_create_discover_route_describe_delete(self):
        name = self.collection(metadata=common_pb2.Metadata(labels={"team": "blue"}))
        route = self.front.repo.Route(collection_repo_pb2.RouteRequest(
            collection=common_pb2.NamespacedName(name=name)))
        self.assertEqual(route.server_endpoint, self.cluster.address("repo"))
        self.assertEqual(route.collection.message_type.message_name, ORDER)

        self.front.create(name, self.order(1), "1")
        answer = self.front.records.Describe(cs.DescribeRequest(collection_name=name))
        self.assertEqual(answer.record_count, 1)
        self.assertGreater(answer.storage_size_bytes, 0)
        self.assertEqual(
            answer.storage_size_bytes,
            answer.database_bytes + answer.wal_bytes + answer.file_bytes)
        self.assertEqual({i.field for i in answer.indexes}, {"customer.city", "total_cents"})
        self.assertTrue(answer.collection_definition.incarnation)

        found = self.front.repo.Discover(collection_repo_pb2.DiscoverRequest(
            namespace="default", label_filter={"team": "blue"},
            message_type_filter=common_pb2.MessageTypeRef(message_name=ORDER)))
        self.assertEqual([c.name for c in found.collections], [name])

        deleted = self.front.repo.DeleteCollection(collection_repo_pb2.DeleteCollectionRequest(
            collection=common_pb2.NamespacedName(name=name)))
        self.assertEqual(deleted.records_deleted, 1)
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.get(name, "1")
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.repo.DeleteCollection(collection_repo_pb2.DeleteCollectionRequest(
                collection=common_pb2.NamespacedName(name=name), must_exist=True))
        self.front.create_collection(name, ORDER)
        self.assertEqual(self.list(name).total_count, 0)
        again = self.front.records.Describe(cs.DescribeRequest(collection_name=name))
        self.assertNotEqual(again.collection_definition.incarnation,
                            answer.collection_definition.incarnation)

    def test_discover_in_pages(self):
        names = ["page-%02d" % i for i in range(12)]
        for name in names:
            self.front.create_collection(name, ORDER, "discover")
        seen, token = [], ""
        while True:
            page = self.front.repo.Discover(collection_repo_pb2.DiscoverRequest(
                namespace="discover", page_size=5, page_token=token))
            seen += [c.name for c in page.collections]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(sorted(seen), names)
        self.assertEqual(len(seen), len(names))

    def setUp(self):
        self.front.register(protos.shop(), "discover")

    def test_what_cannot_be_created(self):
        name = self.collection()
        with self.assertRpcError(Code.ALREADY_EXISTS, text=name):
            self.front.create_collection(name, ORDER)
        for bad in ("", "Up", "..", "a/b", "a b", "x" * 64, "_x"):
            with self.subTest(bad), self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
                self.front.create_collection(bad, ORDER)
            self.assertBlames(expected.error, "name")
        with self.assertRpcError(Code.INVALID_ARGUMENT) as expected:
            self.front.create_collection("ok", ORDER, "Bad Namespace")
        self.assertBlames(expected.error, "namespace")
        with self.assertRpcError(Code.NOT_FOUND, Code.INVALID_ARGUMENT, text="shop.v1.Nothing"):
            self.front.create_collection("untyped", "shop.v1.Nothing")
        with self.assertRpcError(Code.INVALID_ARGUMENT, text="nothing"):
            self.front.create_collection("indexed", ORDER, indexed_fields=["customer.nothing"])
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.repo.CreateCollection(collection_repo_pb2.CreateCollectionRequest())
        with self.assertRpcError(Code.INVALID_ARGUMENT):
            self.front.repo.CreateCollection(collection_repo_pb2.CreateCollectionRequest(
                collection=collection_pb2.Collection(
                    namespace="a", name="nested", message_type=common_pb2.MessageTypeRef(
                        namespace="b", message_name=ORDER))))

    def test_the_catalogue_is_a_collection(self):
        name = self.collection()
        item = self.front.get("collections", "default/" + name, "system").item
        self.assertEqual(protos.unpack(item, collection_pb2.Collection).name, name)
        found = self.front.records.Search(cs.SearchRequest(
            namespace="system", collection_name="collections",
            filters={"name": condition(F.OP_EQUALS, name)}))
        self.assertEqual(found.total_count, 1)

    def test_a_type_is_usable_the_moment_it_is_registered(self):
        for i in range(10):
            package = "fresh%d.v1" % i
            types = protos.Types(protos.single_file(
                "fresh%d.proto" % i, "message T { string s = 1; }", package))
            self.front.register(types)
            self.front.create_collection("fresh-%d" % i, package + ".T")
            self.front.create("fresh-%d" % i, types.message(package + ".T")(s="x"), "1")

    def test_batch(self):
        name = self.orders({"note": "old"})
        request = cs.BatchRequest(collection_name=name, operations=[
            cs.RequestOp(create=cs.CreateRequest(id="1", item=protos.pack(self.order(1)))),
            cs.RequestOp(create=cs.CreateRequest(id="0", item=protos.pack(self.order(0)))),
            cs.RequestOp(update=cs.UpdateRequest(
                id="0", item=protos.pack(self.order(0, note="new")))),
            cs.RequestOp(delete=cs.DeleteRequest(id="1"))])
        answer = self.front.records.Batch(request)
        self.assertEqual([r.status.code for r in answer.responses], [
            common_pb2.Status.OK, common_pb2.Status.ALREADY_EXISTS, common_pb2.Status.OK,
            common_pb2.Status.OK])
        self.assertEqual(self.listed(name), ["0"])
        self.assertEqual(
            protos.unpack(self.front.get(name, "0").item, self.Order).note, "new")

    def test_built_in_types_need_no_registry(self):
        self.cluster["registry"].kill()
        try:
            self.front.create_collection("plain-metadata", "collector.Metadata")
            self.front.create("plain-metadata", common_pb2.Metadata(labels={"a": "b"}), "1")
            with self.assertRpcError(Code.UNAVAILABLE):
                self.front.create_collection("unknown-now", "never.seen.Type")
            # Collections that exist go on.
            self.assertEqual(self.front.get("plain-metadata", "1").info.id, "1")
        finally:
            self.cluster["registry"].start()
            self.wait_back("registry")
        eventually(self.collection, "a collection of a registered type")
