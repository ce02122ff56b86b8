"""What `buf breaking` finds, as (rule, path), where a path names a symbol.

buf tells where in the new file's text the trouble is and says in a sentence
what it is about. Paths are made of both, as common/reflect/compat.h has them: a
symbol that is still there by its new name, another by its old one, a file by
its own name.
"""

import json
import re
import subprocess

from google.protobuf import descriptor_pb2

# Fields of descriptor.proto, for paths into a file's source info.
FILE_MESSAGE, FILE_ENUM, FILE_EXTENSION = 4, 5, 7
MESSAGE_NESTED, MESSAGE_ENUM, MESSAGE_EXTENSION = 3, 4, 6
ENUM_VALUE = 2


class BufFailure(Exception):
    """buf ended in a way that is neither "nothing" nor "these"."""


class Symbol:
    """A message, enum, service or extension of a file, and its place in the text."""

    def __init__(self, file, kind, name, proto, path, parent):
        self.kind = kind
        self.full_name = name
        self.proto = proto
        self.parent = parent
        self.span = _span(file, path)

    def contains(self, finding):
        # Map entries are not written: their field is, in the message around them.
        if not self.span:
            return self.parent is not None and self.parent.contains(finding)
        start = (finding["start_line"] - 1, finding["start_column"] - 1)
        return self.span[:2] <= start <= self.span[2:]


def _span(file, path):
    for location in file.source_code_info.location:
        if list(location.path) == path:
            s = list(location.span)
            return tuple(s) if len(s) == 4 else (s[0], s[1], s[0], s[2])
    return None


def _join(scope, name):
    return f"{scope}.{name}" if scope else name


def _symbols_of_message(file, scope, proto, path, parent):
    name = _join(scope, proto.name)
    message = Symbol(file, "message", name, proto, path, parent)
    yield message
    for i, nested in enumerate(proto.nested_type):
        yield from _symbols_of_message(file, name, nested, path + [MESSAGE_NESTED, i], message)
    for i, enum in enumerate(proto.enum_type):
        yield Symbol(file, "enum", _join(name, enum.name), enum, path + [MESSAGE_ENUM, i], message)
    for i, extension in enumerate(proto.extension):
        yield Symbol(file, "extension", _join(name, extension.name), extension,
                     path + [MESSAGE_EXTENSION, i], message)


def symbols_of(file):
    for i, message in enumerate(file.message_type):
        yield from _symbols_of_message(file, file.package, message, [FILE_MESSAGE, i], None)
    for i, enum in enumerate(file.enum_type):
        yield Symbol(file, "enum", _join(file.package, enum.name), enum, [FILE_ENUM, i], None)
    for i, extension in enumerate(file.extension):
        yield Symbol(file, "extension", _join(file.package, extension.name), extension,
                     [FILE_EXTENSION, i], None)
    for service in file.service:
        yield Symbol(file, "service", _join(file.package, service.name), service, [6, 0], None)


class Versions:
    """The old and the new files, to look up in what buf's sentences mean."""

    def __init__(self, old_set, new_set):
        self.old = {f.name: f for f in _parse(old_set).file}
        self.new = {f.name: f for f in _parse(new_set).file}
        self.new_symbols = {name: list(symbols_of(f)) for name, f in self.new.items()}
        self.old_symbols = {s.full_name: s for f in self.old.values() for s in symbols_of(f)}

    def new_symbol(self, kind, short_name, finding):
        """The new file's symbol of that name; where there are several, the one around the place."""
        named = [s for s in self.new_symbols[finding["path"]]
                 if s.kind == kind and s.proto.name == short_name]
        if len(named) > 1:
            named = [s for s in named if s.contains(finding)]
            named.sort(key=lambda s: s.full_name.count("."))
        if not named:
            raise BufFailure(f"no {kind} {short_name} for {finding}")
        return named[-1]


def _parse(path):
    with open(path, "rb") as f:
        return descriptor_pb2.FileDescriptorSet.FromString(f.read())


# ------------------------------------------------------------------------------
# One function for each way in which buf words its sentences.


def _of_file(_versions, finding, _match):
    return finding["path"]


def _of_deleted_file(_versions, _finding, match):
    return match[1]


def _of_deletion_from_file(versions, finding, match):
    return _join(versions.old[finding["path"]].package, match[1])


def _of_member(kind):
    def path(versions, finding, match):
        owner = versions.new_symbol(kind, match["owner"], finding)
        return _join(owner.full_name, match["name"])
    return path


def _of_owner(kind):
    def path(versions, finding, match):
        return versions.new_symbol(kind, match["owner"], finding).full_name
    return path


def _of_field(versions, finding, match):
    number = int(match["number"])
    if match["kind"] == "Extension":
        found = [s for s in versions.new_symbols[finding["path"]]
                 if s.kind == "extension" and s.proto.number == number
                 and s.proto.extendee == "." + match["owner"]]
        if len(found) != 1:
            raise BufFailure(f"{len(found)} extensions for {finding}")
        return found[0].full_name
    owner = versions.new_symbol("message", match["owner"], finding)
    return _field_by_number(versions, owner, number)


def _field_by_number(versions, owner, number):
    for version in (owner, versions.old_symbols[owner.full_name]):
        for field in version.proto.field:
            if field.number == number:
                return _join(owner.full_name, field.name)
    raise BufFailure(f"{owner.full_name} has no field {number}")


