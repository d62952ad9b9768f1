"""The unit's sandbox against what the daemon and the commands that it runs really do.

Not part of "make check": a sanitizer calls what it likes. tests/package/run runs it for the binary
and the unit (HEALTHSVC_UNIT) of the package, in a network of its own.
"""
import os
import pathlib
import re
import socket
import subprocess

import pytest

import daemon

CONF = """
name = "gateway";
listen = "127.0.0.1:%(port)d";
nameservers = "%(nameserver)s";
defaults = { period = "300ms"; timeout = "250ms"; ca_file = "%(ca_file)s"; };
dependencies = (
  { name = "http";   url = "%(http)s"; },
  { name = "named";  url = "http://trips.test:%(http_port)d/"; },
  { name = "https";  url = "%(https)s"; },
  { name = "local";  url = "tcp+unix://%(local)s"; },
  { name = "dns";    url = "dns://%(nameserver)s/trips.test"; },
  { name = "icmp";   url = "icmp://127.0.0.1"; },
  { name = "icmp6";  url = "icmp://[::1]"; },
  { name = "file";   url = "file://%(file)s"; match = "fresh"; },
  { name = "plugin"; exec = [ "/usr/lib/nagios/plugins/check_tcp", "-H", "127.0.0.1",
                              "-p", "%(http_port)d" ]; },
  { name = "slow";   exec = [ "/bin/sleep", "60" ]; importance = "info"; }
);
"""


@pytest.fixture(scope="module")
def allowed():
    """The names of the system calls that the unit's filter lets through."""
    text = pathlib.Path(os.environ["HEALTHSVC_UNIT"]).read_text()
    names = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        listed = set().union(*(expand(item) for item in value.lstrip("~").split()))
        names = names - listed if value.startswith("~") else names | listed
    assert "read" in names and "reboot" not in names
    return names


def expand(item):
    if not item.startswith("@"):
        return {item}
    lines = subprocess.run(["systemd-analyze", "syscall-filter", item], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    return set().union(*(expand(line.strip()) for line in lines[1:]
                         if line.strip() and not line.strip().startswith("#")))


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """Makes the daemons of the test run under strace; the files that it writes."""
    wrapper = tmp_path / "traced"
    # -D: the tracer is the daemon's child, not its parent, so that signals reach the daemon.
    wrapper.write_text(f'#!/bin/sh\nexec strace -D -ff -qq -e signal=none -o {tmp_path}/trace '
                       f'{daemon.BINARY} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(daemon, "BINARY", str(wrapper))
    return lambda: list(tmp_path.glob("trace.*"))


def test_every_system_call_is_let_through(healthsvc, peers, authority, name_server, tmp_path,
                                          allowed, traced):
    http, https = peers.http(), peers.http(tls=authority.server())
    name_server.zone["trips.test"] = ["127.0.0.1"]
    (tmp_path / "fresh").write_text("fresh\n")
    values = {"port": 0, "nameserver": name_server.address, "ca_file": authority.ca_file,
              "http": http.url(), "http_port": http.port, "https": https.url("/", "https"),
              "local": tmp_path / "local.sock", "file": tmp_path / "fresh"}
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "local.sock"))
        local.listen(64)
        svc = healthsvc(CONF % values)
        svc.wait_health("^200 gateway status: OK", timeout=20)
        svc.wait_log("slow is down", timeout=20)  # it was ended at its deadline
        values["port"] = socket_port()
        assert "1 added" in svc.reload(CONF.replace('"http";', '"new";  ') % values)
        svc.wait_log(rf"listening on 127\.0\.0\.1:{values['port']}")
        http.close()
        svc.wait_log("new is down", timeout=20)
        assert svc.get("/metrics", port=values["port"]).status == 200
        assert svc.get("/health?format=json", port=values["port"]).body.startswith('{"status"')
        assert svc.stop() == 0

    called = {}
    for trace in traced():
        for name in re.findall(r"^(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE):
            called.setdefault(name, trace.name)
    # What the story is known to use: else the trace, not the filter, would be what passes.
    assert {"connect", "dup3", "execve", "kill", "listen", "pidfd_open", "sendto"} <= set(called)
    forbidden = {name for name in called if name not in allowed}
    assert not forbidden, f"not in SystemCallFilter: {sorted(forbidden)}"


def socket_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_the_daemon_maps_no_memory_that_is_both_written_and_run(healthsvc, traced):
    """As MemoryDenyWriteExecute= demands; a filter cannot tell by the name of a call."""
    svc = healthsvc('name = "gateway"; listen = "127.0.0.1:0"; dependencies = ( { name = "trips"; '
                    'url = "http://127.0.0.1:1/"; expect_body = "^Up(a|b)*"; } );')
    svc.wait_health("^500 ")
    assert svc.stop() == 0
    calls = "".join(trace.read_text(errors="replace") for trace in traced())
    assert "PROT_READ" in calls
    assert not re.search(r"PROT_WRITE\|PROT_EXEC", calls)
