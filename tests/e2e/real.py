"""Real servers from Debian, started by a test on loopback, each in a folder of its own and as a
user without privileges; ended with the test."""
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from waiting import SCALE, wait_for

PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
AS_ROOT = os.geteuid() == 0


def program(name, package):
    found = shutil.which(name, path=PATH)
    if not found:
        pytest.skip(f"needs {package}")
    return found


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def open_way(folder):
    """Lets another user reach a folder of ours below the system's folder for such."""
    top = pathlib.Path(tempfile.gettempdir()).resolve()
    for path in [folder, *folder.parents]:
        if path == top or top not in path.parents or path.stat().st_uid != os.geteuid():
            return
        path.chmod(path.stat().st_mode | 0o011)


class Server:
    """`command` is a list; `user` is taken when the tests run as root."""

    def __init__(self, folder, command, port, user="nobody", env=None):
        self.folder, self.command, self.port = folder, [str(c) for c in command], port
        self.log = folder / "log"
        self._env = env
        self._user = user if AS_ROOT else None
        self.process = None
        self.start()

    def start(self):
        drop = {}
        if self._user:
            entry = pwd.getpwnam(self._user)
            drop = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            open_way(self.folder)
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, entry.pw_uid, entry.pw_gid)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder, env=self._env, **drop)
        try:
            wait_for(self._listens, 30, f"{self.command[0]} on port {self.port}")
        except AssertionError:
            self.stop()
            raise

    def _listens(self):
        assert self.process.poll() is None, self.log.read_text(errors="replace")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10 * SCALE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


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


def fill(port, good, full, asked=b""):
    """Holds connections until the server says that it is full; returns them."""
    held = []
    for _ in range(200):
        sock, came = converse(port, asked, good + b"|" + full)
        if re.search(full, came):
            sock.close()
            return held
        assert re.search(good, came), came
        held.append(sock)
    raise AssertionError(f"port {port} is never full")
