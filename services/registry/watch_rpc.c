/*
 * Watch. Each watcher has a feed (feed.h), that is a position, and is told the
 * next when its client has taken the last: a slow one holds nothing else. One
 * thread tells all; it runs when something changed, a client took a message or a
 * watcher came, and never waits.
 */
#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/rpc/call.h"
#include "common/rpc/pool.h"
#include "services/registry/catalog.h"
#include "services/registry/feed.h"
#include "services/registry/rpc_shared.h"

enum { MAX_WATCHERS = 256 };

struct watcher {
	struct watcher *next, **link; /* link NULL: not listed */
	struct registry_watches *all;
	void *call;
	Collector__WatchResponse_Closure reply;
	struct feed *feed; /* of the thread that tells */
};

struct registry_watches {
	struct rpc_pool *thread; /* one, for tell_all() */
	pthread_mutex_t mu;      /* what follows */
	struct watcher *watchers;
	unsigned count;
	bool will_tell; /* tell_all() is queued */
	bool is_stopped;
};

/* ------------------------------------------------------------------- telling */

static void tell(struct watcher *w)
{
	Collector__WatchResponse reply = COLLECTOR__WATCH_RESPONSE__INIT;
	const struct feed_event *e;

	if (rpc_backlog(w->call) || rpc_is_cancelled(w->call) || !feed_next(w->feed, &e))
		return;
	reply.namespace_ = (char *)e->ns;
	reply.version = e->version;
	reply.changed_files = (char **)e->changed;
	reply.n_changed_files = e->changed_count;
	reply.removed_files = (char **)e->removed;
	reply.n_removed_files = e->removed_count;
	reply.file_descriptor_set.data = (uint8_t *)e->set.buf;
	reply.file_descriptor_set.len = e->set.len;
	reply.complete = e->complete;
	reply.more = e->more;
	w->reply(&reply, w->call);
}

/* Everybody who may be told something, held so that nobody is freed under it. */
static size_t hold_all(struct registry_watches *all, struct watcher **out)
{
	size_t n = 0;

	pthread_mutex_lock(&all->mu);
	all->will_tell = false;
	for (struct watcher *w = all->watchers; w; w = w->next) {
		if (rpc_try_hold(w->call))
			out[n++] = w;
	}
	pthread_mutex_unlock(&all->mu);
	return n;
}

static void tell_all(void *arg)
{
	struct watcher *watchers[MAX_WATCHERS];
	size_t count = hold_all(arg, watchers);

	for (size_t i = 0; i < count; i++) {
		tell(watchers[i]);
		rpc_release(watchers[i]->call); /* which may free the watcher */
	}
}

/* Have tell_all() run; whatever happened before this call is seen by it. */
static void wake(void *arg)
{
	struct registry_watches *all = arg;

	pthread_mutex_lock(&all->mu);
	if (!all->will_tell && !all->is_stopped && all->watchers)
		/* Never full: it is queued once at most. */
		all->will_tell = rpc_pool_submit(all->thread, tell_all, all);
	pthread_mutex_unlock(&all->mu);
}

/* ------------------------------------------------------------------ watchers */

static void unlist(struct watcher *w)
{
	if (!w->link)
		return;
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->link = NULL;
	w->all->count--;
}

/* The call is freed: nobody can reach the watcher any more. */
static void drop_watcher(void *user)
{
	struct watcher *w = user;

	pthread_mutex_lock(&w->all->mu);
	unlist(w);
	pthread_mutex_unlock(&w->all->mu);
	feed_free(w->feed);
	free(w);
}

static void cancelled(void *call)
{
	struct watcher *w = rpc_user(call);

	pthread_mutex_lock(&w->all->mu);
	unlist(w);
	pthread_mutex_unlock(&w->all->mu);
	rpc_fail(call, STATUS_CANCELLED, "the watch was cancelled");
}

static void taken(void *arg)
{
	wake(((struct watcher *)arg)->all);
}

static enum status list(struct watcher *w, struct error *err)
{
	struct registry_watches *all = w->all;
	enum status status = STATUS_OK;

