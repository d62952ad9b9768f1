"""Many clients, and bad ones: who waits, who is cut, and what coming and going leaves behind."""
import os
import re
import select
import socket
import threading
import time

import pytest

import daemon
from fixtures import has_ipv6
from waiting import SCALE, wait_for

CONF = 'name = "trips"; listen = %s; workers = %d;'
REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
# Far below every timeout of the server (2 s, 5 s), so that none of them has been waited for.
PROMPT = 1.5 * SCALE


def one_address(workers, address="127.0.0.1:0"):
    return CONF % (f'"{address}"', workers)


def listening(*addresses):
    return CONF % ("[ " + ", ".join(f'"{a}"' for a in addresses) + " ]", 4)


def close_all(socks):
    for sock in socks:
        sock.close()


def is_whole(answer):
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    return bool(blank) and len(body) == int(length.group(1))


def read_answer(sock):
    """One answer, whole; what came of it if it was cut."""
    got = b""
    while not is_whole(got):
        try:
            piece = sock.recv(4096)
        except ConnectionResetError:
            break
        if not piece:
            break
        got += piece
    return got


def time_of_an_answer(svc):
    start = time.monotonic()
    assert svc.get("/health", timeout=20).status == 200
    return time.monotonic() - start


def test_idle_clients_do_not_keep_others_waiting(healthsvc, address):
    svc = healthsvc(one_address(16, address))
    idle, kept = [], 0
    for _ in range(100):
        start = time.monotonic()
        sock = svc.connect()
        sock.sendall(REQUEST)
        answer = read_answer(sock)
        assert time.monotonic() - start < PROMPT
        assert answer.startswith(b"HTTP/1.1 200 ")
        kept += b"Connection: keep-alive" in answer
        idle.append(sock)
    assert kept == 12  # a quarter of the workers is the reserve
    for _ in range(20):
        assert time_of_an_answer(svc) < PROMPT
    close_all(idle)
    # Only the one that asks is left.
    wait_for(lambda: svc.metric("healthsvc_http_workers_busy") == 1, what="free workers")


def test_a_kept_connection_is_let_go_when_workers_are_short(healthsvc, address):
    """A client that goes on asking is told to close as soon as only the reserve is free."""
    svc = healthsvc(one_address(4, address))
    first = svc.connect()
    first.sendall(REQUEST)
    assert b"keep-alive" in read_answer(first)
    held = []
    for _ in range(3):  # half requests, to hold all other workers
        sock = svc.connect()
        sock.sendall(b"GET /health HTTP/1.1\r\n")
        held.append(sock)
    answer = b""
    end = time.monotonic() + PROMPT
    while b"Connection: close" not in answer and time.monotonic() < end:
        first.sendall(REQUEST)
        answer = read_answer(first)
    assert b"Connection: close" in answer
    close_all([first, *held])


def test_silent_clients_occupy_no_worker(healthsvc):
    svc = healthsvc(one_address(2))
    silent = [svc.connect() for _ in range(30)]
    for _ in range(5):
        assert time_of_an_answer(svc) < PROMPT
    # The worker of the answer before may yet have to hang up.
    wait_for(lambda: svc.metric("healthsvc_http_workers_busy") == 1)
    silent[7].sendall(LAST_REQUEST)
    assert read_answer(silent[7]).startswith(b"HTTP/1.1 200 ")
    close_all(silent)


def test_silent_clients_of_a_unix_socket_hold_workers_only_for_a_time(healthsvc, folder):
    """The kernel cannot hold them back there; a request timeout (2 s) after they came, they go."""
    svc = healthsvc(one_address(2, f"unix:{folder}/s"))
    silent = [svc.connect() for _ in range(4)]
    assert svc.get("/health", timeout=20).status == 200
    for sock in silent:
        assert sock.recv(100) == b""
    close_all(silent)


def dribble(sock, piece, closed):
    """Sends a byte now and then until the server has enough of it."""
    start = time.monotonic()
    while not closed.wait(0.1):
        try:
            sock.sendall(piece)
            if select.select([sock], [], [], 0)[0] and not sock.recv(4096):
                break
        except OSError:
            break
    return time.monotonic() - start


