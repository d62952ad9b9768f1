"""The fault matrix: what is asked behaves badly, over a network that does what it should."""
import socket

import pytest

import peers as peers_module
from matrix import row
from waiting import SCALE, wait_for
from witness import TIMEOUT_S, ms

TIMEOUT = rf"Error\. timeout after {ms(TIMEOUT_S * SCALE)} in "


# ---- peers that behave badly ----

def reset_at_once(peer, sock):
    peers_module.reset(sock)


def half_closed_at_once(peer, sock):
    sock.shutdown(socket.SHUT_WR)
    peer.hold(sock)


def forging(peer, sock):
    if peer.read_request(sock):
        sock.sendall(b"HTTP/1.1 \x1b[2J\rbeside-1 status: OK\x00\x07\n\n")


def bad_peer(kind, fault, holds, state, outcome):
    return pytest.param(kind, state, outcome, id=getattr(kind, "__name__", kind),
                        marks=row(fault, holds))


@pytest.mark.parametrize("kind, state, outcome", [
    bad_peer("hung", "accepts, and never says a word", "down: timeout in exchange",
             TIMEOUT + "exchange", "timeout"),
    bad_peer("dribbling", "answers one byte each 50 ms", "down: timeout in exchange",
             TIMEOUT + "exchange", "timeout"),
    bad_peer("endless", "headers without end", "down: headers longer than 16 KB",
             r"Error\. headers longer than 16 KB", "bad_reply"),
    bad_peer("garbage", "garbage for an answer", "down, with the first byte of it",
             r"Error\. not HTTP: starts with byte 0x00", "bad_reply"),
    bad_peer("resetting", "reset in the middle of a reply", "down: reset",
             r"Error\. connection reset by peer", "reset"),
    bad_peer(reset_at_once, "reset as soon as it is accepted", "down: reset",
             r"Error\. connection reset by peer", "reset"),
    bad_peer("closing", "closed in the middle of a reply", "down: closed",
             r"Error\. closed in the middle of the headers", "closed"),
    bad_peer(half_closed_at_once, "half-closed by the peer, which then waits",
             "down: closed, and not only at the deadline",
             r"Error\. closed without a reply", "closed"),
    bad_peer(forging, "control characters and line ends in what it says",
             "down; they make no line of their own in an answer or the log",
             r"Error\. \w.*", "bad_reply"),
])
def test_a_peer_turns_bad(peers, witness, kind, state, outcome):
    peer = peers.http()
    witness.watch(peer.url())
    good = peer.serve
    with witness.fault(state, outcome=outcome):
        peer.serve = kind if callable(kind) else getattr(peers, kind)().serve
    with witness.recovery():
        peer.serve = good
    assert all(" " <= c <= "~" for line in witness.svc.log_text().splitlines() for c in line)


@pytest.mark.parametrize("kind", [
    pytest.param("right_then_hang", marks=row("right answer, then the connection stays open",
                                              "up: enough seen is enough")),
    pytest.param("endless_body", marks=row("good headers, then a body without end",
                                           "up: the status decides")),
])
def test_enough_seen_is_enough(peers, witness, kind):
    peer = peers.http()
    witness.watch(peer.url())
    with witness.harmless():
        peer.serve = getattr(peers, kind)().serve


@row("connection refused", "down: refused")
def test_connection_refused(peers, witness):
    peer = peers.http()
    witness.watch(peer.url())
    with witness.fault(r"Error\. connection refused", outcome="connect_refused"):
        peer.close()
    with witness.recovery():
        peer.open()


@row("nobody accepts and the backlog is full", "down: timeout in connect")
def test_a_full_backlog(peers, witness):
    peer = peers.http()
    witness.watch(peer.url())
    with witness.fault(TIMEOUT + "connect", outcome="connect_timeout"):
        peer.close()
        full = socket.socket()
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind(("127.0.0.1", peer.port))
        full.listen(0)
        clients = []
        for _ in range(8):  # more than the queue takes; those beyond it never get connected
            clients.append(socket.socket())
            clients[-1].setblocking(False)
            clients[-1].connect_ex(full.getsockname())
    with witness.recovery():
        for sock in (*clients, full):
            sock.close()
        peer.open()


@row("nobody listens on a local port of the ephemeral range: a connection may meet itself",
     "down: refused; never up by talking to itself, and never in the way of who listens there next")
def test_a_connection_that_meets_itself(network, peers, witness, folder):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    # Few ports to choose from, so that it happens now and not once a month. Linux takes every other
    # one first, from the lowest.
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write(f"{port} {port + 7}")

    def meets_itself():
        with socket.socket() as sock:
            met = sock.connect_ex(("127.0.0.1", port)) == 0
            peers_module.reset(sock)
        return met
    wait_for(meets_itself, what="a connection that meets itself")
    refused = r"Error\. connection refused"
    witness.watch(f"tcp://127.0.0.1:{port}", up=refused, head=f'listen = "unix:{folder}/s";',
                  period=0.1, timeout=0.09, confirm=0.1)
    checks = witness.checks("bad")
    witness.wait_for(lambda: witness.checks("bad") >= checks + 60, 20 * SCALE, "60 checks")

    def listens_again():
        try:
            return peers.at(port=port).hung()
        except OSError:
            return None  # a connection to another port has it for a moment
    with witness.recovery():
        wait_for(listens_again, what="the port for its service")


@row("thirty dependencies hang, with a timeout of 50 s",
     "not checked yet; every answer comes at once, and so does the end")
def test_everything_hangs(peers, witness):
    url = peers.hung().url()
    hanging = [f"d{i}" for i in range(30)]
    witness.watch(more=",".join(f'{{ name = "{name}"; url = "{url}"; period = "60s"; '
                                'timeout = "50s"; }' for name in hanging),
                  also={name: r"Error\. not checked yet" for name in hanging})
    with witness.harmless(name="beside-1"):
        pass
