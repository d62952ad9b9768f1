"""Where it listens: Unix sockets, sockets that systemd passes, addresses with settings of their own,
and what a reload or a restart does to those who ask meanwhile."""
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

import daemon
from test_clients import LAST_REQUEST, REQUEST, Load, read_answer
from waiting import SCALE, wait_for

PATHS = {"health": "/health", "ready": "/readyz", "live": "/livez", "metrics": "/metrics"}


def conf(*addresses, more=""):
    return f'name = "trips"; listen = ( {", ".join(addresses)} ); {more}'


def group(address, **settings):
    return f'{{ address = "{address}"; ' + "".join(
        f"{name} = {value}; " for name, value in settings.items()) + "}"


def cannot_start(tmp_path, text):
    """What it says of an address that it cannot serve."""
    file = tmp_path / "health.conf"
    file.write_text(text)
    ended = daemon.run("-c", file)
    assert ended.returncode == 1
    assert not daemon.SANITIZER_REPORT.search(ended.stderr)
    return ended.stderr


def served_paths(svc, address):
    codes = {what: svc.get(path, address=address).status for what, path in PATHS.items()}
    assert set(codes.values()) <= {200, 404}
    return {what for what, code in codes.items() if code == 200}


# ---- Unix sockets ----

def test_mode_and_group(healthsvc, folder):
    gid = os.getegid()
    svc = healthsvc(conf(group(f"unix:{folder}/a"), group(f"unix:{folder}/b", mode='"0606"',
                                                          group=f'"{gid}"'),
                         f'"unix:{folder}/c"'))
    modes = {name: stat.S_IMODE(os.stat(f"{folder}/{name}").st_mode) for name in "abc"}
    assert modes == {"a": 0o660, "b": 0o606, "c": 0o660}
    for name in "abc":
        assert os.stat(f"{folder}/{name}").st_gid == gid
        assert svc.get("/health", address=f"unix:{folder}/{name}").status == 200
    assert svc.stop() == 0
    assert os.listdir(folder) == []


@pytest.mark.skipif(os.geteuid() != 0 and len(os.getgroups()) < 2, reason="no second group here")
def test_a_reload_changes_mode_and_group_in_place(healthsvc, folder):
    other = next((g for g in os.getgroups() if g != os.getegid()), 65534)
    address = f"unix:{folder}/s"
    svc = healthsvc(conf(group(address)))
    made = os.stat(f"{folder}/s")
    with svc.connect() as sock:
        sock.sendall(REQUEST)
        read_answer(sock)
        svc.reload(conf(group(address, mode='"0600"', group=f'"{other}"')))
        now = os.stat(f"{folder}/s")
        assert (now.st_ino, stat.S_IMODE(now.st_mode), now.st_gid) == (made.st_ino, 0o600, other)
        # A reload that fails elsewhere gives both back.
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            line = svc.reload(conf(group(address, mode='"0666"'),
                                   '"127.0.0.1:%d"' % taken.getsockname()[1]))
        assert "keeping the running configuration" in line
        now = os.stat(f"{folder}/s")
        assert (stat.S_IMODE(now.st_mode), now.st_gid) == (0o600, other)
        svc.reload(conf(group(address)))
        now = os.stat(f"{folder}/s")
        assert (stat.S_IMODE(now.st_mode), now.st_gid) == (0o660, os.getegid())
        sock.sendall(REQUEST)
        assert read_answer(sock).startswith(b"HTTP/1.1 200 ")


def test_what_a_dead_process_left_is_replaced(healthsvc, folder):
    first = healthsvc(conf(f'"unix:{folder}/s"'))
    first.kill(signal.SIGKILL)
    first.wait_exit()
    assert os.listdir(folder) == ["s"]
    second = healthsvc(conf(f'"unix:{folder}/s"'))
    assert second.health() == (200, "Up and running\n")