def run_dribblers(svc, count, opening, piece):
    """The dribblers, and how long each was borne."""
    stop, times = threading.Event(), []

    def one():
        with svc.connect() as sock:
            sock.sendall(opening)
            times.append(dribble(sock, piece, stop))
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, times, stop


def test_who_dribbles_a_header_is_cut(healthsvc, address):
    svc = healthsvc(one_address(4, address))
    threads, times, stop = run_dribblers(svc, 3, b"GET /health HTTP/1.1\r\nX: ", b"x")
    try:
        assert time_of_an_answer(svc) < PROMPT
        for thread in threads:
            thread.join(15 * SCALE)
        assert len(times) == 3
        # Twice the request timeout at most (CivetWeb), and what the pauses add.
        assert max(times) < 6 * SCALE
    finally:
        stop.set()
    assert time_of_an_answer(svc) < PROMPT


def test_more_dribblers_than_workers_hold_them_only_for_a_time(healthsvc, address):
    svc = healthsvc(one_address(2, address))
    threads, _, stop = run_dribblers(svc, 4, b"GET /health HTTP/1.1\r\nX: ", b"x")
    try:
        assert svc.get("/health", timeout=30).status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_who_dribbles_a_body_is_not_waited_for(healthsvc, address):
    svc = healthsvc(one_address(2, address))
    opening = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    threads, times, stop = run_dribblers(svc, 8, opening, b"x")
    try:
        for _ in range(5):
            assert time_of_an_answer(svc) < PROMPT
        for thread in threads:
            thread.join(10 * SCALE)
        assert len(times) == 8 and max(times) < PROMPT
    finally:
        stop.set()


def test_who_does_not_read_is_cut(healthsvc, address):
    """Pipelined requests fill both sockets' buffers; then the write has its timeout."""
    svc = healthsvc(one_address(2, address))
    with svc.connect() as sock:
        sock.setblocking(False)
        end = time.monotonic() + 20 * SCALE
        try:
            while time.monotonic() < end:
                select.select([], [sock], [], 0.1)
                try:
                    sock.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
                except BlockingIOError:
                    pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert time.monotonic() < end
    assert time_of_an_answer(svc) < PROMPT


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")
@pytest.mark.parametrize("address,hosts", [
    ("[::1]:0", ["::1"]), ("[::]:0", ["::1", "127.0.0.1"]), ("0.0.0.0:0", ["127.0.0.1"])])
def test_addresses_of_both_families(healthsvc, address, hosts):
    svc = healthsvc(CONF % (f'"{address}"', 4))
    for host in hosts:
        with socket.create_connection((host, svc.port), timeout=10 * SCALE) as sock:
            sock.sendall(LAST_REQUEST)
            assert read_answer(sock).startswith(b"HTTP/1.1 200 ")
    if hosts == ["::1"]:
        # Not 127.0.0.1, where another server may have been given the same port.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.77.66.55", svc.port), timeout=10 * SCALE)
    assert f"listening on {address[:-2]}:{svc.port}" in svc.log_text()


def test_several_addresses(healthsvc):
    svc = healthsvc(listening("127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"))
    assert len(set(svc.ports)) == 3
    for port in svc.ports[:2]:
        assert svc.get("/health", port=port).status == 200


def test_an_address_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        conf = tmp_path / "health.conf"
        conf.write_text(listening("127.0.0.1:0", address))
        ended = daemon.run("-c", conf)
    assert ended.returncode == 1
    assert f"cannot listen on {address}: Address already in use" in ended.stderr
    assert not daemon.SANITIZER_REPORT.search(ended.stderr)


