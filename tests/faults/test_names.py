"""The fault matrix: names that change, are good for one address family only, or come late."""
import dns
import wire
from liar import HOST, KEPT_S, name_server, named  # noqa: F401: fixtures
from matrix import row
from waiting import SCALE
from witness import TIMEOUT_S


# ---- it changes its mind ----

@row("NXDOMAIN where there was an answer",
     "down, as soon as the old answer is 5 s old: the name does not exist")
def test_a_name_that_is_gone(named, name_server, witness):
    named()
    with witness.fault(rf"Error\. host name '{HOST}' does not exist", outcome="dns_nxdomain",
                       within=KEPT_S + witness.bound_down()):
        name_server.zone[HOST] = dns.NXDOMAIN
    with witness.recovery(within=KEPT_S + witness.bound_up()):
        name_server.zone[HOST] = ["127.0.0.1"]


@row("a name without an address from the start", "down: no address")
def test_a_name_without_an_address(named, name_server, witness):
    state = rf"Error\. host name '{HOST}' has no address"
    named([], up=state)
    with witness.fault(state, outcome="dns_no_address"):
        pass
    with witness.recovery(within=KEPT_S + witness.bound_up()):
        name_server.zone[HOST] = ["127.0.0.1"]


@row("the service moves to another address, the old one is dead",
     "down at most until the old answer is 5 s old, then up")
def test_a_moved_service(named, name_server, peers, witness):
    peer = named()
    with witness.wavering(["OK", r"Error\. connection refused"], checks=3):
        peer.close()
        new = peers.at(bind="127.0.0.9", port=peer.port).http()
        name_server.zone[HOST] = ["127.0.0.9"]
    with witness.recovery(within=KEPT_S + witness.bound_up()):
        pass
    assert new.requests


@row("the service moves to another address, the old one answers as before",
     "up; the new one is asked as soon as the old answer is 5 s old")
def test_a_moving_service(named, name_server, peers, witness):
    peer = named()
    with witness.harmless(2):
        new = peers.at(bind="127.0.0.9", port=peer.port).http()
        name_server.zone[HOST] = ["127.0.0.9"]
        witness.wait_for(lambda: new.requests, KEPT_S + witness.bound_up(), "the new address")


@row("the first of two addresses is dead", "up, by the second")
def test_a_dead_first_address(named, witness):
    named(["127.0.0.9", "127.0.0.1"])
    with witness.harmless(3):
        pass


# ---- one of two address families ----

@row("IPv6 is lost on the way, IPv4 works",
     "up: the next address is tried 250 ms later; there must be time for that")
def test_ipv6_is_lost(network, far, name_server, witness):
    peer = far.http()
    name_server.zone[HOST] = [wire.FAR6, wire.FAR]
    witness.watch(peer.url(host=HOST), head=f'nameservers = "{name_server.address}";',
                  period=1.0, timeout=0.9)
    with witness.harmless():
        network.fault = wire.only(wire.is_ipv6, wire.lost())
    assert network.lost > 0


@row("the question for IPv6 addresses fails (SERVFAIL), that for IPv4 is answered",
     "up, by what there is")
def test_no_answer_for_ipv6(named, witness):
    named({dns.TYPE_A: ["127.0.0.1"], dns.TYPE_AAAA: dns.SERVFAIL})
    with witness.harmless(3):
        pass


@row("the question for IPv6 addresses is never answered, that for IPv4 is",
     "up, once it has been waited for (2.4 s, so a `timeout` of 3 s)")
def test_silence_for_ipv6(named, witness):
    named({dns.TYPE_A: ["127.0.0.1"], dns.TYPE_AAAA: dns.SILENT}, period=3.5, timeout=3.0)
    with witness.harmless(1):
        pass


# ---- it takes its time ----

@row("the name server takes 60 % of the `timeout`", "up")
def test_a_slow_name_server(named, name_server, witness):
    timeout = min(0.9, 3.6 / SCALE)  # 60 % of that are less than QUERY_S
    name_server.delay_s = 0.6 * timeout * SCALE
    named(period=timeout / 0.9, timeout=timeout)
    with witness.harmless(3):
        pass


@row("the name server takes 125 % of the `timeout`",
     "the first check is not tried; the answer that came too late for it serves the next: up, never "
     "down")
def test_a_name_server_that_is_too_slow(named, name_server, witness):
    timeout = min(TIMEOUT_S, 1.6 / SCALE)  # 125 % of that are less than QUERY_S
    name_server.delay_s = 1.25 * timeout * SCALE
    named(timeout=timeout)
    assert witness.checks("not_tried") >= 1
    with witness.harmless(3):
        pass
