"""The command line: -t, -1, -V, -h, and what each ends with."""
import json
import os
import pathlib
import re
import subprocess

import pytest

import daemon
import plugin

TOP = pathlib.Path(os.environ.get("TOP_SRCDIR", "."))
PLAIN = 'name = "gateway"; listen = "127.0.0.1:0";\n'


@pytest.fixture
def run_with(tmp_path):
    """Runs the binary once with a configuration text."""
    def run(option, text, env=None):
        conf = tmp_path / "health.conf"
        conf.write_text(text)
        options = [option] if isinstance(option, str) else option or []
        return daemon.run(*options, "-c", conf, env=env)
    return run


def one(url, more=""):
    return PLAIN + f'dependencies = ( {{ name = "trips"; url = "{url}"; {more} }} );\n'


def test_help_and_version():
    helped = daemon.run("-h")
    assert helped.returncode == 0 and helped.stderr == ""
    for option in ("-c FILE", "-t", "-1", "-q", "-f", "-T", "-V", "-h"):
        assert option in helped.stdout
    version = daemon.run("-V")
    assert version.returncode == 0
    assert re.match(r"healthsvc \d+\.\d+\.\d+\n", version.stdout)
    for built_in in ("http", "https", "tcp", "tls", "OpenSSL", "CivetWeb"):
        assert built_in in version.stdout


def test_every_scheme_is_in_this_build_or_said_not_to_be(run_with):
    rows = (TOP / "src/probe/schemes.def").read_text()
    known = set(re.findall(r"(?:BUILT\(scheme_|KNOWN\(\")(\w+)", rows.split("*/", 1)[1]))
    said = dict(line.split(":", 1) for line in daemon.run("-V").stdout.splitlines()[1:])
    built = said["schemes"].split()
    lacking = said.get("schemes not in this build", "").split()
    assert sorted(built + lacking) == sorted(known)
    assert {"http", "https", "tcp", "tls", "exec", "file"} <= set(built)
    if "not in this build" in said["HTTP/2 of grpc"]:
        assert lacking == ["grpc", "grpcs"]
    for scheme in lacking:
        tested = run_with("-t", one(f"{scheme}://trips:50051", 'service = "a"; period = "5s";'))
        assert tested.returncode == 2
        assert tested.stderr.splitlines()[0].endswith(
            f":2: scheme '{scheme}' is known but not in this build")
        assert len(tested.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments, told", [
    ([], "-c"),
    (["-c"], "-c"),
    (["-x"], "-x"),
    (["-t"], "-c"),
    (["-1"], "-c"),
    (["-c", "a", "b"], "argument"),
    (["-t", "-1", "-c", "a"], "-t, -1 and -q exclude each other"),
    (["-q", "a", "-1"], "-t, -1 and -q exclude each other"),
    (["-q"], "-q needs a value"),
    (["-q", "a", "b"], "-q takes one TARGET"),
    (["-q", "a", "-c", "b"], "-c has no use with -q"),
    (["-q", "a", "-f"], "-f needs a value"),
    (["-q", "a", "-f", "xml"], "text, json or nagios"),
    (["-f", "json", "-c", "a"], "-f has a use with -1 and -q only"),
    (["-t", "-f", "json", "-c", "a"], "-f has a use with -1 and -q only"),
    (["-1", "-T", "1s", "-c", "a"], "-T has a use with -q only"),
    (["-q", "a", "-T", "soon"], "-T wants a duration"),
    (["-q", "a", "-T", "0"], "-T wants a duration"),
    (["-q", "a", "-T", "-1"], "-T wants a duration"),
    (["-q", "a", "-T", "25h"], "-T wants a duration"),
    (["-q", "a", "-T", "9223372036854775807"], "-T wants a duration"),
    (["-c", "/nonexistent/health.conf"], "/nonexistent/health.conf"),
    (["-t", "-c", "/nonexistent/health.conf"], "/nonexistent/health.conf"),
    (["-1", "-c", "/nonexistent/health.conf"], "/nonexistent/health.conf"),
    (["-c", "/"], "/"),
])
def test_wrong_usage_ends_with_2(arguments, told):
    ended = daemon.run(*arguments)
    assert ended.returncode == 2
    assert told in ended.stderr and ended.stdout == ""


