"""RabbitMQ itself: asked with and without a user, its application stopped and started again. One
broker for all the cases: it takes its time to start."""
import pytest

from real import CONF, PATH, Servers, program, rounds
from waiting import wait_for

BIN = "/usr/lib/rabbitmq/bin"
LOGIN = 'user = "guest"; password_env = "PW";'


class Rabbit:
    def __init__(self, servers, authority):
        server, self._ctl = (program("rabbitmq-server", name, f"{BIN}:{PATH}")
                             for name in ("rabbitmq-server", "rabbitmqctl"))
        epmd = program("erlang-base", "epmd")
        folder = servers.own("rabbitmq")
        self.port, tls_port, dist, names = (servers.port() for _ in range(4))
        self.url = f"amqp://127.0.0.1:{self.port}"
        self.tls_url = f"amqps://127.0.0.1:{tls_port}"
        pem = servers.write("server.pem", authority.issue().read_bytes())
        servers.write("rabbitmq.conf",
                      f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
                      f"listeners.ssl.1 = 127.0.0.1:{tls_port}\n"
                      f"ssl_options.certfile = {pem}\nssl_options.keyfile = {pem}\n"
                      f"ssl_options.cacertfile = {servers.write('ca.pem', authority.ca_file.read_bytes())}\n"
                      "log.console = true\nlog.console.level = info\nlog.file = false\n")
        self._env = {
            "HOME": str(folder), "ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "test@localhost", "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data", "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq", "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "RABBITMQ_CTL_ERL_ARGS": "+S 1:1 +sbwt none", "LC_ALL": "C.UTF-8"}
        self._servers = servers
        # In the foreground, and before the broker, which would start one that outlives it.
        servers.start([epmd], self._env)
        self.server = servers.start([server], self._env).wait_log("Server startup complete", 120)

    def ctl(self, *words):
        self._servers.run([self._ctl, *words], self._env, 120)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    import certs
    made = Servers()
    authority = certs.Authority(tmp_path_factory.mktemp("authority"))
    try:
        rabbit = Rabbit(made, authority)
        rabbit.authority = authority
        yield rabbit
    finally:
        made.end()


def test_with_a_user_a_check_is_quiet(broker, healthsvc, monkeypatch):
    monkeypatch.setenv("PW", "guest")
    size = len(broker.server.log())

    def look():
        lines = broker.server.lines_since(size)
        assert not [line for line in lines if "[warning]" in line or "[error]" in line]
        assert sum("granted access to vhost" in line for line in lines) >= 100

    rounds(healthsvc, broker.url, LOGIN, 100, look)


def test_without_one_each_check_is_a_warning(broker, healthsvc):
    size = len(broker.server.log())
    rounds(healthsvc, broker.url, "", 50)
    wait_for(lambda: sum("client unexpectedly closed TCP connection" in line
                         for line in broker.server.lines_since(size)) >= 50)
    assert not [line for line in broker.server.lines_since(size) if "[error]" in line]


@pytest.mark.parametrize("password, settings, answer", [
    ("wrong", "", "^500 .*it status: Error. ACCESS_REFUSED"),
    ("guest", 'vhost = "none";', "^500 .*it status: Error. NOT_ALLOWED - vhost none not found"),
])
def test_a_login_that_is_refused(broker, healthsvc, password, settings, answer):
    svc = healthsvc(CONF % (broker.url, LOGIN + settings), env={"PW": password})
    svc.wait_health(answer)


def test_tls(broker, healthsvc):
    healthsvc(CONF % (broker.tls_url, f'ca_file = "{broker.authority.ca_file}";')).wait_health(
        "^200 .*it status: OK")
    healthsvc(CONF % (broker.tls_url, "")).wait_health(
        "^500 .*it status: Error. certificate not trusted")


def test_a_stopped_application_is_down_and_comes_back(broker, healthsvc):
    svc = healthsvc(CONF % (broker.url, ""))
    svc.wait_health("^200 .*it status: OK")
    broker.ctl("stop_app")
    svc.wait_health("^500 .*it status: Error. connection refused", 20)
    broker.ctl("start_app")
    svc.wait_health("^200 .*it status: OK", 20)
