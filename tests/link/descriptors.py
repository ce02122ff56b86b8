"""What is asked of the two programs of this directory, and descriptors made of text."""

import os
import re
import struct
import subprocess
import threading

from google.protobuf import descriptor_pb2

INCLUDE = "/usr/include"


class Program:
    """A child that answers frames: u32 little-endian length, then content."""

    def __init__(self, path):
        self.child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lock = threading.Lock()

    def ask(self, frame):
        with self.lock:
            self.child.stdin.write(struct.pack("<I", len(frame)) + frame)
            self.child.stdin.flush()
            head = self.child.stdout.read(4)
            if len(head) < 4:
                raise RuntimeError(f"{self.child.args[0]} ended with code {self.child.wait()}")
            return self.child.stdout.read(struct.unpack("<I", head)[0])

    def close(self):
        """The exit code, once it has read all."""
        self.child.stdin.close()
        return self.child.wait()


class NotParsed(Exception):
    """The text is not even one that a parser takes."""


class Libprotobuf(Program):
    def parse(self, name, text):
        answer = self.ask(b"P" + name.encode() + b"\0" + text.encode())
        if answer[:1] == b"!":
            raise NotParsed(f"{name}:{answer[1:].decode()}")
        file = descriptor_pb2.FileDescriptorProto.FromString(answer)
        interpret_options(file)
        return file

    def errors(self, serialized_set):
        return self.ask(b"V" + serialized_set).decode(errors="replace").splitlines()


class Linker(Program):
    """common/reflect."""

    def refusal(self, serialized_set):
        """None, or status, field and message."""
        answer = self.ask(serialized_set).decode(errors="replace")
        return answer.split("\t", 2) if answer else None


def all_options(message):
    """Every *Options message in a descriptor."""
    for field, value in message.ListFields():
        if field.name == "options":
            yield value
        elif field.message_type and field.name != "source_code_info":
            for part in value if field.label == field.LABEL_REPEATED else [value]:
                yield from all_options(part)


def option_value(field, option):
    if field.enum_type:
        return field.enum_type.values_by_name[option.identifier_value].number
    if field.cpp_type == field.CPPTYPE_BOOL:
        return {"true": True, "false": False}[option.identifier_value]
    return option.string_value.decode()


def interpret_options(file):
    """Those of descriptor.proto itself; a parser leaves them all as they are spelled."""
    for options in all_options(file):
        left = []
        for option in options.uninterpreted_option:
            name = option.name[0].name_part
            field = options.DESCRIPTOR.fields_by_name.get(name)
            if len(option.name) > 1 or option.name[0].is_extension or not field:
                left.append(option)
                continue
            setattr(options, name, option_value(field, option))
        del options.uninterpreted_option[:]
        options.uninterpreted_option.extend(left)


class Sources:
    """.proto texts and what they import from the system, as one unvalidated set."""

    def __init__(self, libprotobuf):
        self.libprotobuf = libprotobuf
        self.system = {}

    def system_file(self, name):
        if name not in self.system:
            path = os.path.join(INCLUDE, name)
            text = ""
            if os.path.exists(path):
                with open(path, encoding="utf-8") as f:
                    text = f.read()
            self.system[name] = self.libprotobuf.parse(name, text) if text else None
        return self.system[name]

    def parse(self, texts):
        """By name, in the order of @texts."""
        return {name: self.libprotobuf.parse(name, text) for name, text in texts.items()}

    def with_imports(self, files):
        """A serialized FileDescriptorSet."""
        wanted, found = list(files.values()), dict(files)
        while wanted:
            for name in wanted.pop().dependency:
                system = None if name in found else self.system_file(name)
                if system:
                    found[name] = system
                    wanted.append(system)
        result = descriptor_pb2.FileDescriptorSet()
        result.file.extend(found.values())
        return result.SerializeToString()


def has_uninterpreted(files):
    return any(o.uninterpreted_option for f in files.values() for o in all_options(f))


def is_edition(text):
    return re.search(r"^edition", text, flags=re.M)
