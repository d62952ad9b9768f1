"""Real nginx, HAProxy and healthsvc as dependencies, by TCP, TLS and Unix sockets."""
import os
import socket

import pytest

import daemon
from certs import days, now
from real import program
from waiting import wait_for

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "1s"; timeout = "950ms"; confirm = "100ms"; fall = 1; rise = 1; };
dependencies = ( %s );
"""

NGINX = r"""
daemon off;
master_process off;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log notice;
events { }
http {
  access_log %(folder)s/access.log;
  client_body_temp_path %(folder)s/body;
  proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/fastcgi;
  uwsgi_temp_path %(folder)s/uwsgi;
  scgi_temp_path %(folder)s/scgi;
  server {
    listen 127.0.0.1:%(port)d;
    listen unix:%(folder)s/n;
    listen 127.0.0.1:%(tls_port)d ssl;
    ssl_certificate %(pem)s;
    ssl_certificate_key %(pem)s;
    add_header X-Version 2.1 always;
    location = /ok { default_type text/plain; return 200 "host $host\n"; }
    location = /down { return 503; }
    location = /basic {
      auth_basic "health";
      auth_basic_user_file %(folder)s/users;
      try_files /none @in;
    }
    location @in { return 204; }
    location = /bearer {
      if ($http_authorization != "Bearer tok.en-1") { return 403; }
      return 204;
    }
    location = /post {
      default_type application/json;
      if ($request_method != POST) { return 405; }
      return 200 '{"length": $content_length, "type": "$content_type", "state": {"name": "UP"}}';
    }
    location = /warn {
      default_type application/health+json;
      return 200 '{"status":"warn","checks":{"postgres:connections":[{"status":"warn","output":"nearly full"}]}}';
    }
    location = /fail {
      default_type application/health+json;
      return 503 '{"status":"fail","checks":{"postgres:connections":[{"status":"fail","output":"connection refused"}]}}';
    }
  }
}
"""

HAPROXY = """
global
  stats socket unix@%(folder)s/stats level user
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend front
  bind unix@%(folder)s/h
  monitor-uri /health
  monitor fail if { nbsrv(apps) lt 1 }
  default_backend apps
backend apps
  option httpchk GET /
  server one 127.0.0.1:%(port)d check inter 100ms fall 1 rise 1
