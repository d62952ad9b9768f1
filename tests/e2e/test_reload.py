"""SIGHUP, SIGTERM, and the word to the supervisor."""
import http.client
import os
import re
import signal
import socket
import threading
import time

import pytest

from waiting import SCALE, wait_for

HEAD = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "500ms"; timeout = "400ms"; fall = 1; rise = 1; };
"""


def conf(*dependencies, head=HEAD):
    return head + "dependencies = (" + ",\n".join(dependencies) + ");\n"


def dependency(name, peer, more="", path="/"):
    return f'{{ name = "{name}"; url = "{peer.url(path)}"; {more} }}'


def test_the_difference_is_told_in_one_line(healthsvc, peers):
    peer = peers.http()
    names = ["a", "b", "c", "d", "e"]
    svc = healthsvc(conf(*(dependency(n, peer) for n in names)))
    svc.wait_health("^200 ")
    line = svc.reload(conf(*(dependency(n, peer) for n in names[:3]),
                           dependency("d", peer, 'period = "700ms";'), dependency("f", peer)))
    assert line == "reloaded: 3 kept, 1 changed (period), 1 added, 1 removed"
    answer = svc.wait_health("^200 .*f status: OK")
    assert re.findall(r"^(\w) status", answer.body, re.MULTILINE) == ["a", "b", "c", "d", "f"]
    assert svc.get("/health/e").status == 404
    assert svc.metric('healthsvc_reloads_total{result="ok"}') == 1


def test_a_kept_dependency_keeps_what_is_known(healthsvc, peers):
    """Down stays down over a reload, with its counters; it does not start again as unknown."""
    gone, peer = peers.refused(), peers.http()
    checks = 'healthsvc_dependency_checks_total{dependency="gone",class="bad"}'
    listed = [dependency("gone", gone, 'importance = "optional"; period = "60s"; confirm="60s";'),
              dependency("trips", peer)]
    svc = healthsvc(conf(*listed))
    svc.wait_health("gone status: Error. connection refused \\(optional\\)\ntrips status: OK")
    before = svc.metric(checks)
    listed[0] = listed[0].replace("optional", "info")
    assert "1 kept, 1 changed (importance)" in svc.reload(conf(*listed))
    svc.wait_health("^200 gateway status: OK\nDependencies:\n"
                    "gone status: Error. connection refused \\(info\\)\ntrips status: OK")
    assert svc.metric(checks) == before


def test_a_lower_fall_tells_what_was_wrong(healthsvc, peers):
    peer = peers.http()
    listed = dependency("trips", peer, 'fall = 9; confirm = "300ms";')
    svc = healthsvc(conf(listed))
    svc.wait_health("^200 ")
    peer.status = 507
    wait_for(lambda: svc.metric('healthsvc_checks_total{outcome="http_status",class="bad"}') > 0)
    svc.reload(conf(listed.replace("fall = 9", "fall = 1")))
    svc.wait_health(r"^500 .*trips status: Error\. HTTP 507")
    assert "unexpected HTTP status" not in svc.log_text()


def test_a_changed_url_is_asked_at_once_and_does_not_count_before(healthsvc, peers):
    hung, peer = peers.hung(), peers.http()
    slow = 'period = "60s"; timeout = "50s";'
    svc = healthsvc(conf(dependency("trips", peer, slow), dependency("airports", peer, slow)))
    svc.wait_health("^200 ")
    # trips now points to one that never answers, and hotels is new: neither has an outcome.
    svc.reload(conf(dependency("trips", hung, slow), dependency("airports", peer, slow),
                    dependency("hotels", hung, slow)))
    wait_for(lambda: hung.connections >= 2, what="the first checks of the changed definitions")
    assert svc.get("/health").status == 200
    assert svc.get("/readyz").status == 200
    svc.reload(conf(dependency("trips", peers.refused(), slow), dependency("airports", peer, slow)))
    svc.wait_health("^500 .*trips status: Error. connection refused")


@pytest.mark.parametrize("bad, told", [
    ("this is no configuration", r"health\.conf:\d+: "),
    (conf('{ name = "trips"; }'), r"health\.conf:\d+: .*url"),
    (conf('{ name = "trips"; url = "gopher://x/"; }'), r"health\.conf:\d+: .*gopher"),
    (HEAD.replace("name =", "nmae ="), r"health\.conf:\d+: .*did you mean 'name'"),
])
def test_a_bad_file_changes_nothing_and_is_visible(healthsvc, peers, bad, told):
    svc = healthsvc(conf(dependency("trips", peers.http())))
    good = svc.wait_health("^200 ").body
    assert "keeping the running configuration" in svc.reload(bad)
    assert re.search(told, svc.log_text())
    assert svc.health() == (200, good)
    assert svc.metric("healthsvc_config_last_reload_successful") == 0
    assert svc.metric('healthsvc_reloads_total{result="failed"}') == 1
    svc.reload(conf(dependency("trips", peers.http())))
    wait_for(lambda: svc.metric("healthsvc_config_last_reload_successful") == 1)


def test_listen_addresses_come_and_go(healthsvc):
    plain = 'name = "gateway"; listen = %s;'
    svc = healthsvc(plain % '"127.0.0.1:0"')
    first = svc.port
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        second = reserved.getsockname()[1]
        kept = http.client.HTTPConnection("127.0.0.1", first, timeout=10 * SCALE)

        svc.reload(plain % f'[ "127.0.0.1:0", "127.0.0.1:{second}" ]')
        wait_for(lambda: second in svc.ports)
        for port in (first, second):
            assert svc.get("/health", port=port).status == 200
        # The address that stays is not touched: a connection to it lives through the reload.
        kept.request("GET", "/health")
        assert kept.getresponse().read() == b"Up and running\n"
        sock = kept.sock
        svc.reload(plain % '"127.0.0.1:0"')

        def refused():
            try:
                socket.create_connection(("127.0.0.1", second), timeout=10 * SCALE).close()
                return False
            except ConnectionRefusedError:
                return True
        wait_for(refused, what="the end of the removed address")
        kept.request("GET", "/health")
        assert kept.getresponse().read() == b"Up and running\n"
        assert kept.sock is sock
        kept.close()


def test_an_address_in_use_leaves_everything_as_it_was(healthsvc, peers):
    svc = healthsvc(conf(dependency("trips", peers.http())))
    good = svc.wait_health("^200 ").body
    taken = peers.hung()
    line = svc.reload(conf(dependency("other", peers.http()), head=HEAD.replace(
        '"127.0.0.1:0"', f'[ "127.0.0.1:0", "{taken.address}" ]')))
    assert "keeping the running configuration" in line
    assert taken.address in svc.log_text()
    assert svc.health() == (200, good)
    assert svc.metric("healthsvc_config_last_reload_successful") == 0


class Load:
    """Clients that ask /health without a pause, on kept and on closing connections, and keep
    what was wrong with any answer."""

    def __init__(self, port, judge, clients=4):
        self._port, self._judge = port, judge
        self._ended = threading.Event()
        self.answers, self.faults, self.cut = 0, [], 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i % 2 == 0,), daemon=True)
                         for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, keep):
        connection = None
        while not self._ended.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port,
                                                                  timeout=20 * SCALE)
            fault = None
            try:
                connection.request("GET", "/health",
                                   headers={"Connection": "keep-alive" if keep else "close"})
                reply = connection.getresponse()
                fault = self._judge(reply.status, reply.read().decode())
                with self._lock:
                    self.answers += 1
            except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError) as cut:
                # Not one byte of an answer came.
                connection.close()
                connection = None
                with self._lock:
                    self.cut += 1
                fault = self.on_cut(cut)
            except Exception as other:  # an answer that is not whole
                fault = repr(other)
            if fault:
                with self._lock:
                    self.faults.append(fault)
            if not keep and connection:
                connection.close()

    def on_cut(self, cut):
        return repr(cut)

    def end(self):
        self._ended.set()
        for thread in self._threads:
            thread.join()


def descriptors(svc):
    return len(os.listdir(f"/proc/{svc.pid}/fd"))


def test_three_hundred_reloads_under_load(healthsvc, peers):
    """Valid and invalid files in turn: every answer is whole, and is that of one configuration."""
    peer = peers.http()
    files = [conf(*(dependency(n, peer) for n in ("trips", "airports"))),
             conf(*(dependency(n, peer, path="/b") for n in ("airports", "hotels", "trains")),
                  head=HEAD.replace('"gateway"', '"gateway-b"'))]
    bodies = {"gateway": ["trips", "airports"], "gateway-b": ["airports", "hotels", "trains"]}

    def judge(status, body):
        lines = body.splitlines()
        names = [line.split(" ")[0] for line in lines[2:]]
        right = (status == 200 and body.endswith("\n") and lines[1] == "Dependencies:"
                 and bodies.get(lines[0].split(" ")[0]) == names)
        return None if right else f"{status} {body}"

    svc = healthsvc(files[0])
    svc.wait_health("^200 ")
    load = Load(svc.port, judge)
    wait_for(lambda: load.answers > 20)
    open_before = None
    for i in range(300):
        line = svc.reload("broken" if i % 3 == 2 else files[(i + 1) % 2])
        assert ("keeping" in line) == (i % 3 == 2), line
        if i == 30:
            open_before = descriptors(svc)
    load.end()
    assert load.faults == [], load.faults[:5]
    assert load.answers > 300
    assert svc.metric('healthsvc_reloads_total{result="ok"}') == 200
    assert svc.metric('healthsvc_reloads_total{result="failed"}') == 100
    # Nothing is left behind by any of them: a few for checks under way, none for each reload.
    wait_for(lambda: descriptors(svc) <= open_before + 8, what="the release of descriptors")


@pytest.mark.plain_build
def test_what_is_taken_out_takes_its_memory_along(healthsvc, peers):
    """Be it of the first configuration or of a later one."""
    def anonymous_kb(svc):
        with open(f"/proc/{svc.pid}/status") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1])

    gone, head = peers.refused(), HEAD.replace("500ms", "1h")
    many = conf(*(dependency(f"d{i}", gone, 'importance = "info";') for i in range(4000)),
                head=head)
    few = conf(dependency("d0", gone, 'importance = "info";'), head=head)
    svc = healthsvc(few)
    svc.wait_health("d0 status: Error. connection refused")
    least_kb = anonymous_kb(svc)
    first = healthsvc(many)
    assert "added, 0 removed" in svc.reload(many)
    for other in svc, first:
        other.wait_health("d3999 status: Error. connection refused")
        most_kb = anonymous_kb(other)
        assert most_kb - least_kb > 3000  # else what follows says nothing
        assert "3999 removed" in other.reload(few)
        wait_for(lambda svc=other, most_kb=most_kb:
                 anonymous_kb(svc) - least_kb < (most_kb - least_kb) / 3, what="memory back")


def test_a_burst_of_signals_ends_in_the_last_file(healthsvc, peers):
    """Signals that come while a reload runs are one more reload, with the newest file."""
    peer = peers.http()
    svc = healthsvc(conf(dependency("d0", peer)))
    for i in range(1, 50):
        svc.reload(conf(dependency(f"d{i}", peer)), wait=False)
    svc.wait_health("^200 .*d49 status: OK")


def test_sigterm_during_load_cuts_no_answer(healthsvc, peers):
    svc = healthsvc(conf(dependency("trips", peers.http())))
    svc.wait_health("^200 ")

    def judge(status, body):
        whole = re.fullmatch(r"gateway status: (OK|Error\. shutting down)\nDependencies:\n"
                             r"trips status: \w+.*\n", body)
        return None if whole and status in (200, 500) else f"{status} {body}"

    load = Load(svc.port, judge)
    # After the end there is nobody to connect to: that is no fault.
    load.on_cut = lambda cut: None
    wait_for(lambda: load.answers > 100)
    before = load.cut
    assert svc.stop() == 0
    wait_for(lambda: load.cut > before)
    load.end()
    assert load.faults == [], load.faults[:5]


def test_shutdown_delay_answers_that_it_is_shutting_down(healthsvc, peers):
    delay = 2 * SCALE
    svc = healthsvc(f'shutdown_delay = "{delay}s";' + conf(dependency("trips", peers.http())))
    svc.wait_health("^200 ")
    began = time.monotonic()
    svc.kill(signal.SIGTERM)
    answer = svc.wait_health("^500 ")
    assert answer.body == ("gateway status: Error. shutting down\n"
                           "Dependencies:\n"
                           "trips status: OK\n")
    assert svc.get("/readyz").status == 500
    assert "shutting down" in svc.get("/readyz").body
    assert svc.wait_exit() == 0
    assert time.monotonic() - began >= delay


def test_a_second_signal_ends_at_once(healthsvc):
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0"; shutdown_delay = "10m";')
    svc.kill(signal.SIGTERM)
    svc.wait_health("^500 .*shutting down")
    svc.kill(signal.SIGTERM)
    svc.wait_exit()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero(healthsvc, sig):
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0";')
    svc.kill(sig)
    assert svc.wait_exit() == 0


@pytest.mark.parametrize("sig", [signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_do_no_harm(healthsvc, sig):
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0";')
    for _ in range(5):
        svc.kill(sig)
    assert svc.health() == (200, "Up and running\n")


class Supervisor:
    """systemd's end of sd_notify(3): a datagram socket."""

    def __init__(self, path):
        self.path = str(path)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.path)
        self._sock.setblocking(False)
        self.messages = []

    def seen(self, pattern):
        while True:
            try:
                self.messages += self._sock.recv(65536).decode().splitlines()
            except BlockingIOError:
                break
        return [m for m in self.messages if re.fullmatch(pattern, m)]

    def close(self):
        self._sock.close()


