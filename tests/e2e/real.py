"""Real servers for tests: on loopback, on a port and in a folder of their own, ended by their pid.

    def test_it(servers):
        port = servers.port()
        server = servers.start([program("mosquitto"), "-p", port]).wait_port(port)

As root they run as the user that owns the folder, since most refuse to be root.
"""
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from waiting import SCALE, wait_for

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"
AS_ROOT = os.geteuid() == 0

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "1s"; timeout = "950ms"; confirm = "200ms"; fall = 1; rise = 1; };
dependencies = ( { name = "it"; url = "%s"; %s } );
"""

ROUNDS = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "1s"; timeout = "990ms"; };
dependencies = ( %s );
"""
ROUNDS_AT_ONCE = 40


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
    """`command` may be changed before start() is called again."""

    def __init__(self, command, folder, account, env):
        self.command = command
        self._log = folder / "server.log"
        self._folder = folder
        self._env = {**os.environ, **env}
        self._account = account
        self.start()

    def start(self):
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self._folder, env=self._env,
                                            **self._account)
        return self

    def log(self):
        return self._log.read_text(errors="replace")

    def lines_since(self, size):
        return self.log()[size:].splitlines()

    def wait(self, ready, what, timeout=60):
        """Until ready() is true; the server must live until then."""
        def look():
            assert self.process.poll() is None, f"ended:\n{self.log()}"
            return ready()
        wait_for(look, timeout, what)
        return self

    def wait_port(self, port):
        return self.wait(lambda: answers(port), f"the server on port {port}")

    def wait_log(self, text, timeout=60):
        return self.wait(lambda: text in self.log(), f"{text!r} in the server's log", timeout)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20 * SCALE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Servers:
    """What one test starts in one folder. It belongs to the user of own(), if we are root."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="healthsvc-"))
        self._account = {}
        self._started = []
        self._reserved = []

    def own(self, user):
        if AS_ROOT:
            entry = pwd.getpwnam(user)
            self._account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            self._give(self.folder)
        return self.folder

    def _give(self, path):
        if self._account:
            os.chown(path, self._account["user"], self._account["group"])
        return path

    def write(self, name, content, mode=0o600):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return self._give(path)

    def make_folder(self, name):
        path = self.folder / name
        path.mkdir(mode=0o700)
        return self._give(path)

    def port(self):
        """A port of loopback that stays ours until a server takes it with SO_REUSEADDR."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        self._reserved.append(sock)
        return sock.getsockname()[1]

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
        for sock in self._reserved:
            sock.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def converse(port, asked, until):
    """A connection on which `asked` was said, and what came until the pattern was found in it, or
    the end."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10 * SCALE)
    came = b""
    try:
        sock.sendall(asked)
        while not re.search(until, came):
            piece = sock.recv(4096)
            if not piece:
                break
            came += piece
    except OSError:
        pass
    return sock, came


def fill(held, port, good, full, asked=b""):
    """Adds connections to `held` until the server says that it is full. It may count one that was
    just closed, so it is not full for good: a test fills again until what it waits for is there."""
    for _ in range(200):
        sock, came = converse(port, asked, good + b"|" + full)
        if re.search(full, came):
            sock.close()
            return
        assert re.search(good, came), came
        held.append(sock)
    raise AssertionError(f"port {port} is never full")
