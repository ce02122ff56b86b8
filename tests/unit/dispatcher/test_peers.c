#include "services/dispatcher/peers.h"

#include <string.h>

#include "common/rpc/client.h"
#include "services/dispatcher/handlers.h"
#include "tests/support/bare_server.h"
#include "tests/support/suite.h"

static struct rpc_client *client;
static struct peers *peers;
static struct arena arena;
static const char *const users[] = {"users", NULL}, *const orders[] = {"users", "orders", NULL};

static void setup(void)
{
	client = rpc_client_new(&(struct rpc_client_options){.name = "test"});
	peers = peers_new(client);
	arena_init(&arena, 0);
}

static void teardown(void)
{
	peers_free(peers);
	rpc_client_free(client);
	arena_release(&arena);
}

static enum peer_state state_of(const char *id)
{
	size_t count;
	const struct peer_info *list = peers_list(peers, &arena, &count);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].id, id))
			return list[i].state;
	ck_abort_msg("no peer %s", id);
	return PEER_UNREACHABLE;
}

static int missed_of(const char *id)
{
	size_t count;
	const struct peer_info *list = peers_list(peers, &arena, &count);

	return count == 1 && !strcmp(list[0].id, id) ? list[0].missed : -1;
}

START_TEST(pings_decide_the_state)
{
	struct peer *x;

	ck_assert(peers_put(peers, "a", "127.0.0.1:1", users, true));
	x = peers_take(peers, "a");
	for (int i = 1; i <= PEER_UNREACHABLE_AFTER + 2; i++) {
		peers_missed(peers, x);
		ck_assert_int_eq(state_of("a"), i < PEER_SUSPECT_AFTER ? PEER_UP
						: i < PEER_UNREACHABLE_AFTER
							? PEER_SUSPECT
							: PEER_UNREACHABLE);
		ck_assert(!!peers_has_address(peers, "127.0.0.1:1") ==
			  (i < PEER_SUSPECT_AFTER));
	}
	peers_answered(peers, x, 100, NULL);
	ck_assert_int_eq(state_of("a"), PEER_UP);
	peers_missed(peers, x);
	ck_assert_int_eq(state_of("a"), PEER_UP);
	ck_assert_int_eq(missed_of("a"), 1);
	peers_answered(peers, x, 100, NULL);
	ck_assert_int_eq(missed_of("a"), 0);
	peer_done(x);
}
END_TEST

START_TEST(only_those_that_are_up_and_serve_are_chosen)
{
	struct peer *x;

	ck_assert_ptr_null(peers_take_serving(peers, "users", NULL, 0));
	ck_assert(peers_put(peers, "a", "127.0.0.1:1", users, true));
	ck_assert(peers_put(peers, "b", "127.0.0.1:2", orders, true));
	for (int i = 0; i < 20; i++) {
		x = peers_take_serving(peers, "orders", NULL, 0);
		ck_assert_str_eq(peer_id(x), "b");
		peer_done(x);
	}
	x = peers_take(peers, "b");
	for (int i = 0; i < PEER_SUSPECT_AFTER; i++)
		peers_missed(peers, x);
	ck_assert_ptr_null(peers_take_serving(peers, "orders", NULL, 0));
	/* News of its namespaces comes with its answers. */
	peers_answered(peers, x, 5, users);
	ck_assert_ptr_null(peers_take_serving(peers, "orders", NULL, 0));
	peer_done(x);
}
END_TEST

START_TEST(the_less_busy_of_two_is_taken_and_the_tried_are_not)
{
	struct peer *busy, *x;
	const struct peer *tried[1];

	ck_assert(peers_put(peers, "a", "127.0.0.1:1", users, true));
	ck_assert(peers_put(peers, "b", "127.0.0.1:2", users, true));
	busy = peers_take(peers, "a");
	for (int i = 0; i < 20; i++) {
		x = peers_take_serving(peers, "users", NULL, 0);
		ck_assert_str_eq(peer_id(x), "b");
		peer_done(x);
	}
	tried[0] = peers_take(peers, "b");
	x = peers_take_serving(peers, "users", tried, 1);
	ck_assert_ptr_eq(x, busy);
	peer_done(x);
	peer_done((struct peer *)tried[0]);
	peer_done(busy);
}
END_TEST