def test_the_supervisor_is_told(healthsvc, peers, tmp_path):
    supervisor = Supervisor(tmp_path / "notify")
    peer = peers.http()
    svc = healthsvc(conf(dependency("trips", peer)),
                    env={"NOTIFY_SOCKET": supervisor.path, "WATCHDOG_USEC": "2000000"})
    wait_for(lambda: supervisor.seen("READY=1"))
    wait_for(lambda: supervisor.seen("WATCHDOG=1"))
    wait_for(lambda: supervisor.seen("STATUS=.+"))
    beats = len(supervisor.seen("WATCHDOG=1"))
    wait_for(lambda: len(supervisor.seen("WATCHDOG=1")) > beats)

    began = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    svc.reload(conf(dependency("trips", peer, 'period = "900ms";')))
    wait_for(lambda: supervisor.seen("RELOADING=1"))
    wait_for(lambda: len(supervisor.seen("READY=1")) == 2)
    told = int(supervisor.seen(r"MONOTONIC_USEC=\d+")[0].split("=")[1])
    assert began <= told <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    svc.reload("broken")
    wait_for(lambda: len(supervisor.seen("READY=1")) == 3)
    wait_for(lambda: supervisor.seen("STATUS=.*(running configuration|reload failed).*"))
    assert svc.stop() == 0
    assert supervisor.seen("STOPPING=1")
    supervisor.close()


