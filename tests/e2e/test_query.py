"""healthsvc -q: asking a running one, or whatever tells its health by HTTP."""
import os
import pathlib
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time

import pytest

import daemon
import plugin
import real
from waiting import SCALE

CONF = """
name = "gateway"; listen = "%(listen)s";
defaults = { period = "60s"; timeout = "%(timeout)s"; confirm = "100ms"; };
dependencies = ( %(dependencies)s );
%(more)s
"""


def conf(*dependencies, listen="127.0.0.1:0", timeout="3s", more=""):
    return CONF % {"listen": listen, "dependencies": ", ".join(dependencies), "more": more,
                   "timeout": timeout}


def dependency(name, peer, more=""):
    return f'{{ name = "{name}"; url = "{peer.url("/")}"; {more} }}'


def ask(target, *more, code, env=None):
    """Its standard output; the other one's if nothing was to be printed there."""
    ended = daemon.run("-q", target, *more, env=env)
    assert not daemon.SANITIZER_REPORT.search(ended.stderr), ended.stderr
    assert ended.returncode == code, (ended.returncode, ended.stdout, ended.stderr)
    return ended.stdout or ended.stderr


def ask_plugin(target, *more, code, env=None):
    return plugin.read(ask(target, "-f", "nagios", *more, code=code, env=env), code)


# ---- the real daemon

def test_a_healthy_one(healthsvc, peers, address):
    svc = healthsvc(conf(dependency("trips", peers.http()), listen=address))
    target = svc.addresses[0]
    rest = ":" if target.startswith("unix:") else ""
    body = "gateway status: OK\nDependencies:\ntrips status: OK\n"
    wait_for_verdict(target, "OK")
    assert ask(target, code=0) == body
    assert ask(f"{target}{rest}/health", code=0) == body
    assert ask(target, "-f", "text", code=0) == body
    assert ask(f"{target}{rest}/health/trips", code=0) == "trips status: OK\n"
    assert ask(f"{target}{rest}/livez", code=0) == "Up and running\n"
    assert ask(f"{target}{rest}/readyz", code=0) == "ok"
    assert '"status":"pass"' in ask(target, "-f", "json", code=0)
    line = ask_plugin(target, code=0)
    assert line.text == "1 of 1 dependency up"
    assert line.items["trips"].value > 0 and line.items["trips"].unit == "s"
    assert ask_plugin(f"{target}{rest}/health/trips", code=0).text == "trips: up"
    assert ask_plugin(f"{target}{rest}/readyz", code=0).text == f"{target}{rest}/readyz: HTTP 200"


def wait_for_verdict(target, state):
    """Until the first round is over."""
    end = time.monotonic() + 10 * SCALE
    while not daemon.run("-q", target, "-f", "nagios").stdout.startswith(f"HEALTHSVC {state} "):
        assert time.monotonic() < end, daemon.run("-q", target)


def test_an_unhealthy_one(healthsvc, peers):
    svc = healthsvc(conf(dependency("trips", peers.http(), 'time_warn = "1s"; time_fail = "2s";'),
                         dependency("airports", peers.refused()), more="unhealthy_status = 503;"))
    svc.wait_health("trips status: OK\nairports status: Error. connection refused")
    assert ask(svc.url, code=1) == svc.health()[1]
    assert '"status":"fail"' in ask(svc.url, "-f", "json", code=1)
    line = ask_plugin(svc.url, code=2)
    assert line.text == "airports: connection refused"
    assert line.items["airports"].value is None
    assert line.items["trips"][2:] == ("1.000", "2.000", "0", "")
    assert ask_plugin(svc.url + "/health/trips", code=0).text == "trips: up"
    assert ask_plugin(svc.url + "/health/airports", code=2).text == "airports: connection refused"
    # What is no plugin's line is told by its status.
    assert ask_plugin(svc.url + "/readyz", code=2).text == \
        f"{svc.url}/readyz: HTTP 503: [+]trips ok"
    assert ask_plugin(svc.url + "/health/nobody", code=2).text == \
        f"{svc.url}/health/nobody: HTTP 404: there is no dependency of this name"


def test_a_warning_is_healthy_but_to_a_monitoring_system(healthsvc, peers):
    svc = healthsvc(conf(dependency("trips", peers.refused(), 'importance = "optional";')))
    svc.wait_health("^200 gateway status: Warning.*trips status: Error. connection refused")
    assert ask(svc.url, code=0).startswith("gateway status: Warning\n")
    assert ask_plugin(svc.url, code=1).text == "trips: connection refused"