static void answer(const char *id, uint64_t round_trip_us, int times)
{
	struct peer *x = peers_hold(peers, id);

	for (int i = 0; i < times; i++)
		peers_answered(peers, x, round_trip_us, NULL);
	peer_release(x);
}

/* How many of 100 calls, one after the other, go to it. */
static int calls_to(const char *id)
{
	int n = 0;

	for (int i = 0; i < 100; i++) {
		struct peer *x = peers_take_serving(peers, "users", NULL, 0);
		n += !strcmp(peer_id(x), id);
		peer_done(x);
	}
	return n;
}

START_TEST(the_much_nearer_of_two_is_taken)
{
	ck_assert(peers_put(peers, "far", "127.0.0.1:1", users, true));
	ck_assert(peers_put(peers, "near", "127.0.0.1:2", users, true));
	answer("far", 80000, 2);
	answer("near", 300, 3);
	ck_assert_int_gt(calls_to("far"), 0); /* it may have been chance twice */
	answer("far", 80000, 1);
	ck_assert_int_eq(calls_to("far"), 0);
	answer("far", 500, 1);
	ck_assert_int_gt(calls_to("far"), 0);
	/* One ping in a busy moment means nothing; eight of them do. */
	answer("far", 80000, 7);
	ck_assert_int_gt(calls_to("far"), 0);
	answer("far", 80000, 1);
	ck_assert_int_eq(calls_to("far"), 0);
}
END_TEST

START_TEST(who_holds_a_peer_is_no_call)
{
	struct peer *pinged;

	ck_assert(peers_put(peers, "a", "127.0.0.1:1", users, true));
	ck_assert(peers_put(peers, "b", "127.0.0.1:2", users, true));
	pinged = peers_hold(peers, "a");
	ck_assert_int_gt(calls_to("a"), 0);
	peer_release(pinged);
}
END_TEST

/* As another connection, and as nothing else. */
START_TEST(a_silent_peer_is_dialled_anew)
{
	struct peer *x, *anew;

	ck_assert(peers_put(peers, "a", "127.0.0.1:1", users, true));
	x = peers_take(peers, "a");
	for (int i = 0; i < PEER_UNREACHABLE_AFTER; i++)
		peers_missed(peers, x);
	peers_redial(peers, x);
	anew = peers_take(peers, "a");
	ck_assert_ptr_ne(anew, x);
	ck_assert_ptr_ne(peer_channel(anew), peer_channel(x));
	ck_assert_int_eq(state_of("a"), PEER_UNREACHABLE);
	peers_redial(peers, x); /* which is not it any more */
	peer_done(x);
	x = peers_take(peers, "a");
	ck_assert_ptr_eq(x, anew);
	peers_answered(peers, anew, 100, NULL);
	ck_assert_int_eq(state_of("a"), PEER_UP);
	peer_done(x);
	peer_done(anew);
	x = peers_take_serving(peers, "users", NULL, 0);
	ck_assert_ptr_eq(x, anew);
	peer_done(x);
}
END_TEST

START_TEST(a_removed_peer_stays_valid_while_it_is_held)
{
	struct peer *x;

	ck_assert(peers_put(peers, "a", "127.0.0.1:1", users, true));
	x = peers_take(peers, "a");
	ck_assert(peers_remove(peers, "a"));
	ck_assert(!peers_remove(peers, "a"));
	ck_assert_ptr_null(peers_take(peers, "a"));
	ck_assert_str_eq(peer_id(x), "a");
	peers_answered(peers, x, 1, orders);
	ck_assert_ptr_null(peers_take_serving(peers, "users", NULL, 0));
	peer_done(x);
}
END_TEST

