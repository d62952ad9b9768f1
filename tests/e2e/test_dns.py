"""Names: what the resolver makes of them. What fails is in the fault matrix (../faults)."""
import os
import subprocess
import sys

import pytest

import daemon
import dns
from real import program
from waiting import SCALE

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
nameservers = "%(nameserver)s";
defaults = { period = "%(period)s"; timeout = "%(timeout)s"; fall = 1; rise = 1; };
dependencies = ( { name = "trips"; url = "http://trips.test:%(port)d/"; } );
"""


def start(healthsvc, name_server, port, period="400ms", timeout="300ms"):
    return healthsvc(CONF % {"nameserver": name_server.address, "port": port, "period": period,
                             "timeout": timeout})


def test_a_name_that_the_server_knows(healthsvc, peers, name_server):
    peer = peers.http()
    name_server.zone["trips.test"] = ["127.0.0.1"]
    svc = start(healthsvc, name_server, peer.port)
    svc.wait_health("^200 .*trips status: OK")
    assert peer.requests[0].split("\r\n")[1] == f"Host: trips.test:{peer.port}"


def test_one_query_serves_many_checks(healthsvc, peers, name_server):
    """The cache: twenty dependencies of one host make one question (for A, and for AAAA)."""
    peer = peers.http()
    name_server.zone["trips.test"] = ["127.0.0.1"]
    listed = ",".join(f'{{ name = "d{i}"; url = "http://trips.test:{peer.port}/{i}"; }}'
                      for i in range(20))
    svc = healthsvc('name = "gateway"; listen = "127.0.0.1:0";'
                    f'nameservers = "{name_server.address}"; dependencies = ( {listed} );')
    svc.wait_health("^200 ")
    assert len(peer.requests) >= 20
    assert name_server.asked("trips.test") <= 2


def test_reload_changes_the_name_server(healthsvc, peers, name_server):
    peer = peers.http()
    name_server.zone["trips.test"] = dns.NXDOMAIN
    svc = start(healthsvc, name_server, peer.port)
    svc.wait_health("^500 .*does not exist")
    other = dns.NameServer()
    other.zone["trips.test"] = ["127.0.0.1"]
    svc.reload(svc.conf.read_text().replace(name_server.address, other.address))
    svc.wait_health("^200 ", timeout=20)
    other.close()


# In a network and with an /etc/resolv.conf of the test's own.
RESOLV_CONF = """
import pathlib, subprocess, sys
sys.path.insert(0, sys.argv[1])
import daemon, dns, peers
folder = pathlib.Path(sys.argv[2])
told = folder / "resolv.conf"
told.write_text("nameserver 127.0.0.2\\n")
for command in (f"mount --bind {told} /etc/resolv.conf", "ip link set lo up"):
    subprocess.run(command.split(), check=True)
before = dns.NameServer(address=("127.0.0.2", 53))
after = dns.NameServer(address=("127.0.0.3", 53))
after.zone["trips.test"] = ["127.0.0.1"]
peer = peers.Peers().http()
svc = daemon.Daemon(folder, '''listen = "127.0.0.1:0";
defaults = { period = "200ms"; timeout = "190ms"; fall = 1; rise = 1; };
dependencies = ( { name = "trips"; url = "http://trips.test:%d/"; } );''' % peer.port)
svc.wait_listening()
svc.wait_health("^500 .*trips status: Error. host name .*does not exist")
told.write_text("nameserver 127.0.0.3\\n")
svc.wait_health("^200 .*trips status: OK", timeout=20)
assert after.asked("trips.test") > 0
svc.finish()
"""


def test_a_changed_resolv_conf_is_followed(tmp_path):
    """Without a reload: who runs DHCP or a VPN changes it at any time."""
    program("iproute2", "ip")
    unshare = program("util-linux", "unshare")
    namespaces = ["-n", "-m"] if os.geteuid() == 0 else ["-r", "-n", "-m"]
    if subprocess.run([unshare, *namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces")
    ended = subprocess.run([unshare, *namespaces, sys.executable, "-c", RESOLV_CONF,
                            os.path.dirname(daemon.__file__), tmp_path], text=True,
                           capture_output=True, check=False, timeout=120 * SCALE)
    assert ended.returncode == 0, ended.stderr
