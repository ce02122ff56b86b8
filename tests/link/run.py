#!/usr/bin/python3
"""common/reflect's linking against protoc: run.py LINKER LIBPROTOBUF [NAME...]

Every case in cases/*.txt is a file, with others that it imports, given to protoc
and to pool_extend_set(): both take it, or both refuse it. Where the file is
refused, our error must name the symbol and hold the words that the case says.

    == name | accepted
    the text of t.proto, "proto3" and package t unless it says otherwise
    @ other.proto
    the text of another file
    ! f.message_type[0].field[0].label = 3

    == name | refused t.M.f: words of our sentence
    ...

    == name | ours alone t.M.f: words of our sentence
    # why we refuse what protoc takes
    ...

Lines with "!" are Python, run on the parsed and unvalidated descriptors: f is that
of t.proto, files has them all by name. They say what text cannot; the oracle is
then `protoc --descriptor_set_in`.

protoc_errors.txt lists every error that protoc 3.21 has about descriptors: each
must be provoked by a case or have a reason why not.

After the cases, mutations of them: MUTATIONS=n of SEED=n.
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

import descriptors  # noqa: E402
import mutations  # noqa: E402

from google.protobuf import text_format  # noqa: E402

HEADER = 'syntax = "proto3"; package t;\n'

Case = collections.namedtuple("Case", "name verdict symbol words texts edits")


def parse_case(block):
    title, *lines = block.splitlines(keepends=True)
    name, verdict = title.strip().split(" | ", 1)
    says = re.fullmatch(r"(accepted|refused|ours alone)(?: ((?:import )?\S+): (.+))?", verdict)
    assert says and (says[1] == "accepted") == (says[2] is None), title
    assert says[1] != "ours alone" or lines[0].startswith("# "), f"{name} has no reason"
    texts, edits, at = {}, [], "t.proto"
    for line in lines:
        if line.startswith("@ "):
            at = line[2:].strip()
        elif line.startswith("! "):
            edits.append(line[2:])
        elif line.strip() and not line.startswith("# "):
            texts[at] = texts.get(at, "") + line
    texts = {n: t if re.search("^syntax", t) else HEADER + t for n, t in texts.items()}
    return Case(name, says[1], says[2], says[3], texts, edits)


def parse_cases(path):
    with open(path, encoding="utf-8") as f:
        return [parse_case(b) for b in re.split(r"^== ", f.read(), flags=re.M)[1:]]


class Catalogue:
    """protoc_errors.txt."""

    def __init__(self, path):
        self.expressions, self.wanted, self.seen = {}, set(), set()
        with open(path, encoding="utf-8") as f:
            for line in f:
                pattern, _, reason = line.strip().partition(" -- ")
                if not pattern or pattern.startswith("#"):
                    continue
                parts = [re.escape(part) for part in pattern.split("*")]
                self.expressions[pattern] = re.compile(r"(?:.*[:\]] )?" + ".*".join(parts))
                if not reason:
                    self.wanted.add(pattern)

    def note(self, error):
        """True: it is one that is listed."""
        hits = [p for p, expression in self.expressions.items() if expression.fullmatch(error)]
        self.seen.update(hits)
        return bool(hits)

    def unseen(self):
        return sorted(self.wanted - self.seen)


class Run:
    def __init__(self, linker, libprotobuf):
        self.linker = descriptors.Linker(linker)
        self.libprotobuf = descriptors.Libprotobuf(libprotobuf)
        self.sources = descriptors.Sources(self.libprotobuf)
        self.catalogue = Catalogue(os.path.join(HERE, "protoc_errors.txt"))
        self.raw_sets = []

    @staticmethod
    def protoc(arguments):
        """What it says of errors, as lines; none when it took the files."""
        done = subprocess.run(["protoc", *arguments], capture_output=True, text=True,
                              errors="replace")
        if not done.returncode:
            return []
        return [line for line in done.stderr.splitlines()
                if ": warning: " not in line and "wire_format" not in line]

    def protoc_on_text(self, case, directory):
        for name, text in case.texts.items():
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        out = os.path.join(directory, "out.binpb")
        errors = self.protoc([f"-I{directory}", f"-I{descriptors.INCLUDE}", "--include_imports",
                              f"--descriptor_set_out={out}", *case.texts])
        if errors:
            return errors, None
        with open(out, "rb") as f:
            return [], f.read()

    def protoc_on_set(self, files, raw, directory):
        path = os.path.join(directory, "in.binpb")
        with open(path, "wb") as f:
            f.write(raw)
        return self.protoc([f"--descriptor_set_in={path}", "--descriptor_set_out=/dev/null",
                            *[f.name for f in files.values()]])

    def check_refusal(self, case, refusal):
        if not refusal:
            return ["we take it"]
        status, field, message = refusal
        said = f"{status} {field}: {message}"
        wrong = []
        if field != case.symbol and not field.endswith(": " + case.symbol):
            wrong.append(f"we do not name {case.symbol}: {said}")
        if case.words not in message:
            wrong.append(f"we do not say {case.words!r}: {said}")
        return wrong

    def check(self, case, directory):
        """What is wrong, as lines."""
        files = self.sources.parse(case.texts)
        for edit in case.edits:
            exec(edit, {"f": files["t.proto"], "files": files})
        raw = self.sources.with_imports(files)
        self.raw_sets.append((case.name, raw))
        if case.edits:
            errors, compiled = self.protoc_on_set(files, raw, directory), None
        else:
            errors, compiled = self.protoc_on_text(case, directory)
        wrong = [f"not in protoc_errors.txt: {e}" for e in errors if not self.catalogue.note(e)]
        if bool(errors) != bool(self.libprotobuf.errors(raw)):
            wrong.append("protoc and libprotobuf do not agree")
        if case.verdict == "refused":
            if not errors:
                wrong.append("protoc takes it")
            return wrong + self.check_refusal(case, self.linker.refusal(raw))
        wrong += [f"protoc refuses it: {e}" for e in errors]
        if case.verdict == "ours alone":
            return wrong + self.check_refusal(case, self.linker.refusal(compiled or raw))
        # What a parser left to be interpreted is for protoc to do.
        given = [] if descriptors.has_uninterpreted(files) else [raw]
        for which in given + ([compiled] if compiled else []):
            refusal = self.linker.refusal(which)
            if refusal:
                wrong.append("we refuse it: " + " ".join(refusal))
        return wrong

    def check_or_explain(self, case):
        with tempfile.TemporaryDirectory(prefix="collector-link-") as directory:
            try:
                return self.check(case, directory)
            except descriptors.NotParsed as e:
                return [f"it does not parse: {e}"]

    def check_mutant(self, mutant, ours_alone):
        """None, or in what the two differ."""
        serialized = mutant.SerializeToString()
        errors, refusal = self.libprotobuf.errors(serialized), self.linker.refusal(serialized)
        if bool(errors) == bool(refusal):
            return None
        if refusal:
            return None if any(w in refusal[2] for w in ours_alone) else "only we: " + refusal[2]
        return "only libprotobuf: " + errors[0]

    def check_mutations(self, count, seed, ours_alone):
        """What is wrong, as lines."""
        mutator, wrong = mutations.Mutator(seed), []
        sets = sorted(self.raw_sets)
        for n in range(count):
            name, raw = mutator.random.choice(sets)
            mutant = mutator.mutate(raw)
            difference = self.check_mutant(mutant, ours_alone)
            if difference:
                text = "".join(text_format.MessageToString(f, as_one_line=True) + "\n"
                               for f in mutant.file if not f.name.startswith("google/"))
                wrong.append(f"mutation {n} of {name}: {difference}\n{text}")
        return wrong

    def close(self):
        """What is wrong with the programs' end, as lines."""
        return [f"{p.child.args[0]} ended with code {code}"
                for p in (self.linker, self.libprotobuf) if (code := p.close())]


def main():
    linker, libprotobuf, *names = sys.argv[1:]
    cases = [c for path in sorted(glob.glob(os.path.join(HERE, "cases", "*.txt")))
             for c in parse_cases(path)]
    doubles = [n for n, count in collections.Counter(c.name for c in cases).items() if count > 1]
    assert not doubles, f"two cases of one name: {doubles}"
    run = Run(linker, libprotobuf)
    failed = 0
    chosen = [c for c in cases if not names or c.name in names]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, wrong in zip(chosen, pool.map(run.check_or_explain, chosen)):
            failed += bool(wrong)
            for line in wrong:
                print(f"FAIL {case.name}: {line}")
    # The last tests: that nothing was forgotten, mutations, and that the programs ended well.
    unseen = [] if names else run.catalogue.unseen()
    differ = run.check_mutations(int(os.environ.get("MUTATIONS", 1500)),
                                 int(os.environ.get("SEED", 1)),
                                 [c.words for c in cases if c.verdict == "ours alone"])
    ends = run.close()
    for line in [f"no case makes protoc say: {p}" for p in unseen] + differ + ends:
        print(f"FAIL {line}")
    total = len(chosen) + 3
    failed += bool(unseen) + bool(differ) + bool(ends)
    print(f"link: {total - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
