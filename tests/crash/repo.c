/*
 * Every crash of the repo's writing, one by one.
 *
 *	tests/crash/repo               all crash points of all scenarios
 *	tests/crash/repo --all [NAME]  also a kill between any two writes of SQLite, of the
 *	                               scenarios whose name begins so
 *	tests/crash/repo --mutations   each sync taken away: a scenario must fail
 *
 * A scenario runs in a process of its own and is recorded: every write, sync and
 * change of a directory below the repo's data, SQLite's too. From the record the
 * disk is made as a crash after each event would leave it, in the three ways of
 * disk.h; the repo is opened on each, and all that was acknowledged must be there.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "services/repo/directory.h"
#include "tests/crash/disk.h"
#include "tests/crash/journal.h"
#include "tests/crash/vfs.h"
#include "tests/crash/world.h"

enum { PHASES_MAX = 4, KEYS_MAX = 64 };

struct scenario {
	const char *name;
	/* One process each, the next begins when it has ended. NULL: no more. */
	void (*phases[PHASES_MAX])(struct world *w);
	/* This one, counted from 1, is killed at each of its events in turn; 0: none is. */
	int killed_phase;
};

struct run {
	const struct scenario *scenario;
	char directory[64]; /* of all this */
	char *live, *image;
	uint64_t live_inode;
	bool is_quiet, has_all;
	const char *wanted; /* what names begin with */
	size_t checks;
};

/* ------------------------------------------------------------ scenarios */

/* What world_open() and world_close() do. */
static void start(struct world *w)
{
	(void)w;
}

static void create_collection(struct world *w)
{
	world_create(w, "a");
	world_put(w, "a", "1", "one");
}

static void delete_and_create_again(struct world *w)
{
	world_put(w, "a", "1", "two");
	world_delete(w, "a");
	world_create(w, "a");
	world_put(w, "a", "2", "three");
	world_create(w, "b");
	world_delete(w, "b");
}

static void create_another(struct world *w)
{
	world_create(w, "b");
	world_put(w, "b", "1", "one");
}

static void read_another(struct world *w)
{
	world_read(w, "b", "1");
}

static void write_records(struct world *w)
{
	world_create(w, "a");
	world_put(w, "a", "1", "one");
	world_put_many(w, "a", "m", "many", 6);
	world_put(w, "a", "1", "two");
	world_remove(w, "a", "m3");
	world_put(w, "a", "m4", "four");
	world_put_batch(w, "a", "b", "batch", 4);
	world_put_batch(w, "a", "b", "again", 4);
}

/* So much that SQLite moves the log into the database, and begins the log again. */
static void write_much(struct world *w)
{
	world_create(w, "a");
	for (int i = 0; i < 6; i++) {
		AUTO_FREE char *id = xasprintf("l%d", i);

		world_put_large(w, "a", id, "large", 1 << 20);
	}
	world_put(w, "a", "1", "after");
	world_put(w, "a", "2", "and more");
}

static void put_files(struct world *w)
{
	world_create(w, "a");
	/* SQLite's first sync of its log, of the directory too, is over then. */
	world_put(w, "a", "1", "one");
	world_put_file(w, "a", "f", "one");
	world_put_file(w, "a", "d/g", "two");
	world_put_file(w, "a", "f", "three");
	world_remove_file(w, "a", "d/g");
	world_put_file(w, "a", "h", "four");
}

static void put_files_again(struct world *w)
{
	world_put_file(w, "a", "f", "five");
	world_remove_file(w, "a", "h");
}

static void put_directories(struct world *w)
{
	world_create(w, "a");
	world_put(w, "a", "1", "one");
	world_put_file(w, "a", "d/old", "old");
	world_put_dir(w, "a", "d", "one", 3, "d/old");
	world_put_dir(w, "a", "d", "two", 3, NULL);
}

static void put_directories_again(struct world *w)
{
	world_put_dir(w, "a", "d", "three", 3, NULL);
	world_put_file(w, "a", "after", "four");
}

static void modify(struct world *w)
{
	world_create(w, "a");
	world_put_many(w, "a", "m", "many", 4);
	world_modify(w, "a", "namespace", WORLD_TEXT_NAME);
	/* While it is built. */
	world_put(w, "a", "m1", "one");
	world_remove(w, "a", "m2");
	world_wait_built(w, "a");
	world_put(w, "a", "m3", "three");
}

static void modify_again(struct world *w)
{
	world_modify(w, "a", "name", WORLD_TEXT_NONE);
	world_wait_built(w, "a");
	world_put(w, "a", "m4", "four");
	world_modify(w, "a", "name", WORLD_TEXT_ALL);
	world_put(w, "a", "m4", "five");
	world_wait_built(w, "a");
}

static void modify_vectors(struct world *w)
{
	world_create_vectors(w, "a");
	world_put_many(w, "a", "m", "many", 3);
	world_put(w, "a", "m1", "one");
	world_modify_vectors(w, "a", "far");
	/* While they are collected. */
	world_put(w, "a", "m2", "two");
	world_remove(w, "a", "m0");
	world_put(w, "a", "n", "new");
	world_wait_built(w, "a");
	world_put(w, "a", "m1", "three");
}