def test_a_socket_in_use_is_named_and_left_alone(healthsvc, tmp_path, folder):
    svc = healthsvc(conf(f'"unix:{folder}/s"'))
    told = cannot_start(tmp_path, conf(f'"unix:{folder}/s"'))
    assert f"cannot listen on unix:{folder}/s: Address already in use" in told
    assert svc.health() == (200, "Up and running\n")
    # One whose backlog is full is alive as well, and so is one of another type.
    for kind, backlog in ((socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, None)):
        with socket.socket(socket.AF_UNIX, kind) as taken, contextlib.ExitStack() as waiting:
            taken.bind(f"{folder}/taken")
            if backlog is not None:
                taken.listen(backlog)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sock = waiting.enter_context(socket.socket(socket.AF_UNIX))
                        sock.setblocking(False)
                        sock.connect(f"{folder}/taken")
            told = cannot_start(tmp_path, conf(f'"unix:{folder}/taken"'))
            assert f"cannot listen on unix:{folder}/taken: Address already in use" in told
        assert stat.S_ISSOCK(os.stat(f"{folder}/taken").st_mode)
        os.unlink(f"{folder}/taken")


def test_what_is_not_a_socket_is_never_touched(tmp_path, folder):
    outside = tmp_path / "outside"
    outside.write_text("kept")
    with open(f"{folder}/file", "w", encoding="ascii") as file:
        file.write("kept")
    os.mkdir(f"{folder}/folder")
    os.symlink(outside, f"{folder}/link")
    for name in ("file", "folder", "link"):
        told = cannot_start(tmp_path, conf(f'"unix:{folder}/{name}"'))
        assert f"cannot listen on unix:{folder}/{name}: what is there is not a socket" in told
    assert open(f"{folder}/file", encoding="ascii").read() == outside.read_text() == "kept"
    assert os.readlink(f"{folder}/link") == str(outside)
    told = cannot_start(tmp_path, conf(f'"unix:{folder}/none/s"'))
    assert f"cannot listen on unix:{folder}/none/s: No such file or directory" in told


def test_what_is_no_longer_ours_is_not_removed(healthsvc, folder):
    svc = healthsvc(conf(f'"unix:{folder}/s"'))
    os.unlink(f"{folder}/s")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{folder}/s")
        assert svc.stop() == 0
        assert stat.S_ISSOCK(os.stat(f"{folder}/s").st_mode)


def test_a_reload_keeps_a_unix_socket_or_makes_it_again(healthsvc, folder):
    text = conf(f'"unix:{folder}/s"')
    svc = healthsvc(text)
    made = os.stat(f"{folder}/s").st_ino
    with svc.connect() as sock:
        for _ in range(2):
            svc.reload(text)
            sock.sendall(REQUEST)
            assert read_answer(sock).startswith(b"HTTP/1.1 200 ")
    assert os.stat(f"{folder}/s").st_ino == made
    # Somebody has swept the folder: the same text now asks for a new one.
    os.unlink(f"{folder}/s")
    svc.reload(text)
    assert svc.health() == (200, "Up and running\n")


def test_a_unix_socket_that_goes_away_loses_nobody_who_was_let_in(healthsvc, folder):
    """The address is taken out while clients ask: each is answered or refused, none is cut."""
    both = conf('"127.0.0.1:0"', f'"unix:{folder}/s"')
    svc = healthsvc(both)
    for _ in range(5):
        door = Door(svc, f"unix:{folder}/s")
        load = Load(door, 4)
        wait_for(lambda: load.complete > 50, what="load")
        svc.reload(conf('"127.0.0.1:0"'))
        load.join()
        assert load.faults == []
        assert load.refused == 4
        assert os.listdir(folder) == []
        svc.reload(both)


# ---- Groups ----

class Door:
    """What Load needs of a daemon: one address of it, or of whoever has it next."""

    def __init__(self, _svc, address):
        self._address = address

    def connect(self):
        return daemon.connect_to(self._address, 20 * SCALE)


