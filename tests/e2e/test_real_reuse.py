"""Kept connections against nginx and grpcio's server: what they count, and when one goes away."""
import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import tempfile

import pytest

import daemon
from certs import days, now
from real import program
from waiting import SCALE, wait_for

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "%s"; timeout = "%s"; confirm = "50ms"; fall = 1; rise = 1; };
dependencies = ( %s );
"""

NGINX = """
daemon off;
master_process off;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log notice;
events { worker_connections 2048; }
http {
  log_format counts '$connection $connection_requests $status $request_uri';
  access_log %(folder)s/access.log counts;
  client_body_temp_path %(folder)s/body;
  proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/fastcgi;
  uwsgi_temp_path %(folder)s/uwsgi;
  scgi_temp_path %(folder)s/scgi;
  # By way of a variable the certificate is read anew at each handshake.
  map $ssl_protocol $pem { default %(folder)s/pem; }
  %(settings)s
  server {
    listen 127.0.0.1:%(port)d;
    listen unix:%(folder)s/n;
    listen 127.0.0.1:%(tls_port)d ssl;
    ssl_certificate $pem;
    ssl_certificate_key $pem;
    location / { default_type text/plain; return 200 "fine\\n"; }
  }
}
"""


class Nginx:
    def __init__(self, folder, peers, authority, settings):
        self.folder = folder
        plain, secured = peers.refused(), peers.refused()
        self.url, self.tls = f"http://127.0.0.1:{plain.port}", f"https://127.0.0.1:{secured.port}"
        self.unix = f"http+unix://{folder}/n:"
        self.show(authority.issue())
        with open(f"{folder}/conf", "w", encoding="ascii") as out:
            out.write(NGINX % {"folder": folder, "port": plain.port, "tls_port": secured.port,
                               "settings": settings})
        with open(f"{folder}/out", "wb") as out:
            self.process = subprocess.Popen(
                [program("nginx-light", "nginx"), "-c", f"{folder}/conf"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_for(self.answers, 20, "nginx")

    def show(self, pem):
        """From the next handshake on, this certificate."""
        with open(f"{self.folder}/new", "wb") as out:
            out.write(pem.read_bytes())
        os.replace(f"{self.folder}/new", f"{self.folder}/pem")

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(f"{self.folder}/n")
            return True
        except OSError:
            return False

    def requests(self):
        """What was asked: connection, its how many-th request, status, path."""
        with open(f"{self.folder}/access.log", encoding="ascii") as log:
            return [(int(c), int(n), int(status), path) for c, n, status, path
                    in (line.split() for line in log if line.endswith("\n"))]

    def errors(self):
        with open(f"{self.folder}/error.log", encoding="ascii") as log:
            return [line for line in log if re.search(r"\[(warn|error|crit|alert|emerg)\]", line)]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20 * SCALE)


@pytest.fixture
def nginx(peers, authority):
    started = []
    with tempfile.TemporaryDirectory(prefix="hs") as folder:  # short: the path of a Unix socket

        def start(settings=""):
            started.append(Nginx(folder, peers, authority, settings))
            return started[-1]
        yield start
        for server in started:
            server.stop()


PERIOD_MS = 200 * min(SCALE, 4)


def conf(*dependencies, period_ms=PERIOD_MS):
    return CONF % (f"{period_ms}ms", f"{period_ms - 1}ms",
                   ", ".join(f"{{ reuse = true; {d} }}" for d in dependencies))


def checks(svc, kind, name="it"):
    return svc.metric(f'healthsvc_dependency_checks_total{{dependency="{name}",class="{kind}"}}')


def kept(svc):
    return svc.metric("healthsvc_connections_kept")


def phases(svc, name="it"):
    said = json.loads(svc.get(f"/health/{name}?format=json").body)
    return said["checks"][f"{name}:responseTime"][0]["phases"]


@pytest.mark.parametrize("way", ["url", "unix", "tls"])
def test_one_connection_to_nginx_serves_many_checks(healthsvc, nginx, authority, way):
    server = nginx()
    ca = f'ca_file = "{authority.ca_file}";' if way == "tls" else ""
    svc = healthsvc(conf(f'name = "it"; url = "{getattr(server, way)}/many"; {ca}'))
    wait_for(lambda: checks(svc, "good") >= 10, 30)
    assert checks(svc, "bad") == 0
    seen = server.requests()
    assert len({connection for connection, *_ in seen}) == 1, seen
    assert [n for _, n, *_ in seen] == list(range(1, len(seen) + 1))
    wait_for(lambda: kept(svc) == 1)
    times = phases(svc)
    assert (times["dns"], times["connect"], times["tls"]) == (0, 0, 0) and times["exchange"] > 0
    if way == "tls":
        assert svc.metric('probe_ssl_earliest_cert_expiry{dependency="it"}') > now().timestamp()
    assert svc.stop() == 0
    assert server.errors() == []


def test_without_it_each_check_has_its_own(healthsvc, nginx):
    server = nginx()
    svc = healthsvc(conf(f'name = "it"; url = "{server.url}/";').replace("reuse = true;", ""))
    wait_for(lambda: checks(svc, "good") >= 5, 30)
    assert {n for _, n, *_ in server.requests()} == {1}
    assert kept(svc) == 0


def test_a_server_that_closes_often_is_never_called_closed(healthsvc, nginx, authority):
    """nginx ends a connection after so many requests, and one that was idle for as long as the
    period is: just as the next question goes out."""
    server = nginx(f"keepalive_requests 5; keepalive_timeout {PERIOD_MS}ms;")
    names = [f"{scheme}{i}" for i in range(10) for scheme in ("url", "tls")]
    svc = healthsvc(conf(*(
        f'name = "{name}"; url = "{getattr(server, name[:3])}/"; '
        + (f'ca_file = "{authority.ca_file}";' if name.startswith("tls") else "")
        for name in names)))
    wait_for(lambda: all(checks(svc, "good", name) >= 12 for name in names), 60)
    assert [name for name in names if checks(svc, "bad", name) > 0] == [], svc.log_text()
    seen = server.requests()
    assert max(n for _, n, *_ in seen) > 1
    assert len({connection for connection, *_ in seen}) > len(names)


def test_a_server_that_stops_is_down_at_the_next_check(healthsvc, nginx, authority):
    server = nginx()
    svc = healthsvc(conf(f'name = "it"; url = "{server.tls}/"; ca_file = "{authority.ca_file}";'))
    svc.wait_health("^200 .*it status: OK")
    wait_for(lambda: kept(svc) == 1)
    good = checks(svc, "good")
    server.stop()
    svc.wait_health(r"^500 .*it status: Error\. connection refused")
    assert checks(svc, "good") - good <= 3  # those while it was being stopped
    assert kept(svc) == 0


def test_a_reload_drops_the_connection_of_what_has_changed(healthsvc, nginx):
    server = nginx()
    two = [f'name = "{n}"; url = "{server.url}/{n}"; ' for n in ("a", "b")]
    svc = healthsvc(conf(*two))
    wait_for(lambda: kept(svc) == 2)
    first = {path: connection for connection, _, _, path in server.requests()}

    # Judged in another way: the same connection. Asked for something else: another.
    svc.reload(conf(two[0] + "fall = 2;", two[1].replace("/b", "/c")))
    wait_for(lambda: [n for _, n, _, path in server.requests() if path == "/c"][1:])
    assert {connection for connection, _, _, path in server.requests() if path == "/a"} \
        == {first["/a"]}
    assert {connection for connection, _, _, path in server.requests() if path == "/c"} \
        .isdisjoint(first.values())
    wait_for(lambda: kept(svc) == 2)

    open_before = len(os.listdir(f"/proc/{svc.pid}/fd"))
    svc.reload(conf(two[0] + "fall = 2;"))
    wait_for(lambda: kept(svc) == 1)
    wait_for(lambda: len(os.listdir(f"/proc/{svc.pid}/fd")) < open_before)
    svc.reload(CONF % ("1s", "900ms", ""))
    wait_for(lambda: kept(svc) == 0)


def test_a_new_certificate_is_seen_once_the_connection_is_old(nginx, authority):
    """By the engine itself, told to keep a connection for a second instead of ten minutes."""
    server = nginx()
    with subprocess.Popen(["tests/e2e/keeper", f"{server.tls}/", authority.ca_file,
                           str(1000 * SCALE)], stdout=subprocess.PIPE, text=True) as keeper:
        told = (line for line in keeper.stdout if not line.startswith("#"))
        lines = [next(told)]
        server.show(authority.issue(not_after=now() + days(7)))
        lines += told
    assert keeper.returncode == 0
    ways, expiries, outcomes = zip(*(line.split() for line in lines))
    assert set(outcomes) == {"ok"}
    renewed = ways.index("new", 1)
    assert ways[0] == "new" and renewed > 2
    assert set(expiries[:renewed]) == {expiries[0]}
    assert set(expiries[renewed:]) == {expiries[-1]} and int(expiries[-1]) < int(expiries[0])
    seen = server.requests()
    assert len({connection for connection, *_ in seen}) == ways.count("new") == 3
    assert len(seen) == len(lines)


def test_a_new_certificate_is_seen_after_a_reload(healthsvc, nginx, authority):
    server = nginx()
    text = conf(f'name = "it"; url = "{server.tls}/"; ca_file = "{authority.ca_file}";')
    expiry = 'probe_ssl_earliest_cert_expiry{dependency="it"}'
    svc = healthsvc(text)
    svc.wait_health("^200 .*it status: OK")
    before, good = svc.metric(expiry), checks(svc, "good")
    server.show(authority.issue(not_after=now() + days(7)))
    wait_for(lambda: checks(svc, "good") >= good + 5)
    assert svc.metric(expiry) == before
    svc.reload(text)
    wait_for(lambda: svc.metric(expiry) < before)
    assert checks(svc, "bad") == 0


# gRPC.

class HealthServer:
    """Says SERVING, and keeps by whom each call came."""

    def __init__(self, credentials=None, port=0, options=()):
        self.grpc = grpc = pytest.importorskip("grpc", reason="needs python3-grpcio")
        said = subprocess.run([daemon.BINARY, "-t", "-c", "/dev/stdin"], text=True,
                              input='dependencies = ( { name = "a"; url = "grpc://h:1"; } );',
                              capture_output=True, check=False)
        if "not in this build" in said.stderr:
            pytest.skip("needs a build with nghttp2")
        self.calls = calls = []

        class Handler(grpc.GenericRpcHandler):
            def service(self, call):
                def check(request, context):
                    calls.append(context.peer())
                    return bytes([8, 1])
                return grpc.unary_unary_rpc_method_handler(check)

        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=options)
        self.server.add_generic_rpc_handlers((Handler(),))
        if credentials is None:
            self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            self.port = self.server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self.server.start()

    def stop(self):
        self.server.stop(None).wait(10 * SCALE)


@pytest.fixture
def grpc_servers():
    made = []

    def make(**kwargs):
        made.append(HealthServer(**kwargs))
        return made[-1]
    yield make
    for server in made:
        server.stop()


@pytest.mark.parametrize("scheme", ["grpc", "grpcs"])
def test_one_connection_to_grpcio_serves_many_checks(healthsvc, grpc_servers, authority, scheme):
    settings, credentials = "", None
    if scheme == "grpcs":
        pem = authority.issue().read_bytes()
        grpc = pytest.importorskip("grpc", reason="needs python3-grpcio")
        credentials = grpc.ssl_server_credentials([(pem, pem)])
        settings = f'ca_file = "{authority.ca_file}";'
    server = grpc_servers(credentials=credentials)
    svc = healthsvc(conf(f'name = "it"; url = "{scheme}://127.0.0.1:{server.port}"; {settings}'))
    wait_for(lambda: len(server.calls) >= 10, 30)
    assert len(set(server.calls)) == 1, server.calls
    assert checks(svc, "bad") == 0
    times = phases(svc)
    assert (times["dns"], times["connect"], times["tls"]) == (0, 0, 0) and times["exchange"] > 0
    server.stop()
    svc.wait_health(r"^500 .*it status: Error\. connection refused")
    wait_for(lambda: kept(svc) == 0)
    again = grpc_servers(port=server.port, credentials=credentials)
    svc.wait_health("^200 .*it status: OK")
    wait_for(lambda: len(again.calls) >= 5)
    assert len(set(again.calls)) == 1, again.calls


@pytest.mark.parametrize("option, ms, period_ms, rounds", [
    ("grpc.max_connection_idle_ms", 1000, 2500, 3), # grpcio takes no less
    ("grpc.max_connection_age_ms", PERIOD_MS, PERIOD_MS, 12)])
def test_goodbyes_of_grpcio_are_no_failures(healthsvc, grpc_servers, option, ms, period_ms, rounds):
    """It says goodbye between two questions, or just as one goes out."""
    server = grpc_servers(options=((option, ms),))
    names = [f"it{i}" for i in range(10)]
    svc = healthsvc(conf(*(f'name = "{name}"; url = "grpc://127.0.0.1:{server.port}";'
                           for name in names), period_ms=period_ms))
    wait_for(lambda: all(checks(svc, "good", name) >= rounds for name in names), 60)
    assert [name for name in names if checks(svc, "bad", name) > 0] == [], svc.log_text()
    assert len(server.calls) >= len(set(server.calls)) > len(names)
