"""The fault matrix: files that are none, and reloads that come at a bad time."""
import os
import re
import signal
import threading
import time

import daemon
from bent import forgive
from matrix import elsewhere, row, rows
from waiting import SCALE, wait_for

ELSEWHERE = (
    elsewhere("a reload adds an address that somebody else has",
              "the reload fails, the address is named, nothing has changed",
              "tests/e2e/test_reload.py::test_an_address_in_use_leaves_everything_as_it_was"),
    elsewhere("50 signals faster than reloads can be done", "the last file is in force in the end",
              "tests/e2e/test_reload.py::test_a_burst_of_signals_ends_in_the_last_file"),
    elsewhere("twelve faults in one file", "each is told with its line, in one run",
              "tests/e2e/test_config.py::test_every_fault_is_told_with_its_line_in_one_run"),
)

STAYS = "the reload fails and says where and why; all goes on as before; the next good file is taken"
URL = 'url = "http://127.0.0.1:1/";'

# Put in front of a good file; what is told of it.
TEXTS = {
    "a syntax error": ("name = ;", r"health\.conf:1: syntax error"),
    "an unknown setting": ("perod = 5;", r"health\.conf:1: unknown setting 'perod'"),
    "a setting of the wrong type": ('shutdown_delay = [ 1 ];', r"health\.conf:1: .*shutdown_delay"),
    "a setting out of its range": ("workers = 0;", r"health\.conf:1: .*workers.* must be 1 \.\. 1024"),
    "a setting given twice": ("workers = 5; workers = 6;", r"health\.conf:1: duplicate setting"),
    "an open string": ('nameservers = "', r"health\.conf:\d+: syntax error"),
    "an open comment": ("/*", r"health\.conf:1: the comment that begins here does not end"),
    "lists in lists, 100,000 deep": ("name = " + 100000 * "(", r"health\.conf:\d+: \w+"),
    "a NUL byte": ("\0", r"health\.conf:1: a NUL byte"),
    "20 MB of comments": ("# " + 79 * "x" + "\n" + 262144 * ("# " + 77 * "x" + "\n"),
                         r"health\.conf:1: cannot read '.*health\.conf': too large"),
    "an include of itself": ('@include "health.conf"', r"health\.conf:1: 'health\.conf' includes itself"),
    "an include of what is not there": ('@include "nothing.conf"',
                                        r"health\.conf:1: cannot read '.*nothing\.conf': No such file"),
    "an include of a folder": ('@include "."', r"health\.conf:1: cannot read '.*': Is a directory"),
}

# Put in front of the first dependency of a good file.
DEPENDENCIES = {
    "two dependencies of one name": ('{ name = "faulty"; %s }' % URL, r"health\.conf:\d+: .*faulty"),
    "a dependency without a name": ("{ %s }" % URL, r"health\.conf:\d+: .*name"),
    "a dependency without `url` and `exec`": ('{ name = "a"; }', r"health\.conf:\d+: .*url"),
    "a scheme that there is not": ('{ name = "a"; url = "gopher://a/"; }',
                                   r"health\.conf:\d+: .*gopher"),
    "settings that do not hold together": (
        '{ name = "a"; %s period = "5s"; timeout = "6s"; }' % URL, r"health\.conf:\d+: .*timeout"),
}


def reload_as_it_is(svc, timeout=10.0):
    """SIGHUP; the line that tells how it ended, and all that was told before it."""
    start = len(svc.log_text())
    svc.kill(signal.SIGHUP)
    end = svc.wait_log(daemon.RELOAD_ENDED.pattern, timeout, start)
    return end.group(0), svc.log_text()[start:]


def put(svc, text):
    """A new file in the old one's place."""
    new = svc.conf.with_suffix(".new")
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.replace(new, svc.conf)


def is_refused(svc, told, what, timeout=10.0):
    line, log = reload_as_it_is(svc, timeout)
    assert line.endswith("; keeping the running configuration"), (what, line)
    assert re.search(told, log), (what, log)
    assert svc.metric("healthsvc_config_last_reload_successful") == 0, what


def is_taken(svc, text, what=None):
    put(svc, text)
    line, _ = reload_as_it_is(svc)
    assert line.startswith("reloaded: 3 kept"), (what, line)


def is_taken_in_the_end(svc, text):
    """After reloads that nobody has waited for."""
    put(svc, text)
    wait_for(lambda: reload_as_it_is(svc)[0] == "reloaded: 3 kept, 0 changed, 0 added, 0 removed")


@rows([*TEXTS, *DEPENDENCIES], STAYS)
def test_a_fault_in_the_text(peers, witness, tmp_path):
    # libconfig's, for a string that is open when it gives up
    svc = witness.watch(peers.http().url(), env=forgive(tmp_path, "strbuf_append"))
    texts = {what: (f"{text}\n{witness.conf}", told) for what, (text, told) in TEXTS.items()}
    texts |= {what: (witness.conf.replace("dependencies = (", f"dependencies = ( {text},"), told)
              for what, (text, told) in DEPENDENCIES.items()}
    with witness.harmless():
        for what, (text, told) in texts.items():
            put(svc, text)
            is_refused(svc, told, what)
            is_taken(svc, witness.conf, what)


def gone(path):
    path.unlink()


