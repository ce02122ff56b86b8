/* What protoc forbids in files and services. */
#include "common/reflect/link.h"

typedef Google__Protobuf__FileOptions FileOptions;
typedef Google__Protobuf__ServiceDescriptorProto ServiceProto;

enum status rules_check_file(struct linker *l)
{
	const struct pool_file *file = &l->unit->file;
	const FileOptions *o = l->proto->options;

	for (uint32_t i = 0; i < file->dependency_count && !l->unit->is_lite; i++)
		if (unit_of(file->dependencies[i])->is_lite)
			return link_fail(l, "",
					 "it is not for the lite runtime, but imports \"%s\", "
					 "which is",
					 file->dependencies[i]->name);
	return link_interpreted(l, "", o ? o->n_uninterpreted_option : 0);
}

static enum status check_methods(struct linker *l, const struct pool_service *s,
				 const ServiceProto *p)
{
	enum status status = STATUS_OK;

	for (uint32_t i = 0; status == STATUS_OK && i < s->method_count; i++)
		status = link_interpreted(
			l, s->methods[i].full_name,
			p->method[i]->options ? p->method[i]->options->n_uninterpreted_option
					      : 0);
	return status;
}

enum status rules_check_service(struct linker *l, const struct pool_service *s,
				const ServiceProto *p)
{
	const FileOptions *o = l->proto->options;
	enum status status;

	if (l->unit->is_lite && (o->cc_generic_services || o->java_generic_services))
		return link_fail(l, s->full_name,
				 "a file for the lite runtime has no generic services");
	status = link_interpreted(l, s->full_name,
				  p->options ? p->options->n_uninterpreted_option : 0);
	return status == STATUS_OK ? check_methods(l, s, p) : status;
}
