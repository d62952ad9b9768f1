"""OpenLDAP's slapd itself: open, closed to strangers, with TLS, and stopped (the process, so that it
hangs; and then the service)."""
import signal

import pytest

from real import CONF, program, rounds

SLAPD = """
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
%(more)s
database mdb
suffix "dc=test"
rootdn "cn=admin,dc=test"
rootpw right
directory %(folder)s/db
"""
LOGIN = 'user = "cn=admin,dc=test"; password_env = "PW";'


@pytest.fixture
def slapd(servers):
    """A function that starts the one server of the test with more lines in its file."""
    server = program("slapd")
    port = servers.port()
    folder = servers.own("openldap")
    servers.make_folder("db")

    def start(more="", scheme="ldap"):
        conf = servers.write("slapd.conf", SLAPD % {"more": more, "folder": folder})
        start.url = f"{scheme}://127.0.0.1:{port}"
        return servers.start([server, "-f", conf, "-h", start.url, "-d", "stats"]
                             ).wait_log("slapd starting")

    return start


def test_an_open_directory_is_up_and_each_check_says_goodbye(slapd, healthsvc):
    server = slapd()
    size = len(server.log())
    lines = []
    rounds(healthsvc, slapd.url, "", 200, lambda: lines.extend(server.lines_since(size)))
    assert not [line for line in lines if "connection lost" in line]
    assert sum("UNBIND" in line for line in lines) >= 200


def test_a_login(slapd, healthsvc):
    slapd()
    healthsvc(CONF % (slapd.url, LOGIN), env={"PW": "right"}).wait_health("^200 .*it status: OK")
    healthsvc(CONF % (slapd.url, LOGIN), env={"PW": "wrong"}).wait_health(
        "^500 .*it status: Error. login refused, LDAP result 49")


def test_a_directory_closed_to_strangers_is_alive(slapd, healthsvc):
    slapd("require bind")
    healthsvc(CONF % (slapd.url, "")).wait_health("^200 .*it status: OK")


def test_a_server_that_hangs_or_has_ended_is_down(slapd, healthsvc):
    server = slapd()
    svc = healthsvc(CONF % (slapd.url, ""))
    svc.wait_health("^200 .*it status: OK")
    server.process.send_signal(signal.SIGSTOP)
    svc.wait_health("^500 .*it status: Error. timeout after 950ms in exchange", 20)
    server.process.send_signal(signal.SIGCONT)
    svc.wait_health("^200 .*it status: OK", 20)
    server.stop()
    svc.wait_health("^500 .*it status: Error. connection refused", 20)


def test_tls(slapd, healthsvc, servers, authority):
    pem = servers.write("server.pem", authority.issue().read_bytes())
    slapd(f"TLSCertificateFile {pem}\nTLSCertificateKeyFile {pem}", "ldaps")
    healthsvc(CONF % (slapd.url, f'ca_file = "{authority.ca_file}";')).wait_health(
        "^200 .*it status: OK")
    healthsvc(CONF % (slapd.url, "")).wait_health(
        "^500 .*it status: Error. certificate not trusted")