def test_what_has_not_been_seen_is_unknown(healthsvc, peers):
    svc = healthsvc(conf(dependency("trips", peers.hung()), timeout="50s"))
    assert "not checked yet" in ask(svc.url, code=1)
    line = ask_plugin(svc.url, code=3)
    assert line.text == "trips: not checked yet" and line.items["trips"].value is None


def test_one_that_shuts_down(healthsvc, peers):
    svc = healthsvc(conf(dependency("trips", peers.http()), more='shutdown_delay = "60s";'))
    svc.wait_health("^200 ")
    svc.kill(signal.SIGTERM)
    svc.wait_health("shutting down")
    assert ask(svc.url, code=1).startswith("gateway status: Error. shutting down\n")
    assert ask_plugin(svc.url, code=1).text == "shutting down"
    svc.kill(signal.SIGTERM)
    assert svc.wait_exit() == 1


def test_one_without_dependencies(healthsvc):
    svc = healthsvc(conf())
    assert ask(svc.url, code=0) == "Up and running\n"
    line = ask_plugin(svc.url, code=0)
    assert line == plugin.Line("OK", "up and running", {})


# ---- what is asked

@pytest.mark.parametrize("target, path", [
    ("127.0.0.1:%d", "/health"),
    ("http://127.0.0.1:%d", "/health"),
    ("http://127.0.0.1:%d/", "/"),
    ("HTTP://127.0.0.1:%d/up?deep=1", "/up?deep=1"),
    ("127.0.0.1:%d?deep=1", "/?deep=1"),
])
def test_the_request(peers, target, path):
    peer = peers.http()
    target %= peer.port
    assert ask(target, code=0) == "Up and running\n"
    ask(target, "-f", "json", code=0)
    plain, as_json = (request.split("\r\n") for request in peer.requests)
    assert plain[0] == f"GET {path} HTTP/1.1"
    assert f"Host: {peer.address}" in plain and "Connection: close" in plain
    assert "Accept: text/plain, */*;q=0.5" in plain
    assert as_json[0] == f"GET {path}{'&' if '?' in path else '?'}format=json HTTP/1.1"
    assert any(line.startswith("Accept: application/health+json, ") for line in as_json)


def test_a_name(peers):
    """One that may have an address of the other family first, where nothing listens."""
    peer = peers.http()
    assert ask(f"http://localhost:{peer.port}/", code=0) == "Up and running\n"
    assert f"\r\nHost: localhost:{peer.port}\r\n" in peer.requests[0]


def test_a_unix_socket(folder):
    asked = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            asked.append(self.rfile.readline())
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nUp and running\n")

    path = pathlib.Path(folder, "socket")
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            assert ask(f"unix:{path}", code=0) == "Up and running\n"
            assert ask(f"unix:{path}:/livez", code=0) == "Up and running\n"
            assert ask(f"http+unix://{path}:/", code=0) == "Up and running\n"
            assert ask_plugin(f"unix:{path}", code=0).text == f"unix:{path}: HTTP 200"
        finally:
            server.shutdown()
            thread.join()
    assert [line.split()[1] for line in asked] == \
        [b"/health", b"/livez", b"/", b"/health?format=nagios"]
    # The socket is still there, and nobody behind it; then not even that.
    assert ask(f"unix:{path}", code=1) == f"healthsvc: unix:{path}: connection refused\n"
    path.unlink()
    assert "the Unix socket does not exist" in ask(f"unix:{path}", code=1)
    assert ask_plugin(f"unix:{path}", code=2).text.endswith("the Unix socket does not exist")


def test_a_unix_socket_that_nobody_accepts_from(folder):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(f"{folder}/s")
        listener.listen(0)
        filler.connect(f"{folder}/s")
        assert "timeout after 300ms in connect" in ask(f"unix:{folder}/s", "-T", "300ms", code=1)


# ---- others

NGINX = r"""
daemon off;
master_process off;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log notice;
events { }
http {
  access_log off;
  client_body_temp_path %(folder)s/body;
  proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/fastcgi;
  uwsgi_temp_path %(folder)s/uwsgi;
  scgi_temp_path %(folder)s/scgi;
  server {
    listen 127.0.0.1:%(port)d;
    listen unix:%(folder)s/n;
    root %(folder)s/www;
    location = /ok { default_type text/plain; return 200 "host $host\n"; }
    location = /down { default_type text/plain; return 503 "too | busy\nreally\n"; }
    location = /silent { return 204; }
    location = /moved { return 301 /ok; }
    location = /included { ssi on; default_type text/html; ssi_types *; }
  }
}
"""


