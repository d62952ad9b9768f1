"""The fault matrix: the network between the daemon and what it asks."""
import pytest

import wire
from matrix import row
from waiting import SCALE, wait_for
from wire import ip
from witness import TIMEOUT_S, ms

TIMEOUT = rf"Error\. timeout after {ms(TIMEOUT_S * SCALE)} in "
STALE = r"Error\. stale: last checked \d+s ago"


# ---- the wire ----

@pytest.mark.parametrize("fault, state, outcome", [
    pytest.param(wire.lost(), TIMEOUT + "connect", "connect_timeout", id="dropped",
                 marks=row("every packet is dropped", "down: timeout in connect")),
    pytest.param(wire.unreachable(1), r"Error\. host unreachable", "connect_unreachable",
                 id="no-host", marks=row("a router says host unreachable", "down, at once")),
    pytest.param(wire.unreachable(3), r"Error\. connection refused", "connect_refused",
                 id="no-port", marks=row("a firewall rejects with port unreachable",
                                         "down: refused, at once")),
])
def test_nothing_gets_through(network, far, witness, fault, state, outcome):
    peer = far.http()
    witness.watch(peer.url())
    with witness.fault(state, outcome=outcome):
        network.fault = fault
    with witness.recovery():
        network.fault = wire.whole


@row("packets over 600 bytes vanish (path MTU black hole), the reply is longer",
     "down: timeout in exchange")
def test_a_black_hole_for_long_replies(network, far, witness):
    peer = far.http(body="x" * 2000)
    witness.watch(peer.url())
    with witness.fault(TIMEOUT + "exchange", outcome="timeout"):
        network.fault = wire.black_hole(600)
    assert network.lost > 0
    with witness.recovery():
        network.fault = wire.whole


@row("packets over 600 bytes vanish, the certificate is longer", "down: timeout in tls")
def test_a_black_hole_for_certificates(network, far, witness, authority):
    peer = far.http(tls=authority.server(host=wire.FAR, padding=2000))
    witness.watch(peer.url(scheme="https"), f'ca_file = "{authority.ca_file}";')
    with witness.fault(TIMEOUT + "tls", outcome="timeout"):
        network.fault = wire.black_hole(600)
    assert network.lost > 0
    with witness.recovery():
        network.fault = wire.whole


@row("30 % of all packets are lost",
     "up, or down by a timeout, as chance has it: nothing else is ever said of it")
def test_a_third_is_lost(network, far, witness):
    peer = far.http()
    witness.watch(peer.url(), fall=3, rise=1)
    with witness.wavering(["OK", TIMEOUT + "(connect|exchange)"], checks=8):
        network.fault = wire.lost(0.3)
    assert network.lost > 0
    with witness.recovery():
        network.fault = wire.whole


@row("a round trip takes 500 ms, the timeout is 1.5 s", "up: two of them fit")
def test_a_long_way(network, far, witness):
    peer = far.http()
    witness.watch(peer.url(), period=1.6, timeout=1.5)
    with witness.harmless(3):
        network.fault = wire.delayed(0.25 * SCALE)


@row("a round trip takes 500 ms, the timeout is 700 ms",
     "down: timeout in exchange, as the second round trip does not fit")
def test_a_way_too_long(network, far, witness):
    peer = far.http()
    witness.watch(peer.url(), period=0.8, timeout=0.7)
    with witness.fault(rf"Error\. timeout after {ms(0.7 * SCALE)} in exchange", outcome="timeout"):
        network.fault = wire.delayed(0.25 * SCALE)
    with witness.recovery():
        network.fault = wire.whole


@pytest.mark.parametrize("fault", [
    pytest.param(wire.doubled, id="doubled", marks=row("every packet comes twice", "up")),
    pytest.param(wire.shuffled(0.03), id="shuffled",
                 marks=row("packets overtake each other", "up")),
])
def test_tcp_copes(network, far, witness, fault):
    peer = far.http(body="x" * 20000 + "end")
    witness.watch(peer.url(), 'expect_body = "^x+end$";')
    with witness.harmless():
        network.fault = fault


# ---- this machine's own end ----

MAX_AGE_S = 2 * SCALE
OWN = f'max_age = "{MAX_AGE_S}s";'


@pytest.mark.parametrize("cut", [
    pytest.param(f"link set {wire.DEVICE} down", id="interface-down",
                 marks=row("the interface is down",
                           "not held against the dependency: it keeps its state until `max_age`, "
                           "then is stale")),
    pytest.param(f"addr del {wire.NEAR}/24 dev {wire.DEVICE}", id="address-gone",
                 marks=row("the address that it asks from is taken away",
                           "not held against the dependency: it keeps its state until `max_age`, "
                           "then is stale")),
])
def test_no_way_out(network, far, witness, cut):
    peer = far.http()
    witness.watch(peer.url(), OWN)
    bad = witness.checks("bad")
    with witness.fault(STALE, outcome="own_no_route", within=MAX_AGE_S):
        ip(cut)
    assert witness.checks("bad") <= bad + 1  # the one that was under way
    with witness.recovery():
        network.up()


@row("the address of a kept connection is taken away",
     "never more than one bad check, which does not make it down; then stale; a new connection once "
     "the address is back")
def test_the_address_of_a_kept_connection_goes(network, far, witness):
    def keeping(peer, sock):
        while peer.read_request(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    peer = far.add(keeping)
    witness.watch(peer.url(), OWN + "reuse = true;")
    wait_for(lambda: len(peer.requests) >= peer.connections + 2, what="a kept connection")
    bad = witness.checks("bad")
    with witness.fault(STALE, outcome="own_no_route", within=MAX_AGE_S):
        ip(f"addr del {wire.NEAR}/24 dev {wire.DEVICE}")
    assert witness.checks("bad") <= bad + 1
    with witness.recovery():
        network.up()


@row("an address that it listens on is taken away",
     "the other addresses are served; so is this one when it is back")
def test_an_address_listened_on_goes(network, witness):
    svc = witness.watch(head=f'listen = [ "127.0.0.1:0", "{wire.NEAR}:0" ];')
    there = next(a for a in svc.addresses if a.startswith(wire.NEAR))
    assert svc.get("/health", address=there).status == 200
    with witness.harmless(name="beside-1"):
        ip(f"addr del {wire.NEAR}/24 dev {wire.DEVICE}")
        with pytest.raises(OSError):
            svc.get("/health", address=there, timeout=0.2)
    network.up()
    assert svc.get("/health", address=there).status == 200
