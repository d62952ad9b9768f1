"""The fault matrix: clocks that leap, and threads, processes and machines that stand still."""
import json
import re
import signal
import time

import pytest

from bent import Bent
from matrix import elsewhere, row
from test_faults import Frozen
from waiting import SCALE, wait_for

HOUR_S = 3600

ELSEWHERE = (
    elsewhere("the checker's thread is stopped (ptrace)",
              "failing, and said to be the service's own fault, 5 s later; `/livez` fails too; "
              "nothing is held against a dependency afterwards",
              "tests/e2e/test_faults.py::test_a_frozen_checker_is_told"),
    elsewhere("the checker's thread is stopped, and there are no dependencies", "failing all the same",
              "tests/e2e/test_faults.py::test_a_frozen_checker_without_dependencies_is_told"),
    elsewhere("the checker's thread is stopped past the deadline of a check under way",
              "that check counts as not tried, not as a timeout",
              "tests/e2e/test_faults.py::"
              "test_what_was_under_way_in_a_stall_is_not_held_against_the_peer"),
    elsewhere("the checker's thread is stopped, then SIGTERM", "it ends all the same",
              "tests/e2e/test_faults.py::test_a_frozen_checker_does_not_hold_up_the_end"),
    elsewhere("the checker's thread is stopped under a supervisor", "the watchdog is not fed",
              "tests/e2e/test_reload.py::test_a_frozen_checker_stops_the_watchdog"),
)


@pytest.fixture
def bent(tmp_path):
    return Bent(tmp_path)


def said_to_be_checked(svc):
    """When the faulty one was last checked, by the clock on the wall."""
    said = json.loads(svc.get("/health?format=json").body)["checks"]["faulty:responseTime"][0]
    return time.mktime(time.strptime(said["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


@pytest.mark.parametrize("leap_s", [
    pytest.param(-HOUR_S, marks=row("the clock is set back by an hour", "no state changes; what is "
                                    "shown as a time follows the clock"), id="back"),
    pytest.param(HOUR_S, marks=row("the clock is set forward by an hour", "the same"),
                 id="forward"),
])
def test_the_clock_is_set(bent, peers, witness, leap_s):
    svc = witness.watch(peers.http().url(), env=bent.env)
    with witness.harmless():
        bent.wall_s = leap_s
    assert abs(said_to_be_checked(svc) - (time.time() + leap_s)) < 60 * SCALE
    with witness.harmless():
        bent.wall_s = 0
    assert abs(said_to_be_checked(svc) - time.time()) < 60 * SCALE
    assert witness.checks("not_tried") == 0


@row("the clock is set forward by an hour while a check is under way, and back under the next",
     "neither is a timeout")
def test_the_clock_is_set_during_a_check(bent, peers, witness):
    peer = peers.gated()
    for _ in range(3):
        peer.replies.put(200)
    witness.watch(peer.url(), period=2, timeout=1.9, env=bent.env)
    for leap_s in (HOUR_S, 0):
        with witness.harmless(checks=1):
            asked = len(peer.requests)
            wait_for(lambda: len(peer.requests) > asked - peer.replies.qsize(), 20)
            bent.wall_s = leap_s
            for _ in range(4):
                peer.replies.put(200)
    assert witness.checks("bad") == 0


@row("started with the clock at 1970, as machines without a battery are, and set right later",
     "checks as ever")
def test_started_in_1970(bent, peers, witness):
    bent.wall_s = -int(time.time())
    svc = witness.watch(peers.http().url(), env=bent.env)
    assert said_to_be_checked(svc) < 3600
    with witness.harmless():
        bent.wall_s = 0


def when_all_were_asked(witness, peer, since):
    """Waits until each dependency has been asked after `since`; when the last of them first was."""
    times = [peer.times, *(beside.times for beside in witness.beside.values())]
    wait_for(lambda: all(own[-1] > since for own in times), what="a check of each")
    return max(next(t for t in own if t > since) for own in times)


def judge_awakening(witness, peer, resumed):
    """Nothing is said to be well before everything has been asked again."""
    asked = when_all_were_asked(witness, peer, resumed)
    witness.wait_well()
    early = [p for p in witness.polls_since(resumed) if p.status == 200 and p.ended < asked]
    assert not early, early[:3]


@row("the process is suspended for longer than `max_age` (SIGSTOP)",
     "requests wait; nothing seen before counts: no good answer until everything has been asked again; "
     "a check under way is not held against its peer")
def test_the_process_is_suspended(peers, witness):
    peer = peers.http()
    svc = witness.watch(peer.url())
    with witness.excuse("it stands still"):
        svc.kill(signal.SIGSTOP)
        until = time.monotonic() + 3 * SCALE  # max_age is 2 s
        wait_for(lambda: time.monotonic() > until)
        resumed = time.monotonic()
        svc.kill(signal.SIGCONT)
        judge_awakening(witness, peer, resumed)
    with witness.harmless():
        pass
    assert witness.checks("bad") == 0


@row("the machine is suspended for an hour", "nothing seen before counts: failing until everything "
     "has been asked again, which it is within a second and a check's time")
def test_the_machine_is_suspended(bent, peers, witness):
    peer = peers.http()
    svc = witness.watch(peer.url(), env=bent.env)
    with witness.excuse("it says that it has no results"):
        with Frozen(svc.pid, "healthsvc-check"):
            bent.suspended_s = HOUR_S
            assert re.match(r"gateway status: Error\. stale: no check has completed for 36\d\d s\n",
                            svc.wait_health("^500 ").body)
            resumed = time.monotonic()
        judge_awakening(witness, peer, resumed)
    with witness.harmless():
        pass
    assert witness.checks("bad") == 0


@row("the worker of one address is stopped (ptrace)",
     "the other addresses answer; whoever waits at that one is answered as soon as it goes on")
def test_a_worker_is_stopped(peers, witness):
    svc = witness.watch(peers.http().url(), head="""listen = (
        { address = "127.0.0.1:0"; workers = 8; }, { address = "127.0.0.1:0"; workers = 1; } );""")
    with Frozen(svc.pid, "civetweb-worker"):  # the newest: the second address's
        waiting = svc.connect(svc.addresses[1])
        waiting.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        with witness.harmless():
            pass
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(1)
    waiting.settimeout(10 * SCALE)
    assert waiting.recv(100).startswith(b"HTTP/1.1 200 ")
    waiting.close()
