"""Behind HAProxy and nginx, as in the original story: a failing gateway is taken out and put back.
"""
import http.client

import pytest

from real import program
from waiting import SCALE, wait_for

CONF = """
name = "%s";
listen = "127.0.0.1:0";
defaults = { period = "300ms"; timeout = "250ms"; confirm = "100ms"; fall = 2; };
dependencies = ( { name = "trips"; url = "%s"; } );
"""

HAPROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend front
  bind 127.0.0.1:%(front)d
  default_backend gateways
backend gateways
  option httpchk GET /health
  http-check send-state
  server one 127.0.0.1:%(app_one)d check port %(health_one)d inter 200ms fall 2 rise 2
  server two 127.0.0.1:%(app_two)d check port %(health_two)d inter 200ms fall 2 rise 2
"""

# nginx without its commercial part has no checks of its own: it passes a request on to the next
# server when one answers with a listed code.
NGINX = """
daemon off;
master_process off;
pid %(folder)s/nginx.pid;
error_log stderr;
events { }
http {
  access_log off;
  client_body_temp_path %(folder)s/body;
  proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/fastcgi;
  uwsgi_temp_path %(folder)s/uwsgi;
  scgi_temp_path %(folder)s/scgi;
  upstream gateways {
    server 127.0.0.1:%(health_one)d max_fails=1 fail_timeout=1s;
    server 127.0.0.1:%(health_two)d max_fails=1 fail_timeout=1s;
  }
  server {
    listen 127.0.0.1:%(front)d;
    location / {
      proxy_pass http://gateways;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream error timeout http_500 http_503;
    }
  }
}
"""


class Front:
    """A load balancer under test."""

    def __init__(self, server, port):
        self._server = server
        self._port = port

    def get(self, path="/"):
        assert self._server.process.poll() is None, self._server.log()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10 * SCALE)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode().strip()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def answers(self, path="/", count=8):
        """What `count` requests in a row are answered with."""
        return {self.get(path) for _ in range(count)}


@pytest.fixture
def gateways(healthsvc, peers):
    """Two gateways: an application each, its healthsvc, and what that depends on."""
    class Gateway:
        def __init__(self, name):
            self.dependency = peers.http()
            self.app = peers.http(body=name)
            self.health = healthsvc(CONF % (name, self.dependency.url()))
            self.health.wait_health("^200 ")
    return Gateway("one"), Gateway("two")


@pytest.fixture
def start_front(gateways, servers):
    def start(command, template):
        port = servers.port()
        one, two = gateways
        conf = servers.write("front.conf", template % {
            "front": port, "folder": servers.folder,
            "app_one": one.app.port, "health_one": one.health.port,
            "app_two": two.app.port, "health_two": two.health.port})
        return Front(servers.start([*command, conf]), port)
    return start


BOTH = {(200, "one"), (200, "two")}


def haproxy_has(svc, server):
    """1: up, 0: down, as the checks' X-Haproxy-Server-State says; the node is the host's name."""
    for line in svc.get("/metrics").body.splitlines():
        if line.startswith(f'healthsvc_haproxy_server_up{{server="{server}",node="'):
            return int(line.rpartition(" ")[2])
    return None


def test_haproxy_takes_a_failing_gateway_out_and_back_in(gateways, start_front):
    one, two = gateways
    front = start_front([program("haproxy"), "-db", "-f"], HAPROXY)
    wait_for(lambda: front.answers() == BOTH)

    # Only what gateway one depends on fails; its application still answers, and is not asked.
    one.dependency.status = 503
    wait_for(lambda: front.answers() == {(200, "two")}, 20)
    # It tells each what it has it for; a check without User-Agent is its own.
    wait_for(lambda: haproxy_has(one.health, "gateways/one") == 0)
    assert haproxy_has(two.health, "gateways/two") == 1
    assert one.health.metric('healthsvc_poller_last_status'
                             '{from="loopback",agent="none",path="/health"}') == 500
    # Nothing healthy is left: HAProxy says so itself.
    two.dependency.close()
    wait_for(lambda: {status for status, _ in front.answers()} == {503}, 20)

    two.dependency.open()
    wait_for(lambda: front.answers() == {(200, "two")}, 20)
    one.dependency.status = 200
    wait_for(lambda: front.answers() == BOTH, 20)


def test_nginx_passes_a_failing_gateway_by(gateways, start_front):
    one, _ = gateways
    front = start_front([program("nginx"), "-c"], NGINX)
    good = {(200, f"{name} status: OK\nDependencies:\ntrips status: OK") for name in ("one", "two")}
    wait_for(lambda: front.answers("/health") == good)
    one.dependency.status = 503
    one.health.wait_health("^500 ")
    # From now on no client sees the failing one.
    for _ in range(30):
        assert front.get("/health") == (200, "two status: OK\nDependencies:\ntrips status: OK")
    one.dependency.status = 200
    one.health.wait_health("^200 ")
    wait_for(lambda: front.answers("/health") == good, 20)
