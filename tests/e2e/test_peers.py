"""Dependencies that misbehave: each is named with its reason, and /health stays fast."""
import http.client
import socket
import time

import pytest

from waiting import SCALE

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "2s"; timeout = "%(timeout)s"; };
dependencies = (
  { name = "bad";  url = "%(bad)s"; },
  { name = "good"; url = "%(good)s"; }
);
"""

REASONS = {
    "hung": r"timeout after .* in exchange",
    "dribbling": r"timeout after .* in exchange",
    "endless": r"headers longer than 16 KB",
    "garbage": r"not HTTP: starts with byte 0x00",
    "resetting": r"connection reset by peer",
    "closing": r"closed in the middle of the headers",
    "refused": r"connection refused",
}


@pytest.mark.parametrize("kind", REASONS)
def test_bad_peer_is_down_with_its_reason(healthsvc, peers, kind):
    svc = healthsvc(CONF % {"bad": getattr(peers, kind)().url(), "good": peers.http().url(),
                            "timeout": "1900ms"})
    svc.wait_health(rf"^500 gateway status: Error\nDependencies:\n"
                    rf"bad status: Error\. {REASONS[kind]}\ngood status: OK\n$")


@pytest.mark.parametrize("kind", ["right_then_hang", "endless_body"])
def test_enough_seen_is_enough(healthsvc, peers, kind):
    """The status line decides; a connection left open or a body without end takes nothing away."""
    svc = healthsvc(CONF % {"bad": getattr(peers, kind)().url(), "good": peers.http().url(),
                            "timeout": "1900ms"})
    svc.wait_health(r"^200 gateway status: OK\nDependencies:\nbad status: OK\ngood status: OK\n$")


def test_health_is_answered_while_everything_hangs(healthsvc, peers):
    """The fault of the first version: a hung dependency hung the load balancer's probe. Thirty
    hang, with a deadline far beyond what a load balancer waits; each of 200 requests is answered
    while they do."""
    hung = peers.hung()
    listed = ",".join(f'{{ name = "d{i}"; url = "{hung.url()}"; }}' for i in range(30))
    svc = healthsvc('name = "gateway"; listen = "127.0.0.1:0";'
                    'defaults = { period = "60s"; timeout = "50s"; };'
                    f"dependencies = ( {listed} );")
    svc.wait_log("listening on")
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", svc.port, timeout=2 * SCALE)
    for _ in range(200):
        connection.request("GET", "/health")
        reply = connection.getresponse()
        assert reply.status == 500 and b"not checked yet" in reply.read()
    assert time.monotonic() - began < 20 * SCALE
    # Ends at once, though thirty checks are under way.
    began = time.monotonic()
    assert svc.stop() == 0
    assert time.monotonic() - began < 10 * SCALE


def test_peers_bytes_cannot_forge_lines(healthsvc, peers):
    """A status line full of control characters must not put a line of its own into an answer."""
    def serve(peer, sock):
        peer.read_request(sock)
        sock.sendall(b"HTTP/1.1 \x1b[2J\rgood status: OK\x00\x07\n\n")
    bad = peers.add(serve)
    svc = healthsvc(CONF % {"bad": bad.url(), "good": peers.http().url(), "timeout": "1s"})
    answer = svc.wait_health(r"^500 .*bad status: Error\. \w")
    assert len(answer.body.splitlines()) == 4
    assert all(" " <= c <= "~" for line in answer.body.splitlines() for c in line)
    assert all(" " <= c <= "~" for line in svc.log_text().splitlines() for c in line)


def test_a_busy_port_with_a_full_backlog_times_out_in_connect(healthsvc, peers):
    """Nobody accepts and the queue is full: the kernel drops the SYN."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        clients = []
        for _ in range(8):  # more than the queue takes; those beyond it never get connected
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(full.getsockname())
            clients.append(client)
        svc = healthsvc(CONF % {"bad": f"http://127.0.0.1:{full.getsockname()[1]}/",
                                "good": peers.http().url(), "timeout": "500ms"})
        svc.wait_health(r"bad status: Error\. timeout after 500ms in connect\n")
        for client in clients:
            client.close()