@pytest.fixture
def nginx(servers):
    servers.own("nobody")
    port = servers.port()
    www = servers.make_folder("www")
    servers.write("www/large", "0123456789abcde\n" * 20000)
    servers.write("www/included", '<!--# include virtual="/large" -->')
    conf = servers.write("nginx.conf", NGINX % {"folder": servers.folder, "port": port})
    server = servers.start([real.program("nginx-light", "nginx"), "-c", conf]).wait_port(port)
    server.url, server.unix = f"http://127.0.0.1:{port}", f"unix:{servers.folder}/n"
    server.large = (www / "large").read_text()
    return server


def test_nginx(nginx):
    url = nginx.url
    assert ask(url + "/ok", code=0) == "host 127.0.0.1\n"
    assert ask(f"{nginx.unix}:/ok", code=0) == "host localhost\n"
    assert ask(url + "/down", code=1) == "too | busy\nreally\n"
    assert ask(url + "/silent", code=0) == ""
    assert "301 Moved Permanently" in ask(url + "/moved", code=1)
    assert "404 Not Found" in ask(url, code=1)
    assert ask(url + "/large", code=0) == nginx.large
    assert ask(url + "/included", code=0) == nginx.large  # in chunks

    assert ask_plugin(url + "/ok", code=0).text == f"{url}/ok: HTTP 200"
    assert ask_plugin(url + "/down", code=2).text == f"{url}/down: HTTP 503: too / busy"
    assert ask_plugin(url + "/moved", code=2).text == f"{url}/moved: HTTP 301"
    nginx.stop()
    assert ask(url, code=1) == f"healthsvc: {url}: connection refused\n"
    assert ask_plugin(url, code=2).text == f"{url}: connection refused"


def test_a_status_without_a_word(peers):
    peer = peers.http(503, "")
    assert ask(peer.address, code=1) == f"healthsvc: {peer.address}: HTTP 503\n"
    assert ask_plugin(peer.address, code=2).text == f"{peer.address}: HTTP 503"


def test_an_older_one_does_not_know_the_format(peers):
    peer = peers.http(400, "unknown format: there are format=text and format=json\n")
    told = f"{peer.address}: this healthsvc is too old to know format=nagios"
    assert ask_plugin(peer.address, code=3).text == told
    # Not asked for a format, it answers what it answers.
    assert ask(peer.address, code=1).startswith("unknown format")


def test_another_plugins_words_are_not_ours(peers):
    peer = peers.http(200, "HEALTHSVC FINE - all | is=1\n")
    assert ask_plugin(peer.address, code=0).text == f"{peer.address}: HTTP 200"


# ---- bad peers, bad names

BAD = {
    "refused": "connection refused",
    "hung": "timeout after 500ms in exchange",
    "dribbling": "timeout after 500ms in exchange",
    "endless": "",  # whichever comes first
    "endless_body": "",
    "garbage": "not HTTP",
    "resetting": "",
    "closing": "closed in the middle of the headers",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_peer(peers, kind):
    peer = getattr(peers, kind)()
    start = time.monotonic()
    ended = daemon.run("-q", peer.url("/"), "-T", "500ms")
    # One byte each 50 ms would keep it for 100 s, if each began the time anew.
    assert time.monotonic() - start < 5 * SCALE
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"healthsvc: {peer.url('/')}: {BAD[kind]}")
    line = ask_plugin(peer.url("/"), "-T", "500ms", code=2)
    assert line.text.startswith(f"{peer.url('/')}: {BAD[kind]}")


def test_a_whole_answer_is_not_waited_for_any_longer(peers):
    start = time.monotonic()
    assert ask(peers.right_then_hang().url(), "-T", f"{60 * SCALE}s", code=0) == "Up and running\n"
    assert time.monotonic() - start < 30 * SCALE


def test_an_answer_without_end_is_none(peers):
    """It is given up by its length, before its time is over."""
    said = ask(peers.endless_body().url(), "-T", f"{100 * SCALE}s", code=1)
    assert said.endswith(": the answer is too long\n")


def test_a_name_that_is_none(peers):
    said = ask("http://nobody.invalid:8000/", code=1)
    assert said.startswith("healthsvc: http://nobody.invalid:8000/: ")
    assert ask_plugin("http://nobody.invalid:8000/", code=2).items == {}