START_TEST(what_is_shared_is_what_both_have)
{
	static const char *const a[] = {"x", "y", "z", NULL}, *const b[] = {"z", "w", "x",
									    NULL};
	const char *const *shared = peers_shared(a, b, &arena);

	ck_assert_str_eq(shared[0], "x");
	ck_assert_str_eq(shared[1], "z");
	ck_assert_ptr_null(shared[2]);
}
END_TEST

/* ----------------------------------------------------------------- handlers */

static struct handler_record binding(const char *id, const char *method, const char *address)
{
	return (struct handler_record){.id = id,
				       .ns = "shop",
				       .service = "s.S",
				       .method = method,
				       .address = address,
				       .collection = "",
				       .collector_id = ""};
}

static struct handler *take(struct handlers *h, const char *ns, const char *method,
			    const struct handler *not_this)
{
	return handlers_take(h, &(struct handler_wanted){.ns = ns,
							 .service = "s.S",
							 .method = method,
							 .not_these = &not_this,
							 .not_count = not_this != NULL});
}

START_TEST(handlers_are_found_by_method_or_for_the_whole_service)
{
	struct handlers *h = handlers_new(client);
	struct handler_record one = binding("1", "Do", "127.0.0.1:1");
	struct handler_record every = binding("2", "", "127.0.0.1:2");
	struct handler *x;

	ck_assert(handlers_put(h, &one, NULL));
	ck_assert_ptr_null(take(h, "shop", "Other", NULL));
	ck_assert_ptr_null(take(h, "else", "Do", NULL));
	ck_assert(handlers_put(h, &every, NULL));
	x = take(h, "shop", "Other", NULL);
	ck_assert_str_eq(handler_id(x), "2");
	ck_assert_ptr_null(take(h, "shop", "Other", x));
	handlers_done(x);
	/* Putting an id again replaces it; both serve Do, the idle one is taken. */
	ck_assert(handlers_put(h, &one, NULL));
	ck_assert_uint_eq(handlers_count(h), 2);
	x = take(h, "shop", "Do", NULL);
	for (int i = 0; i < 20; i++) {
		struct handler *y = take(h, "shop", "Do", NULL);
		ck_assert_str_ne(handler_id(y), handler_id(x));
		handlers_done(y);
	}
	handlers_done(x);
	ck_assert(!handlers_remove(h, "else", "1"));
	ck_assert(handlers_remove(h, "shop", "1"));
	ck_assert(handlers_remove(h, "shop", "2"));
	ck_assert_ptr_null(take(h, "shop", "Do", NULL));
	handlers_free(h);
}
END_TEST

START_TEST(who_was_away_is_asked_last)
{
	struct handlers *h = handlers_new(client);
	struct handler_record both[] = {binding("a", "", "127.0.0.1:1"),
					binding("b", "", "127.0.0.1:2")};
	struct handler *away, *x;
	struct peer *p, *y;

	handlers_replace(h, both, 2);
	away = take(h, "shop", "Do", NULL);
	handler_was_away(away);
	for (int i = 0; i < 20; i++) {
		x = take(h, "shop", "Do", NULL);
		ck_assert_str_ne(handler_id(x), handler_id(away));
		handlers_done(x);
	}
	/* Nobody else: then it is asked all the same. */
	x = take(h, "shop", "Do", NULL);
	struct handler *last = take(h, "shop", "Do", x);
	ck_assert_str_eq(handler_id(last), handler_id(away));
	handlers_done(last);
	handlers_done(x);
	handler_was_there(away);
	handlers_done(away);
	handlers_free(h);

	ck_assert(peers_put(peers, "a", "127.0.0.1:1", users, true));
	ck_assert(peers_put(peers, "b", "127.0.0.1:2", users, true));
	p = peers_take_serving(peers, "users", NULL, 0);
	peer_was_away(p);
	for (int i = 0; i < 20; i++) {
		y = peers_take_serving(peers, "users", NULL, 0);
		ck_assert_str_ne(peer_id(y), peer_id(p));
		peer_done(y);
	}
	peer_done(p);
}
END_TEST

