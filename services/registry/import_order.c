#include "services/registry/import_order.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/reflect/wire.h"

enum { FILE_NAME = 1, FILE_DEPENDENCY = 3 }; /* of FileDescriptorProto */

struct node {
	struct bytes file;
	struct wire_cursor imports; /* what of it was not looked at yet */
	bool is_open;               /* in the order, or on the way to it */
	struct node *then;          /* to go on with, after this one */
};

struct ordering {
	struct map by_name; /* -> struct node */
	struct bytes *out;
	size_t count;
};

static void index_names(struct ordering *o, struct node *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bytes name;
		if (wire_find_bytes(nodes[i].file, FILE_NAME, &name) && name.size)
			map_put_n(&o->by_name, (const char *)name.data, name.size, &nodes[i]);
	}
}

/* The next import of @n that waits to be put in order. NULL: there is none. */
static struct node *next_import(const struct ordering *o, struct node *n)
{
	struct wire_field f;

	while (wire_next(&n->imports, &f)) {
		struct node *import;
		if (f.number != FILE_DEPENDENCY || f.type != WIRE_BYTES || !f.data.size)
			continue;
		import = map_get_n(&o->by_name, (const char *)f.data.data, f.data.size);
		if (import && !import->is_open)
			return import;
	}
	return NULL;
}

/* Depth first, without recursion: imports may make chains of any length. */
static void put(struct ordering *o, struct node *n)
{
	n->is_open = true;
	while (n) {
		struct node *import = next_import(o, n);
		if (import) {
			import->is_open = true;
			import->then = n;
			n = import;
			continue;
		}
		o->out[o->count++] = n->file;
		n = n->then;
	}
}

void import_order(struct bytes *files, size_t count)
{
	struct node *nodes = xcalloc(count + 1, sizeof(*nodes));
	struct ordering o = {.out = files};

	for (size_t i = 0; i < count; i++)
		nodes[i] = (struct node){.file = files[i], .imports = wire_cursor_of(files[i])};
	index_names(&o, nodes, count);
	for (size_t i = 0; i < count; i++)
		if (!nodes[i].is_open)
			put(&o, &nodes[i]);
	map_release(&o.by_name, NULL);
	free(nodes);
}
