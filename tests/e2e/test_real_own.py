"""Real counterparts of the schemes that are no byte dialogues, and of grpc: monitoring plugins,
unbound, chronyd, grpcio's server, and the kernel's ping socket."""
import concurrent.futures
import getpass
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

import daemon
from real import program
from waiting import SCALE, wait_for

PLUGINS = pathlib.Path("/usr/lib/nagios/plugins")

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "200ms"; timeout = "%dms"; confirm = "50ms"; fall = 1; rise = 1; };
dependencies = ( %s );
"""


def conf(*dependencies, timeout_ms=190):
    return CONF % (timeout_ms, ", ".join(f"{{ {d} }}" for d in dependencies))


def ask_once(tmp_path, *dependencies):
    """The lines of `healthsvc -1`, by dependency."""
    path = tmp_path / "once.conf"
    rows = ", ".join(f'{{ period = "60s"; timeout = {5 * SCALE}; {d} }}' for d in dependencies)
    path.write_text(f"dependencies = ( {rows} );")
    for _ in range(5):  # what fails on a machine that stands still is not held against anybody
        said = daemon.run("-1", "-c", path)
        assert not daemon.SANITIZER_REPORT.search(said.stderr), said.stderr
        if "the checker itself was stalled" not in said.stderr:
            break
    lines = said.stdout.splitlines()[2:]
    assert len(lines) == len(dependencies), said.stdout + said.stderr
    return {line.split(" status: ")[0]: line.split(" status: ")[1] for line in lines}, said.stderr


def free_port():
    """A port that is free by UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
                return tcp.getsockname()[1]
            except OSError:
                continue


# Commands.

def plugin(name, *args):
    if not (PLUGINS / name).exists():
        pytest.skip("needs monitoring-plugins-basic")
    words = ", ".join(json.dumps(str(word)) for word in (PLUGINS / name, *args))
    return f"exec = [ {words} ];"


def test_plugins(tmp_path):
    said, log = ask_once(
        tmp_path,
        'name = "fine"; ' + plugin("check_disk", "-w", "1%", "-c", "0%", "-p", "/"),
        'name = "full"; ' + plugin("check_disk", "-w", "100%", "-c", "100%", "-p", "/"),
        'name = "warns"; ' + plugin("check_dummy", "1", "take care"),
        'name = "unknown"; ' + plugin("check_dummy", "3", "who knows"))
    assert said["fine"] == "OK"
    assert said["full"].startswith("Error. DISK CRITICAL - free space: /")
    assert "|" not in said["full"]
    assert said["warns"] == "Warning. WARNING: take care"
    assert said["unknown"] == "Error. not checked yet"
    assert "cannot ask unknown: UNKNOWN: who knows" in log


WORD = re.compile(r"(?:'((?:[^']|'')+)'|([^\s='][^\s=]*))=(-?[\d.]+)([A-Za-z%]*)"
                  r"(?:;([^\s;]*))?(?:;([^\s;]*))?(?:;([^\s;]*))?(?:;([^\s;]*))?")
BASES = {"": ("", 1), "s": ("s", 1), "ms": ("s", 1e3), "%": ("ratio", 100), "B": ("B", 1)}
MEASURED = re.compile(r'healthsvc_plugin_(\w+)\{dependency="(\w+)",label="([^"]*)"'
                      r'(?:,unit="(\w+)")?\} (\S+)')


def measured_by(command):
    """What a plugin itself prints: {(family, label, unit): number}."""
    said = subprocess.run([str(c) for c in command], text=True, capture_output=True, check=False,
                          env={"LC_ALL": "C"}, timeout=60 * SCALE).stdout
    numbers = {}
    for quoted, plain, value, uom, *limits in WORD.findall(said.split("|", 1)[1]):
        unit, by = BASES[uom]
        for family, text in zip(("value", "warn", "crit", "min", "max"), (value, *limits)):
            if text:
                numbers[family, quoted or plain, unit] = float(text) / by
    assert numbers, said
    return numbers


def measured_of(svc, name):
    """The same of a dependency, from /metrics."""
    return {(family, label, unit): float(number) for family, dependency, label, unit, number
            in MEASURED.findall(svc.get("/metrics").body) if dependency == name}


