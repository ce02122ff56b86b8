#include "common/rpc/kinds.h"

#include <string.h>

#include "common/reflect/wire.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
	SET_FILE = 1,
	FILE_PACKAGE = 2,
	FILE_SERVICE = 6,
	SERVICE_NAME = 1,
	SERVICE_METHOD = 2,
	METHOD_NAME = 1,
	METHOD_CLIENT_STREAMING = 5,
	METHOD_SERVER_STREAMING = 6,
};

static bool has_name(struct bytes message, uint32_t number, const char *name)
{
	struct bytes found = {0};

	(void)wire_find_bytes(message, number, &found); /* absent is empty */
	return bytes_equal(found, bytes_of_string(name));
}

static void read_method(struct bytes method, const ProtobufCServiceDescriptor *d,
			unsigned char *kinds)
{
	struct wire_cursor c = wire_cursor_of(method);
	struct wire_field f;
	unsigned char kind = 0;

	while (wire_next(&c, &f)) {
		if (f.number == METHOD_CLIENT_STREAMING && f.value)
			kind |= 1;
		if (f.number == METHOD_SERVER_STREAMING && f.value)
			kind |= 2;
	}
	for (unsigned i = 0; i < d->n_methods; i++)
		if (has_name(method, METHOD_NAME, d->methods[i].name))
			kinds[i] = kind;
}

static bool read_file(struct bytes file, const ProtobufCServiceDescriptor *d,
		      unsigned char *kinds)
{
	struct wire_cursor c = wire_cursor_of(file);
	struct wire_field f;

	if (!has_name(file, FILE_PACKAGE, d->package))
		return false;
	while (wire_next(&c, &f)) {
		struct wire_cursor service = wire_cursor_of(f.data);
		if (f.number != FILE_SERVICE || !has_name(f.data, SERVICE_NAME, d->short_name))
			continue;
		while (wire_next(&service, &f))
			if (f.number == SERVICE_METHOD)
				read_method(f.data, d, kinds);
		return true;
	}
	return false;
}

bool rpc_kinds(const ProtobufCServiceDescriptor *d, struct bytes descriptor_set,
	       unsigned char *kinds)
{
	struct wire_cursor c = wire_cursor_of(descriptor_set);
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == SET_FILE && read_file(f.data, d, kinds))
			return true;
	return false;
}