START_TEST(handlers_are_listed_in_pages)
{
	struct handlers *h = handlers_new(client);
	struct handler_record all[] = {binding("c", "", "127.0.0.1:1"),
				       binding("a", "", "127.0.0.1:1"),
				       binding("b", "", "127.0.0.1:1")};
	struct handler_record page[2];

	handlers_replace(h, all, 3);
	/* What stays as it was is the same handler, and its calls go on counting. */
	struct handler *kept = take(h, "shop", "Do", NULL);
	handlers_replace(h, all, 3);
	for (int i = 0; i < 20; i++) {
		struct handler *x = take(h, "shop", "Do", NULL);
		handlers_done(x);
	}
	ck_assert_uint_eq(handlers_count(h), 3);
	struct handler_info infos[3];
	unsigned busy = 0;
	ck_assert_uint_eq(handlers_serving(h,
					   &(struct handler_wanted){.ns = "shop",
								    .service = "s.S",
								    .method = "Do"},
					   &arena, infos, 3),
			  3);
	for (int i = 0; i < 3; i++)
		busy += infos[i].in_flight;
	ck_assert_uint_eq(busy, 1);
	handlers_done(kept);
	all[1].address = "127.0.0.1:9";
	handlers_replace(h, all, 3);
	ck_assert_uint_eq(handlers_list(h, "", "", 2, &arena, page), 2);
	ck_assert_str_eq(page[0].id, "a");
	ck_assert_str_eq(page[1].id, "b");
	ck_assert_uint_eq(handlers_list(h, "", "b", 2, &arena, page), 1);
	ck_assert_str_eq(page[0].id, "c");
	ck_assert_uint_eq(handlers_list(h, "other", "", 2, &arena, page), 0);
	handlers_free(h);
}
END_TEST

/* Call anything there: its connection is up afterwards. */
static void connect_to(const char *address)
{
	struct rpc_channel *channel = rpc_client_channel(client, address, RPC_TRUST_FOREIGN);
	struct bytes reply;
	struct error err;

	ck_assert_int_eq(rpc_invoke_raw(channel, "/no.such/Method", bytes_of(NULL, 0), NULL,
					&arena, &reply, NULL, &err),
			 STATUS_UNIMPLEMENTED);
	ck_assert(rpc_channel_is_ready(channel));
	rpc_channel_unref(channel);
}

START_TEST(who_is_not_connected_is_not_chosen_while_others_are)
{
	struct bare_server *server = bare_server_new(0);
	const char *address = arena_printf(&arena, "127.0.0.1:%d", bare_server_port(server));
	struct peer *taken[20], *lost;

	ck_assert(peers_put(peers, "lost", "127.0.0.1:1", users, true));
	ck_assert(peers_put(peers, "also-lost", "127.0.0.1:2", users, true));
	ck_assert(peers_put(peers, "there", address, users, true));
	connect_to(address);
	for (int i = 0; i < 20; i++) { /* however busy it is */
		taken[i] = peers_take_serving(peers, "users", NULL, 0);
		ck_assert_str_eq(peer_id(taken[i]), "there");
	}
	/* If it was tried already, the others are better than nobody. */
	lost = peers_take_serving(peers, "users", (const struct peer *const *)taken, 1);
	ck_assert_ptr_nonnull(strstr(peer_id(lost), "lost"));
	peer_done(lost);
	for (int i = 0; i < 20; i++)
		peer_done(taken[i]);
	bare_server_free(server);
}
END_TEST

int main(void)
{
	return suite_run("peers", setup, teardown,
			 (const TTest *const[]){
				 pings_decide_the_state,
				 only_those_that_are_up_and_serve_are_chosen,
				 the_less_busy_of_two_is_taken_and_the_tried_are_not,
				 the_much_nearer_of_two_is_taken,
				 who_holds_a_peer_is_no_call,
				 a_silent_peer_is_dialled_anew,
				 a_removed_peer_stays_valid_while_it_is_held,
				 what_is_shared_is_what_both_have,
				 handlers_are_found_by_method_or_for_the_whole_service,
				 who_was_away_is_asked_last,
				 handlers_are_listed_in_pages,
				 who_is_not_connected_is_not_chosen_while_others_are,
				 NULL,
			 });
}