static void modify_vectors_again(struct world *w)
{
	/* The tables of the first ones are used again. */
	world_modify_vectors(w, "a", "near");
	world_put(w, "a", "m2", "four");
	world_wait_built(w, "a");
	world_modify_vectors(w, "a", "none");
	world_put(w, "a", "m2", "five");
	world_wait_built(w, "a");
}

static void modify_quota(struct world *w)
{
	world_create(w, "a");
	world_put_many(w, "a", "m", "many", 3);
	world_modify_quota(w, "a", 3);
	world_remove(w, "a", "m0");
	world_modify_quota(w, "a", 2);
	world_put(w, "a", "m1", "one");
	world_modify_quota(w, "a", 0);
	world_put(w, "a", "m4", "four");
}

static void lease_records(struct world *w)
{
	world_create(w, "a");
	world_put(w, "a", "1", "one");
	world_put(w, "a", "2", "two");
	world_lease(w, "a", "1", "one", 1);
	world_lease(w, "a", "2", "two", 2);
	world_release(w, "a", "1", 1);
}

static void lease_again(struct world *w)
{
	world_lease(w, "a", "1", "one", 3);
	world_release(w, "a", "2", 2);
	world_release(w, "a", "1", 3);
	world_lease(w, "a", "2", "two", 4);
}

static const struct scenario scenarios[] = {
	{"the first start", {start, start}, 0},
	{"CreateCollection, DeleteCollection", {create_collection, delete_and_create_again}, 0},
	{"Create, Update, Delete, groups, Batch", {write_records, start}, 0},
	{"a checkpoint", {write_much}, 0},
	{"PutFile, DeleteFile", {put_files, put_files_again}, 0},
	{"PutDir", {put_directories, put_directories_again}, 0},
	{"Modify", {modify, modify_again}, 0},
	{"Modify: vectors", {modify_vectors, modify_vectors_again}, 0},
	{"Modify: a quota", {modify_quota, start}, 0},
	{"Lease, Release", {lease_records, lease_again}, 0},
	{"killed at the first start, then the power fails",
	 {create_collection, create_collection},
	 1},
	{"killed later, then the power fails",
	 {create_collection, create_another, read_another},
	 2},
};

/* ------------------------------------------------------------ recording */