def test_wrong_usage_is_unknown_to_a_monitoring_system():
    for arguments in (["-x", "-f", "nagios"], ["-f", "nagios", "-q", "a", "-T", "x"],
                      ["-1", "-f", "nagios"], ["-q", "a", "-1", "-f", "nagios"]):
        ended = daemon.run(*arguments)
        assert plugin.read(ended.stdout, ended.returncode).state == "UNKNOWN"
        assert "usage: healthsvc" in ended.stderr


def test_a_good_file_is_good(run_with):
    tested = run_with("-t", one("http://trips.test/"))
    assert (tested.returncode, tested.stderr) == (0, "")
    assert re.match(r"\S+/health\.conf: ok, 1 dependency\n\n", tested.stdout)


def test_what_it_will_do_and_need_is_told(run_with):
    tested = run_with("-t", PLAIN + """workers = 7;
        dependencies = (
          { name = "trips"; url = "http://trips.test/"; },
          { name = "sea"; url = "https://sea.test/"; period = "60s"; }
        );""")
    said = tested.stdout
    assert re.search(r"^trips +10s +12s \.\. 22s +11s \.\. 19s +33s$", said, re.MULTILINE)
    assert re.search(r"^sea +60s +62s \.\. 72s +61s \.\. 69s +183s$", said, re.MULTILINE)
    assert re.search(r"^checks +0\.12 a second; 2\.00 ", said, re.MULTILINE)
    assert re.search(r"^threads .* same time: 7$", said, re.MULTILINE)
    assert max(map(len, said.splitlines()[1:])) <= 80


def test_the_threads_told_are_those_that_run(healthsvc):
    svc = healthsvc('listen = ( { address = "127.0.0.1:0"; workers = 3; },\n'
                    '           { address = "127.0.0.1:0"; workers = 5; } );\n')
    told = re.search(r"^threads +(\d+); .*: 8$", daemon.run("-t", "-c", svc.conf).stdout,
                     re.MULTILINE)
    with open(f"/proc/{svc.pid}/maps", encoding="utf-8") as maps:
        of_the_sanitizer = int("libtsan" in maps.read())  # has a thread of its own
    threads = len(os.listdir(f"/proc/{svc.pid}/task")) - of_the_sanitizer
    assert threads == int(told.group(1)) == 12


def test_a_warning_is_told_by_line_and_ends_with_0(run_with):
    tested = run_with("-t", one("http://trips.test/", 'period = "10s";\n max_age = "11s";'))
    assert tested.returncode == 0
    assert re.fullmatch(r"\S+/health\.conf:2: warning: trips: 'max_age' is 11s, .*\n", tested.stderr)
    assert "trips" in tested.stdout


def test_secrets_beside_the_file_that_everybody_may_read_are_warned_of(run_with, tmp_path):
    text = 'details_token_file = "token";\n' + one("http://x/", 'password_file = "password";')
    for name in ("token", "password"):
        (tmp_path / name).write_text("swordfish-swordfish\n")
        (tmp_path / name).chmod(0o644)
    told = run_with("-t", text).stderr.splitlines()
    assert len(told) == 2 and "swordfish" not in "".join(told)
    assert f"may read {tmp_path}/password (mode 0644)" in told[0]
    assert f"may read {tmp_path}/token (mode 0644)" in told[1]
    for name in ("token", "password"):
        (tmp_path / name).chmod(0o600)
    assert run_with("-t", text).stderr == ""


@pytest.mark.parametrize("limit, told", [
    (100, "it would not start here"), (300, "300 here: enough for"), (4000, None)])
def test_too_few_descriptors_are_warned_of(tmp_path, limit, told):
    conf = tmp_path / "health.conf"
    conf.write_text(PLAIN + "dependencies = (" + ",".join(
        f'{{ name = "d{i}"; url = "http://d{i}.test/"; }}' for i in range(200)) + ");")
    ran = subprocess.run(["prlimit", f"--nofile={limit}:{limit}", daemon.BINARY, "-t", "-c",
                          str(conf)], capture_output=True, text=True, timeout=30 * daemon.SCALE,
                         check=False)
    assert ran.returncode == 0
    assert f"the limit is {limit} here" in ran.stdout
    if told:
        assert re.fullmatch(rf"{conf}: warning: .*{told}.*\n", ran.stderr)
    else:
        assert ran.stderr == ""


