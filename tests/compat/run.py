#!/usr/bin/python3
"""common/reflect/compat.h against `buf breaking`: run.py BUF FINDINGS [NAME...]

Every pair of versions in cases/*.txt is compiled by protoc and given to both. At
each level both must find the same rules broken at the same symbols, the weakest
level that is broken must be what the case says, and all after it must be broken,
too. Together the cases must break every rule that buf has at these levels.

A file of cases:

    == name | WIRE, WIRE_JSON, SOURCE or none: the weakest level that it breaks
    the old text of t.proto, "proto3" and package t.v1 unless it says otherwise
    @ other.proto
    the old text of another file
    -- becomes
    the new text of t.proto
    @ other.proto unchanged
"""

import collections
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import buf_findings  # noqa: E402

# Our levels, the weakest first: their bit in compat.h, and buf's category.
LEVELS = {"WIRE": (1, "WIRE"), "WIRE_JSON": (2, "WIRE_JSON"), "SOURCE": (4, "FILE")}
HEADER = 'syntax = "proto3"; package t.v1;\n'

Case = collections.namedtuple("Case", "name level old new")


def parse_files(lines, before=None):
    """The files that a part of a case declares, by name."""
    files, name = {}, "t.proto"
    for line in lines:
        at = re.fullmatch(r"@ (\S+)( unchanged)?\n", line)
        if not at:
            files[name] = files.get(name, "") + line
            continue
        name = at[1]
        if at[2]:
            files[name] = before[name]
    # An empty text is no file; t.proto need not be there.
    files = {n: text for n, text in files.items() if text.strip()}
    return {n: text if re.search("^syntax", text) else HEADER + text for n, text in files.items()}


def parse_cases(path):
    with open(path, encoding="utf-8") as f:
        blocks = re.split(r"^== ", f.read(), flags=re.M)[1:]
    for block in blocks:
        title, *lines = block.splitlines(keepends=True)
        name, level = title.strip().split(" | ")
        lines = [line for line in lines if line.strip()]
        middle = lines.index("-- becomes\n")
        old = parse_files(lines[:middle])
        yield Case(name, level, old, parse_files(lines[middle + 1:], old))


def compile_files(files, directory):
    os.makedirs(directory)
    for name, text in files.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            f.write(text)
    out = directory + ".binpb"
    subprocess.run(["protoc", "-I" + directory, "-I/usr/include", "--include_imports",
                    "--include_source_info", "--descriptor_set_out=" + out, *files],
                   check=True, capture_output=True, text=True)
    return out


class Run:
    def __init__(self, buf, program):
        self.buf = buf
        self.program = program
        self.categories = buf_findings.categories(buf)
        self.broken_rules = set()

    def ours(self, level, old, new):
        out = subprocess.run([self.program, str(LEVELS[level][0]), old, new],
                             check=True, capture_output=True, text=True)
        found = [line.split("\t") for line in out.stdout.splitlines()]
        return collections.Counter((rule, path) for _, rule, path, _, _ in found)

    def theirs(self, old, new):
        """By level. Rules know nothing of each other, so one call is as good as three."""
        use = [category for _, category in LEVELS.values()]
        found = buf_findings.findings(self.buf, old, new, use)
        return {level: collections.Counter(f for f in found if category in self.categories[f[0]])
                for level, (_, category) in LEVELS.items()}

    def check(self, case, directory):
        """What is wrong, as lines."""
        old = compile_files(case.old, os.path.join(directory, "old"))
        new = compile_files(case.new, os.path.join(directory, "new"))
        theirs = self.theirs(old, new)
        weakest = next((level for level in LEVELS if theirs[level]), "none")
        wrong = []
        if weakest != case.level:
            wrong.append(f"it is said to break {case.level}, and breaks {weakest}")
        for level in LEVELS:
            ours = self.ours(level, old, new)
            wrong += [f"{level}: only buf finds {rule} {path} (x{n})"
                      for (rule, path), n in sorted((theirs[level] - ours).items())]
            wrong += [f"{level}: only we find {rule} {path} (x{n})"
                      for (rule, path), n in sorted((ours - theirs[level]).items())]
            self.broken_rules.update(rule for rule, _ in theirs[level])
        broken = [bool(theirs[level]) for level in LEVELS]
        if broken != sorted(broken):
            wrong.append("what breaks at a level does not break at the next")
        return wrong

    def check_or_explain(self, case):
        with tempfile.TemporaryDirectory(prefix="collector-compat-") as directory:
            try:
                return self.check(case, directory)
            except subprocess.CalledProcessError as e:
                return [f"{e.cmd[0]}: {e.stderr.strip()}"]
            except buf_findings.BufFailure as e:
                return [f"buf: {e}"]

    def unbroken_rules(self):
        ours = {category for _, category in LEVELS.values()}
        wanted = {rule for rule, of in self.categories.items() if of & ours}
        return sorted(wanted - self.broken_rules)


def main():
    buf, program, *names = sys.argv[1:]
    cases = [c for path in sorted(glob.glob(os.path.join(HERE, "cases", "*.txt")))
             for c in parse_cases(path)]
    doubles = [n for n, count in collections.Counter(c.name for c in cases).items() if count > 1]
    assert not doubles, f"two cases of one name: {doubles}"
    run = Run(buf, program)
    failed = 0
    chosen = [c for c in cases if not names or c.name in names]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, wrong in zip(chosen, pool.map(run.check_or_explain, chosen)):
            failed += bool(wrong)
            for line in wrong:
                print(f"FAIL {case.name}: {line}")
    # The last test: that nothing was forgotten.
    unbroken = [] if names else run.unbroken_rules()
    for rule in unbroken:
        print(f"FAIL no case breaks {rule}")
    failed += bool(unbroken)
    print(f"compat: {len(chosen) + (not names) - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