def test_what_plugins_measure_is_exported(healthsvc, tmp_path):
    file = tmp_path / "file"
    file.write_text("x" * 1234)
    commands = {
        "disk": ("check_disk", "-w", "1%", "-c", "0%", "-p", "/"),
        "load": ("check_load", "-w", "900,800,700", "-c", "990,980,970"),
        "file": ("check_file_age", "-w", "864000", "-c", "864001", "-f", file),
        "ping": ("check_ping", "-H", "127.0.0.1", "-w", "900,90%", "-c", "990,99%", "-p", "1"),
        "dummy": ("check_dummy", "1", "care|'it''s 1'=40ms;50;60;0;100 b=50% U=U"),
        "plain": ("check_dummy", "0", "fine"),
    }
    svc = healthsvc('listen = "127.0.0.1:0"; dependencies = (' + ", ".join(
        f'{{ name = "{name}"; period = "1h"; timeout = {20 * SCALE}; {plugin(*command)} }}'
        for name, command in commands.items()) + ");")
    svc.wait_health(r"^200 (?!.*not checked yet)", 20)
    for name, command in commands.items():
        if name == "plain":
            assert measured_of(svc, name) == {}
            continue
        ours, own = measured_of(svc, name), measured_by((PLUGINS / command[0], *command[1:]))
        own = {(f, label.replace("''", "'"), unit): n for (f, label, unit), n in own.items()}
        assert ours.keys() == own.keys()
        for key, number in ours.items():
            if key[0] != "value" or key[1] == "size" or name == "dummy":
                assert number == pytest.approx(own[key], rel=1e-12), (name, key)
            elif key[1] == "/":  # the tests themselves write to it
                assert number == pytest.approx(own[key], rel=0.2)
            else:
                assert 0 <= number < 900, (name, key)
    assert measured_of(svc, "file")["value", "size", "B"] == 1234
    assert measured_of(svc, "dummy") == {
        ("value", "it's 1", "s"): 0.04, ("warn", "it's 1", "s"): 0.05,
        ("crit", "it's 1", "s"): 0.06, ("min", "it's 1", "s"): 0, ("max", "it's 1", "s"): 0.1,
        ("value", "b", "ratio"): 0.5}

    checks = json.loads(svc.get("/health?format=json").body)["checks"]
    size = checks["file:size"][0]
    assert (size["observedValue"], size["observedUnit"]) == (1234, "B")
    assert checks["dummy:it's 1"][0]["critical"] == "0.06"
    assert checks["dummy:b"][0]["observedValue"] == 0.5
    assert [key for key in checks if key.startswith("plain:")] == ["plain:responseTime"]
    judged = subprocess.run([program("prometheus", "promtool"), "check", "metrics"], text=True,
                            input=svc.get("/metrics").body, capture_output=True, check=False,
                            timeout=60 * SCALE)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_measurements_come_and_go_with_the_results_that_count(healthsvc, tmp_path):
    says = tmp_path / "says"
    period_ms = 200 * SCALE
    conf_text = ('listen = "127.0.0.1:0"; dependencies = ( { name = "job"; fall = 1; rise = 1; '
                 f'exec = [ "/bin/sh", "{says}" ]; period = {json.dumps(f"{period_ms}ms")}; '
                 f'timeout = "{period_ms - 10}ms"; max_age = "%dms"; }} );')

    def turn(script):
        new = tmp_path / "new"
        new.write_text(script)
        os.replace(new, says)

    turn("echo 'fine|n=1'")
    svc = healthsvc(conf_text % (300000 * SCALE))

    def measured():
        return svc.metric('healthsvc_plugin_value{dependency="job",label="n"}')
    svc.wait_health("^200 .*job status: OK")
    assert measured() == 1
    turn("echo 'broken|n=2'; exit 2")
    svc.wait_health(r"^500 .*job status: Error\. broken")
    assert measured() == 2
    turn("echo 'lost|n=3'; exit 3")  # not tried: what was seen before still stands
    svc.wait_log("cannot ask job: lost")
    assert measured() == 2
    turn("echo fine")
    svc.wait_health("^200 .*job status: OK")
    assert measured() is None
    # More than is kept, cut in the middle of a number.
    turn("printf '%4080s|a=1 n=4' x; printf '%05000d' 0")
    wait_for(lambda: 'label="a"} 1' in svc.get("/metrics").body)
    assert measured() is None
    turn("echo 'fine'; echo 'long|n=5'")
    wait_for(lambda: measured() == 5)
    turn("exit 3")
    svc.reload(conf_text % period_ms)
    svc.wait_health(r"^500 .*job status: Error\. stale: ")
    assert measured() is None
    assert "job:n" not in svc.get("/health/job?format=json").body


