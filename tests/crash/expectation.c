#include "tests/crash/expectation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/journal.h"

void expectation_begin(const char *collection, const char *id, const char *value)
{
	journal_mark("begin|%s|%s|%s", collection, id, value);
}

void expectation_done(const char *collection, const char *id, const char *value)
{
	journal_mark("done|%s|%s|%s", collection, id, value);
}

void expectation_atomic(const char *collection, const char *prefix, const char *value)
{
	journal_mark("atomic|%s|%s|%s", collection, prefix, value);
}

static struct expected *find(struct expectations *e, const char *collection, const char *id,
			     bool is_batch)
{
	struct expected *x = e->all;

	for (; x < e->all + e->count; x++)
		if (!strcmp(x->collection, collection) && !strcmp(x->id, id) &&
		    x->is_batch == is_batch)
			return x;
	if (e->count++ == EXPECTED_MAX)
		abort();
	*x = (struct expected){.is_batch = is_batch};
	(void)snprintf(x->collection, sizeof(x->collection), "%s", collection);
	(void)snprintf(x->id, sizeof(x->id), "%s", id);
	return x;
}

static void add_pending(struct expected *x, const char *value)
{
	if (x->pending_count == EXPECTED_PENDING_MAX)
		abort();
	(void)snprintf(x->pending[x->pending_count++], EXPECTED_TEXT_MAX, "%s", value);
}

/* What goes with a collection that goes. */
static void records_go(struct expectations *e, const char *collection, bool is_done)
{
	for (struct expected *x = e->all; x < e->all + e->count; x++) {
		if (!*x->id || x->is_batch || strcmp(x->collection, collection) != 0)
			continue;
		if (is_done)
			*x->done = '\0', x->pending_count = 0;
		else
			add_pending(x, "");
	}
}

void expectations_take(struct expectations *e, const char *mark)
{
	char text[256], *part[4], *rest = text;

	(void)snprintf(text, sizeof(text), "%s", mark);
	for (int i = 0; i < 4; i++)
		part[i] = strsep(&rest, "|");
	if (!part[3])
		abort();
	const bool is_batch = !strcmp(part[0], "atomic");
	const bool is_done = is_batch || !strcmp(part[0], "done");
	struct expected *x = find(e, part[1], part[2], is_batch);
	if (is_done) {
		(void)snprintf(x->done, sizeof(x->done), "%s", part[3]);
		x->pending_count = 0;
	} else {
		add_pending(x, part[3]);
	}
	if (!*part[2] && !*part[3])
		records_go(e, part[1], is_done);
}

bool expected_is_record(const struct expected *e)
{
	return *e->id && !e->is_batch && !strchr(e->id, ' ');
}

const char *expected_which(const struct expected *e, const char *what)
{
	const size_t len = strlen(what);

	return !strncmp(e->id, what, len) && e->id[len] == ' ' ? e->id + len + 1 : NULL;
}

bool expected_allows(const struct expected *e, const char *value)
{
	if (!strcmp(e->done, value))
		return true;
	for (size_t i = 0; i < e->pending_count; i++)
		if (!strcmp(e->pending[i], value))
			return true;
	return false;
}