def test_each_address_has_its_own_paths(healthsvc, folder):
    svc = healthsvc(conf(group(f"unix:{folder}/lb", serve='"health"'),
                         group("127.0.0.1:0", serve='[ "metrics", "live" ]'), '"127.0.0.1:0"'))
    lb, scraper, all_of_it = svc.addresses
    assert served_paths(svc, lb) == {"health"}
    assert served_paths(svc, scraper) == {"metrics", "live"}
    assert served_paths(svc, all_of_it) == set(PATHS)
    # A dependency's page belongs to health: which there is nobody to have a page here.
    assert "dependency" in svc.get("/health/nobody", address=lb).body
    told = svc.get("/health/nobody", address=scraper)
    assert (told.status, told.body) == (404, "no such path: there are /livez and /metrics\n")
    assert svc.get("/nowhere", address=lb).body == "no such path: there is /health\n"


def test_a_reload_changes_the_paths_without_closing_a_connection(healthsvc, address):
    svc = healthsvc(conf(group(address, serve='"health"')))
    with svc.connect() as sock:
        def code(path):
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            return int(read_answer(sock).split()[1])
        assert (code(b"/health"), code(b"/livez")) == (200, 404)
        svc.reload(conf(group(address, serve='"live"')))
        assert (code(b"/health"), code(b"/livez")) == (404, 200)
        svc.reload(conf(group(address)))
        assert (code(b"/health"), code(b"/livez")) == (200, 200)
    assert len(svc.addresses) == 1


def test_an_address_has_its_own_workers(healthsvc, folder):
    """Whoever holds all workers of one address keeps nobody of the other waiting."""
    svc = healthsvc(conf(group(f"unix:{folder}/lb", workers=3), group("127.0.0.1:0", workers=2)))
    lb, page = svc.addresses
    assert svc.metric("healthsvc_http_workers") == 5
    held = [svc.connect(page) for _ in range(6)]
    for sock in held:
        sock.sendall(b"GET /health HTTP/1.1\r\n")
    wait_for(lambda: svc.metric("healthsvc_http_workers_busy") >= 3, what="workers held")
    for _ in range(20):
        assert svc.get("/health", address=lb, timeout=1.0).status == 200
    for sock in held:
        sock.close()


@pytest.mark.parametrize("before,after", [(2, 8), (8, 2)])
def test_a_reload_changes_the_workers_without_refusing_anybody(healthsvc, address, before, after):
    def text(workers):
        return conf(group(address, workers=workers), more=f"workers = {workers};")
    svc = healthsvc(text(before))
    load = Load(Door(svc, svc.addresses[0]), 3)
    for workers in [after, before] * 5:
        done = load.complete
        assert "reloaded" in svc.reload(text(workers))
        wait_for(lambda: load.complete > done + 20, what="answers")
        wait_for(lambda: svc.metric("healthsvc_http_workers") == workers, what="the new workers")
    assert load.faults == []
    assert load.refused == 0
    assert len(set(svc.addresses)) == 1
    assert svc.stop() == 0
    load.join()
    assert load.faults == []