def test_a_plugin_asks_a_server(healthsvc, peers):
    peer = peers.http()
    svc = healthsvc(conf('name = "tcp"; ' + plugin("check_tcp", "-H", "127.0.0.1", "-p", peer.port),
                         timeout_ms=199))
    svc.wait_health(r"^200 .*tcp status: OK")
    peer.close()
    svc.wait_health(r"^500 .*tcp status: Error\. connect to address 127\.0\.0\.1 and port")
    peer.open()
    svc.wait_health(r"^200 .*tcp status: OK")
    assert svc.metric("healthsvc_commands_waiting") == 0


def ask_who_hangs(healthsvc, tmp_path, timeout):
    """A daemon whose one command neither ends nor obeys SIGTERM, and that command's number."""
    script = tmp_path / "hang"
    script.write_text("#!/bin/sh\ntrap '' TERM\necho $$ >\"$1\"\nwhile :; do sleep 1; done\n")
    script.chmod(0o755)
    pid_file = tmp_path / "pid"
    svc = healthsvc('listen = "127.0.0.1:0"; dependencies = ( { name = "hang"; '
                    f'timeout = "{timeout}"; period = "60s"; '
                    f'exec = [ "{script}", "{pid_file}" ]; }} );')
    pid = int(wait_for(lambda: pid_file.exists() and pid_file.read_text().strip(), 10))
    assert os.getpgid(pid) == pid
    return svc, pid


def wait_gone(pid):
    wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), 10, "the end of the command")


def test_a_hanging_command_ends_with_the_daemon(healthsvc, tmp_path):
    svc, pid = ask_who_hangs(healthsvc, tmp_path, "50s")
    assert svc.stop() == 0
    wait_gone(pid)


def test_a_command_that_ignores_sigterm_is_killed(healthsvc, tmp_path):
    svc, pid = ask_who_hangs(healthsvc, tmp_path, f"{SCALE}s")
    svc.wait_health("^500 .*hang status: Error. timeout after ")
    wait_gone(pid)
    wait_for(lambda: svc.metric("healthsvc_commands_running") == 0, 10)


def test_commands_that_wait_for_others_are_counted(healthsvc):
    rows = ", ".join(f'{{ name = "c{i}"; exec = [ "/bin/sleep", "45" ]; }}' for i in range(36))
    svc = healthsvc('listen = "127.0.0.1:0"; defaults = { period = "60s"; timeout = "50s"; }; '
                    f"dependencies = ( {rows} );")
    wait_for(lambda: svc.metric("healthsvc_commands_waiting") == 4, 20, "32 commands, 4 waiting")
    assert svc.metric("healthsvc_commands_running") == 32
    assert svc.metric("healthsvc_commands_waited_total") == 4


def test_changed_arguments_are_asked_anew(healthsvc):
    svc = healthsvc(conf('name = "job"; exec = [ "/bin/sh", "-c", "exit $0", "0" ];'))
    svc.wait_health("^200 ")
    line = svc.reload(conf('name = "job"; exec = [ "/bin/sh", "-c", "exit $0", "2" ];'))
    assert "1 changed (exec)" in line
    svc.wait_health(r"^500 .*job status: Error\. the check is critical")