def test_ten_thousand_are_examined(tmp_path):
    conf = tmp_path / "health.conf"
    conf.write_text(PLAIN + "dependencies = (" + ",".join(
        f'{{ name = "d{i}"; url = "http://d{i}.test/"; }}' for i in range(10000)) + ");")
    tested = daemon.run("-t", "-c", conf)
    assert tested.returncode == 0
    assert len(re.findall(r"^d\d+ ", tested.stdout, re.MULTILINE)) == 10000


README = (TOP / "README.md").read_text()
EXAMPLE = re.search(r"## A configuration\n\n```\n(.*?)```", README, re.DOTALL).group(1)


def test_the_documented_configurations_give_no_warning(run_with):
    shipped = (TOP / "conf/health.conf").read_text()
    for text in (EXAMPLE, re.sub(r"(?m)^#(  \{ name = )", r"\1", shipped)):
        tested = run_with("-t", text)
        assert (tested.returncode, tested.stderr) == (0, "")
        assert re.search(r"^trips  ", tested.stdout, re.MULTILINE)


def test_the_documented_table_is_that_of_the_documented_configuration(run_with):
    shown = re.search(r"\$ healthsvc -t -c health.conf\n(.*?)```", README, re.DOTALL).group(1)
    _, times, sums = run_with("-t", EXAMPLE).stdout.split("\n\n")
    _, shown_times, shown_sums = shown.split("\n\n")
    assert times == shown_times

    def what_is_the_same_everywhere(text):
        return re.sub(r"\d+", "N", text)
    assert what_is_the_same_everywhere(sums) == what_is_the_same_everywhere(shown_sums)


def test_every_fault_is_told_with_its_line_in_one_run(run_with):
    text = ('name = "";\n'                                                       # 1
            'listen = "300.0.0.1:80";\n'                                         # 2
            'workers = 0;\n'                                                     # 3
            'perod = 5;\n'                                                       # 4
            'dependencies = (\n'
            '  { name = "a b"; url = "http://x/"; },\n'                          # 6
            '  { name = "a"; url = "http://x/"; timeout = "20s"; period = "10s"; },\n'  # 7
            '  { name = "a"; url = "http://x/"; },\n'                            # 8
            '  { name = "c"; url = "http://u:p@x/"; },\n'                        # 9
            '  { name = "d"; url = "gopher://x/"; },\n'                          # 10
            '  { name = "e"; url = "redis://x/path"; },\n'                      # 11
            '  { name = "f"; url = "http://x/"; perod = "5s"; },\n'              # 12
            '  { name = "g"; url = "http://x/"; period = "5 parsecs"; }\n'       # 13
            ');\n')
    tested = run_with("-t", text)
    assert tested.returncode == 2
    lines = {int(n) for n in re.findall(r"health\.conf:(\d+): ", tested.stderr)}
    assert lines == {1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13}, tested.stderr
    assert "did you mean 'period'?" in tested.stderr
    assert "u:p" not in tested.stderr
    # The daemon itself says the same, and does not run.
    ran = run_with(None, text)
    assert ran.returncode == 2
    for line in tested.stderr.splitlines():
        assert line in ran.stderr


def test_an_included_file_is_named(run_with, tmp_path):
    (tmp_path / "more.conf").write_text('\nperod = 1;\n')
    tested = run_with("-t", f'@include "{tmp_path}/more.conf"\n')
    assert tested.returncode == 2
    assert re.search(r"more\.conf:2: .*perod", tested.stderr)


def test_tls_of_the_server_is_refused(run_with):
    tested = run_with("-t", 'listen = "127.0.0.1:8443s";')
    assert tested.returncode == 2 and "health.conf:1: " in tested.stderr


def test_the_shipped_configuration_is_good():
    tested = daemon.run("-t", "-c", TOP / "conf/health.conf")
    assert (tested.returncode, tested.stderr) == (0, "")


def test_once_is_healthy(run_with, peers):
    asked = run_with("-1", one(peers.http().url()))
    assert asked.returncode == 0
    assert asked.stdout == "gateway status: OK\nDependencies:\ntrips status: OK\n"


def test_once_is_not_healthy(run_with, peers):
    asked = run_with("-1", one(peers.refused().url()))
    assert asked.returncode == 1
    assert asked.stdout == ("gateway status: Error\nDependencies:\n"
                            "trips status: Error. connection refused\n")


