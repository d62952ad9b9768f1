"""The fault matrix: who asks, badly or in numbers."""
import contextlib
import http.client
import os
import resource
import socket
import struct
import threading
import time

import pytest

from matrix import elsewhere, row, rows
from waiting import SCALE, wait_for

ELSEWHERE = (
    elsewhere("clients that do not read their answers", "cut after the write's timeout",
              "tests/e2e/test_clients.py::test_who_does_not_read_is_cut"),
    elsewhere("SIGTERM under load", "no answer is broken",
              "tests/e2e/test_clients.py::test_stopping_during_load_breaks_no_answer"),
    elsewhere("a hundred clients that keep their connection, on 16 workers",
              "everybody is answered at once; a quarter of the workers is never kept",
              "tests/e2e/test_clients.py::test_idle_clients_do_not_keep_others_waiting"),
)

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_GET = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"  # 404, and known by that
MANY = 10000


@pytest.fixture
def descriptors():
    """As many as this process may have; back to what it was in the end."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connect_many(svc, count):
    """So many connections on their way, none of which is waited for."""
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(("127.0.0.1", svc.port))
        yield sock


# ---- in numbers ----

@contextlib.contextmanager
def flood(witness, svc):
    """For the time that a flood of connections comes: gives a function to be called now and then, which
    finds that who tries again is answered. Afterwards everybody must be, at once."""
    def answered():
        try:
            return svc.get("/livez", timeout=1).status == 200
        except (OSError, http.client.HTTPException):
            return False
    with witness.harmless():
        with witness.excuse("who connects in the flood, and asks later than a hundred others have "
                            "come, is taken for one of them"):
            yield lambda: wait_for(answered, 4)


AS_EVER = ("who asks is answered; but who asks later than a hundred others have connected is taken for "
           "one of them, and answered when it tries again; all is as ever at once when no more come")


@row("10,000 connections that send nothing", AS_EVER)
def test_ten_thousand_silent_clients(peers, witness, descriptors):
    assert descriptors > MANY + 1000, "the hard limit of open files is too low here"
    svc = witness.watch(peers.http().url())
    silent = []
    with flood(witness, svc) as look:
        for sock in connect_many(svc, MANY):
            silent.append(sock)
            if len(silent) % 500 == 0:
                look()
    assert len(os.listdir(f"/proc/{svc.pid}/fd")) < 500
    for sock in silent:
        sock.close()
    # Left are the one that asks, and the witness's.
    wait_for(lambda: svc.metric("healthsvc_http_workers_busy") <= 3, 20, "free workers")


@row("3,000 connections that begin a request and never end it", AS_EVER)
def test_many_halves(peers, witness, descriptors):
    assert descriptors > MANY + 1000, "the hard limit of open files is too low here"
    svc = witness.watch(peers.http().url())
    held = []
    with flood(witness, svc) as look:
        for i in range(3000):
            held.append(svc.connect(timeout=20))
            held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: ")
            if i % 500 == 0:
                look()
    for sock in held:
        sock.close()


@row("2,000 clients that ask once and keep the connection", "each is answered; everybody else, too")
def test_many_that_stay(peers, witness, descriptors):
    assert descriptors > MANY + 1000, "the hard limit of open files is too low here"
    svc = witness.watch(peers.http().url())
    held = []
    with witness.harmless():
        for _ in range(2000):
            held.append(svc.connect(timeout=20))
            held[-1].sendall(GET)
            assert held[-1].recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
    for sock in held:
        sock.close()


def dribble(svc, opening, piece, stop):
    """One byte after the other, on a new connection whenever it is cut."""
    while not stop.is_set():
        with contextlib.suppress(OSError), svc.connect() as sock:
            sock.sendall(opening)
            while not stop.wait(0.1):
                sock.sendall(piece)
                with contextlib.suppress(BlockingIOError):
                    if not sock.recv(4096, socket.MSG_DONTWAIT):
                        break


@pytest.mark.parametrize("opening", [
    pytest.param(b"GET /health HTTP/1.1\r\nX: ", id="head", marks=row(
        "200 clients that send a header byte by byte, again and again (32 workers)",
        "everybody else is answered as ever")),
    pytest.param(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", id="body",
                 marks=row("200 clients that send a body byte by byte, again and again",
                           "the same: no body is waited for")),
])
def test_slow_clients(peers, witness, opening):
    svc = witness.watch(peers.http().url())
    stop = threading.Event()
    threads = [threading.Thread(target=dribble, args=(svc, opening, b"x", stop))
               for _ in range(200)]
    with witness.harmless():
        for thread in threads:
            thread.start()
    stop.set()
    for thread in threads:
        thread.join()


# ---- what is no request ----

def exchange(svc, sent):
    """All that comes back until the other side closes, which it must."""
    with svc.connect(timeout=20) as sock:
        received = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while True:
                piece = sock.recv(65536)
                if not piece:
                    break
                received += piece
        return received


def codes(received):
    """Of every whole answer; fails if there is anything else."""
    found = []
    while received:
        head, blank, rest = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert blank and lines[0].startswith("HTTP/1.1 "), received
        found.append(int(lines[0].split()[1]))
        length = next(int(line[16:]) for line in lines if line.startswith("Content-Length: "))
        assert len(rest) >= length, received
        received = rest[length:]
    return found


def post(*headers, body=b"", end=b"\r\n"):
    lines = [b"POST /health HTTP/1.1", b"Host: x", *headers]
    return b"".join(line + end for line in lines) + end + body


# What may hide a second request from a proxy in front; by a proxy's reading or by ours it is one.
SMUGGLED = {
    "Content-Length and Transfer-Encoding":
        post(b"Content-Length: %d" % (5 + len(SECOND)), b"Transfer-Encoding: chunked",
             body=b"0\r\n\r\n" + SECOND),
    "Transfer-Encoding twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity",
                                    body=b"0\r\n\r\n" + SECOND),
    "an unknown Transfer-Encoding": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SECOND),
    "a hidden Transfer-Encoding": post(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n" + SECOND),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: %d" % len(SECOND), body=SECOND),
    "two lengths in one header": post(b"Content-Length: 0, %d" % len(SECOND), body=SECOND),
    "a length with a sign": post(b"Content-Length: +0", body=SECOND),
    "a length in hexadecimal": post(b"Content-Length: 0x0", body=SECOND),
    "a negative length": post(b"Content-Length: -1", body=SECOND),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551616", body=SECOND),
    "a folded header": post(b"X: a\r\n Content-Length: %d" % len(SECOND), body=SECOND),
    "a folded length": post(b"Content-Length:\r\n %d" % len(SECOND), body=SECOND),
    "a space before the colon": post(b"Content-Length : %d" % len(SECOND), body=SECOND),
    "a header that begins with a space": post(b" Content-Length: %d" % len(SECOND), body=SECOND),
    "lines that end in LF alone": post(b"Content-Length: %d" % len(SECOND), body=SECOND, end=b"\n"),
    "a CR alone in a header": post(b"X: a\rContent-Length: %d" % len(SECOND), body=SECOND),
    "a body that is not waited for": post(b"Content-Length: %d" % len(SECOND), body=SECOND),
    "a body of GET": LAST_GET.replace(b"Connection: close", b"Content-Length: %d" % len(SECOND))
                     + SECOND,
    "a chunk": post(b"Transfer-Encoding: chunked", body=b"%x\r\n" % len(SECOND) + SECOND + b"\r\n0\r\n\r\n"),
    "65 headers before the length": post(*65 * [b"X: y"], b"Content-Length: %d" % len(SECOND),
                                         body=SECOND),
    "an upgrade": post(b"Connection: Upgrade", b"Upgrade: websocket", body=SECOND),
}


@rows([f"{what}, and a second request behind it" for what in SMUGGLED],
      "one answer at most, then the connection is closed: no second request is found")
def test_smuggling(peers, witness):
    svc = witness.watch(peers.http().url())
    with witness.harmless():
        for what, sent in SMUGGLED.items():
            answered = codes(exchange(svc, sent))
            assert len(answered) <= 1 and 404 not in answered, (what, answered)
            assert not answered or answered[0] in (200, 400, 405, 411, 501), (what, answered)


LARGE = 1 << 20
NO_REQUEST = {
    "a path of 1 MB": b"GET /" + LARGE * b"a" + b" HTTP/1.1\r\n\r\n",
    "a header of 1 MB": b"GET /health HTTP/1.1\r\nX: " + LARGE * b"a" + b"\r\n\r\n",
    "a method of 1 MB": LARGE * b"A" + b" / HTTP/1.1\r\n\r\n",
    "a header without an end": b"GET /health HTTP/1.1\r\n" + LARGE // 6 * b"X: y\r\n",
    "a hello of TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(200)),
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a hello of SSH": b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n",
    "all bytes there are": bytes(range(256)) * 100 + b"\r\n\r\n",
    "nothing but NUL": bytes(5000) + b"\r\n\r\n",
    "a NUL in a header": b"GET /health HTTP/1.1\r\nHost: x\0y\r\nConnection: close\r\n\r\n",
    "a NUL in the path": b"GET /hea\0lth HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "an unknown method": b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown version": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "a version alone": b"HTTP/1.1\r\n\r\n",
}


@rows(list(NO_REQUEST), "an answer that refuses it, or none, and the connection is closed")
def test_no_request(peers, witness):
    svc = witness.watch(peers.http().url())
    with witness.harmless():
        for what, sent in NO_REQUEST.items():
            answered = codes(exchange(svc, sent))
            assert len(answered) <= 1, (what, answered)
            assert not answered or 400 <= answered[0] < 600 or what == "a NUL in a header", \
                (what, answered)


# ---- and those that come and go ----

@row("1,000 requests at once on one connection", "all are answered, in order")
def test_pipelining(peers, witness):
    svc = witness.watch(peers.http().url())
    with witness.harmless():
        sent = (SECOND + GET) * 499 + SECOND + LAST_GET
        with svc.connect(timeout=20) as sock:
            writing = threading.Thread(target=sock.sendall, args=(sent,))
            writing.start()
            received = b"".join(iter(lambda: sock.recv(65536), b""))
            writing.join()
        answered = codes(received)
    assert answered == 500 * [404, 200]


@row("1,000 clients that reset the connection while they are answered", "nothing is left of them")
def test_resets(peers, witness):
    svc = witness.watch(peers.http().url())
    with witness.harmless():
        before = len(os.listdir(f"/proc/{svc.pid}/fd"))
        for i in range(1000):
            with svc.connect() as sock:
                sock.sendall(GET * (1 + i % 20))
                if i % 3 == 0:
                    sock.recv(1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for(lambda: len(os.listdir(f"/proc/{svc.pid}/fd")) <= before + 8)


@row("a client that closes its half after its request", "it gets its answer")
def test_half_closed(peers, witness):
    svc = witness.watch(peers.http().url())
    with witness.harmless():
        for _ in range(50):
            with svc.connect(timeout=20) as sock:
                sock.sendall(GET)
                sock.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: sock.recv(65536), b""))
            assert codes(received) == [200]


@row("16 clients that ask and do not read (32 workers)", "everybody else is answered as ever; they are "
     "cut")
def test_clients_that_do_not_read(peers, witness):
    svc = witness.watch(peers.http().url())
    deaf = [svc.connect() for _ in range(16)]
    cut = set()
    with witness.harmless():
        for sock in deaf:
            sock.setblocking(False)
        until = time.monotonic() + 20 * SCALE
        while len(cut) < len(deaf) and time.monotonic() < until:
            for i, sock in enumerate(deaf):
                try:
                    sock.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
                except BlockingIOError:
                    pass
                except OSError:
                    cut.add(i)
            until_next = time.monotonic() + 0.02
            wait_for(lambda: time.monotonic() >= until_next)
    assert len(cut) == len(deaf)
    for sock in deaf:
        sock.close()
