#include "services/console/ctl/import.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/record.h"
#include "services/console/ctl/session.h"

enum {
	DEFAULT_IN_FLIGHT = 64,
	MAX_IN_FLIGHT = 1024,
	MAX_REPORTED = 20, /* failures told one by one */
	PROGRESS_EVERY = 1000,
};

enum on_conflict { CONFLICT_FAIL, CONFLICT_SKIP, CONFLICT_REPLACE };

struct import {
	struct session *s;
	const char *collection;
	const struct pool_message *type;
	enum on_conflict on_conflict;
	struct rpc_options options;
	unsigned max_in_flight;
	bool progress;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t one_done;
	unsigned in_flight;
	unsigned long stored, skipped, failed;
};

struct line {
	struct import *import;
	unsigned long number;
};

/* Holds im->mu. */
static void report(struct import *im, unsigned long number, const char *where, const char *what)
{
	im->failed++;
	if (im->failed <= MAX_REPORTED)
		fprintf(stderr, "line %lu: %s%s%s\n", number, where, *where ? ": " : "", what);
	else if (im->failed == MAX_REPORTED + 1)
		fputs("further failures are only counted\n", stderr);
}

static void line_done(void *arg, enum status status, const struct error *err,
		      struct bytes reply, const struct rpc_outcome *outcome)
{
	struct line *line = arg;
	struct import *im = line->import;

	(void)reply;
	(void)outcome;
	pthread_mutex_lock(&im->mu);
	if (status == STATUS_OK)
		im->stored++;
	else if (status == STATUS_ALREADY_EXISTS && im->on_conflict == CONFLICT_SKIP)
		im->skipped++;
	else
		report(im, line->number, status_name(status), err->message);
	if (im->progress && (im->stored + im->skipped) % PROGRESS_EVERY == 0)
		fprintf(stderr, "\r%lu records", im->stored + im->skipped);
	im->in_flight--;
	pthread_cond_signal(&im->one_done);
	pthread_mutex_unlock(&im->mu);
	free(line);
}

static void fail_line(struct import *im, unsigned long number, const char *what)
{
	pthread_mutex_lock(&im->mu);
	report(im, number, "", what);
	pthread_mutex_unlock(&im->mu);
}

/* An UpdateRequest has namespace, collection, id, item as 1 to 4 and
 * allow_missing as 101. */
static void put_replace(struct strbuf *out, const struct import *im, const char *id,
			struct bytes item)
{
	wire_add_string(out, 1, im->s->ns);
	wire_add_string(out, 2, im->collection);
	wire_add_string(out, 3, id);
	session_put_any(out, 4, im->type->full_name, item);
	wire_add_uint(out, 101, 1);
}

static void send_line(struct import *im, unsigned long number, const char *id,
		      struct bytes item)
{
	AUTO_STRBUF request = STRBUF_INIT;
	bool replace = im->on_conflict == CONFLICT_REPLACE && *id;
	struct line *line = xmalloc(sizeof(*line));

	if (replace)
		put_replace(&request, im, id, item);
	else
		record_put_create(&request, im->s->ns, im->collection, id, im->type->full_name,
				  item);
	*line = (struct line){im, number};
	pthread_mutex_lock(&im->mu);
	while (im->in_flight >= im->max_in_flight)
		pthread_cond_wait(&im->one_done, &im->mu);
	im->in_flight++;
	pthread_mutex_unlock(&im->mu);
	rpc_start_raw(im->s->front_door,
		      replace ? "/collector.CollectionService/Update"
			      : "/collector.CollectionService/Create",
		      bytes_of(request.buf, request.len), &im->options, line_done, line, NULL);
}