@pytest.mark.parametrize("settings, fault", [
    ('exec = [ "check_disk" ];', "'exec': the command must be an absolute path"),
    ('exec = [ ];', "'exec': the command must be an absolute path"),
    ('exec = "/bin/true"; url = "tcp://a:1";', "'url' and 'exec' exclude each other"),
    ('exec = "/bin/true"; method = "GET";', "'method' has no use with scheme exec"),
    ('exec = [ "/bin/echo", "a\\nb" ];', "'exec' must not contain CR, LF or NUL"),
    ('url = "exec://bin/true";', "'url' has no scheme 'exec': set 'exec' instead"),
    ('url = "file://host/x";', "'url': the path of a file follows three slashes: file:///path"),
    ('url = "file://?y";', "'url': the path of a file follows three slashes: file:///path"),
    ('url = "file:///x?y";', "'url': a file has no query: a '?' in its name is written %3F"),
    ('url = "file:///x%0";', "'url': a '%' must be followed by two hexadecimal digits, not 00"),
    ('url = "file:///x%g0";', "'url': a '%' must be followed by two hexadecimal digits, not 00"),
    ('url = "file:///x%00";', "'url': a '%' must be followed by two hexadecimal digits, not 00"),
    ('url = "file:///x"; match = "(";', "'match': missing closing parenthesis, at offset 1"),
    ('url = "icmp://h:1";', "'url': a port has no use with scheme icmp"),
    ('url = "icmp://h/x";', "'url': a path has no use with scheme icmp"),
    ('url = "dns://h";', "'url' must name what to ask for: dns://SERVER/NAME?type=TYPE"),
    ('url = "dns://h/a..b";', "'url' must name what to ask for: dns://SERVER/NAME?type=TYPE"),
    ('url = "dns://h/a?type=X";', "'url': after the name comes nothing, or ?type= and one of A, "
                                  "AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT"),
    ('url = "dns://h/a"; expect_records = "x";',
     "'expect_records': records of type A are addresses"),
    ('url = "dns://h/a"; expect_records = [ "192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1" ];',
     "'expect_records': records of type A are addresses"),
    ('url = "dns://h/a?type=AAAA"; expect_records = "192.0.2.1";',
     "'expect_records': records of type AAAA are addresses"),
    ('url = "dns://h/a?type=TXT"; expect_records = [ %s ];' % ", ".join(['"x"'] * 33),
     "'expect_records': more than 32"),
    ('url = "dns://h/a?"; expect_records = "x";',
     "'url': after the name comes nothing, or ?type= and one of A, AAAA, CNAME, MX, NS, PTR, SOA, "
     "SRV, TXT"),
    ('url = "dns://h/%s";' % ("a" * 300), "'url' must name what to ask for: "
                                          "dns://SERVER/NAME?type=TYPE"),
    ('url = "dns://h/a"; expect_rcode = [ "NXDOMAIN", "NO" ];',
     "'expect_rcode' must be a response code or a list of them: \"NOERROR\", \"NXDOMAIN\", "
     "\"REFUSED\", ..."),
    ('url = "dns://h/a"; expect_rcode = [ ];',
     "'expect_rcode' must be a response code or a list of them: \"NOERROR\", \"NXDOMAIN\", "
     "\"REFUSED\", ..."),
    ('url = "dns://h/a"; expect_rcode = 5;',
     "'expect_rcode' must be a response code or a list of them: \"NOERROR\", \"NXDOMAIN\", "
     "\"REFUSED\", ..."),
    ('url = "dns://h/a"; expect_rcode = "NO";',
     "'expect_rcode' must be a response code or a list of them: \"NOERROR\", \"NXDOMAIN\", "
     "\"REFUSED\", ..."),
    ('url = "ntp://h"; max_stratum = 16;', "'max_stratum' is 16, must be 1 .. 15"),
    ('url = "grpc://h";', "'url' must name a port: grpc has no usual one"),
])
def test_settings(tmp_path, settings, fault):
    if "grpc" in settings:
        needs_grpc_probe()
    path = tmp_path / "health.conf"
    path.write_text(f'dependencies = (\n{{ name = "a"; {settings} }} );')
    said = daemon.run("-t", "-c", path)
    assert said.returncode == 2
    assert said.stderr.splitlines() == [f"{path}:2: {fault}"]


# Files.

