"""What goes over the wire: every path, method, format and header, and every request that is none."""
import email.utils
import json
import re
import socket
import time

import pytest

from waiting import SCALE

CONF = """
name = "gateway";
listen = "%s";
unhealthy_status = 503;
defaults = { period = "500ms"; timeout = "400ms"; };
dependencies = (
  { name = "trips";    url = "%s"; },
  { name = "airports"; url = "%s"; }
);
"""
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HEALTH_JSON = "application/health+json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


@pytest.fixture
def svc(healthsvc, peers, address):
    """A gateway with trips up and airports refusing: 503 on /health."""
    svc = healthsvc(CONF % (address, peers.http().url(), peers.refused().url()))
    svc.wait_health("trips status: OK\nairports status: Error. connection refused")
    return svc


def parse(raw):
    """The answers in `raw`, each as (status line, headers as written, body)."""
    answers = []
    while raw:
        head, blank, rest = raw.partition(b"\r\n\r\n")
        assert blank, raw
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        assert len(headers) == len(lines) - 1, lines
        length = int(headers["Content-Length"])
        assert len(rest) >= length, raw
        answers.append((lines[0], headers, rest[:length]))
        raw = rest[length:]
    return answers


def codes(raw):
    return [int(line.split()[1]) for line, _, _ in parse(raw)]


def check_headers(headers, content_type, connection, more=()):
    assert list(headers) == ["Date", "Content-Type", "Content-Length", "Cache-Control",
                             "X-Content-Type-Options", *more, "Connection"]
    date = email.utils.parsedate_to_datetime(headers["Date"])
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
                        headers["Date"])
    assert -2 <= time.time() - date.timestamp() <= 10 * SCALE
    assert headers["Content-Type"] == content_type
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Connection"] == connection


PATHS = [
    ("/health", 503, TEXT, r"gateway status: Error\nDependencies:\ntrips status: OK\n"
                           r"airports status: Error\. connection refused\n"),
    ("/health/trips", 200, TEXT, r"trips status: OK\n"),
    ("/health/airports", 503, TEXT, r"airports status: Error\. connection refused\n"),
    ("/livez", 200, TEXT, r"Up and running\n"),
    ("/readyz", 503, TEXT, r"\[\+\]trips ok\n\[-\]airports failed: .*\nreadyz check failed\n"),
    ("/readyz?verbose", 503, TEXT, r"\[\+\]trips ok\n\[-\]airports .*\nreadyz check failed\n"),
    ("/metrics", 200, METRICS, r"(?s)# HELP .*\n"),
    ("/health?format=text", 503, TEXT, r"gateway status: Error\n(?s:.*)"),
    ("/health?format=json", 503, JSON, r'(?s)\{.*"status":"fail".*\}\n?'),
    ("/health/trips?format=json", 200, JSON, r'(?s)\{.*"status":"pass".*\}\n?'),
    ("/health?format=nagios", 503, TEXT,
     r"HEALTHSVC CRITICAL - airports: connection refused \| "
     r"'trips'=\d+\.\d{6}s;;;0 'airports'=U\n"),
    ("/health/trips?format=nagios", 200, TEXT, r"HEALTHSVC OK - trips: up \| 'trips'=[^\n]+\n"),
    ("/health?format=xml", 400, TEXT, r"[^\n]+\n"),
    ("/health/nobody", 404, TEXT, r"[^\n]+\n"),
    ("/", 404, TEXT, r"[^\n]+\n"),
    ("/health/", 404, TEXT, r"[^\n]+\n"),
    ("/healthz", 404, TEXT, r"[^\n]+\n"),
    ("/etc/passwd", 404, TEXT, r"[^\n]+\n"),
    # A path is what was sent: nothing is decoded or tidied.
    ("//health", 404, TEXT, r"[^\n]+\n"),
    ("/./health", 404, TEXT, r"[^\n]+\n"),
    ("/a/../health", 404, TEXT, r"[^\n]+\n"),
    ("/a\\..\\health", 404, TEXT, r"[^\n]+\n"),
    ("/%68ealth", 404, TEXT, r"[^\n]+\n"),
    ("/health%00x", 404, TEXT, r"[^\n]+\n"),
    ("/health%0d%0aX-Injected:%201", 404, TEXT, r"[^\n]+\n"),
]