def test_a_failing_reload_keeps_the_workers(healthsvc):
    svc = healthsvc(conf(group("127.0.0.1:0", workers=2)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = conf(group("127.0.0.1:0", workers=8), '"127.0.0.1:%d"' % taken.getsockname()[1])
        for _ in range(5):
            with svc.connect() as sock:
                sock.sendall(REQUEST)
                read_answer(sock)
                begin = time.monotonic()
                assert "keeping the running configuration" in svc.reload(refused)
                took_s = time.monotonic() - begin
                sock.sendall(REQUEST)
                answer = read_answer(sock)
            if took_s < 4:  # else it was closed for its silence of 5 s
                break
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert svc.metric("healthsvc_http_workers") == 2
    assert svc.health() == (200, "Up and running\n")


def test_the_limit_of_descriptors_counts_each_addresss_workers(healthsvc):
    """1024 workers do not fit into 1,000 descriptors; 8 do, whatever the top level says."""
    file = healthsvc(conf(group("127.0.0.1:0", workers=8), more="workers = 1024;"),
                     limit=1000).conf
    told = daemon.run("-c", file.rename(file.with_suffix(".was")), limit=100)
    assert told.returncode == 1
    assert re.search(r"the limit of open files \(RLIMIT_NOFILE\) is 100, .* at least \d+", told.stderr)
    file.write_text(conf(group("127.0.0.1:0", workers=1024)))
    told = daemon.run("-c", file, limit=1000)
    assert "the limit of open files (RLIMIT_NOFILE) is 1000" in told.stderr


# ---- Sockets passed by systemd ----

@pytest.fixture
def passed(folder):
    """Listening sockets as a socket unit would open them."""
    tcp = socket.create_server(("127.0.0.1", 0), backlog=512)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"{folder}/passed")
    unix.listen(512)
    yield tcp, unix
    tcp.close()
    unix.close()


def tcp_address(sock):
    return "%s:%d" % sock.getsockname()


def unix_address(sock):
    return "unix:" + sock.getsockname()


def is_listening(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_sockets_are_served_by_name(healthsvc, passed):
    tcp, unix = passed
    svc = healthsvc(conf(group("systemd:web", serve='"health"'), '"systemd"'),
                    sockets={"web": [tcp], "other": [unix]})
    assert served_paths(svc, tcp_address(tcp)) == {"health"}
    assert served_paths(svc, unix_address(unix)) == set(PATHS)
    log = svc.log_text()
    assert f"listening on {tcp_address(tcp)} (systemd:web)" in log
    assert f"listening on {unix_address(unix)} (systemd)" in log
    assert "not served" not in log
    with open(f"/proc/{svc.pid}/environ", "rb") as file:
        assert b"LISTEN_FDS" in file.read()  # that is how they came
    assert svc.stop() == 0
    # They are as they were, the path included.
    assert is_listening(tcp) and is_listening(unix)
    assert os.path.exists(unix.getsockname())


def test_several_of_one_name_and_ipv6(healthsvc, passed):
    tcp, unix = passed
    sockets = [tcp, unix]
    if socket.has_dualstack_ipv6():
        sockets.append(socket.create_server(("::", 0), family=socket.AF_INET6,
                                            dualstack_ipv6=True))
    svc = healthsvc(conf(group("systemd:web", workers=2)), sockets={"web": sockets})
    for sock in sockets:
        address = unix_address(sock) if sock is unix else f"127.0.0.1:{sock.getsockname()[1]}"
        assert svc.get("/health", address=address).status == 200
    # Whoever waits at a passed socket is served while the others are still being opened.
    wait_for(lambda: svc.metric("healthsvc_http_workers") == 2 * len(sockets))
    for sock in sockets[2:]:
        sock.close()


def test_silent_clients_of_a_passed_socket_occupy_no_worker(healthsvc, passed):
    """TCP_DEFER_ACCEPT is set there, too."""
    tcp, _ = passed
    svc = healthsvc(conf(group("systemd", workers=2)), sockets={"web": [tcp]})
    silent = [svc.connect() for _ in range(30)]
    assert svc.get("/health", timeout=1.5).status == 200
    # The one that answers this; that of the request before may not have ended yet.
    wait_for(lambda: svc.metric("healthsvc_http_workers_busy") == 1)
    for sock in silent:
        sock.close()


def test_what_was_passed_and_is_not_named_is_told(healthsvc, passed):
    tcp, unix = passed
    svc = healthsvc(conf('"systemd:web"'), sockets={"web": [tcp], "other": [unix]})
    svc.wait_log(r"the socket other \(descriptor 4\) that systemd has passed is not served")
    svc.reload(conf('"systemd"', '"systemd:other"'))
    assert svc.get("/health", address=unix_address(unix)).status == 200


@pytest.mark.parametrize("listen,told", [
    ('"systemd:wbe"', "cannot serve systemd:wbe: systemd has passed no such socket, but web"),
    ('"systemd:web", "systemd"', "cannot serve systemd: systemd has passed no such socket, but web"),
])
def test_a_name_that_was_not_passed(tmp_path, passed, listen, told):
    file = tmp_path / "health.conf"
    file.write_text(conf(listen))
    ended = daemon.run("-c", file, sockets={"web": [passed[0]]})
    assert ended.returncode == 1
    assert told in ended.stderr


def test_nothing_was_passed(tmp_path):
    assert "cannot serve systemd: systemd has passed no socket" in cannot_start(
        tmp_path, conf('"systemd"'))
    # Meant for another process: nothing of it is touched.
    file = tmp_path / "health.conf"
    ended = daemon.run("-c", file, env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert "cannot serve systemd: systemd has passed no socket" in ended.stderr
    file.write_text(conf('"systemd"'))
    assert daemon.run("-t", "-c", file).returncode == 0


@pytest.mark.parametrize("number", ["x", "", "-1", "1025", "1 "])
def test_a_number_of_sockets_that_is_none(tmp_path, number):
    file = tmp_path / "health.conf"
    file.write_text(conf('"systemd"'))
    ended = subprocess.run(["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS="$2" exec "$0" -c "$1"',
                            daemon.BINARY, file, number], stdin=subprocess.DEVNULL, text=True,
                           capture_output=True, check=False, timeout=30 * SCALE)
    assert ended.returncode == 1
    assert "LISTEN_FDS is no number of sockets; none is taken" in ended.stderr
    assert "cannot serve systemd: systemd has passed no socket" in ended.stderr


def unfit_sockets(folder):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    packets = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    packets.bind(f"{folder}/packets")
    packets.listen()
    idle = socket.socket()
    one, other = socket.socketpair()
    reader, writer = os.pipe()
    return {"udp": udp, "packets": packets, "not listening": idle, "connected": one,
            "pipe": os.fdopen(reader)}, [other, os.fdopen(writer, "w")]


def test_what_is_no_listening_stream_socket_is_a_fault(tmp_path, folder):
    file = tmp_path / "health.conf"
    file.write_text(conf('"systemd"'))
    unfit, others = unfit_sockets(folder)
    for kind, sock in unfit.items():
        ended = daemon.run("-c", file, sockets={"web": [sock]})
        assert ended.returncode == 1, kind
        assert "cannot serve systemd: descriptor 3 (web) is not a listening stream socket of TCP " \
            "or Unix" in ended.stderr, kind
    for sock in [*unfit.values(), *others]:
        sock.close()


def test_a_reload_takes_a_passed_socket_and_gives_it_back(healthsvc, passed):
    tcp, _ = passed
    plain = conf('"127.0.0.1:0"')
    both = conf('"127.0.0.1:0"', group("systemd:web"))
    svc = healthsvc(both, sockets={"web": [tcp]})
    for _ in range(3):
        svc.reload(plain)
        # Nobody serves it now, but it is not closed: who comes waits.
        with svc.connect(tcp_address(tcp)) as sock:
            sock.sendall(LAST_REQUEST)
            assert svc.get("/health").status == 200
            svc.reload(both)
            assert read_answer(sock).startswith(b"HTTP/1.1 200 ")
    with svc.connect(tcp_address(tcp)) as sock:
        sock.sendall(REQUEST)
        read_answer(sock)
        svc.reload(conf('"127.0.0.1:0"', '"systemd"'))  # the same socket by another name
        sock.sendall(REQUEST)
        assert read_answer(sock).startswith(b"HTTP/1.1 200 ")


def launchers():
    yield "sd_listen_fds"
    yield pytest.param("systemd-socket-activate", marks=pytest.mark.skipif(
        not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate"))


@pytest.mark.parametrize("launcher", launchers())
def test_fifty_restarts_under_load_lose_no_request(healthsvc, passed, launcher):
    """Two clients of TCP and two of Unix, of each one that keeps its connection and one that does
    not; each restart ends one process before the next begins."""
    tcp, unix = passed
    text = conf('"systemd:web"', '"systemd:local"', more="workers = 8;")
    doors = [Door(None, tcp_address(tcp)), Door(None, unix_address(unix))]
    loads = [Load(door, 2) for door in doors]
    for _ in range(50):
        before = [load.complete for load in loads]
        svc = healthsvc(text, sockets={"web": [tcp], "local": [unix]}, wait=False,
                        through=[launcher] if launcher != "sd_listen_fds" else [])
        wait_for(lambda: all(load.complete > count + 20 for load, count in zip(loads, before)),
                 timeout=20, what="answers on both")
        assert svc.stop() == 0
    assert [load.faults for load in loads] == [[], []]
    assert [load.refused for load in loads] == [0, 0]
    # Now they wait for a next one, which does not come: that ends them.
    tcp.close()
    unix.close()
    for load in loads:
        load.join()


def test_who_waited_for_the_start_is_told_what_was_seen(healthsvc, peers, passed):
    """Not "not checked yet": the first checks come before the first answer, if they come soon."""
    text = conf('"systemd"', more="""defaults = { period = "60s"; };
dependencies = ( { name = "trips"; url = "%s"; } );""")
    peer = peers.http()
    for _ in range(10):
        waiting = [daemon.connect_to(address, 20 * SCALE)
                   for address in (tcp_address(passed[0]), unix_address(passed[1]))]
        for sock in waiting:
            sock.sendall(LAST_REQUEST)
        svc = healthsvc(text % peer.url(), sockets={"web": passed})
        for sock in waiting:
            assert read_answer(sock).startswith(b"HTTP/1.1 200 ")
            sock.close()
        assert svc.stop() == 0
    # Those that do not answer soon keep nobody waiting for long.
    with daemon.connect_to(tcp_address(passed[0]), 20 * SCALE) as sock:
        sock.sendall(LAST_REQUEST)
        healthsvc(text % peers.hung().url(), sockets={"web": passed})
        assert b"trips status: Error. not checked yet" in read_answer(sock)


def test_fifty_changes_of_the_list_under_load_lose_no_request(healthsvc, passed, folder):
    """Addresses come and go around the four that stay, one of each kind."""
    tcp, unix = passed
    stays = ['"127.0.0.1:0"', f'"unix:{folder}/stays"', '"systemd:web"']
    lists = [stays,
             [*stays, '"127.0.0.2:0"', f'"unix:{folder}/comes"', '"systemd:local"'],
             [group("127.0.0.1:0", workers=6), group(f"unix:{folder}/stays", workers=6, mode='"0666"'),
              group("systemd:web", workers=6), f'"unix:{folder}/comes"']]
    svc = healthsvc(conf(*stays, more="workers = 4;"), sockets={"web": [tcp], "local": [unix]},
                    wait=False)
    wait_for(lambda: len(svc.addresses) == 3)
    loads = [Load(Door(svc, address), 2) for address in svc.addresses]
    for i in range(50):
        before = [load.complete for load in loads]
        assert "reloaded" in svc.reload(conf(*lists[(i + 1) % 3], more="workers = 4;"))
        wait_for(lambda: all(load.complete > count + 5 for load, count in zip(loads, before)),
                 what="answers on all")
    assert [load.faults for load in loads] == [[], [], []]
    assert [load.refused for load in loads] == [0, 0, 0]
    assert svc.stop() == 0
    assert [load.faults for load in loads] == [[], [], []]
    tcp.close()
    for load in loads:
        load.join()
