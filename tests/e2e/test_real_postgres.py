"""PostgreSQL itself: serving, full, starting, with TLS; and what a check leaves in its log."""
import glob
import subprocess

import pytest

from real import CONF, Servers, program, rounds


def binary(name):
    return program("postgresql", name, (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""])[-1])


@pytest.fixture(scope="module")
def data():
    """A data folder, made once: each test runs a server of its own on it."""
    initdb = binary("initdb")
    made = Servers()
    try:
        folder = made.own("postgres")
        made.run([initdb, "-D", folder / "data", "-U", "postgres", "--auth-host=scram-sha-256",
                  "--auth-local=trust", "--no-sync", "--no-instructions"])
        yield folder / "data"
    finally:
        made.end()


@pytest.fixture
def postgres(servers, data):
    """A function that starts the one server of the test with more settings."""
    server = binary("postgres")
    folder = servers.own("postgres")
    port = servers.port()

    def start(*settings):
        words = [word for setting in settings for word in ("-c", setting)]
        return servers.start([server, "-D", data, "-p", port, "-k", folder,
                              "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                              "-c", "shared_buffers=1MB", *words]).wait_port(port)

    start.url = f"postgres://127.0.0.1:{port}"
    start.psql = [program("postgresql-client", "psql"), "-X", "-q", "-h", str(folder),
                  "-p", str(port), "-U", "postgres"]
    start.folder = folder
    return start


def test_a_server_that_asks_for_a_password_is_up_and_logs_nothing(postgres, healthsvc):
    server = postgres().wait_log("ready to accept connections")
    size = len(server.log())
    logged = []
    # Looked at before the daemon ends, which cuts the checks that it is in the middle of.
    rounds(healthsvc, postgres.url, "", 200, lambda: logged.extend(server.lines_since(size)))
    assert logged == []


def test_without_a_password_it_goes_on_to_ready_and_logs_nothing(postgres, healthsvc, servers):
    servers.write("trust.conf", "local all all trust\nhost all all 127.0.0.1/32 trust\n")
    server = postgres(f"hba_file={postgres.folder}/trust.conf").wait_log("ready to accept")
    size = len(server.log())
    logged = []
    rounds(healthsvc, postgres.url, 'user = "postgres";', 50,
           lambda: logged.extend(server.lines_since(size)))
    assert logged == []


def test_a_full_server_is_down_and_comes_back(postgres, healthsvc):
    postgres("max_connections=1", "superuser_reserved_connections=0", "max_wal_senders=0",
             "client_connection_check_interval=200").wait_log("ready to accept connections")
    svc = healthsvc(CONF % (postgres.url, ""))
    svc.wait_health("^200 .*it status: OK")
    guests = []

    def invite():
        """A guest who comes when a check has the only place is sent away: another is asked."""
        if not guests or guests[-1].poll() is not None:
            guests.append(subprocess.Popen([*postgres.psql, "-c", "select pg_sleep(600)"],
                                           stderr=subprocess.DEVNULL))
    try:
        svc.wait_health("^500 .*it status: Error. sorry, too many clients already", 20,
                        meanwhile=invite)
    finally:
        guests[-1].kill()
        guests[-1].wait()
    svc.wait_health("^200 .*it status: OK", 20)


def test_a_server_in_recovery_is_starting(postgres, healthsvc, servers, data):
    servers.run(["cp", "-a", data, "standby"])
    servers.write("standby/standby.signal", "")
    postgres(f"data_directory={servers.folder}/standby",
             "restore_command=sleep 600", "hot_standby=off")
    svc = healthsvc(CONF % (postgres.url, ""))
    svc.wait_health("^500 .*it status: Error. the database system is starting up", 20)


@pytest.mark.parametrize("settings, answer", [
    ('sslmode = "prefer";', "^200 .*it status: OK"),
    ('sslmode = "require";', "^200 .*it status: OK"),
    ('sslmode = "verify-full"; ca_file = "%s";', "^200 .*it status: OK"),
    ('sslmode = "verify-full";', "^500 .*it status: Error. certificate not trusted"),
    ('sslmode = "verify-full"; ca_file = "%s"; server_name = "other.test";',
     "^500 .*it status: Error. certificate is for .*127.0.0.1.*, not for 'other.test'"),
])
def test_tls(postgres, healthsvc, servers, authority, settings, answer):
    pem = servers.write("server.pem", authority.issue().read_bytes())
    postgres("ssl=on", f"ssl_cert_file={pem}", f"ssl_key_file={pem}").wait_log("ready to accept")
    svc = healthsvc(CONF % (postgres.url, settings.replace("%s", str(authority.ca_file))))
    svc.wait_health(answer)


def test_tls_that_is_not_there(postgres, healthsvc):
    postgres().wait_log("ready to accept connections")
    svc = healthsvc(CONF % (postgres.url, 'sslmode = "require";'))
    svc.wait_health("^500 .*it status: Error. the server does not speak TLS")
