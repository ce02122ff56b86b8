#!/usr/bin/python3
"""Debian packages as JSON lines for `collectorctl record import`.

    import.py [--source auto|available|installed|FILE] [--limit N]

`available` is what apt could install (`apt-cache dumpavail`, tens of thousands of
packages where apt has lists), `installed` is dpkg's status (hundreds on any
Debian or Ubuntu), `auto` the larger of the two.
"""

import argparse
import json
import re
import subprocess
import sys

STATUS_FILE = "/var/lib/dpkg/status"
KINDS = {
    "pre-depends": "KIND_PRE_DEPENDS",
    "depends": "KIND_DEPENDS",
    "recommends": "KIND_RECOMMENDS",
    "suggests": "KIND_SUGGESTS",
    "conflicts": "KIND_CONFLICTS",
    "breaks": "KIND_BREAKS",
}
# "name:arch (>= version) [arches] <profiles>"; the last two are of sources.
ALTERNATIVE = re.compile(
    r"^(?P<name>[^\s:(\[<]+)(?::(?P<arch>[\w-]+))?"
    r"(?:\s*\(\s*(?P<relation><<|<=|=|>=|>>|<|>)\s*(?P<version>[^)\s]+)\s*\))?")


def stanzas(lines):
    """Dicts of fields, names in lower case, values with their newlines."""
    fields, name = {}, None
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, None
        elif line[0] in " \t":
            if name:
                fields[name] += "\n" + line[1:]
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.lower()
            fields[name] = value.strip()
    if fields:
        yield fields


def dependencies(fields):
    found = []
    for field, kind in KINDS.items():
        for group in re.split(r"\s*,\s*", fields.get(field, "")):
            alternatives = []
            for text in group.split("|"):
                match = ALTERNATIVE.match(text.strip())
                if match:
                    parts = (("name", "name"), ("relation", "relation"),
                             ("version", "version"), ("architecture", "arch"))
                    alternatives.append({key: match[g] for key, g in parts if match[g]})
            if alternatives:
                found.append({"kind": kind, "alternatives": alternatives})
    return found


def description(fields):
    """The first line, and the rest with "." for empty lines undone."""
    summary, _, rest = fields.get("description", fields.get("description-en", "")).partition("\n")
    return summary, "\n".join("" if line == "." else line for line in rest.split("\n"))


def package(fields):
    summary, text = description(fields)
    item = {
        "name": fields["package"],
        "version": fields.get("version"),
        "architecture": fields.get("architecture"),
        "section": fields.get("section"),
        "priority": fields.get("priority"),
        "installedSizeKb": fields.get("installed-size", "0"),
        "maintainer": fields.get("maintainer"),
        "homepage": fields.get("homepage"),
        "dependencies": dependencies(fields),
        "summary": summary,
        "description": text,
        "tags": re.split(r"\s*,\s*", fields["tag"]) if fields.get("tag") else [],
        "source": fields.get("source", "").split(" ")[0],
    }
    return {key: value for key, value in item.items() if value}


def available():
    try:
        done = subprocess.run(["apt-cache", "dumpavail"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace",
                              check=False)
        return done.stdout.split("\n")
    except FileNotFoundError:
        return []


def installed(path=STATUS_FILE):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().split("\n")
    except FileNotFoundError:
        return []


def read(source):
    if source == "available":
        return list(stanzas(available()))
    if source == "installed":
        return list(stanzas(installed()))
    if source == "auto":
        return max(read("available"), read("installed"), key=len)
    with open(source, encoding="utf-8", errors="replace") as f:
        return list(stanzas(f))


def records(source, limit=0):
    """One per name: the first, which is the newest version that apt knows."""
    seen = set()
    for fields in read(source):
        name = fields.get("package")
        if name and name not in seen and (not limit or len(seen) < limit):
            seen.add(name)
            yield {"id": name, "item": package(fields)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="auto", help="auto, available, installed or a file")
    parser.add_argument("--limit", type=int, default=0, help="at most so many packages")
    options = parser.parse_args()
    count = 0
    for record in records(options.source, options.limit):
        json.dump(record, sys.stdout, ensure_ascii=False)
        sys.stdout.write("\n")
        count += 1
    print("%d packages" % count, file=sys.stderr)
    return 0 if count else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(1)