/* A phase in a process of its own. Its exit code; 77: killed as asked. */
static int run_phase(const struct run *run, void (*phase)(struct world *w), size_t kill_at)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		abort();
	if (child == 0) {
		struct world w;

		journal_record(run->live, kill_at);
		world_open(&w, run->live);
		phase(&w);
		world_close(&w);
		exit(0);
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void make_empty(const char *path)
{
	directory_remove(path);
	if (mkdir(path, 0700) != 0)
		abort();
}

/* Record the scenario; false: it did not go as it should without any crash. */
static bool record(struct run *run, size_t kill_at, bool *ret_was_killed)
{
	const struct scenario *s = run->scenario;
	struct stat st;

	make_empty(run->live);
	if (stat(run->live, &st) != 0)
		abort();
	run->live_inode = st.st_ino;
	journal_clear();
	*ret_was_killed = false;
	for (int i = 0; i < PHASES_MAX && s->phases[i]; i++) {
		const bool is_killed = i + 1 == s->killed_phase;
		int code = run_phase(run, s->phases[i], is_killed ? kill_at : 0);

		if (is_killed && code == JOURNAL_EXIT_KILLED)
			*ret_was_killed = true;
		else if (code != 0)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------ crashing */

static bool check_in_child(const struct run *run, const struct expectations *e)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		abort();
	if (child == 0) {
		if (run->is_quiet && !freopen("/dev/null", "w", stderr))
			abort();
		/* The sanitizer's leaks are looked for in the scenarios: here it would take long. */
		_exit(world_is_as_expected(run->image, e) ? 0 : 1);
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

static void tell(const struct run *run, enum disk_crash crash, size_t number,
		 const struct event *e)
{
	static const char *const crashes[DISK_CRASHES] = {
		"only what was synced stays", "names stay, bytes only if synced", "all stays"};

	if (!run->is_quiet)
		fprintf(stderr, "     a crash after event %zu (type %d, \"%s\"): %s\n", number,
			(int)e->type, e->name, crashes[crash]);
}

/* Crash after every event, or whenever something is done. False: it was not there. */
static bool crash_everywhere(struct run *run, uint64_t lost_key, bool only_when_told)
{
	struct disk *disk = disk_new(run->live_inode, lost_key);
	struct expectations *expected = xcalloc(1, sizeof(*expected));
	struct event e;
	size_t at = 0, number = 0;
	bool good = true;

	while (good && journal_next(&at, &e)) {
		unsigned crashes = disk_apply(disk, &e);

		number++;
		if (e.type == EVENT_MARK)
			expectations_take(expected, e.name);
		/* A kill between two writes is SQLite's own business, and tested there. */
		if (!run->has_all && (e.type == EVENT_WRITE || e.type == EVENT_TRUNCATE))
			crashes = 0;
		if (only_when_told)
			crashes = e.type == EVENT_MARK ? crashes & 1U << DISK_SYNCED_ONLY : 0;
		for (enum disk_crash c = 0; good && c < DISK_CRASHES; c++) {
			if (!(crashes & 1U << c))
				continue;
			make_empty(run->image);
			disk_write(disk, c, run->image);
			good = check_in_child(run, expected);
			run->checks++;
			if (!good)
				tell(run, c, number, &e);
		}
	}
	free(expected);
	disk_free(disk);
	return good;
}

/* All crashes of a scenario, with a sync taken away (0: none). */
static bool run_all(struct run *run, uint64_t lost_key)
{
	bool was_killed, good;
	size_t kill_at = run->scenario->killed_phase ? 1 : 0;

	do {
		good = record(run, kill_at, &was_killed) &&
		       crash_everywhere(run, lost_key, was_killed);
		kill_at += kill_at > 0;
	} while (good && was_killed);
	return good;
}

/* ------------------------------------------------------------ mutations */

struct keys {
	uint64_t all[KEYS_MAX];
	bool is_needed[KEYS_MAX];
	size_t count;
};

static void collect_keys(struct keys *keys)
{
	struct event e;
	size_t at = 0;

	while (journal_next(&at, &e)) {
		size_t i = 0;

		if (e.type != EVENT_SYNC || e.key == journal_named_key("SQLite: journal"))
			continue;
		while (i < keys->count && keys->all[i] != e.key)
			i++;
		if (i == KEYS_MAX)
			abort();
		if (i == keys->count)
			keys->all[keys->count++] = e.key;
	}
}

/* Which syncs a scenario needs that were not known to be needed. */
static bool try_keys(struct run *run, struct keys *keys)
{
	size_t kill_at = run->scenario->killed_phase ? 1 : 0;
	bool was_killed;

	do {
		if (!record(run, kill_at, &was_killed))
			return false;
		collect_keys(keys);
		for (size_t k = 0; k < keys->count; k++)
			if (!keys->is_needed[k])
				keys->is_needed[k] =
					!crash_everywhere(run, keys->all[k], was_killed);
		kill_at += kill_at > 0;
	} while (was_killed);
	return true;
}

/* The same sync, reached on another way, may be needed there only. */
static bool is_needed(const struct keys *keys, size_t k)
{
	for (size_t i = 0; i < keys->count; i++)
		if (keys->is_needed[i] && journal_is_same_sync(keys->all[i], keys->all[k]))
			return true;
	return false;
}

/* Each sync of the code, taken away, must lose something in one of the scenarios. */
static int run_mutations(struct run *run)
{
	const size_t count = sizeof(scenarios) / sizeof(scenarios[0]);
	struct keys keys = {.count = 0};
	size_t needed = 0;

	run->is_quiet = true;
	for (size_t i = 0; i < count; i++) {
		run->scenario = &scenarios[i];
		if (!try_keys(run, &keys))
			return 1;
	}
	for (size_t k = 0; k < keys.count; k++) {
		char where[1024];

		journal_describe_key(keys.all[k], where, sizeof(where));
		const bool good = is_needed(&keys, k);

		printf("%s without the sync of %s\n", good ? "ok   fails" : "FAIL passes",
		       where);
		needed += good;
	}
	printf("%zu passed, %zu failed\n", needed, keys.count - needed);
	return needed != keys.count;
}

/* ------------------------------------------------------------ main */

static int run_scenarios(struct run *run)
{
	const size_t count = sizeof(scenarios) / sizeof(scenarios[0]);
	size_t passed = 0, failed = 0;

	for (size_t i = 0; i < count; i++) {
		if (strncmp(scenarios[i].name, run->wanted, strlen(run->wanted)) != 0)
			continue;
		run->scenario = &scenarios[i];
		run->checks = 0;
		bool good = run_all(run, 0);
		printf("%s crash/repo: %s (%zu crashes)\n", good ? "ok  " : "FAIL",
		       scenarios[i].name, run->checks);
		fflush(stdout);
		passed += good;
		failed += !good;
	}
	printf("%zu passed, %zu failed\n", passed, failed);
	return failed != 0 || !passed;
}

int main(int argc, char **argv)
{
	struct run run = {.directory = "/dev/shm/collector-crash-XXXXXX"};
	int code;

	/* Nothing here relies on what the directory is on: the syncs are the model's. */
	if (!mkdtemp(run.directory)) {
		(void)snprintf(run.directory, sizeof(run.directory),
			       "/tmp/collector-crash-XXXXXX");
		if (!mkdtemp(run.directory))
			return 2;
	}
	run.live = xasprintf("%s/live", run.directory);
	run.image = xasprintf("%s/image", run.directory);
	journal_init();
	vfs_register();
	run.wanted = argc > 2 ? argv[2] : "";
	run.has_all = argc > 1 && !strcmp(argv[1], "--all");
	code = argc > 1 && !strcmp(argv[1], "--mutations") ? run_mutations(&run)
							   : run_scenarios(&run);
	directory_remove(run.directory);
	free(run.live);
	free(run.image);
	return code;
}