def test_a_heartbeat_file(healthsvc, tmp_path):
    beat = tmp_path / "beat"
    svc = healthsvc(conf(f'name = "job"; url = "file://{beat}"; max_file_age = "1h"; '
                         'match = "^done"'))
    svc.wait_health(r"^500 .*job status: Error\. file does not exist")
    beat.write_text("done\n")
    svc.wait_health(r"^200 .*job status: OK")
    beat.write_text("failed\n")
    svc.wait_health(r"^500 .*job status: Error\. content does not match")
    beat.write_text("done\n")
    svc.wait_health(r"^200 ")
    old = time.time() - 7200
    os.utime(beat, (old, old))
    svc.wait_health(r"^500 .*job status: Error\. file was last written .* ago, limit 1h")


# Name servers.

UNBOUND = """
server:
  interface: 127.0.0.1
  port: %(port)d
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "%(folder)s"
  pidfile: ""
  use-syslog: no
  logfile: ""
  log-queries: no
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: "health.example." static
  local-data: "health.example. SOA ns.health.example. root.health.example. 2025112201 1 2 3 4"
  local-data: "health.example. NS ns.health.example."
  local-data: "health.example. MX 10 mx.health.example."
  local-data: "trips.health.example. A 192.0.2.7"
  local-data: "trips.health.example. A 192.0.2.8"
  local-data: "trips.health.example. AAAA 2001:db8::7"
  local-data: 'text.health.example. TXT "v=1 a"'
  local-data: "_http._tcp.health.example. SRV 1 2 443 trips.health.example."
  local-zone: "secret.example." always_refuse
  local-zone: "big.example." static
%(big)s
remote-control:
  control-enable: no
forward-zone:
  name: "broken.example."
  forward-addr: 127.0.0.1@%(nobody)d
  forward-tcp-upstream: yes
"""


@pytest.fixture
def unbound(servers):
    command = program("unbound")
    port = free_port()
    big = "\n".join(f'  local-data: "big.example. A 198.51.100.{i}"' for i in range(60))
    path = servers.write("unbound.conf", UNBOUND % {"port": port, "folder": servers.folder,
                                                    "nobody": free_port(), "big": big})
    server = servers.start([command, "-d", "-c", path]).wait_log("start of service")
    server.url = f"dns://127.0.0.1:{port}"
    return server


def test_unbound_answers(unbound, tmp_path):
    url = unbound.url
    said, _ = ask_once(
        tmp_path,
        f'name = "a"; url = "{url}/trips.health.example"; min_records = 2;',
        f'name = "both"; url = "{url}/trips.health.example"; '
        'expect_records = [ "192.0.2.8", "192.0.2.7" ];',
        f'name = "other"; url = "{url}/trips.health.example"; expect_records = "192.0.2.9";',
        f'name = "aaaa"; url = "{url}/trips.health.example?type=AAAA"; '
        'expect_records = "2001:DB8:0::7";',
        f'name = "mx"; url = "{url}/health.example?type=mx"; '
        'expect_records = "10 MX.health.example";',
        f'name = "soa"; url = "{url}/health.example?type=SOA"; authoritative = true;',
        f'name = "txt"; url = "{url}/text.health.example?type=TXT"; expect_records = "v=1 a";',
        f'name = "srv"; url = "{url}/_http._tcp.health.example?type=SRV"; '
        'expect_records = "1 2 443 trips.health.example.";',
        f'name = "none"; url = "{url}/gone.health.example";',
        f'name = "none-expected"; url = "{url}/gone.health.example"; expect_rcode = "NXDOMAIN";',
        f'name = "nodata"; url = "{url}/trips.health.example?type=MX";',
        f'name = "refused"; url = "{url}/secret.example";',
        f'name = "servfail"; url = "{url}/broken.example";',
        f'name = "by-tcp"; url = "{url}/big.example"; min_records = 60;')
    for name in ("a", "both", "aaaa", "mx", "soa", "txt", "srv", "none-expected", "by-tcp"):
        assert said[name].startswith("OK"), (name, said[name])
    assert said["other"].startswith("Error. no record 192.0.2.9, but 192.0.2.")
    assert said["none"] == "Error. name server answers NXDOMAIN"
    assert said["nodata"] == "Error. 0 records, at least 1 expected"
    assert said["refused"] == "Error. name server answers REFUSED"
    assert said["servfail"] == "Error. name server answers SERVFAIL"


