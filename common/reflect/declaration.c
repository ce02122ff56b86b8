#include "common/reflect/declaration.h"

#include "common/reflect/wire.h"

/* Where descriptor.proto keeps what a file and what a message declares. */
enum {
	FILE_MESSAGE = 4,
	FILE_ENUM = 5,
	FILE_SERVICE = 6,
	FILE_EXTENSION = 7,
	MESSAGE_FIELD = 2,
	MESSAGE_MESSAGE = 3,
	MESSAGE_ENUM = 4,
	MESSAGE_EXTENSION = 6,
	SERVICE_METHOD = 2,
};

static struct bytes nth(struct bytes in, uint32_t number, uint32_t index)
{
	struct wire_cursor c = wire_cursor_of(in);
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == number && f.type == WIRE_BYTES && !index--)
			return f.data;
	return bytes_of(NULL, 0);
}

struct bytes declaration_of_message(const struct pool_message *m)
{
	return m->parent ? nth(declaration_of_message(m->parent), MESSAGE_MESSAGE, m->index)
			 : nth(m->file->bytes, FILE_MESSAGE, m->index);
}

struct bytes declaration_of_enum(const struct pool_enum *e)
{
	return e->parent ? nth(declaration_of_message(e->parent), MESSAGE_ENUM, e->index)
			 : nth(e->file->bytes, FILE_ENUM, e->index);
}

struct bytes declaration_of_service(const struct pool_service *s)
{
	return nth(s->file->bytes, FILE_SERVICE, s->index);
}

struct bytes declaration_of_field(const struct pool_field *f)
{
	if (!f->is_extension)
		return nth(declaration_of_message(f->parent), MESSAGE_FIELD,
			   f->declaration_index);
	return f->parent ? nth(declaration_of_message(f->parent), MESSAGE_EXTENSION, f->index)
			 : nth(f->file->bytes, FILE_EXTENSION, f->index);
}

struct bytes declaration_of_method(const struct pool_method *m)
{
	return nth(declaration_of_service(m->service), SERVICE_METHOD, m->index);
}