@pytest.mark.parametrize("target,status,content_type,body", PATHS, ids=[p[0] for p in PATHS])
def test_a_path(svc, target, status, content_type, body):
    """GET, then HEAD: the same head, no body."""
    raw = svc.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    [(line, headers, got)] = parse(raw)
    assert re.fullmatch(rf"HTTP/1\.1 {status} [A-Z][A-Za-z ]+", line)
    assert re.fullmatch(body, got.decode())
    check_headers(headers, content_type, "close")

    head = svc.raw(f"HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1
    assert head.startswith(line.encode() + b"\r\n")
    assert f"\r\nContent-Type: {content_type}\r\n".encode() in head
    if "json" not in content_type and target != "/metrics":
        assert f"\r\nContent-Length: {len(got)}\r\n".encode() in head


@pytest.mark.parametrize("accept,content_type", [
    ("application/health+json", HEALTH_JSON),
    ("application/json", JSON),
    ("application/json;q=0.9, text/plain;q=0.8", JSON),
    ("text/plain, application/json", TEXT),
    ("text/*;q=0.5, application/*;q=0.6", HEALTH_JSON),
    ("*/*", TEXT),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
    ("image/png", TEXT),
    ("*/*;q=0", TEXT),
    ("application/json;q=nonsense", TEXT),
])
def test_the_accept_header_chooses(svc, accept, content_type):
    for path, status in (("/health", 503), ("/health/trips", 200)):
        answer = svc.get(path, {"Accept": accept})
        assert (answer.status, answer.headers["Content-Type"]) == (status, content_type)
        if content_type == TEXT:
            assert "status: " in answer.body
        else:
            assert json.loads(answer.body)["status"] in ("pass", "fail")
    asked = svc.get("/health?format=text", {"Accept": accept})
    assert asked.headers["Content-Type"] == TEXT


METHODS = ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "PROPFIND", "MKCOL", "LOCK",
           "UNLOCK", "PROPPATCH", "REPORT"]


@pytest.mark.parametrize("method", METHODS)
def test_another_method_is_refused(svc, method):
    for target in ("/health", "/nowhere"):
        request = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        [(line, headers, body)] = parse(svc.raw(request.encode()))
        assert line == "HTTP/1.1 405 Method Not Allowed"
        assert headers["Allow"] == "GET, HEAD"
        assert body.count(b"\n") == 1
        check_headers(headers, TEXT, "close", more=["Allow"])


def get(*lines, version="1.1", target="/livez", method="GET", end="\r\n", body=""):
    return end.join([f"{method} {target} HTTP/{version}", *lines, "", body]).encode("latin-1")


NEXT = get("Host: x", target="/readyz").decode()

