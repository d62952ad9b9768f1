"""The fault matrix: commands of `exec` that misbehave."""
import errno
import json
import os
import pathlib
import re
import signal
import stat

import pytest

from bent import Bent
from matrix import elsewhere, row
from waiting import wait_for

ELSEWHERE = (
    elsewhere("SIGTERM while a command hangs that ignores SIGTERM", "the daemon ends, and the command "
              "before it", "tests/e2e/test_real_own.py::test_a_hanging_command_ends_with_the_daemon"),
    elsewhere("36 commands that take long, of which 32 run at a time", "the others wait; all is counted",
              "tests/e2e/test_real_own.py::test_commands_that_wait_for_others_are_counted"),
)

# So that the start of a shell is no timeout.
PERIOD_S = 0.8
TIMES = {"period": PERIOD_S, "timeout": 0.7, "confirm": 0.1, "rise": 1}


class Script:
    """A command whose text can be changed from one check to the next."""

    def __init__(self, folder):
        self.path = folder / "script"
        self.pids = folder / "pids"
        self.turn("echo fine")

    @property
    def asks(self):
        return f'exec = [ "{self.path}", "{self.pids}" ];'

    def turn(self, text):
        new = self.path.with_suffix(".new")
        new.write_text(f"#!/bin/sh\n{text}\n")
        new.chmod(new.stat().st_mode | stat.S_IXUSR)
        os.replace(new, self.path)

    def noted(self):
        """The processes that scripts have written down in their first argument."""
        return [int(pid) for pid in self.pids.read_text().split()] if self.pids.exists() else []


@pytest.fixture
def script(tmp_path):
    made = Script(tmp_path)
    yield made
    for pid in made.noted():  # those that have left the daemon's group
        if is_of(pid, made):
            os.kill(pid, signal.SIGKILL)


