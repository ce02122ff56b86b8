/*
 * libprotobuf, the library that protoc is made of, as an oracle that stays up:
 * frames on standard input (u32 little-endian length, a letter, content), one
 * answer frame for each.
 *
 *	P name NUL text		parse a .proto text, validate nothing: a serialized
 *				FileDescriptorProto, or "!" and what the parser said
 *	V FileDescriptorSet	validate as protoc does with --descriptor_set_in: a
 *				line for each error, nothing when there is none
 */
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdio>
#include <string>

namespace pb = google::protobuf;

namespace
{

class ParseErrors : public pb::io::ErrorCollector
{
      public:
	std::string text;

	void AddError(int line, int column, const std::string &message) override
	{
		text += std::to_string(line + 1) + ":" + std::to_string(column + 1) + ": " +
			message + "\n";
	}
};

class LinkErrors : public pb::DescriptorPool::ErrorCollector
{
      public:
	std::string text;

	void AddError(const std::string &file, const std::string &element, const pb::Message *,
		      ErrorLocation, const std::string &message) override
	{
		text += file + ": " + element + ": " + message + "\n";
	}
};

std::string parse(const std::string &in)
{
	const size_t name_len = in.find('\0');
	const std::string text = in.substr(name_len + 1);
	pb::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
	ParseErrors errors;
	pb::io::Tokenizer tokens(&stream, &errors);
	pb::compiler::Parser parser;
	pb::FileDescriptorProto file;

	parser.RecordErrorsTo(&errors);
	if (!parser.Parse(&tokens, &file))
		return "!" + errors.text;
	file.set_name(in.substr(0, name_len));
	file.clear_source_code_info();
	return file.SerializeAsString();
}

std::string validate(const std::string &in)
{
	pb::FileDescriptorSet set;
	pb::SimpleDescriptorDatabase files;
	LinkErrors errors;
	pb::DescriptorPool pool(&files, &errors);

	if (!set.ParseFromString(in))
		return "it is not a FileDescriptorSet\n";
	pool.EnforceWeakDependencies(true);
	for (const pb::FileDescriptorProto &file : set.file())
		files.Add(file);
	for (const pb::FileDescriptorProto &file : set.file())
		if (!pool.FindFileByName(file.name()) && errors.text.empty())
			errors.text = file.name() + ": it was not built\n";
	return errors.text;
}

bool read_frame(std::string *out)
{
	unsigned char head[4];
	uint32_t size;

	if (fread(head, 1, 4, stdin) != 4)
		return false;
	size = head[0] | head[1] << 8 | head[2] << 16 | static_cast<uint32_t>(head[3]) << 24;
	out->resize(size);
	return fread(&(*out)[0], 1, size, stdin) == size;
}

void write_frame(const std::string &in)
{
	const size_t n = in.size();
	const unsigned char head[4] = {
		static_cast<unsigned char>(n), static_cast<unsigned char>(n >> 8),
		static_cast<unsigned char>(n >> 16), static_cast<unsigned char>(n >> 24)};

	fwrite(head, 1, 4, stdout);
	fwrite(in.data(), 1, n, stdout);
	fflush(stdout);
}

} // namespace

int main()
{
	pb::LogSilencer quiet;
	std::string frame;

	while (read_frame(&frame)) {
		if (frame.empty())
			return 2;
		write_frame(frame[0] == 'P' ? parse(frame.substr(1))
					    : validate(frame.substr(1)));
	}
	return 0;
}
