#include "tests/crash/journal.h"

#include <execinfo.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/hash.h"

enum {
	BYTES_MAX = 512 << 20, /* of address space; what is not used takes no memory */
	KEYS_MAX = 256,
	/* The wrapper and journal_caller_key() itself, then who is told apart. */
	FRAMES_OWN = 2,
	FRAMES_KEY = 3,
};

struct key {
	uint64_t key;
	void *frames[FRAMES_KEY];
	char name[32];
};

struct journal {
	size_t used;
	size_t key_count;
	struct key keys[KEYS_MAX];
	uint8_t bytes[];
};

static struct journal *journal;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static char watched_root[256];
static size_t root_len, killed_at, own_events;

void journal_init(void)
{
	void *frames[FRAMES_KEY];

	journal = mmap(NULL, BYTES_MAX, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (journal == MAP_FAILED)
		abort();
	/* The first call loads a library. */
	(void)backtrace(frames, FRAMES_KEY);
}

void journal_clear(void)
{
	journal->used = 0;
}

void journal_record(const char *root, size_t kill_at)
{
	(void)snprintf(watched_root, sizeof(watched_root), "%s", root);
	root_len = strlen(watched_root);
	killed_at = kill_at;
	own_events = 0;
}

bool journal_is_recording(void)
{
	return root_len > 0;
}

bool journal_covers(const char *path)
{
	return root_len && !strncmp(path, watched_root, root_len) &&
	       (!path[root_len] || path[root_len] == '/');
}

void journal_lock(void)
{
	pthread_mutex_lock(&mu);
}

void journal_unlock(void)
{
	pthread_mutex_unlock(&mu);
}

static void put(const void *data, size_t size)
{
	if (size)
		memcpy(journal->bytes + journal->used, data, size);
	journal->used += size;
}

void journal_add(const struct event *event)
{
	const size_t name = event->name ? strlen(event->name) + 1 : 0;
	const size_t to = event->to ? strlen(event->to) + 1 : 0;
	struct event copy = *event;

	if (event->type != EVENT_WRITE && event->type != EVENT_TRUNCATE)
		own_events++;
	/* Before a sync: after it nothing is lost that the next event does not show too. */
	if (killed_at && own_events >= killed_at && event->type == EVENT_SYNC)
		_exit(JOURNAL_EXIT_KILLED);
	if (sizeof(*journal) + journal->used + sizeof(copy) + name + to + copy.data_size + 8 >
	    BYTES_MAX)
		abort();
	/* Lengths in place of pointers, which journal_next() makes again. */
	copy.name = (const char *)name;
	copy.to = (const char *)to;
	put(&copy, sizeof(copy));
	put(event->name, name);
	put(event->to, to);
	put(event->data, copy.data_size);
	journal->used = (journal->used + 7) & ~(size_t)7;
	if (killed_at && own_events >= killed_at)
		_exit(JOURNAL_EXIT_KILLED);
}

void journal_mark(const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!journal_is_recording())
		return;
	journal_lock();
	journal_add(&(struct event){.type = EVENT_MARK, .name = text});
	journal_unlock();
}

bool journal_next(size_t *at, struct event *ret)
{
	const uint8_t *p = journal->bytes + *at;
	size_t name, to;

	if (*at >= journal->used)
		return false;
	memcpy(ret, p, sizeof(*ret));
	name = (size_t)ret->name;
	to = (size_t)ret->to;
	p += sizeof(*ret);
	ret->name = name ? (const char *)p : "";
	ret->to = to ? (const char *)p + name : "";
	ret->data = p + name + to;
	*at = ((size_t)(ret->data - journal->bytes) + ret->data_size + 7) & ~(size_t)7;
	return true;
}

/* ------------------------------------------------------------ keys */

/* The same in every process, as hash_bytes() is not. */
static uint64_t fixed_hash(const void *data, size_t size)
{
	static const uint8_t no_key[HASH_KEY_BYTES];

	return hash_siphash(no_key, data, size);
}

static uint64_t remember(struct key key)
{
	for (size_t i = 0; i < journal->key_count; i++)
		if (journal->keys[i].key == key.key)
			return key.key;
	if (journal->key_count == KEYS_MAX)
		abort();
	journal->keys[journal->key_count++] = key;
	return key.key;
}

uint64_t journal_caller_key(void)
{
	void *frames[FRAMES_OWN + FRAMES_KEY] = {NULL};
	struct key key = {0};

	(void)backtrace(frames, FRAMES_OWN + FRAMES_KEY);
	memcpy(key.frames, frames + FRAMES_OWN, sizeof(key.frames));
	key.key = fixed_hash(key.frames, sizeof(key.frames));
	return remember(key);
}

uint64_t journal_named_key(const char *name)
{
	struct key key = {.key = fixed_hash(name, strlen(name))};

	(void)snprintf(key.name, sizeof(key.name), "%s", name);
	return remember(key);
}

static const struct key *find_key(uint64_t key)
{
	for (size_t i = 0; i < journal->key_count; i++)
		if (journal->keys[i].key == key)
			return &journal->keys[i];
	return NULL;
}

bool journal_is_same_sync(uint64_t a, uint64_t b)
{
	const struct key *x = find_key(a), *y = find_key(b);

	return a == b || (x && y && x->frames[0] && x->frames[0] == y->frames[0] &&
			  x->frames[1] == y->frames[1]);
}

/* One "function at file:line" of what backtrace() gave, by the binary's debug data. */
static void describe_frame(void *frame, char *out, size_t size)
{
	char **symbols = backtrace_symbols(&frame, 1);
	/* "program(symbol+0x12) [0x...]" or "program(+0x1234) [0x...]" */
	char *open = symbols ? strchr(symbols[0], '(') : NULL;
	char command[512], line[256] = "";

	if (open) {
		extern char __executable_start;
		unsigned long offset = (unsigned long)((char *)frame - &__executable_start);

		*open = '\0';
		/* The call is before where it returns to. */
		(void)snprintf(command, sizeof(command),
			       "addr2line -sfe '%s' 0x%lx 2>/dev/null", symbols[0], offset - 1);
		FILE *pipe = popen(command, "r");
		char function[128] = "?", where[128] = "?";

		if (pipe && fscanf(pipe, "%127s %127s", function, where) == 2)
			(void)snprintf(line, sizeof(line), "%s %s", function, where);
		if (pipe)
			(void)pclose(pipe);
	}
	(void)snprintf(out, size, "%s", *line ? line : "?");
	free(symbols);
}

void journal_describe_key(uint64_t key, char *out, size_t size)
{
	const struct key *found = find_key(key);
	size_t used = 0;

	if (!found || *found->name) {
		(void)snprintf(out, size, "%s", found ? found->name : "?");
		return;
	}
	for (int i = 0; i < FRAMES_KEY && used < size; i++) {
		char frame[256];

		describe_frame(found->frames[i], frame, sizeof(frame));
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? " < " : "",
					 frame);
	}
}
