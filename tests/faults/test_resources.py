"""The fault matrix: what a machine runs out of, and a log that nobody can write or read."""
import contextlib
import errno
import os
import pathlib
import re
import resource
import select
import subprocess
import threading

import pytest

import daemon
from bent import Bent, forgive
from matrix import elsewhere, row
from test_faults import KeptConnection
from waiting import SCALE, wait_for

ELSEWHERE = (
    elsewhere("no descriptors left (EMFILE)", "not tried: the state stays until `max_age`; who has a "
              "connection is answered; recovers by itself",
              "tests/e2e/test_faults.py::test_without_descriptors_a_dependency_keeps_its_state"),
    elsewhere("no descriptors left for longer than `max_age`", "stale, and said to be",
              "tests/e2e/test_faults.py::"
              "test_without_descriptors_for_long_a_dependency_is_stale"),
    elsewhere("a limit of descriptors that is too low from the start", "told by `-t`, and at start",
              "tests/e2e/test_config.py::test_too_few_descriptors_are_warned_of"),
    elsewhere("the disk is full that `-1` prints to", "exit 2, and said so",
              "tests/e2e/test_config.py::test_once_that_cannot_be_printed_ends_with_2"),
)

SPARE_BYTES = 1 << 20
PLAIN = 'name = "gateway"; listen = "127.0.0.1:0"; workers = 4;\n'


@pytest.fixture
def bent(tmp_path):
    return Bent(tmp_path)


def wait_for_good_checks(witness):
    """Of each dependency; then all is as it was."""
    names = ("faulty", *witness.beside)
    before = {name: witness.checks("good", name) for name in names}
    wait_for(lambda: all(witness.checks("good", name) > before[name] for name in names))
    witness.wait_well()


# ---- descriptors, ports, threads ----

@row("no descriptors left in the whole system (ENFILE)",
     "not tried: the state stays; who has a connection is answered, who comes new waits in the "
     "kernel's queue until there are some again; recovers by itself")
def test_no_descriptors_in_the_system(bent, peers, witness):
    svc = witness.watch(peers.http().url(), settings='max_age = "1h";', env=bent.env)
    kept = KeptConnection(svc)
    not_tried = 'healthsvc_dependency_checks_total{dependency="faulty",class="not_tried"}'
    with witness.excuse("new connections wait; those beside get old"):
        bent.no_descriptor = errno.ENFILE
        wait_for(lambda: kept.metric(not_tried) >= 3)
        assert re.search("^faulty status: OK$", kept.get("/health")[1], re.MULTILINE)
        bent.no_descriptor = 0
        wait_for_good_checks(witness)
    with witness.harmless():
        pass
    assert svc.metric('healthsvc_checks_total{outcome="own_descriptors",class="not_tried"}') >= 3
    assert witness.checks("bad") == 0


@row("no port left to connect from (EADDRNOTAVAIL)", "not tried: the state stays; recovers by itself")
def test_no_ports(bent, peers, witness):
    witness.watch(peers.http().url(), settings='max_age = "1h";', env=bent.env)
    with witness.excuse("those beside get old"):
        bent.no_port = errno.EADDRNOTAVAIL
        wait_for(lambda: witness.checks("not_tried") >= 3)
        assert re.search("^faulty status: OK$", witness.last(), re.MULTILINE)
        bent.no_port = 0
        wait_for_good_checks(witness)
    with witness.harmless():
        pass
    assert witness.checks("bad") == 0


def start_and_end(tmp_path, **how):
    """Starts a daemon with `how`; True if it could, after it has ended well. If it could not, it has
    said why and has exited 1."""
    folder = tmp_path / f"try{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    svc = daemon.Daemon(folder, PLAIN, **how)
    wait_for(lambda: "serving the health" in svc.log_text() or svc.process.poll() is not None, 20)
    if svc.process.poll() is None:
        assert svc.health() == (200, "Up and running\n")
        assert svc.stop() == 0
        return True
    assert svc.wait_exit() == 1, svc.log_text()
    assert re.search(r"error: .+: .+", svc.log_text()), svc.log_text()
    return False


@row("no thread can be started: the checker's, a worker's, the acceptor's",
     "exit 1 with the reason")
