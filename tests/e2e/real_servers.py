"""Real servers for tests: on loopback, on a port and in a folder of their own, ended by their pid.

    from real_servers import servers

    def test_it(servers):
        server = servers.start("mosquitto", [program("mosquitto"), "-p", str(port)])

As root they run as the user that their package made, since most refuse to be root.
"""
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from waiting import SCALE, wait_for

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "3s"; timeout = "2500ms"; confirm = "200ms"; fall = 1; rise = 1; };
dependencies = ( { name = "it"; url = "%s"; %s } );
"""

ROUNDS = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "500ms"; timeout = "490ms"; };
dependencies = ( %s );
"""
ROUNDS_AT_ONCE = 20


def rounds(healthsvc, url, settings, count, look=None):
    """At least `count` checks, all of them good; then look(). The daemon has ended when this
    returns, and has cut the checks that it was in the middle of."""
    names = [f"it{i}" for i in range(ROUNDS_AT_ONCE)]
    svc = healthsvc(ROUNDS % ", ".join(f'{{ name = "{name}"; url = "{url}"; {settings} }}'
                                       for name in names))

    def ended(kind):
        lines = svc.get("/metrics").body.splitlines()
        return sum(float(line.split()[1]) for line in lines
                   if line.startswith("healthsvc_dependency_checks_total")
                   and f'class="{kind}"' in line)

    wait_for(lambda: ended("good") >= count, 60, f"{count} good checks")
    assert ended("bad") == 0, svc.log_text()
    if look is not None:
        look()
    assert svc.stop() == 0


def program(package, name=None, path=None):
    """Where a package's program is; without it the test is skipped."""
    found = shutil.which(name or package, path=path or PATH)
    if not found:
        pytest.skip(f"needs the package {package}")
    return found


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Server:
    def __init__(self, command, folder, account, env):
        self._log = folder / "server.log"
        self._env = {**os.environ, **env}
        self._account = account
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=folder, env=self._env, **account)

    def log(self):
        return self._log.read_text(errors="replace")

    def lines_since(self, size):
        return self.log()[size:].splitlines()

    def wait_port(self, port, timeout=60):
        def look():
            assert self.process.poll() is None, f"ended:\n{self.log()}"
            return answers(port)
        wait_for(look, timeout, f"the server on port {port}")
        return self

    def wait_log(self, text, timeout=60):
        def look():
            assert self.process.poll() is None, f"ended:\n{self.log()}"
            return text in self.log()
        wait_for(look, timeout, f"{text!r} in the server's log")
        return self

    def stop(self, sig=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(20 * SCALE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Servers:
    """What one test starts. `folder` belongs to `user`, if there is such a one and we are root."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="healthsvc-"))
        self._account = {}
        self._started = []

    def own(self, user):
        if os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            self._account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        return self.folder

    def write(self, name, content, mode=0o600):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        if self._account:
            os.chown(path, self._account["user"], self._account["group"])
        return path

    def run(self, command, env=None, timeout=60):
        """A command that ends, as the same user."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              cwd=self.folder, env={**os.environ, **(env or {})},
                              timeout=timeout * SCALE, check=False, **self._account)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command, env=None):
        server = Server([str(word) for word in command], self.folder, self._account, env or {})
        self._started.append(server)
        return server

    def end(self):
        for server in reversed(self._started):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def servers():
    made = Servers()
    yield made
    made.end()
