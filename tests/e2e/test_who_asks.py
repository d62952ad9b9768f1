"""Who asks: who is told why a dependency is down, and what is remembered of those who ask."""
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

import daemon
from waiting import SCALE

CONF = """
name = "gateway";
listen = [ "127.0.0.1:0", "[::]:0" ];
%s
defaults = { period = "500ms"; timeout = "400ms"; };
dependencies = ( { name = "trips"; url = "%s"; }, { name = "airports"; url = "%s"; } );
"""
TOLD = "airports status: Error. connection refused\n"
WITHHELD = "gateway status: Error\nDependencies:\ntrips status: OK\nairports status: Error\n"


def serve(healthsvc, peers, settings):
    svc = healthsvc(CONF % (settings, peers.http().url(), peers.refused().url()))
    svc.wait_health("trips status: OK\nairports status: Error")
    return svc


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_this_machine_is_told(healthsvc, peers):
    svc = serve(healthsvc, peers, "")
    assert TOLD in svc.health()[1]


def test_nobody_is_told_without_the_token(healthsvc, peers, tmp_path):
    (tmp_path / "token").write_text("s3cret-token\n")
    svc = serve(healthsvc, peers,
                f'details = "never"; details_token_file = "{tmp_path}/token";')
    assert svc.health() == (500, WITHHELD)
    for wrong in ("", "s3cret-toke", "s3cret-tokenx", "S3cret-token"):
        assert svc.get("/health", bearer(wrong)).body == WITHHELD
    assert svc.get("/health", {"Authorization": "Basic s3cret-token"}).body == WITHHELD
    assert TOLD in svc.get("/health", bearer("s3cret-token")).body
    assert TOLD in svc.get("/health", {"authorization": "bearer s3cret-token"}).body
    assert svc.get("/health/airports").body == "airports status: Error\n"
    assert svc.get("/readyz").body == ("[+]trips ok\n[-]airports failed: reason withheld\n"
                                       "readyz check failed\n")
    assert "connection refused" in svc.get("/readyz", bearer("s3cret-token")).body
    said = svc.get("/health?format=json").body
    assert json.loads(said)["output"] == "airports: reason withheld"
    for body in (said, svc.get("/metrics").body, svc.log_text()):
        assert "s3cret" not in body
    # A reload takes another token over, and another policy.
    (tmp_path / "token").write_text("second\n")
    assert "reloaded:" in svc.reload(svc.conf.read_text())
    assert svc.get("/health", bearer("s3cret-token")).body == WITHHELD
    assert TOLD in svc.get("/health", bearer("second")).body
    assert "reloaded:" in svc.reload(svc.conf.read_text().replace('"never"', '"always"'))
    assert TOLD in svc.health()[1]


# In a network of its own: the machine has addresses there that are not loopback's, and who asks
# from one of them is somebody else as far as the daemon can know.
NETWORK = """
import os, pathlib, subprocess, sys
sys.path.insert(0, sys.argv[1])
import http.client, daemon
for words in ("link set lo up", "addr add 10.1.2.3/32 dev lo", "addr add 192.0.2.7/32 dev lo",
              "addr add fd00::7/128 dev lo", "addr add 2001:db8::7/128 dev lo"):
    subprocess.run(["ip", *words.split()], check=True)
svc = daemon.Daemon(pathlib.Path(sys.argv[2]), sys.argv[3])
svc.wait_listening()
svc.wait_health("airports status: Error")
for host in ("127.0.0.1", "10.1.2.3", "192.0.2.7", "::1", "fd00::7", "2001:db8::7",
             "::ffff:10.1.2.3"):
    connection = http.client.HTTPConnection(host, svc.ports[1], timeout=10)
    for path in ("/health", "/health"):  # the second on the kept connection
        connection.request("GET", path, headers={"User-Agent": "kube-probe/1.29"})
        print(host, "told" if "refused" in connection.getresponse().read().decode() else "not")
    connection.close()
for line in svc.get("/metrics").body.splitlines():
    if line.startswith("healthsvc_poller_requests_total"):
        print(line)
svc.finish()
"""


