#!/usr/bin/python3
"""Runs the end-to-end tests: run.py [NAME...], `make test-daemon T=NAME`.

NAME is a part of a file's name ("dispatch" for test_dispatch.py), or
"FILE:PATTERN" with a part of the test's name. Files run in separate processes,
two at a time; a file's lines are printed together when it has ended.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent import futures

HERE = os.path.dirname(os.path.abspath(__file__))
PARALLEL = 2
FILE_TIMEOUT_S = int(os.environ.get("COLLECTOR_FILE_TIMEOUT_S", "600"))


class Result(unittest.TestResult):
    """Prints a line per test."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.passed = 0
        self._started = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self._started = time.monotonic()

    def _line(self, outcome, test, error=None):
        what = getattr(test, "_testMethodName", None) or str(test)
        print("%s %s: %s (%.2f s)" % (outcome, self.name, what,
                                      time.monotonic() - self._started), flush=True)
        if error:
            print("     " + self._exc_info_to_string(error, test).replace("\n", "\n     "),
                  flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self._line("ok  ", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line("FAIL", test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._line("FAIL", test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line("FAIL", test, err)
            print("     in %s" % subtest._subDescription(), flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("skip", test)
        print("     " + reason, flush=True)


def run_file(path, pattern, report):
    """In the child: run one file's tests and write the counts to report."""
    sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
    name = os.path.basename(path)[len("test_"):-len(".py")]
    spec = importlib.util.spec_from_file_location("test_" + name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    loader = unittest.TestLoader()
    if pattern:
        loader.testNamePatterns = ["*%s*" % pattern]
    result = Result(name)
    loader.loadTestsFromModule(module).run(result)
    failed = len(result.failures) + len(result.errors)
    if result.testsRun == 0 and not pattern and not failed and not result.skipped:
        print("FAIL %s: ran no test" % name)
        failed = 1
    with open(report, "w", encoding="utf-8") as f:
        json.dump([result.passed, failed, len(result.skipped)], f)


def run_child(path, pattern):
    """In the parent: (passed, failed, skipped) of one file in its own process."""
    with tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report")
        output = os.path.join(directory, "output")
        with open(output, "wb") as out:
            # A process group of its own, daemons included, so that nothing is left over.
            child = subprocess.Popen(
                [sys.executable, "-u", os.path.abspath(__file__), "--file", path, pattern, report],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
            note = ""
            try:
                child.wait(FILE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                note = "still running after %d s" % FILE_TIMEOUT_S
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
        with open(output, encoding="utf-8", errors="replace") as f:
            text = f.read()
        try:
            with open(report, encoding="utf-8") as f:
                counts = json.load(f)
        except (OSError, ValueError):
            counts = [0, 1, 0]
            note = note or "exit code %d without a result" % child.returncode
        if note:
            text += "FAIL %s: %s\n" % (os.path.basename(path), note)
        return text, counts


def choose(names):
    """[(path, pattern)] of the files that the arguments name; all without any."""
    paths = sorted(os.path.join(HERE, f) for f in os.listdir(HERE)
                   if f.startswith("test_") and f.endswith(".py"))
    if not names:
        return [(path, "") for path in paths]
    chosen = []
    for name in names:
        part, _, pattern = name.partition(":")
        found = [(p, pattern) for p in paths if part in os.path.basename(p)]
        if not found:
            sys.exit("run.py: no test file is named like '%s'" % part)
        chosen += found
    return chosen


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--file":
        run_file(*sys.argv[2:])
        return
    total = [0, 0, 0]
    with futures.ThreadPoolExecutor(PARALLEL) as pool:
        running = [pool.submit(run_child, *chosen) for chosen in choose(sys.argv[1:])]
        for done in futures.as_completed(running):
            text, counts = done.result()
            sys.stdout.write(text)
            sys.stdout.flush()
            total = [a + b for a, b in zip(total, counts)]
    passed, failed, skipped = total
    print("%d passed, %d failed" % (passed, failed) +
          (", %d skipped" % skipped if skipped else ""))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