/* {"id": "...", "item": {...}}, or a bare record. */
static void take_line(struct import *im, unsigned long number, const char *text, size_t len)
{
	AUTO_STRBUF wire = STRBUF_INIT;
	json_error_t problem;
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &problem);
	json_t *item = json_object_get(value, "item"), *id = json_object_get(value, "id");
	bool wrapped = json_is_object(item) && json_object_size(value) == (id ? 2 : 1);
	char *item_text = wrapped ? json_dumps(item, JSON_COMPACT) : NULL;
	struct error err;

	if (!json_is_object(value))
		fail_line(im, number, value ? "not a JSON object" : problem.text);
	else if (wrapped && id && !json_is_string(id))
		fail_line(im, number, "the id is not a string");
	else if (json_to_wire(im->s->types, im->type, wrapped ? item_text : text,
			      wrapped ? strlen(item_text) : len, 0, &wire, &err) != STATUS_OK)
		fail_line(im, number, err.message);
	else
		send_line(im, number, wrapped && id ? json_string_value(id) : "",
			  bytes_of(wire.buf, wire.len));
	free(item_text);
	json_decref(value);
}

static void read_lines(struct import *im, FILE *in)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t len;

	for (unsigned long number = 1; (len = getline(&text, &room, in)) >= 0; number++)
		if (len && strspn(text, " \t\r\n") < (size_t)len)
			take_line(im, number, text, (size_t)len);
	free(text);
	pthread_mutex_lock(&im->mu);
	while (im->in_flight)
		pthread_cond_wait(&im->one_done, &im->mu);
	if (ferror(in))
		report(im, 0, "", strerror(errno));
	pthread_mutex_unlock(&im->mu);
}

static bool parse_options(struct import *im, const struct arguments *args)
{
	const char *conflict = arguments_value(args, "on-conflict");
	const char *in_flight = arguments_value(args, "in-flight");
	unsigned long n = in_flight ? strtoul(in_flight, NULL, 10) : DEFAULT_IN_FLIGHT;

	if (n < 1 || n > MAX_IN_FLIGHT) {
		fprintf(stderr, "collectorctl: --in-flight is 1 to %d\n", MAX_IN_FLIGHT);
		return false;
	}
	im->max_in_flight = (unsigned)n;
	if (!conflict || !strcmp(conflict, "fail"))
		im->on_conflict = CONFLICT_FAIL;
	else if (!strcmp(conflict, "skip"))
		im->on_conflict = CONFLICT_SKIP;
	else if (!strcmp(conflict, "replace"))
		im->on_conflict = CONFLICT_REPLACE;
	else {
		fputs("collectorctl: --on-conflict is fail, skip or replace\n", stderr);
		return false;
	}
	im->progress = isatty(STDERR_FILENO) && !arguments_has(args, "quiet");
	return true;
}

static void summarize(const struct import *im, uint64_t started_ns)
{
	double seconds = (double)(clock_monotonic_ns() - started_ns) / 1e9;

	if (im->progress)
		fputc('\r', stderr);
	if (im->s->output == OUTPUT_JSON) {
		json_t *sum =
			json_pack("{s:I, s:I, s:I, s:f}", "stored", (json_int_t)im->stored,
				  "skipped", (json_int_t)im->skipped, "failed",
				  (json_int_t)im->failed, "seconds", seconds);
		output_json(sum);
		json_decref(sum);
	} else {
		printf("imported %lu records into %s/%s in %.1f s, %lu skipped, %lu failed\n",
		       im->stored, im->s->ns, im->collection, seconds, im->skipped, im->failed);
	}
}

int import_run(struct session *s, const struct arguments *args)
{
	struct import im = {.s = s,
			    .collection = args->positional[0],
			    .options = session_options(s),
			    .mu = PTHREAD_MUTEX_INITIALIZER,
			    .one_done = PTHREAD_COND_INITIALIZER};
	const char *path = args->positional[1], *type = arguments_value(args, "type");
	uint64_t started = clock_monotonic_ns();
	struct error err;
	enum status status;
	FILE *in;

	if (!parse_options(&im, args))
		return EXIT_CODE_USAGE;
	status = type ? session_message_type(s, type, &im.type, &err)
		      : record_type_of(s, im.collection, &im.type, &err);
	if (status != STATUS_OK)
		return session_fail(&err);
	in = strcmp(path, "-") ? fopen(path, "r") : stdin;
	if (!in) {
		fprintf(stderr, "collectorctl: %s: %s\n", path, strerror(errno));
		return 1;
	}
	read_lines(&im, in);
	if (in != stdin)
		fclose(in);
	summarize(&im, started);
	return im.failed ? 1 : 0;
}
