"""Certificates: right, and near their end. Wrong ones are in the fault matrix (../faults)."""
import time

from certs import days, now

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "3s"; timeout = "2900ms"; fall = 1; };
dependencies = ( { name = "trips"; url = "%s"; %s } );
"""


def start(healthsvc, peer, settings, scheme="https"):
    return healthsvc(CONF % (peer.url("/" if scheme == "https" else "", scheme), settings))


def test_a_right_certificate_is_up_and_its_days_are_known(healthsvc, peers, authority):
    peer = peers.http(tls=authority.server(not_after=now() + days(41)))
    svc = start(healthsvc, peer, f'ca_file = "{authority.ca_file}";')
    svc.wait_health("^200 .*trips status: OK")
    left = svc.metric('probe_ssl_earliest_cert_expiry{dependency="trips"}') - time.time()
    assert 40.9 < left / 86400 < 41.1


def test_the_systems_store_does_not_know_the_tests_authority(healthsvc, peers, authority):
    svc = start(healthsvc, peers.http(tls=authority.server()), "")
    svc.wait_health(r"^500 .*trips status: Error\. certificate not trusted")


def test_verify_false_takes_any_certificate(healthsvc, peers, authority):
    peer = peers.http(tls=authority.server(host="elsewhere.test"))
    svc = start(healthsvc, peer, "verify = false;")
    svc.wait_health("^200 .*trips status: OK")


def test_server_name_is_what_is_verified(healthsvc, peers, authority):
    peer = peers.http(tls=authority.server(host="trips.test"))
    svc = start(healthsvc, peer,
                f'ca_file = "{authority.ca_file}"; server_name = "trips.test";')
    svc.wait_health("^200 .*trips status: OK")


def test_a_client_certificate_is_shown(healthsvc, peers, authority):
    peer = peers.http(tls=authority.server(client_ca=authority.ca_file))
    own = authority.issue(host="gateway.test")
    svc = start(healthsvc, peer, f'ca_file = "{authority.ca_file}"; cert_file = "{own}";')
    svc.wait_health("^200 .*trips status: OK")


def test_cert_warn_degrades_before_the_end(healthsvc, peers, authority):
    peer = peers.http(tls=authority.server(not_after=now() + days(10)))
    svc = start(healthsvc, peer, f'ca_file = "{authority.ca_file}"; cert_warn = 14;')
    answer = svc.wait_health(r"trips status: Warning\. certificate expires in \d+ days")
    assert answer.status == 200
    assert answer.body.startswith("gateway status: Warning\n")


def test_tls_scheme_connects_and_verifies(healthsvc, peers, authority):
    peer = peers.http(tls=authority.server())
    svc = start(healthsvc, peer, f'ca_file = "{authority.ca_file}";', "tls")
    svc.wait_health("^200 .*trips status: OK")