def test_the_serial_of_a_zone_is_told(healthsvc, unbound):
    svc = healthsvc(conf(f'name = "zone"; url = "{unbound.url}/health.example?type=SOA";',
                         f'name = "host"; url = "{unbound.url}/trips.health.example";'))
    svc.wait_health("^200 .*zone status: OK\nhost status: OK")
    assert svc.metric('probe_dns_serial{dependency="zone"}') == 2025112201
    assert svc.metric('probe_dns_serial{dependency="host"}') is None
    zone = json.loads(svc.get("/health/zone?format=json").body)["checks"]["zone:responseTime"][0]
    assert zone["note"] == "serial 2025112201"
    unbound.stop()
    svc.wait_health(r"^500 .*zone status: Error\. connection refused")
    assert svc.metric('probe_dns_serial{dependency="zone"}') is None


def test_unbound_stops_and_comes_back(healthsvc, unbound):
    svc = healthsvc(conf(f'name = "resolver"; url = "{unbound.url}/trips.health.example";'))
    svc.wait_health("^200 .*resolver status: OK")
    unbound.stop()
    svc.wait_health(r"^500 .*resolver status: Error\. connection refused")
    unbound.start()
    svc.wait_health("^200 .*resolver status: OK", 20)


# Time servers.

CHRONY = """
port %(port)d
bindaddress 127.0.0.1
%(stratum)s
allow 127.0.0.1
cmdport 0
bindcmdaddress /
pidfile %(folder)s/%(port)d.pid
user %(user)s
"""