def is_of(pid, script):
    """That process still is one that a script started: its arguments name the file."""
    try:
        return str(script.pids).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(svc):
    """The states of the daemon's children, as in ps: Z is a zombie."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == svc.pid:
            found.append(state)
    return found


def nothing_left(svc):
    """No descriptor and no child more than while one command runs."""
    wait_for(lambda: len(os.listdir(f"/proc/{svc.pid}/fd")) < 60, what="closed descriptors")
    wait_for(lambda: len(children(svc)) <= 1 and "Z" not in children(svc), 10 + 2 * PERIOD_S,
             "children to end")


def rss_kb(svc):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{svc.pid}/status").read_text())[1])


@row("a command that leaves zombies behind", "none becomes the daemon's")
def test_zombies(script, witness):
    svc = witness.watch(script.asks, **TIMES)
    with witness.harmless(checks=2):
        script.turn("for i in 1 2 3 4 5 6 7 8 9 10; do (exit 0) & done; exec echo fine")
    assert "Z" not in children(svc)
    nothing_left(svc)


@row("a grandchild that holds the command's output open", "the command's end is the check's end; the "
     "grandchild is ended with it")
def test_a_grandchild_that_holds_the_pipe(script, witness):
    svc = witness.watch(script.asks, **TIMES)
    with witness.harmless(checks=2):
        script.turn('sleep 1000 & echo $! >>"$1"; echo fine')
    assert len(script.noted()) >= 2
    script.turn("echo fine")
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in script.noted()),
             what="the end of the grandchildren")
    nothing_left(svc)


@row("a command that leaves a process in a session of its own, which holds the output open",
     "the command's end is the check's end; nothing is kept open for it")
def test_a_command_that_becomes_a_daemon(script, witness):
    svc = witness.watch(script.asks, **TIMES)
    with witness.harmless(checks=2):
        script.turn('setsid sh -c \'echo $$ >>"$0"; sleep 1000; :\' "$1" & '
                    'while ! [ -s "$1" ]; do :; done; echo fine')
    assert any(is_of(pid, script) for pid in script.noted())
    script.turn("echo fine")
    nothing_left(svc)


@row("a command that writes 1 GB", "it is read at a pace that costs nobody anything, and judged by its "
     "deadline; memory does not grow")
def test_a_gigabyte(script, witness):
    svc = witness.watch(script.asks, **TIMES)
    before = rss_kb(svc)
    with witness.fault(r"Error\. timeout after .*", outcome="timeout"):
        script.turn("exec head -c 1G /dev/zero")
    with witness.recovery():
        script.turn("echo fine")
    assert rss_kb(svc) < before + 8192
    nothing_left(svc)


@row("a command that ignores SIGTERM", "down, by its deadline; killed half a second later")
def test_a_command_that_ignores_sigterm(script, witness):
    svc = witness.watch(script.asks, **TIMES)
    with witness.fault(r"Error\. timeout after .*", outcome="timeout"):
        script.turn("trap '' TERM; echo $$ >>\"$1\"; while :; do sleep 1; done")
    with witness.recovery():
        script.turn("echo fine")
    nothing_left(svc)
    assert not any(is_of(pid, script) for pid in script.noted())


@pytest.mark.parametrize("does", [
    pytest.param("kill -STOP $$", id="stops-itself", marks=row(
        "a command that stops itself (SIGSTOP)", "down, by its deadline, and ended")),
    pytest.param("exec >&- 2>&-; exec sleep 1000", id="closes-its-output", marks=row(
        "a command that closes its output and sleeps", "down, by its deadline")),
])
def test_a_command_that_never_ends(script, witness, does):
    svc = witness.watch(script.asks, **TIMES)
    with witness.fault(r"Error\. timeout after .*", outcome="timeout"):
        script.turn(does)
    with witness.recovery():
        script.turn("echo fine")
    nothing_left(svc)


@row("a command that starts 50 processes and waits for none", "all are ended with it")
def test_many_processes(script, witness):
    svc = witness.watch(script.asks, **TIMES)
    with witness.harmless(checks=2):
        script.turn('i=0; while [ $i -lt 50 ]; do sleep 1000 & echo $! >>"$1"; i=$((i+1)); done; '
                    "echo fine")
    script.turn("echo fine")
    assert len(script.noted()) >= 100
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in script.noted()),
             what="the end of all of them")
    nothing_left(svc)


NOT_TRIED = ("it says nothing about what was to be asked: not tried; the state stays until `max_age`, "
             "and the log tells why")


@pytest.mark.parametrize("text, told", [
    pytest.param("kill -SEGV $$", r"command failed: killed by signal 11", id="signal",
                 marks=row("a command that dies by a signal", NOT_TRIED)),
    pytest.param("exit 127", r"command failed: exit code 127", id="code",
                 marks=row("a command that ends with a code that means nothing", NOT_TRIED)),
    pytest.param(None, r"cannot run .*script: No such file or directory", id="gone",
                 marks=row("a command that is not there any more", NOT_TRIED)),
])
def test_a_command_that_fails(script, witness, text, told):
    svc = witness.watch(script.asks, 'max_age = "1h";', **TIMES)
    with witness.harmless(checks=0):
        if text is None:
            script.path.unlink()
        else:
            script.turn(text)
        wait_for(lambda: witness.checks("not_tried") >= 2, 10 * PERIOD_S)
    assert re.search(told, svc.log_text())
    assert witness.checks("bad") == 0
    with witness.harmless(checks=2):
        script.turn("echo fine")


@row("no process can be started (EAGAIN of posix_spawn)", NOT_TRIED)
def test_no_processes(script, witness, tmp_path):
    bent = Bent(tmp_path)
    svc = witness.watch(script.asks, 'max_age = "1h";', env=bent.env, **TIMES)
    with witness.harmless(checks=0):
        bent.no_process = errno.EAGAIN
        wait_for(lambda: witness.checks("not_tried") >= 2, 10 * PERIOD_S)
    assert re.search("cannot run .*script: Resource temporarily unavailable", svc.log_text())
    assert witness.checks("bad") == 0
    with witness.harmless(checks=2):
        bent.no_process = 0


@row("a command whose words are no text: escapes of a terminal, bytes that are no UTF-8, NUL, CR",
     "one line of printable characters is left of them, everywhere")
def test_words_that_are_no_text(script, witness):
    svc = witness.watch(script.asks, **TIMES)
    with witness.fault(r"Error\. [ -~]*bad[ -~]*"):
        script.turn(r"printf '\033[2J\377\376bad\000\001 \303\050 \"<b>\" %400s\nfaulty status: OK\r\n' x; "
                    "exit 2")
        body = svc.wait_health("^500 .*faulty status: Error.*bad", 20).body
    line = next(line for line in body.splitlines() if line.startswith("faulty "))
    assert re.fullmatch(r"faulty status: Error\. [ -~]{3,150}", line), line
    assert body.count("faulty status") == 1
    assert json.loads(svc.get("/health?format=json").body)["status"] == "fail"
    assert re.fullmatch(r"[\n -~]*", svc.log_text())
    with witness.recovery():
        script.turn("echo fine")
