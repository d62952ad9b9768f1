"""What an end-to-end test gets: the real binary on a port of its own, and peers that end with it.

    def test_it(healthsvc):
        svc = healthsvc('name = "gateway"; listen = "127.0.0.1:0";')
        assert svc.get("/health").status == 200

Nothing here sleeps to let something happen: wait_for() polls until it has, with a bound that
HEALTHSVC_TEST_SCALE stretches on slow builds.
"""
import shutil
import socket
import tempfile

import pytest

import daemon
import dns
import certs
import peers as peers_module
import real


@pytest.fixture
def healthsvc(tmp_path):
    """A function that starts daemons; see daemon.Daemon. The test's end checks how each ended."""
    started = []

    def start(conf_text, args=(), env=None, wait=True, **how):
        directory = tmp_path / f"daemon{len(started)}"
        directory.mkdir(exist_ok=True)
        svc = daemon.Daemon(directory, conf_text, args, env, **how)
        started.append(svc)
        if wait:
            svc.wait_listening()
        return svc

    yield start
    faults = []
    for svc in started:
        try:
            svc.finish()
        except AssertionError as fault:
            faults.append(str(fault))
    assert not faults, "\n".join(faults)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.fixture
def folder():
    """One with a path that is short enough for a Unix socket in it."""
    path = tempfile.mkdtemp(prefix="hs-")
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["ipv4", "unix",
                        pytest.param("ipv6", marks=pytest.mark.skipif(
                            not has_ipv6(), reason="no IPv6 on loopback"))])
def address(request, folder):
    """An address to listen on, of each kind in turn."""
    return {"ipv4": "127.0.0.1:0", "ipv6": "[::1]:0", "unix": f"unix:{folder}/s"}[request.param]


@pytest.fixture
def peers():
    """peers.http(...), peers.hung() and so on: see peers.py."""
    made = peers_module.Peers()
    yield made
    made.close()


@pytest.fixture
def servers():
    """Real servers, in a folder of their own: see real.py."""
    made = real.Servers()
    yield made
    made.end()


@pytest.fixture
def name_server():
    server = dns.NameServer()
    yield server
    server.close()


@pytest.fixture
def authority(tmp_path):
    """A certificate authority of the test's own: see certs.py."""
    return certs.Authority(tmp_path)
