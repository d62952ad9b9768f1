"""The fault matrix: name servers that fail or lie."""
import socket

import pytest

import dns
from liar import HOST, KEPT_S, QUERY_S, Liar, name_server, named  # noqa: F401: fixtures
from matrix import row
from waiting import wait_for

UNKNOWN = r"Error\. not checked yet"
TRAP = "127.0.0.66"  # where lies point to


# ---- it fails ----

@pytest.mark.parametrize("failure, outcome", [
    pytest.param(dns.SILENT, "dns_timeout", id="silent",
                 marks=row("name server silent from the start",
                           "not held against the dependency: not checked yet, never down")),
    pytest.param(dns.SERVFAIL, "dns_try_again", id="servfail",
                 marks=row("SERVFAIL from the start",
                           "not held against the dependency: not checked yet, never down")),
    pytest.param(dns.REFUSED, "dns_try_again", id="refused",
                 marks=row("the name server refuses from the start",
                           "not held against the dependency: not checked yet, never down")),
])
def test_a_name_server_that_fails_at_first(named, name_server, witness, failure, outcome):
    named(failure, up=UNKNOWN)
    with witness.fault(UNKNOWN, outcome=outcome):
        pass
    assert witness.checks("bad") == 0
    with witness.recovery(within=witness.bound_up() + QUERY_S):
        name_server.zone[HOST] = ["127.0.0.1"]


@pytest.mark.parametrize("failure", [
    pytest.param(dns.SILENT, id="silent",
                 marks=row("name server falls silent",
                           "up: the last good answer serves")),
    pytest.param(dns.SERVFAIL, id="servfail",
                 marks=row("SERVFAIL where there was an answer",
                           "up: the last good answer serves")),
])
def test_a_name_server_that_fails_later(named, name_server, witness, failure):
    named(period=1.0, timeout=0.9)
    with witness.harmless(2):
        name_server.zone[HOST] = failure
        asked = name_server.asked(HOST)
        wait_for(lambda: name_server.asked(HOST) > asked, KEPT_S + 10, "a question that fails")
    assert witness.checks("not_tried") == 0


# ---- it lies ----

UNBELIEVED = ("not held against the dependency, and nothing of it believed: not checked yet, never "
              "up, never down")

def trap_for(reply):
    """The same answer, with the trap's address."""
    return reply.replace(socket.inet_aton("127.0.0.1"), socket.inet_aton(TRAP))


def wrong_id(reply):
    return bytes([reply[0] ^ 0xFF]) + trap_for(reply)[1:]


def wrong_question(reply):
    return trap_for(reply).replace(b"\x05trips", b"\x05trapp")


def truncated(reply):
    """No records, and the word to ask by TCP."""
    end = reply.index(b"\0", 12) + 5
    return reply[:2] + bytes([reply[2] | 0x02]) + reply[3:6] + bytes(6) + reply[12:end]


def looping(reply):
    """A name that points to itself."""
    return reply[:12] + b"\xc0\x0c" + reply[reply.index(b"\0", 12) + 1:]


def cut(reply):
    return reply[:-3]


def junk(reply):
    return reply[:2] + bytes(range(256))


LIES = [
    ("an answer with another id, and the address of a trap", wrong_id),
    ("an answer to another question, with the address of a trap", wrong_question),
    ("an answer whose name points to itself", looping),
    ("an answer that is cut off", cut),
    ("junk for an answer", junk),
]


@pytest.mark.parametrize("lie", [
    pytest.param(lie, id=lie.__name__, marks=row(fault, UNBELIEVED)) for fault, lie in LIES])
def test_a_name_server_that_lies(named, name_server, peers, witness, lie):
    name_server.lie = lie
    peer = named(up=UNKNOWN)
    trap = peers.at(bind=TRAP, port=peer.port).http()
    wait_for(lambda: witness.checks("not_tried") >= 3, 10, "three checks that were not tried")
    assert trap.connections == 0 and witness.checks("bad") == 0
    with witness.recovery(within=witness.bound_up() + QUERY_S):
        name_server.lie = Liar.lie


@row("answers from another address than was asked, with that of a trap",
     UNBELIEVED)
def test_a_name_server_with_another_address(named, name_server, peers, witness):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind(("127.0.0.2", name_server.port))
        name_server.lie, name_server.mouth = trap_for, mouth
        peer = named(up=UNKNOWN)
        trap = peers.at(bind=TRAP, port=peer.port).http()
        wait_for(lambda: witness.checks("not_tried") >= 3, 10, "three checks that were not tried")
        assert trap.connections == 0 and witness.checks("bad") == 0
        with witness.recovery(within=witness.bound_up() + QUERY_S):
            name_server.lie, name_server.mouth = Liar.lie, None


@row("truncated answers by UDP, silence by TCP",
     "not held against the dependency: not checked yet, never down")
def test_truncated_for_nothing(named, name_server, witness):
    name_server.lie, name_server.by_tcp = truncated, lambda reply: None
    named(up=UNKNOWN)
    wait_for(lambda: witness.checks("not_tried") >= 3, 10, "three checks that were not tried")
    assert witness.checks("bad") == 0
    with witness.recovery(within=witness.bound_up() + 2 * QUERY_S):
        name_server.lie = Liar.lie


@row("truncated answers by UDP, a giant one by TCP (64 KB, 4,000 addresses)",
     "up: the first four addresses are taken")
def test_a_giant_answer(named, name_server, witness):
    by_tcp = []
    name_server.lie = truncated
    name_server.by_tcp = lambda reply: by_tcp.append(len(reply)) or reply
    named(["127.0.0.1"] * 4000, period=1.5, timeout=1.4)  # they take the test's server its time
    with witness.harmless(3):
        pass
    assert max(by_tcp) > 64000
