"""conf/openrc/healthsvc: what its functions do with the real program, in a shell that stands in for
openrc-run (Debian's machines run systemd). What openrc-run makes of the variables is not tried."""
import os
import pathlib
import re
import subprocess

import daemon

SCRIPT = pathlib.Path(os.environ.get("TOP_SRCDIR", ".")) / "conf/openrc/healthsvc"

# checkpath and supervise-daemon say what they were asked for; everything else is the script's.
STAND_IN = """
RC_SVCNAME=healthsvc
checkpath() { echo "checkpath $*"; }
supervise_daemon() { echo "supervise-daemon $*"; }
alias supervise-daemon=supervise_daemon
ebegin() { echo "$*"; }
eend() { return "$1"; }
need() { :; }; use() { :; }; after() { :; }
healthsvc_command=$1 healthsvc_conf=$2
. "$3"
"$4"
"""


def run(function, conf):
    text = STAND_IN.replace('. "$3"', SCRIPT.read_text())  # aliases hold for lines read after them
    said = subprocess.run(["sh", "-c", text, "sh", daemon.BINARY, conf, SCRIPT, function],
                          text=True, capture_output=True, check=False)
    return said.returncode, said.stdout, said.stderr


def test_a_good_configuration_starts_and_reloads(tmp_path):
    conf = tmp_path / "health.conf"
    conf.write_text('listen = "127.0.0.1:0";')
    code, said, _ = run("start_pre", conf)
    assert code == 0
    assert "checkpath --directory --owner healthsvc:healthsvc --mode 0755 /run/healthsvc" in said
    assert run("reload", conf) == (0, "Reloading healthsvc\nsupervise-daemon healthsvc --signal HUP"
                                      " --pidfile /run/healthsvc.pid\n", "")
    assert run("depend", conf)[0] == 0


def test_a_bad_one_does_neither(tmp_path):
    conf = tmp_path / "health.conf"
    conf.write_text("perod = 1;")
    for function in ("checkconfig", "start_pre", "reload"):
        code, said, fault = run(function, conf)
        assert code != 0 and "supervise-daemon" not in said
        assert f"{conf}:1: unknown setting 'perod'" in fault


def test_it_names_what_is_installed():
    text = SCRIPT.read_text()
    assert "${healthsvc_command:-/usr/sbin/healthsvc}" in text
    assert re.search(r'^supervisor="supervise-daemon"$', text, re.MULTILINE)
    assert "-c 0" in re.search(r'^rc_ulimit="(.*)"$', text, re.MULTILINE).group(1)
