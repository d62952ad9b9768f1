"""php-fpm itself: its library, its ping, scripts, and every worker busy."""
import re

import pytest

from real import CONF, program, rounds
from waiting import wait_for

FPM = """
[global]
error_log = %(folder)s/error.log
daemonize = no
[www]
user = nobody
group = nogroup
listen = 127.0.0.1:%(port)d
pm = static
pm.max_children = 1
ping.path = /ping
access.log = %(folder)s/access.log
php_admin_flag[display_errors] = off
"""


def fpm_program():
    for version in ("8.2", "8.1", "8.3", "8.4", "7.4"):
        try:
            return program("php-fpm", f"php-fpm{version}")
        except pytest.skip.Exception:
            continue
    return program("php-fpm")


@pytest.fixture
def fpm(servers):
    """The server of the test."""
    port = servers.port()
    servers.own("nobody")
    conf = servers.write("fpm.conf", FPM % {"folder": servers.folder, "port": port})
    servers.write("access.log", "")
    server = servers.start([fpm_program(), "-n", "-y", conf]).wait_port(port)
    server.url = f"fastcgi://127.0.0.1:{port}"
    server.folder = servers.folder
    return server


def script(servers, name, text):
    """A script's path."""
    return servers.write(name, f"<?php {text}")


# It logs these in its own time, after it listens.
START = re.compile(r"\[.*\] NOTICE: (fpm is running, pid \d+|ready to handle connections|"
                   r"systemd monitor interval set to \d+ms|"
                   r"\[pool www\] '\w+' directive is ignored when FPM is not running as root)")


def beside_its_start(fpm):
    """What its error log says of anything else."""
    return [line for line in (fpm.folder / "error.log").read_text().splitlines()
            if not START.fullmatch(line)]


def test_the_ping_page_leaves_one_line_in_the_access_log_only(fpm, healthsvc):
    rounds(healthsvc, f"{fpm.url}/ping", "", 200)
    access = (fpm.folder / "access.log").read_text().splitlines()
    assert len(access) >= 200 and all('"GET /ping" 200' in line for line in access)
    assert beside_its_start(fpm) == []


def test_the_library_alone_leaves_nothing(fpm, healthsvc):
    rounds(healthsvc, fpm.url, "", 200)
    assert (fpm.folder / "access.log").read_text() == ""
    assert beside_its_start(fpm) == []


@pytest.mark.parametrize("text, settings, answer", [
    ('echo "fine";', "", "^200 .*it status: OK"),
    ('http_response_code(503); echo "no";', "", "^500 .*it status: Error. HTTP 503"),
    ('http_response_code(503); echo "no";', "expect_status = 503;", "^200 .*it status: OK"),
    ("does not parse", "", "^500 .*it status: Error. HTTP 500"),
])
def test_a_script(fpm, healthsvc, servers, text, settings, answer):
    path = script(servers, "health.php", text)
    svc = healthsvc(CONF % (f"{fpm.url}{path}?deep=1", settings))
    svc.wait_health(answer)


def test_a_script_that_is_not_there(fpm, healthsvc):
    svc = healthsvc(CONF % (f"{fpm.url}/none.php", ""))
    svc.wait_health("^500 .*it status: Error. HTTP 404")


def test_no_worker_is_free(fpm, healthsvc, servers):
    started, end = servers.folder / "started", servers.folder / "end"
    slow = script(servers, "slow.php",
                  f"touch('{started}'); while (!file_exists('{end}')) "
                  "{ usleep(20000); clearstatcache(); }")
    svc = healthsvc(CONF % (f"{fpm.url}/ping", ""))
    svc.wait_health("^200 .*it status: OK")
    busy = healthsvc(CONF % (f"{fpm.url}{slow}", ""))
    wait_for(started.exists, 20, "the slow script")
    svc.wait_health("^500 .*it status: Error. timeout after 950ms in exchange", 20)
    assert busy.stop() == 0
    end.write_text("")
    svc.wait_health("^200 .*it status: OK", 20)
