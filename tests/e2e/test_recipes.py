"""The recipes of conf/doc/recipes.md, taken out of the page and run: with the real programs where
Debian has them, else by doing what the program would do."""
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

import pytest
import yaml

import daemon
import real
from waiting import SCALE, wait_for

PAGE = pathlib.Path(os.environ.get("TOP_SRCDIR", ".")) / "conf/doc/recipes.md"
CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "1s"; timeout = "900ms"; confirm = "100ms"; fall = 2; rise = 1; };
dependencies = ( { name = "trips"; url = "%s"; } );
"""


def block(name):
    """The text of the page's block of that name."""
    found = re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)^```$", PAGE.read_text(),
                       re.DOTALL | re.MULTILINE)
    blocks = dict(found)
    assert len(blocks) == len(found), "two blocks of one name"
    return blocks[name]


def replace(text, *pairs):
    """Each of the words must be there: a page that changed must not be tested by accident."""
    for old, new in pairs:
        assert old in text, (old, text)
        text = text.replace(old, str(new))
    return text


@pytest.fixture
def gateway(healthsvc, peers):
    """A healthy daemon; .trips is what its health depends on."""
    trips = peers.http()
    svc = healthsvc(CONF % trips.url())
    svc.trips = trips
    svc.wait_health("^200 ")
    return svc


def fail(svc):
    svc.trips.status = 503
    svc.wait_health("^500 ")


def mend(svc):
    svc.trips.status = 200
    svc.wait_health("^200 ")


@pytest.fixture
def run(tmp_path):
    """A function that starts a program, and waits for it to listen if it has a port."""
    started = []

    def start(command, port=None):
        log = tmp_path / f"log{len(started)}"
        with open(log, "wb") as out:
            started.append(subprocess.Popen([str(word) for word in command], stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL, cwd=tmp_path))
        if port:
            wait_for(lambda: get(port) is not None, 20, f"{command[0]} on port {port}")
        return log
    yield start
    for process in started:
        process.terminate()
        try:
            process.wait(10 * SCALE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def get(port, path="/", headers=None):
    """The status, or None if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5 * SCALE)
    try:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def checked(*command):
    """A program's own check of its configuration."""
    said = subprocess.run([str(word) for word in command], text=True, capture_output=True,
                          check=False, timeout=60 * SCALE)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout + said.stderr


def test_haproxy(gateway, peers, servers, run, tmp_path):
    haproxy = real.program("haproxy")
    app, port = peers.http(body="app"), servers.port()
    conf = tmp_path / "haproxy.cfg"
    conf.write_text(replace(block("haproxy.cfg"), ("0.0.0.0:80", f"127.0.0.1:{port}"),
                            ("10.0.0.1:8080", app.address), ("10.0.0.2:8080", app.address),
                            ("port 8000", f"port {gateway.port}"), ("inter 1s", "inter 100ms")))
    checked(haproxy, "-c", "-f", conf)
    run([haproxy, "-db", "-f", conf], port)
    wait_for(lambda: get(port) == 200, 20)
    fail(gateway)
    wait_for(lambda: get(port) == 503, 20)
    mend(gateway)
    wait_for(lambda: get(port) == 200, 20)


def test_nginx(gateway, servers, run, tmp_path):
    nginx, port = real.program("nginx-light", "nginx"), servers.port()
    conf = tmp_path / "nginx.conf"
    text = replace(block("nginx.conf"), ("0.0.0.0:80", f"127.0.0.1:{port}"),
                   ("10.0.0.1:8000", f"127.0.0.1:{gateway.port}"),
                   ("10.0.0.2:8000", f"127.0.0.1:{gateway.port}"))
    paths = "".join(f"{kind}_temp_path {tmp_path}/{kind};"
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf.write_text(f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;\n"
                    f"events {{ }} http {{ access_log off; {paths}\n{text} }}")
    checked(nginx, "-t", "-c", conf)
    run([nginx, "-c", conf], port)
    wait_for(lambda: get(port, "/health") == 200, 20)
    fail(gateway)
    wait_for(lambda: get(port, "/health") in (500, 502), 20)
    mend(gateway)
    wait_for(lambda: get(port, "/health") == 200, 20)


def test_kubernetes(gateway):
    """What a kubelet reads in it and does: any code from 200 to 399 is success."""
    probes = yaml.safe_load(block("kubernetes.yaml"))
    assert set(probes) == {"livenessProbe", "readinessProbe", "startupProbe"}

    def succeeds(name):
        asked = probes[name]["httpGet"]
        assert asked["port"] == 8000
        return 200 <= get(gateway.port, asked["path"], {"User-Agent": "kube-probe/1.29"}) < 400
    assert all(map(succeeds, probes))
    fail(gateway)
    assert succeeds("livenessProbe") and succeeds("startupProbe")
    assert not succeeds("readinessProbe")


def commands_exit(words, port):
    """The exit code of a command of the page, with the binary under test and its port."""
    assert words[0].endswith("healthsvc")
    words = [word.replace(":8000/", f":{port}/") for word in words]
    assert any(f":{port}/" in word for word in words)
    said = daemon.run(*words[1:])
    return said.returncode, said.stdout


def test_docker(gateway):
    """0 is healthy, 1 is not; there is no third."""
    words = json.loads(block("Dockerfile").partition(" CMD ")[2])
    assert commands_exit(words, gateway.port)[0] == 0
    fail(gateway)
    assert commands_exit(words, gateway.port)[0] == 1


def test_envoy(gateway):
    check = yaml.safe_load(block("envoy.yaml"))["health_checks"][0]["http_health_check"]
    good = check["expected_statuses"][0]

    def healthy():
        return good["start"] <= get(gateway.port, check["path"]) < good["end"]
    assert healthy()
    fail(gateway)
    assert not healthy()


def test_consul(gateway):
    """2xx is passing; of a script 0 is passing, 1 a warning, anything else critical."""
    url = json.loads(block("consul.json"))["service"]["check"]["http"]
    path = url.removeprefix("http://127.0.0.1:8000")
    words = json.loads(block("consul-script.json"))["check"]["args"]
    assert get(gateway.port, path) == 200
    assert commands_exit(words, gateway.port)[0] == 0
    fail(gateway)
    assert get(gateway.port, path) == 500
    assert commands_exit(words, gateway.port)[0] == 2


def alerts(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5 * SCALE)
    try:
        connection.request("GET", "/api/v1/alerts")
        told = json.loads(connection.getresponse().read())
        return {alert["labels"]["alertname"]: alert for alert in told["data"]["alerts"]}
    finally:
        connection.close()


def test_prometheus(gateway, servers, run, tmp_path):
    prometheus = real.program("prometheus")
    promtool, port = real.program("prometheus", "promtool"), servers.port()
    (tmp_path / "alerts.yml").write_text(block("alerts.yml"))
    conf = tmp_path / "prometheus.yml"
    conf.write_text(replace(block("prometheus.yml"), ("127.0.0.1:8000", f"127.0.0.1:{gateway.port}"),
                            ("scrape_interval: 15s",
                             "scrape_interval: 200ms\n  scrape_timeout: 200ms\n"
                             "  evaluation_interval: 200ms")))
    assert "6 rules" in checked(promtool, "check", "config", conf)
    run([prometheus, f"--config.file={conf}", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address=127.0.0.1:{port}"], port)
    wait_for(lambda: gateway.metric('healthsvc_poller_requests_total{from="loopback",'
                                    'agent="prometheus",path="/metrics"}'), 30, "a scrape")
    fail(gateway)
    wait_for(lambda: {"ServiceUnhealthy", "DependencyDown"} <= set(alerts(port)), 30, "the alerts")
    down = alerts(port)["DependencyDown"]
    assert down["labels"]["dependency"] == "trips"
    assert down["annotations"]["summary"] == f"trips is down for 127.0.0.1:{gateway.port}"
    mend(gateway)
    wait_for(lambda: not alerts(port), 30, "the alerts' end")
    # A file with a fault shows at once: this alert waits for nothing.
    gateway.reload("nonsense")
    wait_for(lambda: alerts(port).get("ReloadFailed", {}).get("state") == "firing", 30, "the alert")


def open_to_all(folder):
    """For a program that leaves root's rights before it writes."""
    if real.AS_ROOT:
        folder.chmod(0o777)
        top = pathlib.Path(tempfile.gettempdir()).resolve()
        for path in folder.resolve().parents:
            if top in path.parents:
                path.chmod(path.stat().st_mode | 0o011)


NAGIOS = """
log_file=%(folder)s/nagios.log
cfg_file=%(folder)s/objects.cfg
cfg_file=/etc/nagios4/objects/templates.cfg
cfg_file=/etc/nagios4/objects/commands.cfg
cfg_file=/etc/nagios4/objects/timeperiods.cfg
cfg_file=/etc/nagios4/objects/contacts.cfg
illegal_macro_output_chars=`~$&|'<>
object_cache_file=%(folder)s/objects.cache
precached_object_file=%(folder)s/objects.precache
status_file=%(folder)s/status.dat
state_retention_file=%(folder)s/retention.dat
check_result_path=%(folder)s
temp_path=%(folder)s
temp_file=%(folder)s/temp
lock_file=%(folder)s/lock
query_socket=%(folder)s/query
command_file=%(folder)s/command
check_external_commands=0
interval_length=1
status_update_interval=1
check_workers=1
enable_notifications=0
use_syslog=0
"""
NAGIOS_HOST = """
define host {
  use generic-host
  host_name gateway
  address 127.0.0.1
  max_check_attempts 1
  active_checks_enabled 0
  contact_groups admins
}
"""


def test_nagios(gateway, run, tmp_path):
    nagios = real.program("nagios4-core", "nagios4")
    objects = replace(block("nagios.cfg"), (":8000/", f":{gateway.port}/"),
                      ("/usr/sbin/healthsvc", shutil.copy(daemon.BINARY, tmp_path)),
                      ("use                  generic-service",
                       "use generic-service\n  check_interval 1\n  retry_interval 1\n"
                       "  max_check_attempts 1\n  contact_groups admins"))
    (tmp_path / "objects.cfg").write_text(NAGIOS_HOST + objects)
    main = tmp_path / "nagios.cfg"
    main.write_text(NAGIOS % {"folder": tmp_path})
    open_to_all(tmp_path)
    checked(nagios, "-v", main)
    run([nagios, main])

    def service():
        status = (tmp_path / "status.dat")
        text = status.read_text() if status.exists() else ""
        found = re.search(r"servicestatus \{(?:(?!\}).)*?service_description=health\n.*?\}", text,
                          re.DOTALL)
        return dict(line.strip().split("=", 1) for line in found.group(0).splitlines()
                    if "=" in line) if found else {}
    ok = wait_for(lambda: service() if service().get("current_state") == "0" and
                  service().get("has_been_checked") == "1" else None, 30, "an OK")
    assert ok["plugin_output"].startswith("HEALTHSVC OK")
    assert re.match(r"'trips'=[0-9.]+s", ok["performance_data"])
    fail(gateway)
    bad = wait_for(lambda: service() if service().get("current_state") == "2" else None, 30,
                   "a CRITICAL")
    assert "trips: HTTP 503" in bad["plugin_output"]
    mend(gateway)
    wait_for(lambda: service().get("current_state") == "0", 30, "an OK again")


def test_icinga(gateway, tmp_path):
    """Its own check of the block, and the command that it makes of it."""
    icinga = real.program("icinga2-bin", "icinga2")
    text = block("icinga2.conf")
    conf = tmp_path / "icinga2.conf"
    conf.write_text(text)
    open_to_all(tmp_path)
    checked(icinga, "daemon", "-C", "-c", conf, "-D", f"DataDir={tmp_path}",
            "-D", f"LogDir={tmp_path}", "-D", f"CacheDir={tmp_path}", "-D", f"SpoolDir={tmp_path}",
            "-D", f"InitRunDir={tmp_path}")
    words = json.loads(re.search(r"command = (\[.*\])", text).group(1))
    address = re.search(r'address = "(.*)"', text).group(1)
    words = [word.replace("$address$", address) for word in words]
    code, said = commands_exit(words, gateway.port)
    assert (code, said.split(" - ")[0]) == (0, "HEALTHSVC OK"), said
    fail(gateway)
    code, said = commands_exit(words, gateway.port)
    assert (code, said.split(" - ")[0]) == (2, "HEALTHSVC CRITICAL"), said


def test_monit(gateway, run, tmp_path):
    monit = real.program("monit")
    conf = tmp_path / "monitrc"
    conf.write_text(f"set daemon 1\nset log {tmp_path}/monit.log\nset pidfile {tmp_path}/pid\n"
                    f"set idfile {tmp_path}/id\nset statefile {tmp_path}/state\n"
                    + replace(block("monitrc"), ("port 8000", f"port {gateway.port}")))
    conf.chmod(0o600)
    checked(monit, "-t", "-c", conf)
    log = tmp_path / "monit.log"
    run([monit, "-I", "-c", conf])
    wait_for(lambda: gateway.metric('healthsvc_poller_requests_total{from="loopback",'
                                    'agent="monit",path="/health"}'), 30, "a check")
    fail(gateway)
    wait_for(lambda: re.search("error .*failed protocol test", log.read_text()), 30, "monit's word")
    mend(gateway)
    wait_for(lambda: "connection succeeded" in log.read_text(), 30, "monit's other word")


def test_systemd(gateway):
    line = re.search(r"^ExecStartPre=(.*)$", PAGE.read_text(), re.MULTILINE).group(1)
    words = shlex.split(line)
    assert words[:2] == ["/usr/bin/timeout", "60"] and words[2:4] == ["sh", "-c"]
    script = replace(words[4], ("healthsvc", shlex.quote(daemon.BINARY)),
                     (":8000/", f":{gateway.port}/"))
    assert subprocess.run(["timeout", str(60 * SCALE), "sh", "-c", script],
                          check=False).returncode == 0


def test_every_named_block_is_tried():
    names = re.findall(r"<!-- file: (\S+) -->", PAGE.read_text())
    tried = pathlib.Path(__file__).read_text(encoding="utf-8")
    assert names and all(f'block("{name}")' in tried for name in names)