"""


@pytest.fixture
def reads_json():
    if "JSON of dependencies: read" not in daemon.run("-V").stdout:
        pytest.skip("needs a build with jansson")


def answers(path):
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
        return True
    except OSError:
        return False


class Nginx:
    def __init__(self, servers, authority, **certificate):
        self._folder = servers.folder
        plain, secured = servers.port(), servers.port()
        self.url, self.tls = f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secured}"
        self.unix = f"http+unix://{self._folder}/n:"
        conf = servers.write("nginx.conf", NGINX % {
            "folder": self._folder, "port": plain, "tls_port": secured,
            "pem": authority.issue(**certificate)})
        servers.write("users", "me:{PLAIN}right one\n")
        servers.start([program("nginx"), "-c", conf]).wait(
            lambda: answers(f"{self._folder}/n"), "nginx")

    def log(self, name):
        return (self._folder / f"{name}.log").read_text()


@pytest.fixture
def nginx(servers, authority):
    return Nginx(servers, authority)


def one(healthsvc, url, settings=""):
    return healthsvc(CONF % f'{{ name = "it"; url = "{url}"; {settings} }}')


@pytest.mark.parametrize("way", ["url", "unix", "tls"])
def test_nginx_by_every_way(healthsvc, nginx, authority, way):
    settings = f'ca_file = "{authority.ca_file}";' if way == "tls" else ""
    url = getattr(nginx, way)
    svc = healthsvc(CONF % f"""
      {{ name = "ok";   url = "{url}/ok"; {settings} expect_body = "^host (localhost|127.0.0.1)$";
         expect_headers = ( "X-Version: ^2", "!X-Other" ); }},
      {{ name = "down"; url = "{url}/down"; {settings} importance = "info"; }},
      {{ name = "not";  url = "{url}/down"; {settings} invert = true; }},
      {{ name = "old";  url = "{url}/ok"; {settings} expect_headers = "X-Version: ^3";
         importance = "info"; }}""")
    svc.wait_health(r"^200 gateway status: OK\n.*ok status: OK\n"
                    r"down status: Error\. HTTP 503 \(info\)\nnot status: OK\n"
                    r"old status: Error\. header X-Version does not match \(info\)\n$")
    assert nginx.log("error").count("[error]") == 0, nginx.log("error")


def test_nginx_lets_in_who_shows_the_secret(healthsvc, nginx, tmp_path):
    (tmp_path / "right").write_text("right one\n")
    (tmp_path / "token").write_text("tok.en-1\n")
    me, info = 'user = "me"; ', 'importance = "info"; '
    svc = healthsvc(CONF % f"""
      {{ name = "file";    url = "{nginx.url}/basic"; {me} password_file = "{tmp_path}/right"; }},
      {{ name = "env";     url = "{nginx.url}/basic"; {me} password_env = "PW"; }},
      {{ name = "wrong";   url = "{nginx.url}/basic"; {me} {info} password_env = "OTHER"; }},
      {{ name = "nobody";  url = "{nginx.url}/basic"; {info} }},
      {{ name = "bearer";  url = "{nginx.url}/bearer"; password_file = "{tmp_path}/token"; }},
      {{ name = "bearenv"; url = "{nginx.url}/bearer"; password_env = "TOKEN"; }},
      {{ name = "forged";  url = "{nginx.url}/bearer"; {info} password_env = "OTHER"; }},
      {{ name = "host";    url = "{nginx.url}/ok"; host = "trips.example";
         expect_body = "^host trips\\.example$"; }}""",
                    env={"PW": "right one", "TOKEN": "tok.en-1", "OTHER": "other"})
    svc.wait_health(r"^200 gateway status: OK\n.*file status: OK\nenv status: OK\n"
                    r"wrong status: Error\. HTTP 401 \(info\)\n"
                    r"nobody status: Error\. HTTP 401 \(info\)\n"
                    r"bearer status: OK\nbearenv status: OK\n"
                    r"forged status: Error\. HTTP 403 \(info\)\nhost status: OK\n$")
    shown = svc.log_text() + svc.get("/health?format=json").body + svc.get("/metrics").body
    for secret in ("right one", "tok.en-1"):
        assert secret not in shown


def test_nginx_takes_a_post_and_its_json_is_looked_at(healthsvc, nginx, reads_json):
    asked = (f'url = "{nginx.url}/post"; method = "POST"; body = "{{}}"; importance = "info"; '
             'headers = "Content-Type: application/json"; expect_json = ')
    svc = healthsvc(CONF % f"""
      {{ name = "good"; {asked} ( "/length = 2", "/type = application/json", "/state/name = UP",
                                  "!/error" ); }},
      {{ name = "bad";  {asked} "/length > 2"; }}""")
    svc.wait_health(r"good status: OK\nbad status: Error\. /length is 2, expected > 2 \(info\)\n")


def test_nginx_says_what_a_health_service_says(healthsvc, nginx, reads_json):
    svc = healthsvc(CONF % f"""
      {{ name = "warn"; url = "{nginx.url}/warn"; }},
      {{ name = "fail"; url = "{nginx.unix}/fail"; importance = "optional"; }}""")
    svc.wait_health(r"^200 gateway status: Warning\nDependencies:\n"
                    r"warn status: Warning\. postgres: nearly full\n"
                    r"fail status: Error\. HTTP 503: postgres: connection refused \(optional\)\n$")


def test_a_certificate_near_its_end_fails_when_told(healthsvc, servers, authority):
    nginx = Nginx(servers, authority, not_after=now() + days(5))
    asked = f'url = "{nginx.tls}/ok"; ca_file = "{authority.ca_file}"; importance = "info";'
    svc = healthsvc(CONF % f"""
      {{ name = "quiet"; {asked} }},
      {{ name = "warns"; {asked} cert_warn = 14; cert_fail = 3; }},
      {{ name = "fails"; {asked} cert_warn = 14; cert_fail = 7; }}""")
    svc.wait_health(r"quiet status: OK\n"
                    r"warns status: Warning\. certificate expires in 4 days \(info\)\n"
                    r"fails status: Error\. certificate expires in 4 days \(info\)\n")


def test_haproxy_by_its_unix_sockets(healthsvc, servers, peers):
    app = peers.http()
    folder = servers.folder
    conf = servers.write("haproxy.cfg", HAPROXY % {"folder": folder, "port": app.port})
    servers.start([program("haproxy"), "-db", "-f", conf]).wait(lambda: answers(f"{folder}/h"),
                                                                "haproxy")
    svc = healthsvc(CONF % f"""
      {{ name = "front"; url = "http+unix://{folder}/h:/health"; }},
      {{ name = "stats"; url = "tcp+unix://{folder}/stats";
         script = ( "send_line show info", "expect Name: HAProxy", "expect_match ^Uptime_sec:" ); }},
      {{ name = "other"; url = "tcp+unix://{folder}/stats"; importance = "info";
         script = ( "send_line show nothing", "expect Name: HAProxy" ); }}""")
    svc.wait_health(r"^200 .*front status: OK\nstats status: OK\n"
                    r'other status: Error\. step 2: expected "Name: HAProxy", got "')
    app.close()
    svc.wait_health(r"^500 .*front status: Error\. HTTP 503\nstats status: OK\n")
    app.open()
    svc.wait_health(r"^200 .*front status: OK\n")


CHAIN = """
name = "%s";
listen = "127.0.0.1:0";
defaults = { period = "1s"; timeout = "900ms"; confirm = "100ms"; fall = 1; rise = 1; };
dependencies = ( { name = "%s"; url = "%s"; importance = "%s"; } );
"""


def test_three_levels_name_the_culprit(healthsvc, peers, reads_json):
    database = peers.http()
    trips = healthsvc(CHAIN % ("trips", "postgres", database.url(scheme="tcp", path=""),
                               "required"))
    gateway = healthsvc(CHAIN % ("gateway", "trips", trips.url + "/health", "required"))
    front = healthsvc(CHAIN % ("front", "gateway", gateway.url + "/health", "required"))
    front.wait_health("^200 front status: OK")
    database.close()
    front.wait_health(r"^500 front status: Error\nDependencies:\ngateway status: Error\. "
                      r"HTTP 500: trips: HTTP 500: postgres: connection refused\n$")
    database.open()
    front.wait_health("^200 front status: OK")


def test_a_warning_goes_up_as_a_warning(healthsvc, peers, reads_json):
    database = peers.http()
    trips = healthsvc(CHAIN % ("trips", "postgres", database.url(scheme="tcp", path=""),
                               "optional"))
    gateway = healthsvc(CHAIN % ("gateway", "trips", trips.url + "/health", "required"))
    asks_text = healthsvc(CHAIN.replace("; importance", '; headers = "Accept: text/plain"'
                                        "; importance")
                          % ("other", "trips", trips.url + "/health", "required"))
    gateway.wait_health("^200 gateway status: OK")
    database.close()
    gateway.wait_health(r"^200 gateway status: Warning\nDependencies:\n"
                        r"trips status: Warning\. postgres: connection refused\n$")
    asks_text.wait_health(r"^200 other status: Warning\nDependencies:\n"
                          r"trips status: Warning\. postgres: connection refused \(optional\)\n$")


def test_slow_answers(healthsvc, peers):
    def serve(peer, sock):
        peer.read_request(sock)
        peer.closing.wait(0.4)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    slow = peers.add(serve)
    svc = healthsvc(CONF % f"""
      {{ name = "any";   url = "{slow.url()}"; }},
      {{ name = "warns"; url = "{slow.url()}"; time_warn = "300ms"; time_fail = "900ms"; }},
      {{ name = "fails"; url = "{slow.url()}"; time_fail = "300ms"; importance = "info"; }}""")
    svc.wait_health(r"^200 .*any status: OK\nwarns status: Warning\. took \d+ ms, more than 300\n"
                    r"fails status: Error\. took \d+ ms, more than 300 \(info\)\n$")


def test_a_unix_socket_comes_and_goes(healthsvc, servers):
    path = f"{servers.folder}/s"
    svc = one(healthsvc, f"tcp+unix://{path}", 'period = "600ms"; timeout = "500ms";')
    svc.wait_health(r"^500 .*it status: Error\. the Unix socket does not exist\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        svc.wait_health(r"^500 .*it status: Error\. connection refused\n")
        # One may wait to be accepted, and nobody is: the backlog is full.
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as filler:
            filler.connect(path)
            svc.wait_health(r"^500 .*it status: Error\. timeout after 500ms in connect\n")
            listener.accept()[0].close()
        listener.listen(16)
        svc.wait_health(r"^200 .*it status: OK\n")
    os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        svc.wait_health(r"^500 .*it status: Error\. the Unix socket is not a stream's\n")


def test_a_script_turns_to_tls(healthsvc, peers, authority):
    context = authority.server()

    def serve(peer, sock):
        sock.sendall(b"220 peer\r\n")
        peer.requests.append(sock.recv(100))
        sock.sendall(b"220 go ahead\r\n")
        with context.wrap_socket(sock, server_side=True) as secured:
            peer.requests.append(secured.recv(100))
            secured.sendall(b"250 secured\r\n")
            peer.requests.append(secured.recv(100))
    peer = peers.add(serve)
    script = ('script = ( "expect 220", "send_line STARTTLS", "expect 220", "starttls", '
              '"send_line HI", "expect 250", "send_line QUIT" );')
    svc = one(healthsvc, peer.url("", "tcp"), script + f'ca_file = "{authority.ca_file}";')
    svc.wait_health("^200 .*it status: OK\n")
    wait_for(lambda: peer.requests[:3] == [b"STARTTLS\r\n", b"HI\r\n", b"QUIT\r\n"])
    assert svc.metric('probe_ssl_earliest_cert_expiry{dependency="it"}') is not None

    wary = one(healthsvc, peer.url("", "tcp"), script)
    wary.wait_health(r"^500 .*it status: Error\. certificate not trusted")