def _of_required(versions, finding, match):
    owner = versions.new_symbol("message", match["owner"], finding)
    return _field_by_number(versions, owner, int(match["number"]))


def _of_deleted_value(versions, finding, match):
    enum = versions.new_symbol("enum", match["owner"], finding)
    names = [v.name for v in versions.old_symbols[enum.full_name].proto.value
             if v.number == int(match["number"])]
    return _join(enum.full_name.rpartition(".")[0], names[0])


def _of_value(versions, finding, match):
    """Aliases are all blamed, each where it is."""
    enum = versions.new_symbol("enum", match["owner"], finding)
    file = versions.new[finding["path"]]
    at = [finding["start_line"] - 1, finding["start_column"] - 1]
    for location in file.source_code_info.location:
        path = list(location.path)
        if list(location.span)[:2] != at or len(path) < 3 or path[-3] != ENUM_VALUE:
            continue
        value = enum.proto.value[path[-2]]
        return _join(enum.full_name.rpartition(".")[0], value.name)
    raise BufFailure(f"no value for {finding}")


_IN_FILE = r'^Previously present (?:message|enum|service|extension) "([^"]+)" was deleted from file'
_ON_MESSAGE = r'on message "(?P<owner>[^"]+)"'
_ON_ENUM = r'on enum "(?P<owner>[^"]+)"'
_FIELD = r'^(?P<kind>Field|Extension) "(?P<number>\d+)".* ' + _ON_MESSAGE
_METHOD = r'^RPC "(?P<name>[^"]+)" on service "(?P<owner>[^"]+)"'

SENTENCES = [
    (r"^FILE_NO_DELETE$", r'^Previously present file "([^"]+)" was deleted', _of_deleted_file),
    (r"^FILE_SAME_", r"^File ", _of_file),
    (r"^(MESSAGE|ENUM|SERVICE|EXTENSION)_NO_DELETE$", _IN_FILE, _of_deletion_from_file),
    (r"^FIELD_NO_DELETE", r'field "\d+" with name "(?P<name>[^"]+)" ' + _ON_MESSAGE,
     _of_member("message")),
    (r"^ONEOF_NO_DELETE", r'oneof "(?P<name>[^"]+)" ' + _ON_MESSAGE, _of_member("message")),
    (r"^RPC_NO_DELETE", r'RPC "(?P<name>[^"]+)" on service "(?P<owner>[^"]+)"',
     _of_member("service")),
    (r"^ENUM_VALUE_NO_DELETE", r'enum value "(?P<number>-?\d+)" ' + _ON_ENUM, _of_deleted_value),
    (r"^ENUM_VALUE_SAME_NAME", _ON_ENUM, _of_value),
    (r"^ENUM_SAME_", r'^Enum "(?P<owner>[^"]+)"', _of_owner("enum")),
    (r"^RESERVED_ENUM_", _ON_ENUM, _of_owner("enum")),
    (r"^(RESERVED_MESSAGE|EXTENSION_MESSAGE)_", _ON_MESSAGE, _of_owner("message")),
    (r"^MESSAGE_SAME_REQUIRED_FIELDS",
     r'^Message "(?P<owner>[^"]+)" had required field "(?P<number>\d+)"', _of_required),
    (r"^MESSAGE_SAME_", r'^Message "(?P<owner>[^"]+)"', _of_owner("message")),
    (r"^FIELD_", _FIELD, _of_field),
    (r"^RPC_", _METHOD, _of_member("service")),
]


def _of_accessor(versions, finding):
    """The one sentence that names nothing."""
    around = [s for s in versions.new_symbols[finding["path"]]
              if s.kind == "message" and s.contains(finding)]
    return max(around, key=lambda s: s.full_name.count(".")).full_name


def path_of(versions, finding):
    rule = finding["type"]
    if rule == "MESSAGE_NO_REMOVE_STANDARD_DESCRIPTOR_ACCESSOR":
        return _of_accessor(versions, finding)
    for rules, sentence, path in SENTENCES:
        if re.search(rules, rule):
            match = re.search(sentence, finding["message"])
            if not match:
                raise BufFailure(f"not understood: {finding}")
            return path(versions, finding, match)
    raise BufFailure(f"unknown rule: {finding}")


# ------------------------------------------------------------------------------


def categories(buf):
    """Rule -> the categories that it is in."""
    out = subprocess.run([buf, "config", "ls-breaking-rules", "--version", "v2",
                          "--format", "json"], check=True, capture_output=True, text=True)
    rules = [json.loads(line) for line in out.stdout.splitlines()]
    return {rule["id"]: set(rule["categories"] or ()) for rule in rules}


def findings(buf, old_set, new_set, use):
    """A list of (rule, path): of the rules in any of the categories @use."""
    config = json.dumps({"version": "v2", "breaking": {"use": use}})
    out = subprocess.run([buf, "breaking", new_set, "--against", old_set, "--config", config,
                          "--error-format", "json"], capture_output=True, text=True)
    if out.returncode not in (0, 100):
        raise BufFailure(out.stderr.strip() or f"exit {out.returncode}")
    versions = Versions(old_set, new_set)
    found = [json.loads(line) for line in out.stdout.splitlines()]
    return [(f["type"], path_of(versions, f)) for f in found]