# Name, bytes, codes of the answers. After the last of them the connection is closed at once.
CLOSED = [
    ("1.0", get("Host: x", version="1.0"), [200]),
    ("1.1 without Host", get(), [200]),
    ("close", get("Host: x", "Connection: close"), [200]),
    ("close and keep-alive", get("Host: x", "Connection: close, keep-alive"), [200]),
    ("keep-alive and close", get("Host: x", "Connection: keep-alive, close"), [200]),
    ("a prefix of keep-alive", get("Host: x", "Connection: k"), [200]),
    ("two Connection headers", get("Connection: keep-alive", "Connection: close"), [200]),
    ("two that agree", get("Connection: keep-alive", "Connection: keep-alive"), [200]),
    ("upgrade to websocket", get("Host: x", "Connection: Upgrade", "Upgrade: websocket",
                                 "Sec-WebSocket-Version: 13",
                                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), [200]),
    ("upgrade to h2c", get("Host: x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                           "HTTP2-Settings: AAMAAABkAAQAAP__"), [200]),
    ("100-continue", get("Host: x", "Expect: 100-continue", "Content-Length: 5"), [200]),
    ("a body that is there", get("Host: x", "Content-Length: 5", body="hello"), [200]),
    ("a body that never comes", get("Host: x", "Content-Length: 1000000"), [200]),
    ("a body of nothing", get("Host: x", "Content-Length: 0"), [200]),
    ("a body that is a request", get("Host: x", f"Content-Length: {len(NEXT)}", body=NEXT), [200]),
    ("the longest length", get("Host: x", "Content-Length: 9223372036854775807", body=NEXT), [200]),
    ("length 5abc", get("Host: x", "Content-Length: 5abc", body="hello"), [200]),
    ("length abc", get("Host: x", "Content-Length: abc"), [400]),
    ("length -1", get("Host: x", "Content-Length: -1"), [400]),
    ("two lengths", get("Content-Length: 0", f"Content-Length: {len(NEXT)}", body=NEXT), [200]),
    ("chunked", get("Host: x", "Transfer-Encoding: chunked", body="5\r\nhello\r\n0\r\n\r\n"), [200]),
    ("chunks of nonsense", get("Host: x", "Transfer-Encoding: chunked", body="zz\r\n"), [200]),
    ("another coding", get("Host: x", "Transfer-Encoding: gzip"), [400]),
    ("chunked and a length", get("Host: x", "Content-Length: 4", "Transfer-Encoding: chunked",
                                 body="0\r\n\r\n" + NEXT), [200]),
    ("a folded length", get("Host: x", f" Content-Length: {len(NEXT)}", body=NEXT), [200]),
    ("a length after a folded line", get("X: a", "\tb", f"Content-Length: {len(NEXT)}", body=NEXT),
     [400]),  # a tab is not taken at all
    ("a line that begins with a high byte", get("X: a", "\xe9: b", f"Content-Length: {len(NEXT)}",
                                                body=NEXT), [200]),
    ("a blank line before", b"\r\n" + get("Host: x"), [200]),
    ("bare LF", get("Host: x", end="\n") + get("Host: x", end="\n"), [200]),
    ("an end of LF CRLF", b"GET /livez HTTP/1.1\r\nX: y\n\r\nZ: w\r\n\r\n", [200]),
    ("HTTP/1.2", get("Host: x", version="1.2"), [505]),
    ("HTTP/2.0", get("Host: x", version="2.0"), [505]),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    ("HTTP/0.9", b"GET /livez\r\n\r\n", [400]),
    ("garbage", b"\x00\xff\x00\xff" * 10 + b"\r\n\r\n", [400]),
    ("a TLS hello", bytes.fromhex("16030100b9010000b50303") + b"\x00" * 40, [400]),
    ("a method in lower case", get("Host: x", method="get"), [400]),
    ("TRACE", get("Host: x", method="TRACE"), [400]),
    ("an unknown method", get("Host: x", method="BREW"), [400]),
    ("a high byte in the path", get("Host: x", target="/livez\xe9"), [400]),
    ("a space in the path", get("Host: x", target="/livez x"), [400]),
    ("a header without colon", get("Host x"), [400]),
    ("no path", b"GET  HTTP/1.1\r\n\r\n", [400]),
    ("a path that is none", get("Host: x", target="livez"), [400]),
    ("64 headers", get(*[f"X-{i}: y" for i in range(64)]), [200]),
    ("the length as 65th header", get(*[f"X-{i}: y" for i in range(64)],
                                      f"Content-Length: {len(NEXT)}", body=NEXT), [200]),
    ("a head of 20 kB", get("X: " + "x" * 20000), [400]),
    ("a path of 20 kB", get("Host: x", target="/" + "x" * 20000), [400]),
    # These cannot be answered: CivetWeb closes the connection by itself.
    ("an asterisk", get("Host: x", method="OPTIONS", target="*"), []),
    ("another host and port", get("Host: x", target="http://x:1/livez"), []),
]


@pytest.mark.parametrize("sent,expected", [c[1:] for c in CLOSED], ids=[c[0] for c in CLOSED])
def test_a_doubtful_request_closes_the_connection(svc, sent, expected):
    start = time.monotonic()
    answers = parse(svc.raw(sent, timeout=4.0))
    assert [int(line.split()[1]) for line, _, _ in answers] == expected
    for line, headers, body in answers:
        assert line.startswith("HTTP/1.1 ")
        check_headers(headers, TEXT, "close")
        assert body.endswith(b"\n") and body.count(b"\n") == 1
    # Neither the idle time (5 s) nor a body was waited for.
    assert time.monotonic() - start < 4 * SCALE
    assert svc.get("/livez").status == 200


@pytest.mark.parametrize("sent", [
    get("Host: x"),
    get("Host: x", "Connection: keep-alive"),
    get("Host: x", "CONNECTION: Keep-Alive"),
    get("Host: x", "Connection: keep-alive", version="1.0"),
    get("Host: x", target="/nowhere"),
    get("Host: x", "Accept: application/json", target="/health"),
    get(*[f"X-{i}: y" for i in range(63)]),
    get("Host: x", "X: " + "x" * 15000),
], ids=["plain", "asked", "asked in capitals", "1.0", "404", "json", "63 headers", "long"])
def test_a_plain_request_keeps_the_connection(svc, sent):
    with svc.connect() as sock:
        reader = sock.makefile("rb")
        for _ in range(3):
            sock.sendall(sent)
            status, headers = read_head(reader)
            assert headers["connection"] == "keep-alive"
            reader.read(int(headers["content-length"]))
        sock.sendall(get("Host: x", "Connection: close"))
        status, headers = read_head(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert reader.read() == b"Up and running\n"


def read_head(reader):
    status = int(reader.readline().split()[1])
    headers = {}
    while (line := reader.readline().strip()):
        name, value = line.decode().split(": ", 1)
        headers[name.lower()] = value
    return status, headers


def test_the_absolute_form_is_understood(svc):
    """With the port that it came in by; of a Unix socket CivetWeb knows none, and closes."""
    port = svc.ports[0] if svc.ports else 80
    raw = svc.raw(get("Host: other", "Connection: close",
                      target=f"http://whatever.example:{port}/livez"))
    assert codes(raw) == ([200] if svc.ports else [])


@pytest.mark.parametrize("sent", [b"GET /health HTTP/1.1\r\nHost", b"GET /health HT", b"G"])
def test_half_a_request_then_silence(svc, sent):
    start = time.monotonic()
    assert codes(svc.raw(sent)) == [400]
    assert time.monotonic() - start < 5 * SCALE


def test_half_a_request_then_the_end(svc):
    with svc.connect() as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost")
        sock.shutdown(socket.SHUT_WR)
        assert codes(b"".join(iter(lambda: sock.recv(4096), b""))) == [400]


def test_a_request_byte_by_byte(svc):
    request = get("Host: x", "Connection: close")
    with svc.connect() as sock:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(request)):
            sock.sendall(request[i:i + 1])
        assert codes(b"".join(iter(lambda: sock.recv(4096), b""))) == [200]


def test_pipelining(svc):
    targets = ["/livez", "/nowhere", "/health", "/health/trips"] * 100
    sent = b"".join(get("Host: x", target=t) for t in targets) + get("Connection: close")
    assert codes(svc.raw(sent)) == [200, 404, 503, 200] * 100 + [200]


def test_an_idle_connection_is_closed_after_five_seconds(svc):
    with svc.connect(timeout=20) as sock:
        sock.sendall(get("Host: x"))
        answered = sock.recv(4096)
        assert b"keep-alive" in answered
        start = time.monotonic()
        assert sock.recv(4096) == b""
        assert time.monotonic() - start >= 3


def test_answers_are_counted_by_code(svc):
    def count(code):
        return svc.metric(f'healthsvc_http_requests_total{{code="{code}"}}') or 0
    before = {code: count(code) for code in (400, 404, 405, 503)}
    svc.raw(b"garbage\r\n\r\n")
    svc.get("/nowhere")
    svc.get("/health", method="POST")
    svc.get("/health")
    assert {code: count(code) - before[code] for code in before} == dict.fromkeys(before, 1)


def test_without_dependencies(healthsvc):
    svc = healthsvc('name = "trips"; listen = "127.0.0.1:0";')
    assert svc.health() == (200, "Up and running\n")
    assert svc.get("/readyz").body == "ok"
    assert svc.get("/livez").body == "Up and running\n"


def test_nothing_of_the_library_shows(svc):
    """No file is served, no default page, no Server header, no trace of the request."""
    for raw in (svc.raw(get("Host: x", "Connection: close", target="/<script>")),
                svc.raw(b"<script>\r\n\r\n"),
                svc.raw(get("Host: x", "Origin: http://evil", "Access-Control-Request-Method: GET",
                            method="OPTIONS"))):
        assert b"script" not in raw and b"evil" not in raw
        assert b"Server:" not in raw and b"Access-Control" not in raw
        assert b"ivet" not in raw.lower()