def test_once_with_a_warning_is_healthy(run_with, peers):
    asked = run_with("-1", one(peers.refused().url(), 'importance = "optional";'))
    assert asked.returncode == 0
    assert asked.stdout.startswith("gateway status: Warning\n")


def test_once_waits_no_longer_than_the_deadline(run_with, peers):
    asked = run_with("-1", one(peers.hung().url(), 'timeout = "500ms";'))
    assert asked.returncode == 1
    assert "trips status: Error. timeout after 500ms in exchange\n" in asked.stdout


def test_once_does_not_listen(run_with, peers):
    """An address in use is no hindrance."""
    text = one(peers.http().url()).replace("127.0.0.1:0", peers.hung().address)
    assert run_with("-1", text).returncode == 0


def test_once_without_dependencies(run_with):
    asked = run_with("-1", PLAIN)
    assert (asked.returncode, asked.stdout) == (0, "Up and running\n")


def test_once_as_json(run_with, peers):
    for peer, code, status in ((peers.http(), 0, "pass"), (peers.refused(), 1, "fail")):
        asked = run_with(["-1", "-f", "json"], one(peer.url()))
        assert asked.returncode == code
        said = json.loads(asked.stdout)
        assert said["status"] == said["checks"]["trips:responseTime"][0]["status"] == status


def test_once_as_a_plugin(run_with, peers):
    def said(code, text):
        asked = run_with(["-1", "-f", "nagios"], text)
        assert asked.returncode == code
        return plugin.read(asked.stdout, code)
    assert said(0, one(peers.http().url())).text == "1 of 1 dependency up"
    assert said(1, one(peers.refused().url(), 'importance = "optional";')).text == \
        "trips: connection refused"
    line = said(2, one(peers.refused().url()))
    assert line.text == "trips: connection refused" and line.items["trips"].value is None
    # What cannot be asked from here is not critical.
    assert said(3, one("exec", "").replace('url = "exec"', 'exec = "/nonexistent/plugin"')).text \
        == "trips: not checked yet"
    # What cannot run at all is not either.
    line = said(3, "perod = 1;\nworkers = 0;")
    assert "health.conf:1: unknown setting 'perod'" in line.text and line.items == {}


def test_once_that_cannot_be_printed_ends_with_2(tmp_path):
    path = tmp_path / "health.conf"
    path.write_text(PLAIN)
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([daemon.BINARY, "-1", "-c", path], stdout=full, check=False,
                               stderr=subprocess.PIPE, text=True, timeout=30 * daemon.SCALE)
    assert ended.returncode == 2 and "cannot print the verdict" in ended.stderr


def test_once_with_a_bad_file(run_with):
    asked = run_with("-1", "perod = 1;")
    assert asked.returncode == 2 and asked.stdout == ""


def test_an_address_in_use_ends_with_1_and_is_named(run_with, peers):
    taken = peers.hung()
    ran = run_with(None, PLAIN.replace("127.0.0.1:0", taken.address))
    assert ran.returncode == 1
    assert taken.address in ran.stderr and "in use" in ran.stderr


def test_an_address_of_another_machine_ends_with_1_and_is_named(run_with):
    ran = run_with(None, PLAIN.replace("127.0.0.1:0", "192.0.2.1:8000"))
    assert ran.returncode == 1
    assert "192.0.2.1:8000" in ran.stderr


def test_secrets_are_never_shown(run_with, tmp_path):
    """Not even where their setting is at fault."""
    (tmp_path / "secret").write_text("swordfish\n")
    text = one("http://x/", f'user = "u"; password_file = "{tmp_path}/secret"; pasword = "hunter2";')
    for option in ("-t", "-1", None):
        ended = run_with(option, text)
        assert ended.returncode == 2
        assert "swordfish" not in ended.stderr + ended.stdout
        assert "hunter2" not in ended.stderr + ended.stdout


def test_too_few_descriptors_for_the_workers_are_refused(run_with, tmp_path):
    conf = tmp_path / "health.conf"
    conf.write_text(PLAIN + "workers = 512;\n")
    ran = subprocess.run(["prlimit", "--nofile=200:200", daemon.BINARY, "-c", str(conf)],
                         capture_output=True, text=True, timeout=30 * daemon.SCALE, check=False)
    assert ran.returncode == 1
    assert "RLIMIT_NOFILE" in ran.stderr or "open files" in ran.stderr
