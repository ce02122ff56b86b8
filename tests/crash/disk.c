#include "tests/crash/disk.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"

enum { ENTRIES_MAX = 64, NODES_MAX = 4096 };

struct entry {
	char name[128];
	struct node *node;
};

/* A file's bytes or a directory's entries, at one moment. */
struct state {
	uint8_t *bytes;
	size_t size;
	struct entry *entries; /* of a directory: room for ENTRIES_MAX */
	size_t entry_count;
};

struct node {
	uint64_t inode;
	bool is_directory;
	struct state now, synced;
};

struct disk {
	struct node *nodes[NODES_MAX]; /* the latest of an inode's number is meant */
	size_t node_count;
	struct node *root;
	uint64_t lost_key;
};

static struct node *add_node(struct disk *disk, uint64_t inode, bool is_directory)
{
	struct node *node = xcalloc(1, sizeof(*node));

	if (disk->node_count == NODES_MAX)
		abort();
	node->inode = inode;
	node->is_directory = is_directory;
	if (is_directory) {
		node->now.entries = xcalloc(ENTRIES_MAX, sizeof(struct entry));
		node->synced.entries = xcalloc(ENTRIES_MAX, sizeof(struct entry));
	}
	disk->nodes[disk->node_count++] = node;
	return node;
}

static struct node *find_node(const struct disk *disk, uint64_t inode)
{
	for (size_t i = disk->node_count; i > 0; i--)
		if (disk->nodes[i - 1]->inode == inode)
			return disk->nodes[i - 1];
	fprintf(stderr, "an event on a file that was never made\n");
	abort();
}

struct disk *disk_new(uint64_t root_inode, uint64_t lost_key)
{
	struct disk *disk = xcalloc(1, sizeof(*disk));

	disk->lost_key = lost_key;
	disk->root = add_node(disk, root_inode, true);
	return disk;
}

void disk_free(struct disk *disk)
{
	for (size_t i = 0; i < disk->node_count; i++) {
		struct node *node = disk->nodes[i];

		free(node->now.bytes);
		free(node->now.entries);
		free(node->synced.bytes);
		free(node->synced.entries);
		free(node);
	}
	free(disk);
}

/* ------------------------------------------------------------ events */

static struct entry *find_entry(struct node *directory, const char *name)
{
	for (size_t i = 0; i < directory->now.entry_count; i++)
		if (!strcmp(directory->now.entries[i].name, name))
			return &directory->now.entries[i];
	return NULL;
}

static struct node *remove_entry(struct node *directory, const char *name)
{
	struct entry *entry = find_entry(directory, name);
	struct node *node;

	if (!entry)
		abort();
	node = entry->node;
	*entry = directory->now.entries[--directory->now.entry_count];
	return node;
}

static bool is_shared_memory(const char *name)
{
	static const char suffix[] = "-shm";
	const size_t len = strlen(name);

	return len >= sizeof(suffix) && !strcmp(name + len - (sizeof(suffix) - 1), suffix);
}

static void put_entry(struct node *directory, const char *name, struct node *node)
{
	struct entry *entry = find_entry(directory, name);

	if (!entry) {
		if (directory->now.entry_count == ENTRIES_MAX)
			abort();
		entry = &directory->now.entries[directory->now.entry_count++];
		(void)snprintf(entry->name, sizeof(entry->name), "%s", name);
	}
	entry->node = node;
}

static void resize(struct node *file, size_t size)
{
	file->now.bytes = xreallocarray(file->now.bytes, size + 1, 1);
	if (size > file->now.size)
		memset(file->now.bytes + file->now.size, 0, size - file->now.size);
	file->now.size = size;
}

static bool sync_node(struct node *node)
{
	struct state *now = &node->now, *synced = &node->synced;

	if (node->is_directory) {
		const size_t size = ENTRIES_MAX * sizeof(struct entry);
		const bool same = now->entry_count == synced->entry_count &&
				  !memcmp(now->entries, synced->entries,
					  now->entry_count * sizeof(struct entry));

		memcpy(synced->entries, now->entries, size);
		synced->entry_count = now->entry_count;
		return !same;
	}
	if (now->size == synced->size && now->size &&
	    !memcmp(now->bytes, synced->bytes, now->size))
		return false;
	synced->bytes = xreallocarray(synced->bytes, now->size + 1, 1);
	if (now->size)
		memcpy(synced->bytes, now->bytes, now->size);
	synced->size = now->size;
	return true;
}

static unsigned bit(enum disk_crash crash)
{
	return 1U << crash;
}

unsigned disk_apply(struct disk *disk, const struct event *e)
{
	struct node *node;
	const size_t end = (size_t)e->offset + e->data_size;

	switch (e->type) {
	case EVENT_CREATE:
	case EVENT_MKDIR:
		node = add_node(disk, e->file, e->type == EVENT_MKDIR);
		put_entry(find_node(disk, e->directory), e->name, node);
		return bit(DISK_NAMES_TOO) | bit(DISK_ALL);
	case EVENT_WRITE:
		node = find_node(disk, e->file);
		if (end > node->now.size)
			resize(node, end);
		memcpy(node->now.bytes + e->offset, e->data, e->data_size);
		return bit(DISK_ALL);
	case EVENT_TRUNCATE:
		resize(find_node(disk, e->file), (size_t)e->offset);
		return bit(DISK_ALL);
	case EVENT_SYNC:
		if (e->key == disk->lost_key || !sync_node(find_node(disk, e->file)))
			return 0;
		return bit(DISK_SYNCED_ONLY) | bit(DISK_NAMES_TOO);
	case EVENT_RENAME:
		node = remove_entry(find_node(disk, e->directory), e->name);
		put_entry(find_node(disk, e->to_directory), e->to, node);
		return bit(DISK_NAMES_TOO) | bit(DISK_ALL);
	case EVENT_REMOVE:
		/* SQLite makes its shared memory without its VFS; nothing of it need survive. */
		if (is_shared_memory(e->name))
			return 0;
		(void)remove_entry(find_node(disk, e->directory), e->name);
		return bit(DISK_NAMES_TOO) | bit(DISK_ALL);
	case EVENT_MARK:
		/* What is only begun asks for no more than before; what is all there has it. */
		return strncmp(e->name, "done", 4)
			       ? 0
			       : bit(DISK_SYNCED_ONLY) | bit(DISK_NAMES_TOO);
	}
	return 0;
}

/* ------------------------------------------------------------ the crash */

static void write_file(const struct state *state, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	for (size_t at = 0; fd >= 0 && at < state->size;) {
		ssize_t written = write(fd, state->bytes + at, state->size - at);

		if (written <= 0)
			abort();
		at += (size_t)written;
	}
	if (fd < 0 || close(fd) != 0)
		abort();
}

static void write_node(const struct node *node, enum disk_crash crash, const char *path)
{
	const struct state *entries = crash == DISK_SYNCED_ONLY ? &node->synced : &node->now;

	if (!node->is_directory) {
		write_file(crash == DISK_ALL ? &node->now : &node->synced, path);
		return;
	}
	for (size_t i = 0; i < entries->entry_count; i++) {
		AUTO_FREE char *inner = xasprintf("%s/%s", path, entries->entries[i].name);

		if (entries->entries[i].node->is_directory && mkdir(inner, 0700) != 0)
			abort();
		write_node(entries->entries[i].node, crash, inner);
	}
}

void disk_write(const struct disk *disk, enum disk_crash crash, const char *path)
{
	write_node(disk->root, crash, path);
}
