"""Descriptors that nobody would write: those of the cases, changed at random.

Each is given to libprotobuf and to common/reflect, which must agree, but for what
the cases say that we alone refuse.
"""

import random

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor

NUMBERS = [-2147483648, -1, 0, 1, 2, 3, 4, 5, 7, 10, 100, 199, 18999, 19000, 19999, 20000,
           536870911, 536870912, 2147483647]
WORDS = ["", ".", "..", "a b", "key", "value", "proto2", "proto3", "inf", "true", "1", "0x1f",
         "FEntry", ".t.M", ".t.E", "M", "N", "E", "A", "f", "o", "t", "FOO_BAR", "fooBar"]
# A file is what its name says; and what parsers leave, both refuse.
LEFT_ALONE = {"google.protobuf.FileDescriptorProto.name",
              "google.protobuf.FileDescriptorProto.source_code_info"}


def nodes(message):
    """@message and every message in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type and field.full_name not in LEFT_ALONE and \
                field.name != "uninterpreted_option":
            for part in value if field.label == field.LABEL_REPEATED else [value]:
                yield from nodes(part)


def texts(message):
    for node in nodes(message):
        for field, value in node.ListFields():
            if field.type == field.TYPE_STRING:
                yield from value if field.label == field.LABEL_REPEATED else [value]


class Mutator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self, files):
        word = self.random.choice(WORDS + sorted({t for f in files for t in texts(f)}))
        return self.random.choice([word, word, word, word + "_", word.upper(), "." + word,
                                   word.rpartition(".")[2]])

    def value(self, field, files):
        if field.type == FieldDescriptor.TYPE_STRING:
            return self.text(files)
        if field.type == FieldDescriptor.TYPE_ENUM:
            return self.random.choice(field.enum_type.values).number
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self.random.random() < 0.7
        return self.random.choice(NUMBERS)

    def change_list(self, field, elements, files):
        at = self.random.randrange(len(elements)) if elements else 0
        what = self.random.choice(["drop", "double", "swap", "add"])
        if what == "drop" and elements:
            del elements[at]
        elif what == "double" and elements:
            elements.append(elements[at])
        elif what == "swap" and elements:
            kept = list(elements)
            del elements[:]
            kept.insert(self.random.randrange(len(kept)), kept.pop(at))
            elements.extend(kept)
        elif not field.message_type:
            elements.append(self.value(field, files))
        else:
            self.adopt(field, elements, files)

    def adopt(self, field, elements, files):
        """Take an element of the same type from elsewhere."""
        found = [n for f in files for n in nodes(f) if n.DESCRIPTOR is field.message_type]
        if found:
            elements.append(self.random.choice(found))

    def change(self, files):
        node = self.random.choice([n for n in nodes(self.random.choice(files))])
        fields = [f for f in node.DESCRIPTOR.fields
                  if f.full_name not in LEFT_ALONE and f.name != "uninterpreted_option"]
        if not fields:
            return
        field = self.random.choice(fields)
        if field.label == field.LABEL_REPEATED:
            self.change_list(field, getattr(node, field.name), files)
        elif self.random.random() < 0.2:
            node.ClearField(field.name)
        elif field.message_type:
            getattr(node, field.name).SetInParent()
        else:
            setattr(node, field.name, self.value(field, files))

    def mutate(self, serialized_set):
        """The files of the set, those of protobuf itself as they are, others changed."""
        mutant = descriptor_pb2.FileDescriptorSet.FromString(serialized_set)
        ours = [f for f in mutant.file if not f.name.startswith("google/")]
        for _ in range(self.random.choice([1, 1, 1, 2, 3, 5])):
            self.change(ours)
        return mutant