# Run in a network of its own, and with a file of its own in the place of one below /etc.
OWN_NAMES = """
import socket, subprocess, sys
for command in (f"mount --bind {sys.argv[1]} /etc/{sys.argv[2]}", "ip link set lo up"):
    subprocess.run(command.split(), check=True)
"""

SILENT_DNS = OWN_NAMES + """
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))
ended = subprocess.run(sys.argv[3:])
silent.settimeout(0)
assert silent.recv(512), "was not asked"
sys.exit(ended.returncode)
"""

# The first address in the resolver's order has a full backlog, the second one answers.
TWO_ADDRESSES = OWN_NAMES + """
import threading
first, second = [info[4][0] for info in
                 socket.getaddrinfo("both.example", 80, type=socket.SOCK_STREAM)]
full = socket.create_server((first, 80), backlog=0)
waiting = []
for _ in range(3):
    waiting.append(socket.socket())
    waiting[-1].setblocking(False)
    waiting[-1].connect_ex((first, 80))
good = socket.create_server((second, 80))
def serve():
    sock, _ = good.accept()
    sock.recv(4096)
    sock.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nUp and running\\n")
    sock.close()
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(sys.argv[3:]).returncode)
"""


def ask_with_names(script, path, text, *words):
    real.program("iproute2", "ip")
    unshare = real.program("util-linux", "unshare")
    namespaces = ["-n", "-m"] if os.geteuid() == 0 else ["-r", "-n", "-m"]
    if subprocess.run([unshare, *namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces")
    path.write_text(text)
    return subprocess.run([unshare, *namespaces, sys.executable, "-c", script, path, path.name,
                           daemon.BINARY, "-q", *words], text=True, capture_output=True,
                          check=False, timeout=60 * SCALE)


def test_a_name_server_that_does_not_answer(tmp_path):
    start = time.monotonic()
    ended = ask_with_names(SILENT_DNS, tmp_path / "resolv.conf",
                           "nameserver 127.0.0.1\noptions timeout:30\n",
                           "http://nobody.example/", "-T", "500ms")
    assert ended.stderr == "healthsvc: http://nobody.example/: timeout after 500ms in dns\n"
    assert ended.returncode == 1
    assert time.monotonic() - start < 10 * SCALE


def test_an_address_that_does_not_answer_leaves_time_for_the_next(tmp_path):
    ended = ask_with_names(TWO_ADDRESSES, tmp_path / "hosts",
                           "127.0.0.2 both.example\n127.0.0.3 both.example\n",
                           "http://both.example/", "-T", f"{2 * SCALE}s")
    assert (ended.returncode, ended.stdout) == (0, "Up and running\n"), ended.stderr


@pytest.mark.parametrize("target, told", [
    ("https://127.0.0.1/health", "https is not asked: healthsvc serves no TLS itself"),
    ("https+unix:///run/x.sock", "https is not asked"),
    ("redis://127.0.0.1", "only http is asked"),
    ("htp://127.0.0.1", "unknown scheme 'htp', did you mean 'http'?"),
    ("http://u:secret@127.0.0.1/", "a user and a password are not sent"),
    ("http://127.0.0.1:0/", "port"),
    ("http://127.0.0.1:x/", "port"),
    ("http://", "names no host"),
    ("", "names no host"),
    ("http://[::1/", "no ']'"),
    ("http://[nonsense]/", "not an IPv6 address"),
    ("http://a b/", "printable ASCII"),
    ("http://a/\r\nX: y", "printable ASCII"),
    ("http://" + "a" * 300 + "/", "neither a host name nor an address"),
    ("http://a/" + "b" * 3000, "longer than 2048 bytes"),
    ("unix:run/x.sock", "begins with '/'"),
    ("unix:/" + "s" * 200, "longer than 107 bytes"),
])
def test_a_target_that_is_none(target, told):
    said = ask(target, code=2)
    assert told in said and "secret" not in said
    assert told in ask_plugin(target, code=3).text.replace("  ", " ")


def test_what_cannot_be_printed_is_not_healthy(peers):
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([daemon.BINARY, "-q", peers.http().address], stdout=full,
                               stderr=subprocess.PIPE, text=True, check=False,
                               timeout=30 * SCALE)
    assert ended.returncode == 1
    assert "cannot print the answer: No space left on device" in ended.stderr