def test_a_frozen_checker_stops_the_watchdog(healthsvc, tmp_path):
    from test_faults import Frozen
    supervisor = Supervisor(tmp_path / "notify")
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0";',
                    env={"NOTIFY_SOCKET": supervisor.path, "WATCHDOG_USEC": "2000000"})
    wait_for(lambda: supervisor.seen("WATCHDOG=1"))
    with Frozen(svc.pid, "healthsvc-check"):
        svc.wait_health("^500 .*stale")
        beats = len(supervisor.seen("WATCHDOG=1"))
        svc.wait_health(r"^500 .*for (6|7|8|9) s")
        assert len(supervisor.seen("WATCHDOG=1")) == beats
    wait_for(lambda: len(supervisor.seen("WATCHDOG=1")) > beats)
    supervisor.close()


def test_the_last_reload_is_told_whichever_ends_last(healthsvc, peers, tmp_path):
    """One that fails overtakes one that the checker has yet to apply."""
    from test_faults import Frozen
    supervisor = Supervisor(tmp_path / "notify")
    listed = dependency("trips", peers.http())
    svc = healthsvc(conf(listed), env={"NOTIFY_SOCKET": supervisor.path})
    svc.wait_health("^200 ")
    two = HEAD.replace('"127.0.0.1:0"', '["127.0.0.1:0", "127.0.0.1:0"]')
    with Frozen(svc.pid, "healthsvc-check"):
        svc.reload(conf(listed, head=two), wait=False)
        wait_for(lambda: len(svc.addresses) == 2, what="the first reload on its way to the checker")
        assert "keeping the running configuration" in svc.reload("broken")
        wait_for(lambda: supervisor.seen("STATUS=.*; the last reload failed: .*"))
        assert len(supervisor.seen("RELOADING=1")) == 2
        assert len(supervisor.seen("READY=1")) == 1
    svc.wait_log("reloaded: ")
    wait_for(lambda: len(supervisor.seen("READY=1")) == 2)
    assert "the last reload failed" in supervisor.seen("STATUS=.*")[-1]
    assert svc.metric('healthsvc_reloads_total{result="ok"}') == 1
    assert svc.metric("healthsvc_config_last_reload_successful") == 0
    svc.reload(conf(listed))
    wait_for(lambda: len(supervisor.seen("READY=1")) == 3)
    assert "reload" not in supervisor.seen("STATUS=.*")[-1]
    assert svc.metric("healthsvc_config_last_reload_successful") == 1
    supervisor.close()


def test_a_reload_during_shutdown_is_refused(healthsvc):
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0"; shutdown_delay = "10m";')
    svc.kill(signal.SIGTERM)
    svc.wait_health("^500 .*shutting down")
    svc.kill(signal.SIGHUP)
    svc.wait_log("reload refused: shutting down; keeping the running configuration$")
    svc.kill(signal.SIGTERM)
    svc.wait_exit()


def test_lines_for_the_journal_carry_their_priority(healthsvc, tmp_path):
    """JOURNAL_STREAM names the device and inode of standard error, systemd.exec(5)."""
    log = tmp_path / "daemon0" / "log"
    (tmp_path / "daemon0").mkdir()
    log.touch()
    stat = log.stat()
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0";',
                    env={"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
    svc.wait_log("listening on")
    svc.reload("broken")
    lines = svc.log_text().splitlines()
    assert lines and all(re.match(r"<[3-6]>", line) for line in lines)
    assert any(line.startswith("<3>") for line in lines)
    assert any(line.startswith(("<5>", "<6>")) for line in lines)
