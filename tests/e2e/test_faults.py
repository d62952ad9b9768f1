"""Faults of the service itself: never held against a dependency, never hidden by an "OK"."""
import ctypes
import http.client
import os
import pathlib
import re
import resource

from waiting import SCALE, wait_for

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "500ms"; timeout = "450ms"; };
dependencies = ( { name = "trips"; url = "%s"; %s } );
"""
NOT_TRIED = 'healthsvc_dependency_checks_total{dependency="trips",class="not_tried"}'
BAD = 'healthsvc_dependency_checks_total{dependency="trips",class="bad"}'


class KeptConnection:
    """One connection from before the descriptors ran out: the only kind that is then served."""

    def __init__(self, svc):
        self._connection = http.client.HTTPConnection("127.0.0.1", svc.port, timeout=10 * SCALE)
        self.get("/livez")

    def get(self, path):
        self._connection.request("GET", path, headers={"Connection": "keep-alive"})
        reply = self._connection.getresponse()
        return reply.status, reply.read().decode()

    def metric(self, sample):
        body = self.get("/metrics")[1]
        found = re.search(rf"^{re.escape(sample)} (\S+)$", body, re.MULTILINE)
        return float(found.group(1)) if found else None


def forbid_descriptors(svc):
    """No new descriptor from now on; returns the limits as they were. Not below 3: poll() takes
    no more descriptors than the limit, and the server's has at most that many."""
    before = resource.prlimit(svc.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(svc.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    return before


def test_without_descriptors_a_dependency_keeps_its_state(healthsvc, peers):
    svc = healthsvc(CONF % (peers.http().url(), 'max_age = "1h";'))
    svc.wait_health("^200 ")
    kept = KeptConnection(svc)
    bad = kept.metric(BAD)
    limits = forbid_descriptors(svc)
    wait_for(lambda: kept.metric(NOT_TRIED) >= 3)
    assert kept.get("/health") == (200, "gateway status: OK\nDependencies:\ntrips status: OK\n")
    assert kept.metric(BAD) == bad
    assert kept.metric('healthsvc_checks_total{outcome="own_descriptors",class="not_tried"}') >= 3
    resource.prlimit(svc.pid, resource.RLIMIT_NOFILE, limits)
    good = 'healthsvc_dependency_checks_total{dependency="trips",class="good"}'
    before = kept.metric(good)
    wait_for(lambda: kept.metric(good) > before)


def test_without_descriptors_for_long_a_dependency_is_stale(healthsvc, peers):
    svc = healthsvc(CONF % (peers.http().url(), f'max_age = "{SCALE}s";'))
    svc.wait_health("^200 ")
    kept = KeptConnection(svc)
    limits = forbid_descriptors(svc)

    def stale():
        status, body = kept.get("/health")
        return status == 500 and re.search(r"^trips status: Error\. stale: last checked \d+s ago$",
                                           body, re.MULTILINE)
    wait_for(stale)
    assert kept.get("/livez")[0] == 200
    resource.prlimit(svc.pid, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: kept.get("/health")[0] == 200)


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_ALL = 0x40000000  # __WALL: threads too


class Frozen:
    """Holds one thread of a process by ptrace(2), as a debugger does; the others run on. Of several
    of that name it is the newest."""

    def __init__(self, pid, comm):
        tasks = pathlib.Path(f"/proc/{pid}/task")
        self._tid = max(int(task.name) for task in tasks.iterdir()
                        if (task / "comm").read_text().strip() == comm)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _ptrace(self, request):
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                                      ctypes.c_void_p]
        assert self._libc.ptrace(request, self._tid, None, None) == 0, \
            os.strerror(ctypes.get_errno())

    def __enter__(self):
        self._ptrace(PTRACE_SEIZE)
        self._ptrace(PTRACE_INTERRUPT)
        os.waitpid(self._tid, WAIT_ALL)
        return self

    def __exit__(self, *exc):
        self._ptrace(PTRACE_DETACH)


def test_a_frozen_checker_is_told(healthsvc, peers):
    svc = healthsvc(CONF % (peers.http().url(), ""))
    svc.wait_health("^200 ")
    bad = svc.metric(BAD)
    with Frozen(svc.pid, "healthsvc-check"):
        # The age of its results tells too, once max_age has passed; this is the heartbeat's.
        answer = svc.wait_health(
            r"^500 gateway status: Error\. stale: no check has completed for \d+ s\n")
        assert re.search(r"^trips status: ", answer.body, re.MULTILINE)
        assert svc.get("/livez").status == 500
        assert svc.get("/readyz").status == 500
        assert svc.get("/health/trips").status == 500
        assert svc.metric("healthsvc_heartbeat_age_seconds") >= 5
    assert svc.wait_health("^200 ").body == \
        "gateway status: OK\nDependencies:\ntrips status: OK\n"
    assert svc.get("/livez").status == 200
    # What was under way while it stood still is nobody's fault.
    assert svc.metric(BAD) == bad


def test_what_was_under_way_in_a_stall_is_not_held_against_the_peer(healthsvc, peers):
    """The deadline of a check passes while the checker stands still: that is no timeout."""
    peer = peers.gated()
    svc = healthsvc(CONF.replace("500ms", "5s").replace("450ms", "4s") % (peer.url(), ""))
    wait_for(lambda: peer.requests)
    with Frozen(svc.pid, "healthsvc-check"):
        svc.wait_health("^500 .*no check has completed")
    wait_for(lambda: svc.metric(
        'healthsvc_checks_total{outcome="own_stalled",class="not_tried"}'))
    assert svc.metric(BAD) == 0
    assert "trips status: Error. not checked yet\n" in svc.health()[1]
    for _ in range(2):  # the first goes to the connection that was given up
        peer.replies.put(200)
    svc.wait_health("^200 ")


def test_a_frozen_checker_without_dependencies_is_told(healthsvc):
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0";')
    svc.wait_health("^200 Up and running\n$")
    with Frozen(svc.pid, "healthsvc-check"):
        svc.wait_health(r"^500 trips status: Error\. stale: no check has completed for \d+ s\n$")
        assert svc.get("/livez").status == 500
    svc.wait_health("^200 Up and running\n$")


def test_a_frozen_checker_does_not_hold_up_the_end(healthsvc, peers):
    """SIGTERM while the checker hangs: the process still ends (by its supervisor at the latest)."""
    svc = healthsvc(CONF % (peers.http().url(), 'max_age = "1h";'))
    svc.wait_health("^200 ")
    with Frozen(svc.pid, "healthsvc-check"):
        svc.kill(15)
        svc.wait_log("shutting down")
    assert svc.wait_exit() == 0
