"""/metrics of a daemon that has something to tell, judged by Prometheus's own tool."""
import shutil
import subprocess

import pytest

from waiting import wait_for

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "300ms"; timeout = "250ms"; };
dependencies = (
  { name = "trips";    url = "%s"; },
  { name = "airports"; url = "%s"; importance = "optional"; }
);
"""


@pytest.fixture
def svc(healthsvc, peers):
    svc = healthsvc(CONF % (peers.http().url(), peers.refused().url()))
    svc.wait_health("trips status: OK\nairports status: Error")
    return svc


def test_promtool_finds_no_fault(svc):
    if not shutil.which("promtool"):
        pytest.skip("needs promtool (Debian: prometheus)")
    svc.get("/nowhere")
    svc.reload("broken")
    answer = svc.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    judged = subprocess.run(["promtool", "check", "metrics"], input=answer.body, text=True,
                            capture_output=True, timeout=60, check=False)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_what_is_known_is_in_the_numbers(svc):
    assert svc.metric('probe_success{dependency="trips"}') == 1
    assert svc.metric('probe_success{dependency="airports"}') == 0
    assert svc.metric('probe_http_status_code{dependency="trips"}') == 200
    assert svc.metric('probe_ip_protocol{dependency="trips"}') == 4
    assert 0 < svc.metric('probe_duration_seconds{dependency="trips"}') < 0.3
    assert svc.metric('healthsvc_dependency_state{dependency="airports",state="down"}') == 1
    assert svc.metric('healthsvc_verdict{status="warn"}') == 1
    assert svc.metric('healthsvc_config_last_reload_successful') == 1


def test_counters_count(svc):
    good = 'healthsvc_dependency_checks_total{dependency="trips",class="good"}'
    refused = 'healthsvc_checks_total{outcome="connect_refused",class="bad"}'
    before = svc.metric(good), svc.metric(refused)
    wait_for(lambda: svc.metric(good) > before[0] and svc.metric(refused) > before[1])
    found = svc.metric('healthsvc_http_requests_total{code="404"}') or 0
    for _ in range(3):
        assert svc.get("/nowhere").status == 404
    assert svc.metric('healthsvc_http_requests_total{code="404"}') == found + 3
