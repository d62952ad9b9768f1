"""MariaDB itself: serving, full, logging in, with TLS; and that no check counts towards locking the
client's address out."""
import socket
import subprocess

import pytest

from real import CONF, Servers, program, rounds
from waiting import wait_for


@pytest.fixture(scope="module")
def data():
    """A data folder, made once: each test runs a server of its own on it, and its own users."""
    install = program("mariadb-server", "mariadb-install-db")
    made = Servers()
    try:
        folder = made.own("mysql")
        made.run([install, "--no-defaults", f"--datadir={folder}/data", "--skip-test-db",
                  "--auth-root-authentication-method=normal", "--innodb-log-file-size=4M"])
        yield folder / "data"
    finally:
        made.end()


@pytest.fixture
def mariadb(servers, data):
    """A function that starts the one server of the test with more settings."""
    server, client = program("mariadb-server", "mariadbd"), program("mariadb-client", "mariadb")
    folder = servers.own("mysql")
    port = servers.port()

    def start(*settings):
        # By its log, not by a connection: one that says nothing would be counted.
        return servers.start([server, "--no-defaults", f"--datadir={data}",
                              f"--port={port}", "--bind-address=127.0.0.1",
                              f"--socket={folder}/socket", f"--pid-file={folder}/pid",
                              "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=4M",
                              "--innodb-buffer-pool-size=8M", *settings]
                             ).wait_log("ready for connections")

    def sql(text):
        done = subprocess.run([client, "--no-defaults", f"--socket={folder}/socket", "-uroot", "-N",
                               "-e", text], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    start.sql = sql
    start.port = port
    start.url = f"mysql://127.0.0.1:{port}"
    start.client = [client, "--no-defaults", f"--socket={folder}/socket", "-uroot"]
    return start


def aborted(mariadb):
    """Handshakes that the server holds against its clients, and sessions that ended without Quit."""
    text = mariadb.sql("show global status like 'Aborted%'")
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}


def test_a_user_without_a_password_leaves_no_trace(mariadb, healthsvc):
    server = mariadb("--max-connect-errors=10")
    mariadb.sql("create or replace user healthsvc@'%'")
    size, before = len(server.log()), aborted(mariadb)

    def look():
        assert aborted(mariadb) == before
        assert server.lines_since(size) == []

    rounds(healthsvc, mariadb.url, "", 200, look)
    # The count is one that would show it: this is how not to ask.
    with socket.create_connection(("127.0.0.1", mariadb.port)) as rude:
        assert rude.recv(4096)
    wait_for(lambda: aborted(mariadb)["Aborted_connects"] > before["Aborted_connects"])


def test_a_user_that_is_unknown_is_alive_and_a_wrong_password_is_not(mariadb, healthsvc):
    mariadb()
    mariadb.sql("create or replace user me@'%' identified by 'right'")
    svc = healthsvc(CONF % (mariadb.url, 'user = "nobody"'))
    svc.wait_health("^200 .*it status: OK")
    svc = healthsvc(CONF % (mariadb.url, 'user = "me"; password_env = "PW"'), env={"PW": "right"})
    svc.wait_health("^200 .*it status: OK")
    svc = healthsvc(CONF % (mariadb.url, 'user = "me"; password_env = "PW"'), env={"PW": "wrong"})
    svc.wait_health("^500 .*it status: Error. Access denied for user 'me'@")


def test_a_full_server_is_down_and_comes_back(mariadb, healthsvc):
    mariadb("--max-connections=10", "--extra-port=0")
    mariadb.sql("create or replace user healthsvc@'%'")
    svc = healthsvc(CONF % (mariadb.url, ""))
    svc.wait_health("^200 .*it status: OK")
    guests = []

    def invite():
        """One more than max_connections is kept for an administrator, who is asked for last. A
        guest who comes when a check has the last place is sent away: another is asked."""
        guests[:] = [guest for guest in guests if guest.poll() is None]
        while len(guests) < 11:
            guests.append(subprocess.Popen([*mariadb.client, "-e", "select sleep(600)"],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        svc.wait_health("^500 .*it status: Error. Too many connections", 20, meanwhile=invite)
    finally:
        for guest in guests:
            guest.kill()
            guest.wait()
    svc.wait_health("^200 .*it status: OK", 20)


@pytest.mark.parametrize("settings, answer", [
    ('sslmode = "prefer";', "^200 .*it status: OK"),
    ('sslmode = "verify-full"; ca_file = "%s";', "^200 .*it status: OK"),
    ('sslmode = "verify-full";', "^500 .*it status: Error. certificate not trusted"),
])
def test_tls(mariadb, healthsvc, servers, authority, settings, answer):
    pem = servers.write("server.pem", authority.issue().read_bytes())
    mariadb(f"--ssl-cert={pem}", f"--ssl-key={pem}")
    mariadb.sql("create or replace user me@'%' identified by 'right' require ssl")
    settings = settings.replace("%s", str(authority.ca_file))
    svc = healthsvc(CONF % (mariadb.url, settings + 'user = "me"; password_env = "PW";'),
                    env={"PW": "right"})
    svc.wait_health(answer)


def test_tls_that_is_not_there_is_no_rude_end(mariadb, healthsvc):
    mariadb()
    mariadb.sql("create or replace user healthsvc@'%'")
    before = aborted(mariadb)
    svc = healthsvc(CONF % (mariadb.url, 'sslmode = "require";'))
    svc.wait_health("^500 .*it status: Error. the server does not speak TLS")
    assert svc.stop() == 0
    assert aborted(mariadb) == before
