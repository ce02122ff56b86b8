#include "tests/support/protobuf_cpp.h"

#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/field_mask_util.h>
#include <google/protobuf/util/json_util.h>

#include <memory>
#include <string>

#include "types/proto2.pb.h"
#include "types/proto3.pb.h"

namespace pb = google::protobuf;

struct cpp_message {
	std::unique_ptr<pb::Message> message;
	std::string out;
};

extern "C" struct cpp_message *cpp_message_new(const char *full_name)
{
	/* A program that does not name the generated types would not link them. */
	pb::SetLogHandler(nullptr);
	types::v2::Set::descriptor();
	types::v3::Tree::descriptor();

	const pb::Descriptor *type =
		pb::DescriptorPool::generated_pool()->FindMessageTypeByName(full_name);
	if (!type)
		return nullptr;
	auto *m = new cpp_message;
	m->message.reset(pb::MessageFactory::generated_factory()->GetPrototype(type)->New());
	return m;
}

extern "C" void cpp_message_free(struct cpp_message *m)
{
	delete m;
}

extern "C" bool cpp_parse(struct cpp_message *m, const void *data, size_t size)
{
	return m->message->ParsePartialFromArray(data, static_cast<int>(size));
}

extern "C" bool cpp_parse_json(struct cpp_message *m, const char *text, size_t size,
			       bool ignore_unknown)
{
	pb::util::JsonParseOptions options;

	options.ignore_unknown_fields = ignore_unknown;
	m->message->Clear();
	return pb::util::JsonStringToMessage(pb::StringPiece(text, size), m->message.get(),
					     options)
		.ok();
}

extern "C" const char *cpp_wire(struct cpp_message *m, size_t *ret_size)
{
	m->out.clear();
	{
		pb::io::StringOutputStream stream(&m->out);
		pb::io::CodedOutputStream coded(&stream);

		coded.SetSerializationDeterministic(true);
		if (!m->message->SerializePartialToCodedStream(&coded))
			return nullptr;
	}
	*ret_size = m->out.size();
	return m->out.data();
}

extern "C" const char *cpp_json(struct cpp_message *m, bool defaults, size_t *ret_size)
{
	pb::util::JsonPrintOptions options;

	/* It prints unknown values of closed enums as if they were known. */
	m->message->DiscardUnknownFields();
	options.always_print_primitive_fields = defaults;
	m->out.clear();
	if (!pb::util::MessageToJsonString(*m->message, &m->out, options).ok())
		return nullptr;
	*ret_size = m->out.size();
	return m->out.data();
}

extern "C" bool cpp_merge_masked(struct cpp_message *from, struct cpp_message *to,
				 const void *mask, size_t size)
{
	pb::FieldMask paths;
	pb::util::FieldMaskUtil::MergeOptions options;

	if (!paths.ParseFromArray(mask, static_cast<int>(size)))
		return false;
	options.set_replace_message_fields(true);
	options.set_replace_repeated_fields(true);
	pb::util::FieldMaskUtil::MergeMessageTo(*from->message, paths, options,
						to->message.get());
	return true;
}

extern "C" bool cpp_trim_masked(struct cpp_message *m, const void *mask, size_t size)
{
	pb::FieldMask paths;

	if (!paths.ParseFromArray(mask, static_cast<int>(size)))
		return false;
	pb::util::FieldMaskUtil::TrimMessage(paths, m->message.get());
	return true;
}