def in_a_network_of_its_own(tmp_path, settings):
    assert shutil.which("ip"), "needs iproute2"
    namespaces = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
    if subprocess.run(["unshare", *namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to make a network namespace")
    conf = CONF % (settings, "tcp://127.0.0.1:1", "tcp://127.0.0.1:1")
    said = subprocess.run(["unshare", *namespaces, sys.executable, "-c", NETWORK,
                           os.path.dirname(__file__), tmp_path, conf],
                          capture_output=True, text=True, timeout=60 * SCALE, check=False,
                          env=daemon.environment({"HEALTHSVC_BIN": daemon.BINARY}))
    assert said.returncode == 0, said.stdout + said.stderr
    lines = said.stdout.splitlines()
    return dict(line.split() for line in lines[:14]), lines[14:]


def test_others_are_not_told(tmp_path):
    told, polled = in_a_network_of_its_own(tmp_path, "")
    assert told == {"127.0.0.1": "told", "::1": "told", "10.1.2.3": "not", "192.0.2.7": "not",
                    "fd00::7": "not", "2001:db8::7": "not", "::ffff:10.1.2.3": "not"}
    sample = 'healthsvc_poller_requests_total{from="%s",agent="kubelet",path="/health"} %d'
    assert [line for line in polled if "kubelet" in line] == [
        sample % ("loopback", 4), sample % ("private", 6), sample % ("public", 4)]


def test_networks_that_are_told(tmp_path):
    told, _ = in_a_network_of_its_own(tmp_path, 'details_for = [ "10.0.0.0/8", "2001:db8::7" ];')
    assert told == {"127.0.0.1": "told", "::1": "told", "10.1.2.3": "told", "192.0.2.7": "not",
                    "fd00::7": "not", "2001:db8::7": "told", "::ffff:10.1.2.3": "told"}


def test_pollers_are_remembered(healthsvc, peers):
    svc = serve(healthsvc, peers, "")
    svc.get("/readyz", {"User-Agent": "kube-probe/1.29"})
    svc.get("/health/trips", {"User-Agent": "Prometheus/2.42.0"})
    svc.get("/nowhere", {"User-Agent": "something\"else"})
    svc.get("/health", {"User-Agent": "curl/7.88.1",
                        "X-Haproxy-Server-State": "UP 2/3; name=bck/srv\"2; node=lb1; weight=1/2"})
    svc.get("/health", {"X-Haproxy-Server-State": "DOWN 1/2; name=bck/srv3; node=lb1"})
    svc.get("/health", {"X-Haproxy-Server-State": "nonsense; weight=1/2"})
    sample = 'healthsvc_poller_%s{from="loopback",agent="%s",path="%s"}'
    assert svc.metric(sample % ("last_status", "kubelet", "/readyz")) == 500
    assert svc.metric(sample % ("last_status", "prometheus", "/health/NAME")) == 200
    assert svc.metric(sample % ("last_status", "other", "other")) == 404
    assert svc.metric(sample % ("requests_total", "curl", "/health")) == 1
    assert svc.metric(sample % ("last_seen_timestamp_seconds", "curl", "/health")) > 1.7e9
    server = 'healthsvc_haproxy_server_up{server="%s",node="lb1"}'
    assert svc.metric(server % r'bck/srv\"2') == 1
    assert svc.metric(server % "bck/srv3") == 0
    promtool = shutil.which("promtool")
    if promtool:
        checked = subprocess.run([promtool, "check", "metrics"], text=True, capture_output=True,
                                 input=svc.get("/metrics").body, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")

    start = len(svc.log_text())
    svc.kill(signal.SIGUSR1)
    svc.wait_log(r'HAProxy has bck/srv3 as "DOWN 1/2" node=lb1', start=start)
    told = svc.log_text()[start:]
    assert "for /readyz, answered 500 from=loopback agent=kubelet requests=1" in told
    assert 'HAProxy has bck/srv"2 as "UP 2/3" node=lb1' in told


def test_nobody_has_asked(healthsvc):
    svc = healthsvc('listen = "127.0.0.1:0";')
    svc.kill(signal.SIGUSR1)
    svc.wait_log("nobody has asked for 600s")


def test_no_core_dumps(healthsvc):
    svc = healthsvc('listen = "127.0.0.1:0";')
    with open(f"/proc/{svc.pid}/limits", encoding="ascii") as limits:
        core = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
    assert core == [["0", "0"]]
