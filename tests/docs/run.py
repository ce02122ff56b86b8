"""Runs the commands of a document as they are written, and compares what they print.

A ```console block has lines that begin with "$ ", each followed by the output that
is expected; a trailing backslash continues a command. In expected output a line
"..." stands for any lines, and "..." inside a line for any text. All blocks run in
one bash, at the top of the tree.

```console background: the command stays in the foreground of a terminal of its
own; it is started, the expected output is waited for, and at the end of the
document it gets the SIGINT of a Ctrl-C and five seconds to stop.

```sh: not run; only for the install lines, which .ci/run takes from there. Any
other block of a shell fails the run, so that nothing is skipped unseen.
"""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

TIMEOUT_S = float(os.environ.get("DOCS_TIMEOUT_S", "600"))
START_TIMEOUT_S = 60
STOP_S = 5
INSTALL = re.compile(r"^\./deploy/install-deps\.sh( --dev)? && make (run|test)$")
SHELLS = ("sh", "bash", "shell", "console")


class Block:
    def __init__(self, info, line, text):
        self.info, self.line, self.text = info, line, text

    def commands(self):
        """(command, expected lines) pairs."""
        found, lines = [], iter(self.text)
        for line in lines:
            if line.startswith("$ "):
                command = line[2:]
                while command.endswith("\\"):
                    command += "\n" + next(lines, "")
                found.append((command, []))
            elif found:
                found[-1][1].append(line)
        return found


def blocks(path):
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if start is None:
                start, info = number, line[3:].strip()
            else:
                yield Block(info, start, lines[start:number - 1])
                start = None


def line_pattern(line):
    return ".*".join(re.escape(part) for part in line.split("..."))


def matches(expected, actual):
    """Do the lines match, with "..." for any number of them?"""
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "..." else line_pattern(line) + r"[ ]*\n"
                      for line in expected)
    return re.fullmatch(pattern, "".join(line + "\n" for line in actual)) is not None


class Shell:
    """One bash for the whole document."""

    MARK = "--docs-run-mark--"

    def __init__(self, environment):
        self.process = subprocess.Popen(["bash", "--norc", "--noprofile"], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True)

    def run(self, command):
        """Its output's lines."""
        # The programs under test come first, whatever the document puts on PATH.
        script = '{ %s\n} </dev/null; printf "\\n%s %%d\\n" "$?"; PATH="$DOCS_BIN:$PATH"\n' % (
            command, self.MARK)
        self.process.stdin.write(script.encode())
        self.process.stdin.flush()
        output, deadline = b"", time.monotonic() + TIMEOUT_S
        mark = re.compile(rb"\n" + self.MARK.encode() + rb" (\d+)\n")
        while not (found := mark.search(output)):
            ready, _, _ = select.select([self.process.stdout], [], [],
                                        max(0, deadline - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                raise TimeoutError("no end of: %s\n%s" % (command, output.decode(errors="replace")))
            output += chunk
        text = output[:found.start()].decode(errors="replace")
        return text.rstrip("\n").split("\n") if text.strip("\n") else []

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Background:
    """A command that stays: its output goes to a file."""

    def __init__(self, command, environment):
        self.command = command
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(["bash", "-c", command], env=environment,
                                        stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, start_new_session=True,
                                        # Whoever started the tests may have ignored Ctrl-C.
                                        preexec_fn=lambda: signal.signal(
                                            signal.SIGINT, signal.SIG_DFL))

    def lines(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read().rstrip("\n").split("\n")

    def wait_for(self, expected):
        deadline = time.monotonic() + START_TIMEOUT_S
        while not matches(expected, self.lines()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def stop(self):
        """True: it ended within STOP_S of a Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(STOP_S)
            return True
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return False


def free_port_base():
    """Six ports in a row that nobody has now; what the daemons' ports are counted from."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            base = first.getsockname()[1]
        try:
            held = []
            for offset in range(1, 6):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", base + offset))
            return base
        except (OSError, OverflowError):
            continue
        finally:
            for s in held:
                s.close()


class Run:
    def __init__(self):
        self.passed = self.failed = 0
        self.directory = tempfile.mkdtemp(prefix="collector-docs-")
        base = free_port_base()
        programs = os.environ.get("COLLECTOR_BIN_DIR", os.path.abspath("build/bin"))
        self.environment = dict(
            os.environ, DOCS_BIN=programs, PATH=programs + ":" + os.environ["PATH"],
            PORT_BASE=str(base), DATA=os.path.join(self.directory, "data"),
            COLLECTOR_ADDRESS="127.0.0.1:%d" % (base + 1))
        self.shell = Shell(self.environment)
        self.background = []

    def note(self, ok, what, detail=""):
        print("%s %s" % ("ok  " if ok else "FAIL", what))
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print("\n".join("     " + line for line in detail.split("\n")))
        sys.stdout.flush()

    def block(self, path, block):
        where = "%s:%d: " % (path, block.line)
        language, _, mode = block.info.partition(" ")
        if language in SHELLS and language != "console":
            wrong = [line for line in block.text if line and not INSTALL.match(line)]
            if wrong or language != "sh":
                self.note(False, where + "a shell block that is not run", "\n".join(wrong))
            return
        if language != "console":
            return
        for command, expected in block.commands():
            self.command(where + command.split("\n")[0], command, expected, mode == "background")

    def command(self, what, command, expected, background):
        if background:
            self.background.append(Background(command, self.environment))
            ok = self.background[-1].wait_for(expected + ["..."])
            actual = self.background[-1].lines()
        else:
            try:
                actual = self.shell.run(command)
            except TimeoutError as error:
                actual = [str(error)]
            ok = matches([line for line in expected if line.strip()],
                         [line for line in actual if line.strip()])
        self.note(ok, what, "expected:\n%s\nactual:\n%s" % (
            "\n".join(expected), "\n".join(actual[:200])))

    def finish(self):
        for started in reversed(self.background):
            self.note(started.stop(), "Ctrl-C stops: " + started.command,
                      "\n".join(started.lines()[-40:]))
        self.shell.close()
        if self.failed:
            self.print_logs()
        shutil.rmtree(self.directory, ignore_errors=True)

    def print_logs(self):
        logs = os.path.join(self.directory, "data", "log")
        for name in sorted(os.listdir(logs)) if os.path.isdir(logs) else ():
            with open(os.path.join(logs, name), encoding="utf-8", errors="replace") as f:
                print("--- %s\n%s" % (name, "".join(f.readlines()[-30:])))


def run_unit_tests(pattern, directory):
    """The examples' own tests; (passed, failed)."""
    suite = unittest.defaultTestLoader.discover(directory, pattern)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0).run(suite)
    failed = len(result.failures) + len(result.errors)
    return result.testsRun - failed, failed


def main():
    run = Run()
    try:
        for path in sys.argv[1:]:
            for block in blocks(path):
                run.block(path, block)
    finally:
        run.finish()
    passed, failed = run_unit_tests("test_*.py", "examples/debian")
    print("%d passed, %d failed" % (run.passed + passed, run.failed + failed))
    return 1 if run.failed + failed or not run.passed else 0


if __name__ == "__main__":
    sys.exit(main())
