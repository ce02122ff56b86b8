"""A server of somebody else that tells about its types, as gRPC's own servers do, or worse."""

import grpc
from google.protobuf import descriptor_pb2
from grpc.reflection.v1 import reflection_pb2 as v1
from grpc.reflection.v1alpha import reflection_pb2 as v1alpha

VERSIONS = {"v1": v1, "v1alpha": v1alpha}


def method(version):
    return "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version


class Reflection:
    """Answers from a FileDescriptorSet. Subclasses lie.

    With `closures` the files that a file imports come with it, those before it that
    the stream has not sent, as grpc-go does; else each must be asked for.
    """

    tells_extensions = True

    def __init__(self, files, versions=("v1", "v1alpha"), closures=False):
        self.files = {f.name: f for f in files.file}
        self.versions = versions
        self.closures = closures

    def methods(self):
        """What a Backend is made of."""
        return {method(v): grpc.stream_stream_rpc_method_handler(
            self._handler(VERSIONS[v]),
            request_deserializer=VERSIONS[v].ServerReflectionRequest.FromString,
            # A test may answer with bytes that are no message.
            response_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString())
            for v in self.versions}

    def _handler(self, messages):
        def info(requests, context):
            sent = set()
            for request in requests:
                yield from self.answers(messages, request, sent, context)
        return info

    def answers(self, messages, request, sent, context):  # pylint: disable=unused-argument
        """The answers to one question: one, from servers that behave."""
        kind = request.WhichOneof("message_request")
        reply = messages.ServerReflectionResponse(original_request=request)
        if kind == "list_services":
            for name in self.services():
                reply.list_services_response.service.add(name=name)
        elif kind == "file_by_filename":
            self.put_files(reply, self.files.get(request.file_by_filename), sent)
        elif kind == "file_containing_symbol":
            self.put_files(reply, self.file_of(request.file_containing_symbol), sent)
        elif kind == "all_extension_numbers_of_type" and self.tells_extensions:
            answer = reply.all_extension_numbers_response
            answer.base_type_name = request.all_extension_numbers_of_type
            answer.extension_number.extend(self.extensions(answer.base_type_name))
        elif kind == "file_containing_extension" and self.tells_extensions:
            asked = request.file_containing_extension
            self.put_files(reply, self.extensions(asked.containing_type).get(
                asked.extension_number), sent)
        else:
            self.put_error(reply, grpc.StatusCode.UNIMPLEMENTED, "not here")
        yield reply

    def extensions(self, message):
        """{number: the file that declares it}"""
        return {e.number: f for f in self.files.values()
                for scope in (f, *f.message_type) for e in scope.extension
                if e.extendee == "." + message}

    def services(self):
        return [full_name(f, s) for f in self.files.values() for s in f.service] + [
            "grpc.reflection.%s.ServerReflection" % v for v in self.versions]

    def file_of(self, symbol):
        return next((f for f in self.files.values()
                     for s in f.service if full_name(f, s) == symbol), None)

    def put_files(self, reply, file, sent):
        if file is None:
            self.put_error(reply, grpc.StatusCode.NOT_FOUND, "no such file")
            return
        todo = [file]
        while todo:
            file = todo.pop(0)
            if file.name not in sent or not reply.file_descriptor_response.file_descriptor_proto:
                sent.add(file.name)
                reply.file_descriptor_response.file_descriptor_proto.append(
                    file.SerializeToString())
            if self.closures:
                todo += [self.files[name] for name in file.dependency if name in self.files]

    @staticmethod
    def put_error(reply, code, text):
        reply.error_response.error_code = code.value[0]
        reply.error_response.error_message = text


def full_name(file, declared):
    return "%s.%s" % (file.package, declared.name) if file.package else declared.name


def file_set(*files):
    return descriptor_pb2.FileDescriptorSet(file=files)