class Load:
    """Clients that ask without pause until they are refused."""

    def __init__(self, svc, count):
        self.complete, self.refused, self.faults = 0, 0, []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(svc, i % 2 == 0))
                         for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, svc, keep):
        sock, used = None, False
        while True:
            try:
                if sock is None:
                    sock, used = svc.connect(), False
            except (ConnectionRefusedError, FileNotFoundError):
                with self._lock:
                    self.refused += 1
                return
            except OSError as fault:
                self._fault(f"connecting: {fault}")
                return
            try:
                sock.sendall(REQUEST if keep else LAST_REQUEST)
                answer = read_answer(sock)
            except OSError as fault:
                answer = b""
                if not used:
                    self._fault(f"first request of a connection: {fault}")
            whole = is_whole(answer)
            with self._lock:
                self.complete += whole
            # A connection kept for long may be closed just as its next request sets out (RFC 9112,
            # 9.3.1); any other request has to be answered.
            if not whole and (answer or not used):
                self._fault(f"cut: {answer!r}")
            used = True
            if not whole or b"Connection: close" in answer:
                sock.close()
                sock = None

    def _fault(self, text):
        with self._lock:
            self.faults.append(text)

    def join(self):
        for thread in self._threads:
            thread.join()


def test_stopping_during_load_breaks_no_answer(healthsvc, address):
    svc = healthsvc(one_address(8, address))
    load = Load(svc, 6)
    wait_for(lambda: load.complete > 300, what="load")
    assert svc.stop() == 0
    load.join()
    assert load.faults == []
    assert load.refused == 6


def test_stopping_does_not_wait_for_idle_clients(healthsvc, address):
    svc = healthsvc(one_address(64, address))
    idle = [svc.connect() for _ in range(24)]
    for sock in idle[:12]:
        sock.sendall(REQUEST)
        assert b"keep-alive" in read_answer(sock)
    start = time.monotonic()
    assert svc.stop() == 0
    assert time.monotonic() - start < PROMPT
    for sock in idle[:12]:
        assert sock.recv(100) == b""
    close_all(idle)


def held(svc):
    """How many descriptors and threads the daemon has."""
    return tuple(len(os.listdir(f"/proc/{svc.pid}/{what}")) for what in ("fd", "task"))


def is_refused(address):
    try:
        socket.create_connection(address, timeout=10 * SCALE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_addresses_that_come_and_go_leave_nothing(healthsvc):
    svc = healthsvc(listening("127.0.0.1:0"))
    before = held(svc)
    for count in range(2, 7):
        svc.reload(listening("127.0.0.1:0", "127.0.0.2:0"))
        wait_for(lambda: len(svc.ports) == count, what="the second address")
        address = ("127.0.0.2", svc.ports[-1])
        clients = [socket.create_connection(address, timeout=10 * SCALE) for _ in range(8)]
        for sock in clients[:4]:  # the others stay silent
            sock.sendall(REQUEST)
            assert read_answer(sock).startswith(b"HTTP/1.1 200 ")
        svc.reload(listening("127.0.0.1:0"))
        wait_for(lambda: is_refused(address), what="the end of the second address")
        wait_for(lambda: held(svc) == before, what=f"{before} descriptors and threads")
        close_all(clients)
    assert svc.get("/health").status == 200


def test_an_idle_client_of_the_address_that_stays_notices_nothing(healthsvc):
    svc = healthsvc(listening("127.0.0.1:0"))
    with svc.connect() as sock:
        sock.sendall(REQUEST)
        assert b"keep-alive" in read_answer(sock)
        svc.reload(listening("127.0.0.1:0", "127.0.0.2:0"))
        sock.sendall(REQUEST)
        assert read_answer(sock).startswith(b"HTTP/1.1 200 ")


def test_a_reload_loses_no_request_of_the_address_that_stays(healthsvc):
    svc = healthsvc(listening("127.0.0.1:0"))
    load = Load(svc, 4)
    for _ in range(5):
        done = load.complete
        svc.reload(listening("127.0.0.1:0", "127.0.0.2:0"))
        svc.reload(listening("127.0.0.1:0"))
        wait_for(lambda: load.complete > done + 20, what="answers during the reloads")
    assert load.faults == []
    assert svc.stop() == 0
    load.join()
    assert load.faults == []


def test_an_address_in_use_stops_a_reload(healthsvc):
    svc = healthsvc(listening("127.0.0.1:0"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        line = svc.reload(listening("127.0.0.1:0", "127.0.0.2:0", address))
    assert f"cannot listen on {address}: Address already in use" in line
    assert "keeping the running configuration" in line
    assert svc.health() == (200, "Up and running\n")
