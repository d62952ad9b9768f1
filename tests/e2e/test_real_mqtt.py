"""mosquitto itself: open, with a password, with TLS, hung and ended."""
import os
import signal

import pytest

from real import CONF, ROUNDS_AT_ONCE, program, rounds


@pytest.fixture
def mosquitto(servers):
    """A function that starts the one broker of the test with these lines in its file."""
    server = program("mosquitto")
    port = servers.port()
    if os.geteuid() == 0:
        servers.own("mosquitto")

    def start(*lines):
        conf = servers.write("mosquitto.conf", "\n".join([f"listener {port} 127.0.0.1", *lines, ""]))
        # By its log: a connection that says nothing would be in it.
        return servers.start([server, "-c", conf]).wait_log(" running")

    start.port = port
    start.url = f"mqtt://127.0.0.1:{port}"
    return start


def test_an_open_broker_is_up_and_logs_three_lines_a_check(mosquitto, healthsvc):
    broker = mosquitto("allow_anonymous true")
    size = len(broker.log())
    lines = []
    rounds(healthsvc, mosquitto.url, "", 200, lambda: lines.extend(broker.lines_since(size)))
    assert not [line for line in lines if "error" in line.lower() or "closed" in line]
    connected = [line for line in lines if "New client connected" in line]
    left = [line for line in lines if line.endswith(" disconnected.")]
    assert len(connected) >= 200 and abs(len(connected) - len(left)) <= ROUNDS_AT_ONCE
    assert len({line.split(" as ")[1].split()[0] for line in connected}) == len(connected)


def test_a_broker_that_asks_for_a_password(mosquitto, healthsvc, servers):
    passwords = servers.folder / "passwords"
    servers.run([program("mosquitto", "mosquitto_passwd"), "-c", "-b", passwords, "me", "right"])
    mosquitto("allow_anonymous false", f"password_file {passwords}")
    healthsvc(CONF % (mosquitto.url, "")).wait_health("^200 .*it status: OK")
    login = CONF % (mosquitto.url, 'user = "me"; password_env = "PW";')
    healthsvc(login, env={"PW": "right"}).wait_health("^200 .*it status: OK")
    healthsvc(login, env={"PW": "wrong"}).wait_health(
        "^500 .*it status: Error. the broker refuses the login")


def test_a_broker_that_hangs_or_has_ended_is_down(mosquitto, healthsvc):
    broker = mosquitto("allow_anonymous true")
    svc = healthsvc(CONF % (mosquitto.url, ""))
    svc.wait_health("^200 .*it status: OK")
    broker.process.send_signal(signal.SIGSTOP)
    svc.wait_health("^500 .*it status: Error. timeout after 950ms in exchange", 20)
    broker.process.send_signal(signal.SIGCONT)
    svc.wait_health("^200 .*it status: OK", 20)
    broker.stop()
    svc.wait_health("^500 .*it status: Error. connection refused", 20)


def test_tls(mosquitto, healthsvc, servers, authority):
    pem = servers.write("server.pem", authority.issue().read_bytes())
    mosquitto("allow_anonymous true", f"certfile {pem}", f"keyfile {pem}")
    url = mosquitto.url.replace("mqtt", "mqtts")
    healthsvc(CONF % (url, f'ca_file = "{authority.ca_file}";')).wait_health(
        "^200 .*it status: OK")
    healthsvc(CONF % (url, "")).wait_health(
        "^500 .*it status: Error. certificate not trusted")