	pthread_mutex_lock(&all->mu);
	if (all->is_stopped) {
		status = error_set(err, STATUS_UNAVAILABLE, "the registry is going away");
	} else if (all->count == MAX_WATCHERS) {
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
				   "%d watches are open already", MAX_WATCHERS);
	} else {
		w->next = all->watchers;
		w->link = &all->watchers;
		if (w->next)
			w->next->link = &w->next;
		all->watchers = w;
		all->count++;
	}
	pthread_mutex_unlock(&all->mu);
	return status;
}

/* ------------------------------------------------------------------- requests */

static enum status check_count(size_t count, const char *field, struct error *err)
{
	return count > CATALOG_MAX_NAMESPACES
		       ? error_field(err, field, "more than %d namespaces",
				     CATALOG_MAX_NAMESPACES)
		       : STATUS_OK;
}

static enum status read_request(const Collector__WatchRequest *request, struct feed *feed,
				struct error *err)
{
	enum status status = check_count(request->n_namespaces, "namespaces", err);

	if (status == STATUS_OK)
		status = check_count(request->n_known_versions, "known_versions", err);
	for (size_t i = 0; i < request->n_namespaces && status == STATUS_OK; i++) {
		const char *ns = request->namespaces[i];
		status = names_check_namespace(ns, "namespaces", err);
		if (status == STATUS_OK)
			feed_want(feed, names_namespace_or_default(ns));
	}
	for (size_t i = 0; i < request->n_known_versions && status == STATUS_OK; i++) {
		const char *ns = request->known_versions[i]->key;
		status = names_check_namespace(ns, "known_versions", err);
		if (status == STATUS_OK)
			feed_know(feed, names_namespace_or_default(ns),
				  request->known_versions[i]->value);
	}
	return status;
}

static void watch(Collector__CollectorRegistry_Service *service,
		  const Collector__WatchRequest *request,
		  Collector__WatchResponse_Closure reply_to, void *call)
{
	struct registry_watches *all = ((struct registry_rpc *)service)->watches;
	struct watcher *w = xcalloc(1, sizeof(*w));
	struct error err;
	enum status status;

	w->all = all;
	w->call = call;
	w->reply = reply_to;
	w->feed = feed_new(registry_rpc_catalog(service), request->include_descriptors);
	rpc_set_user(call, w, drop_watcher);
	rpc_on_sent(call, taken, w);
	/* Once listed, the call may be ended by others. */
	rpc_hold(call);
	status = read_request(request, w->feed, &err);
	if (status == STATUS_OK)
		status = list(w, &err);
	if (status == STATUS_OK) {
		rpc_on_cancel(call, cancelled, call);
		wake(all);
	} else {
		rpc_fail_error(call, &err);
	}
	rpc_release(call);
}

/* ---------------------------------------------------------------------- life */

struct registry_watches *registry_watches_new(struct catalog *catalog)
{
	struct registry_watches *all = xcalloc(1, sizeof(*all));

	pthread_mutex_init(&all->mu, NULL);
	all->thread = rpc_pool_new("watch", 1, 1);
	catalog_on_change(catalog, wake, all);
	return all;
}

void registry_watches_end(struct registry_watches *all)
{
	struct watcher *watchers[MAX_WATCHERS];
	size_t count = 0;

	pthread_mutex_lock(&all->mu);
	all->is_stopped = true;
	while (all->watchers) {
		struct watcher *w = all->watchers;
		if (rpc_try_hold(w->call))
			watchers[count++] = w;
		unlist(w);
	}
	pthread_mutex_unlock(&all->mu);
	for (size_t i = 0; i < count; i++) {
		void *call = watchers[i]->call;
		rpc_fail(call, STATUS_UNAVAILABLE, "the registry is going away");
		rpc_release(call);
	}
}

void registry_watches_free(struct registry_watches *all)
{
	rpc_pool_free(all->thread);
	pthread_mutex_destroy(&all->mu);
	free(all);
}

void registry_rpc_set_watch_methods(struct registry_rpc *r)
{
	r->service.watch = watch;
}