def answers_time(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        try:
            sock.connect(("127.0.0.1", port))
            sock.send(b"\x23" + bytes(39) + b"12345678")
            return len(sock.recv(100)) == 48
        except OSError:
            time.sleep(0.05)
            return False


def chronyd(servers, stratum=""):
    """The port of one that serves time without touching the machine's clock (-x)."""
    command = program("chrony", "chronyd")
    port = free_port()
    path = servers.write(f"{port}.conf", CHRONY % {
        "port": port, "stratum": stratum, "folder": servers.folder, "user": getpass.getuser()})
    servers.start([command, "-x", "-U", "-d", "-f", path]).wait(lambda: answers_time(port), "chronyd")
    return port


def test_chronyd_synchronised_or_not(servers, tmp_path):
    good, lost = chronyd(servers, "local stratum 5"), chronyd(servers)
    said, _ = ask_once(
        tmp_path,
        f'name = "good"; url = "ntp://127.0.0.1:{good}"; max_offset = "2s";',
        f'name = "far"; url = "ntp://127.0.0.1:{good}"; max_stratum = 4;',
        f'name = "lost"; url = "ntp://127.0.0.1:{lost}";',
        f'name = "nobody"; url = "ntp://127.0.0.1:{free_port()}";')
    assert said == {"good": "OK", "far": "Error. stratum 5, at most 4 expected",
                    "lost": "Error. its clock is not synchronised",
                    "nobody": "Error. connection refused"}


def test_a_wrong_clock(tmp_path):
    """No daemon will tell a wrong time on purpose: a server of the test's own, an hour ahead."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve():
        for _ in range(2):
            asked, client = sock.recvfrom(100)
            stamp = struct.pack("!II", int(time.time()) + 3600 + 2208988800, 0)
            sock.sendto(b"\x24\x02\x06\xec" + bytes(8) + b"GPS\0" + bytes(8) + asked[40:48]
                        + stamp + stamp, client)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = sock.getsockname()[1]
    said, _ = ask_once(tmp_path,
                       f'name = "ahead"; url = "ntp://127.0.0.1:{port}"; max_offset = "1s";',
                       f'name = "any"; url = "ntp://127.0.0.1:{port}";')
    thread.join(10)
    sock.close()
    assert said["any"] == "OK"
    assert said["ahead"].startswith("Error. its clock is 3") and "ms ahead of" in said["ahead"]


# gRPC.

def needs_grpc_probe():
    if "'grpc' is known but not in this build" in ask_grpc_built():
        pytest.skip("needs a build with nghttp2")


def ask_grpc_built():
    probe = pathlib.Path("/dev/stdin")
    said = subprocess.run([daemon.BINARY, "-t", "-c", str(probe)], text=True, capture_output=True,
                          input='dependencies = ( { name = "a"; url = "grpc://h:1"; } );',
                          check=False)
    return said.stderr


class HealthServer:
    """grpc.health.v1.Health written by hand; `status` is what it says of each service."""

    def __init__(self, health=True, credentials=None):
        self.grpc = grpc = pytest.importorskip("grpc", reason="needs python3-grpcio")
        outer = self
        self.status = {"": 1}
        self.abort = {}
        self.metadata = []

        class Handler(grpc.GenericRpcHandler):
            def service(self, call):
                if call.method != "/grpc.health.v1.Health/Check":
                    return None
                outer.metadata.append(dict(call.invocation_metadata))
                return grpc.unary_unary_rpc_method_handler(outer.check)

        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((Handler(),) if health else ())
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    def check(self, request, context):
        name = request[2:].decode()
        if name in self.abort:
            context.abort(*self.abort[name])
        if name not in self.status:
            context.abort(self.grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes([8, self.status[name]]) if self.status[name] else b""

    def stop(self):
        self.server.stop(None).wait(10)


@pytest.fixture
def grpc_servers():
    needs_grpc_probe()
    made = []

    def make(*args, **kwargs):
        made.append(HealthServer(*args, **kwargs))
        return made[-1]
    yield make
    for server in made:
        server.stop()


def test_grpc_says_how_each_service_is(grpc_servers, tmp_path):
    server, without = grpc_servers(), grpc_servers(health=False)
    codes = server.grpc.StatusCode
    server.status.update(up=1, down=2, unsure=0)
    server.abort.update(busy=(codes.RESOURCE_EXHAUSTED, "full"),
                        closed=(codes.UNAUTHENTICATED, "who are\nyou?"))
    url = f"grpc://127.0.0.1:{server.port}"
    said, _ = ask_once(
        tmp_path, f'name = "all"; url = "{url}"; authority = "trips.example";',
        *(f'name = "{name}"; url = "{url}"; service = "{name}";'
          for name in ("up", "down", "unsure", "busy", "closed", "missing")),
        f'name = "none"; url = "grpc://127.0.0.1:{without.port}";')
    assert said == {
        "all": "OK", "up": "OK", "down": "Error. service is not serving",
        "unsure": "Error. service does not know its state",
        "busy": "Error. grpc-status 8: full",
        "closed": "Error. grpc-status 16: who are%0Ayou?",
        "missing": "Error. service is not known there",
        "none": "Error. server has no health service"}
    assert all(m["user-agent"].startswith("healthsvc/") for m in server.metadata)


def test_grpc_changes_its_mind_and_stops(grpc_servers, healthsvc):
    server = grpc_servers()
    svc = healthsvc(conf(f'name = "trips"; url = "grpc://127.0.0.1:{server.port}";'))
    svc.wait_health("^200 .*trips status: OK")
    server.status[""] = 2
    svc.wait_health(r"^500 .*trips status: Error\. service is not serving")
    server.status[""] = 1
    svc.wait_health("^200 .*trips status: OK")
    server.stop()
    svc.wait_health(r"^500 .*trips status: Error\. connection refused")


def test_grpc_inside_tls(grpc_servers, authority, tmp_path):
    """grpcio's server insists on ALPN h2."""
    grpc = pytest.importorskip("grpc", reason="needs python3-grpcio")
    pem = authority.issue().read_bytes()
    server = grpc_servers(credentials=grpc.ssl_server_credentials([(pem, pem)]))
    said, _ = ask_once(
        tmp_path,
        f'name = "right"; url = "grpcs://127.0.0.1:{server.port}"; '
        f'ca_file = "{authority.ca_file}";',
        f'name = "distrusted"; url = "grpcs://127.0.0.1:{server.port}";')
    assert said["right"] == "OK"
    assert said["distrusted"].startswith("Error. certificate not trusted")


# Echo, in a network of the test's own: a tunnel whose other end is the test.

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, target, icmp):
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp[:2] + b"\0\0" + icmp[4:])) + icmp[4:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0, source, target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + icmp


def echo_answers(asked):
    """By the last byte of the address that is asked: what comes back."""
    own, target, echo = asked[12:16], asked[16:20], asked[20:]
    router, reply = bytes([10, 9, 0, 254]), bytes(4) + echo[4:]
    unreachable = bytes([3, 1, 0, 0, 0, 0, 0, 0]) + asked
    return {2: [packet(target, own, reply)],
            3: [packet(router, own, unreachable)],
            4: [packet(router, own, reply)],                       # from somebody else
            5: [packet(target, own, reply[:-1] + b"\0")],          # another token
            6: [packet(target, own, reply[:12])],                  # cut
            8: [packet(target, own, reply[:-1] + b"\0"), packet(target, own, reply)],
            }.get(target[3], [])


NETWORK = """
import fcntl, os, socket, struct, subprocess, sys, threading
sys.path.insert(0, sys.argv[1])
import test_real_own
tunnel = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tunnel, 0x400454ca, struct.pack("16sH", b"probe0", 0x1001))  # TUNSETIFF, IFF_TUN
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
for words in ("link set lo up", "addr add 10.9.0.1/24 dev probe0", "link set probe0 up"):
    subprocess.run(["ip", *words.split()], check=True)
def serve():
    while True:
        asked = os.read(tunnel, 2000)
        if asked[0] >> 4 == 4 and asked[9] == 1:
            for answer in test_real_own.echo_answers(asked):
                os.write(tunnel, answer)
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run([sys.argv[2], "-1", "-c", sys.argv[3]]).returncode)
"""


def test_echo_in_a_network_of_its_own(tmp_path):
    program("iproute2", "ip")
    unshare = program("util-linux", "unshare")
    namespaces = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
    if subprocess.run([unshare, *namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to make a network namespace")
    if not os.access("/dev/net/tun", os.W_OK):
        pytest.skip("needs /dev/net/tun")
    rows = [("v4", "127.0.0.1"), ("v6", "[::1]"), ("name", "localhost"),
            ("right", "10.9.0.2"), ("router", "10.9.0.3"), ("forged", "10.9.0.4"),
            ("token", "10.9.0.5"), ("cut", "10.9.0.6"), ("silent", "10.9.0.7"),
            ("later", "10.9.0.8"), ("nowhere", "203.0.113.1")]
    path = tmp_path / "echo.conf"
    path.write_text("dependencies = (" + ", ".join(
        f'{{ name = "{name}"; url = "icmp://{host}"; timeout = "{1000 * SCALE}ms"; '
        f'period = "{3 * SCALE}s"; }}' for name, host in rows) + ");")
    said = subprocess.run(
        [unshare, *namespaces, sys.executable, "-c", NETWORK, os.path.dirname(__file__),
         daemon.BINARY, path], text=True, capture_output=True, timeout=60 * SCALE, check=False)
    assert not daemon.SANITIZER_REPORT.search(said.stderr), said.stderr
    lines = dict(line.split(" status: ") for line in said.stdout.splitlines()[2:])
    assert set(lines) == {name for name, _ in rows}, said.stdout + said.stderr
    for name in ("v4", "v6", "name", "right", "later"):
        assert lines[name] == "OK", (name, lines[name])
    assert lines["router"] == "Error. host unreachable"
    for name in ("forged", "token", "cut", "silent"):
        assert lines[name].startswith("Error. timeout after "), (name, lines[name])
    assert lines["nowhere"] == "Error. not checked yet"


def test_echo_forbidden(tmp_path):
    """The kernel's own default range, "1 0", lets nobody; a fresh network namespace has it."""
    unshare = program("util-linux", "unshare")
    namespaces = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
    if subprocess.run([unshare, *namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to make a network namespace")
    path = tmp_path / "echo.conf"
    path.write_text('dependencies = ( { name = "v4"; url = "icmp://127.0.0.1"; } );')
    said = subprocess.run([unshare, *namespaces, daemon.BINARY, "-1", "-c", path], text=True,
                          capture_output=True, timeout=30 * SCALE, check=False)
    assert said.returncode == 1
    assert 'sysctl -w net.ipv4.ping_group_range="0 2147483647"' in said.stderr