def test_no_threads_at_start(tmp_path, witness):
    assert witness is not None
    for threads in (0, 1, 5, 6):
        bent = Bent(tmp_path)
        bent.threads_left = threads
        enough = threads == 6  # the checker, 4 workers, the acceptor
        env = bent.env | forgive(tmp_path, "mg_start2")  # 48 bytes for threads that do not start
        assert start_and_end(tmp_path, env=env) == enough, threads


@row("no thread can be started for an address that a reload adds",
     "the reload fails with the reason, and nothing has changed")
def test_no_threads_at_a_reload(bent, tmp_path, peers, witness):
    svc = witness.watch(peers.http().url(), env=bent.env | forgive(tmp_path, "mg_start2"))
    added = witness.conf.replace('listen = "127.0.0.1:0";',
                                 'listen = [ "127.0.0.1:0", "127.0.0.2:0" ]; workers = 32;')
    for threads in (0, 32):
        with witness.harmless(checks=1):
            bent.threads_left = threads
            assert "keeping the running configuration" in svc.reload(added)
    bent.threads_left = -1
    with witness.harmless(checks=1):
        assert svc.reload(added).startswith("reloaded: 3 kept")
    assert svc.get("/livez", address=svc.addresses[-1]).status == 200


# ---- memory ----

def with_memory(size):
    return ["prlimit", f"--as={size}", "--"]


@pytest.mark.plain_build
@row("too little memory to start (RLIMIT_AS, from 8 MB to enough; not with sanitizers)",
     "it runs, or says why not and exits 1")
def test_too_little_memory_to_start(tmp_path, witness):
    assert witness is not None
    started = []
    for size in range(8 << 20, 64 << 20, 2 << 20):
        with contextlib.suppress(UnloadedProgram):
            started.append(start_in(tmp_path, size))
    assert started[-1] and not started[0]


class UnloadedProgram(Exception):
    """There was no memory even for the libraries: nothing of ours has run."""


def start_in(tmp_path, size):
    loaded = subprocess.run([*with_memory(size), daemon.BINARY, "-V"], capture_output=True,
                            timeout=30 * SCALE, check=False)
    if loaded.returncode == 127 or loaded.returncode < 0:
        raise UnloadedProgram
    return start_and_end(tmp_path, under=with_memory(size))


@pytest.mark.plain_build
@row("no memory left at run time, then a reload with 5,000 dependencies (RLIMIT_AS; not with "
     "sanitizers)", "the reload fails with the reason, or finds room that malloc had set aside; what "
     "runs goes on")
def test_no_memory_left(peers, witness):
    svc = witness.watch(peers.http().url())
    used = int(pathlib.Path(f"/proc/{svc.pid}/statm").read_text().split()[0])
    used *= resource.getpagesize()
    large = witness.conf.replace("dependencies = (", "dependencies = (" + "".join(
        f'{{ name = "d{i}"; url = "http://127.0.0.1:1/"; importance = "info"; }},\n'
        for i in range(5000)))
    with witness.harmless():
        limits = resource.prlimit(svc.pid, resource.RLIMIT_AS)
        resource.prlimit(svc.pid, resource.RLIMIT_AS, (used + SPARE_BYTES, limits[1]))
        told = svc.reload(large)
        # An arena of malloc's may have address space to spare; tests/torture refuses for certain.
        assert told.startswith("reloaded: ") or \
            ("memory" in told and told.endswith("keeping the running configuration"))
    resource.prlimit(svc.pid, resource.RLIMIT_AS, limits)
    with witness.harmless():
        assert svc.reload(witness.conf).startswith("reloaded: 3 kept")


@pytest.mark.plain_build
@row("a stack of 64 KB (`ulimit -s 64`; not with sanitizers)",
     "everything works: TLS, a command, an expression, a reload, every path and format")