def folder(path):
    path.unlink()
    path.mkdir()


def circle(path):
    path.unlink()
    path.symlink_to(path.name)


def endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def binary(path):
    path.write_bytes(bytes(range(256)) * 64)


def half(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_text(path.read_text().partition("dependencies")[0])


FILES = {
    "the file is gone": (gone, r"No such file"),
    "a folder in the file's place": (folder, r"Is a directory"),
    "a link to itself in the file's place": (circle, r"[Tt]oo many .*symbolic links"),
    "an endless device in the file's place": (endless, r"too large"),
    "a program in the file's place": (binary, r"health\.conf:1: a NUL byte"),
    "half of a file": (half, r"health\.conf:\d+: \w+"),
    "an empty file": (empty, r"no 'dependencies' in .*health\.conf any more, and 3 are asked now"),
    "a file cut before its `dependencies`": (cut, r"no 'dependencies' in .* any more, and 3 are"),
}


@rows(list(FILES), STAYS)
def test_a_file_that_is_none(peers, witness):
    svc = witness.watch(peers.http().url())
    with witness.harmless():
        for what, (spoil, told) in FILES.items():
            spoil(svc.conf)
            is_refused(svc, told, what)
            if svc.conf.is_dir() and not svc.conf.is_symlink():
                svc.conf.rmdir()
            is_taken(svc, witness.conf, what)


@row("a pipe that nobody writes to in the file's place", "given up after 5 s; " + STAYS)
def test_a_pipe_that_nobody_writes_to(peers, witness):
    svc = witness.watch(peers.http().url())
    svc.conf.unlink()
    os.mkfifo(svc.conf)
    with witness.harmless():
        is_refused(svc, r"health\.conf:1: cannot read .*: its end has not come within 5s", "pipe", 20)
        is_taken(svc, witness.conf)


@row("an editor that writes the file in place, and a deployment that removes and renames it, while a "
     "hundred reloads a second come", "no reload takes what is not whole (`dependencies` being last)")
def test_the_file_changes_during_reloads(peers, witness):
    svc = witness.watch(peers.http().url())
    text = witness.conf.encode()
    ended = threading.Event()

    def write():
        while not ended.is_set():
            with open(svc.conf, "r+b", buffering=0) as file:
                file.truncate(0)
                file.write(text[:20])
                for at in range(20, len(text), 50):
                    file.write(text[at:at + 50])
            svc.conf.rename(svc.conf.with_suffix(".away"))
            ended.wait(0.002)
            svc.conf.with_suffix(".away").rename(svc.conf)

    writer = threading.Thread(target=write)
    with witness.harmless():
        writer.start()
        signals = send_signals(svc, 3 * SCALE)
        ended.set()
        writer.join()
        is_taken_in_the_end(svc, witness.conf)
    assert signals > 100
    taken = set(re.findall(r"reloaded: .*", svc.log_text()))
    assert taken == {"reloaded: 3 kept, 0 changed, 0 added, 0 removed"}, taken


def send_signals(svc, seconds, before=lambda: None):
    """SIGHUP a hundred times a second; how often."""
    count, begin = 0, time.monotonic()
    while time.monotonic() < begin + seconds:
        before()
        svc.kill(signal.SIGHUP)
        count += 1
        wait_for(lambda: time.monotonic() >= begin + count / 100)
    return count


@row("a hundred reloads a second, good and bad files in turn, with names that come and go",
     "each answer is that of one configuration; nothing is left behind")
def test_a_hundred_reloads_a_second(peers, witness):
    peer = peers.http()
    svc = witness.watch(peer.url())
    more = witness.conf.replace("dependencies = (", "dependencies = ( " + ", ".join(
        f'{{ name = "more-{i}"; url = "{peer.url()}"; importance = "info"; }}' for i in range(20)) + ",")
    files = [more, "broken", witness.conf, witness.conf[:-20]]
    turn = iter(range(1 << 30))
    # From here on: what is open after some reloads is open after many.
    held = []
    with witness.harmless():
        for seconds in (1, 4):
            send_signals(svc, seconds * SCALE, lambda: put(svc, files[next(turn) % len(files)]))
            is_taken_in_the_end(svc, witness.conf)
            held.append(len(os.listdir(f"/proc/{svc.pid}/fd")))
    assert held[1] <= held[0] + 8, held
    assert svc.metric('healthsvc_reloads_total{result="ok"}') > 50
    assert svc.metric('healthsvc_reloads_total{result="failed"}') > 50
    bodies = [p.body for p in witness.polls_since(0) if p.body]
    for body in bodies:
        names = re.findall(r"^([\w-]+) status: ", body.partition("\n")[2], re.MULTILINE)
        assert len(names) in (3, 23), body


@row("a reload while a dependency is down", "down it stays, with its reason and its counters, over any "
     "number of reloads")
def test_a_reload_with_a_failing_dependency(peers, witness):
    peer = peers.http()
    svc = witness.watch(peer.url())
    with witness.fault("Error. connection refused", outcome="connect_refused"):
        peer.close()
        svc.wait_health("^500 .*faulty status: Error. connection refused")
        bad = witness.checks("bad")
        for i in range(20):
            is_taken(svc, witness.conf + f"# {i}\n")
        assert witness.checks("bad") >= bad
    with witness.recovery():
        peer.open()