def test_a_small_stack(peers, witness, authority):
    peer = peers.http(tls=authority.server(), body="x" * 60000 + "fit")
    svc = witness.watch(
        peer.url(scheme="https"), f'ca_file = "{authority.ca_file}"; expect_body = "x+fit$";',
        more='{ name = "job"; exec = [ "/bin/sh", "-c", "echo fine" ]; importance = "info"; }, '
             '{ name = "lost"; url = "http://lost.invalid/"; importance = "info"; }',
        under=["prlimit", f"--stack={65536}", "--"])
    with witness.harmless():
        for path in ("/health?format=json", "/metrics", "/readyz?verbose", "/livez", "/health/job"):
            assert svc.get(path).status == 200
        assert svc.reload(witness.conf).startswith("reloaded: 5 kept")


# ---- the log ----

@row("the log's disk is full (/dev/full)", "everything works")
def test_a_full_disk_for_the_log(folder, peers, witness):
    with open("/dev/full", "wb") as full:
        svc = witness.watch(peers.http().url(), head=f'listen = "unix:{folder}/s";', stderr=full)
    with witness.harmless():
        svc.reload("broken", wait=False)
        wait_for(lambda: svc.metric("healthsvc_config_last_reload_successful") == 0)


@row("the log is as large as it may become (RLIMIT_FSIZE)",
     "everything works; how many lines were lost is told when it may grow again")
def test_a_log_that_may_not_grow(peers, witness):
    svc = witness.watch(peers.http().url())
    limits = resource.prlimit(svc.pid, resource.RLIMIT_FSIZE)
    with witness.harmless():
        size = os.stat(svc.log).st_size
        resource.prlimit(svc.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
        for count in range(1, 4):
            svc.reload("broken", wait=False)
            wait_for(lambda: svc.metric('healthsvc_reloads_total{result="failed"}') == count)
        assert os.stat(svc.log).st_size == size
        resource.prlimit(svc.pid, resource.RLIMIT_FSIZE, limits)
        svc.reload("broken")
    # Each of the three had two: the fault, and what was done.
    assert re.search(r"warning: the log took no more: lost lines=6$", svc.log_text(), re.MULTILINE)


@row("standard error is a pipe that nobody reads", "everything works: nothing waits for the reader; "
     "how many lines were lost is told when it reads again")
def test_a_log_that_nobody_reads(folder, peers, witness):
    reader, writer = os.pipe()
    svc = witness.watch(peers.http().url(), head=f'listen = "unix:{folder}/s";', stderr=writer)
    with witness.harmless():
        while select.select([], [writer], [], 0)[1]:
            os.write(writer, b"." * 4096)
        for count in range(1, 4):
            svc.reload("broken", wait=False)
            wait_for(lambda: svc.metric('healthsvc_reloads_total{result="failed"}') == count)
    os.close(writer)
    told = []

    def read_on():
        with open(reader, encoding="utf-8", errors="replace") as log:
            told.extend(log)
    threading.Thread(target=read_on, daemon=True).start()
    with witness.harmless():
        svc.reload(witness.conf, wait=False)
        wait_for(lambda: svc.metric("healthsvc_config_last_reload_successful") == 1)
    wait_for(lambda: re.search(r"warning: the log took no more: lost lines=6\n.*reloaded: 3 kept",
                               "".join(told), re.DOTALL))


@row("whoever read standard error has gone (EPIPE)", "everything works")
def test_a_log_whose_reader_has_gone(folder, peers, witness):
    reader, writer = os.pipe()
    svc = witness.watch(peers.http().url(), head=f'listen = "unix:{folder}/s";', stderr=writer)
    os.close(writer)
    with witness.harmless():
        os.close(reader)
        svc.reload("broken", wait=False)
        wait_for(lambda: svc.metric("healthsvc_config_last_reload_successful") == 0)


@row("started with standard input, output and error closed",
     "none of its sockets gets their place, so that no log line ends up in a client's answer")
def test_closed_standard_descriptors(folder, peers, witness):
    svc = witness.watch(peers.http().url(), head=f'listen = "unix:{folder}/s";', stderr=True,
                        under=["/bin/sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-'])
    for fd in range(3):
        assert os.readlink(f"/proc/{svc.pid}/fd/{fd}") == "/dev/null"
    with witness.harmless():
        svc.reload("broken", wait=False)
        wait_for(lambda: svc.metric("healthsvc_config_last_reload_successful") == 0)
