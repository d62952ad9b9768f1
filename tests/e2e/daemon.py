"""One healthsvc process under test."""
import collections
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

from waiting import SCALE, wait_for

BINARY = os.environ.get("HEALTHSVC_BIN") or os.path.abspath("healthsvc")
SANITIZER_REPORT = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")
LISTENING = re.compile(r"listening on (\S+)(?=\s|$)", re.MULTILINE)
RELOAD_ENDED = re.compile(r"reloaded: .*|.*keeping the running configuration.*")

Answer = collections.namedtuple("Answer", "status headers body")


def is_sanitized():
    """Of a collection without a build it is not asked."""
    try:
        return re.search(rb"__[at]san_init", pathlib.Path(BINARY).read_bytes()) is not None
    except FileNotFoundError:
        return False


# Becomes a command, with a limit of open files and with sockets as systemd passes them.
LAUNCH = """
import fcntl, os, resource, sys
limit, names, fds, *command = sys.argv[1:]
fds = [int(fd) for fd in fds.split()]
for i, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 50) for fd in fds]):
    os.dup2(fd, 3 + i)
    os.close(fd)
for fd in fds:
    if fd >= 3 + len(fds):
        os.close(fd)
if fds:
    os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
if limit:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
os.execvp(command[0], command)
"""


class Command:
    """The binary with arguments. `sockets`, by name, are passed as systemd does, `through` a program
    that passes them on; `limit` is how many files it may open; `under` are the words of a command
    that becomes it."""

    def __init__(self, *args, sockets=None, through=(), limit=None, under=()):
        pairs = [(name, sock.fileno()) for name, socks in (sockets or {}).items()
                 for sock in socks]
        names = ":".join(name for name, _ in pairs)
        self.fds = [fd for _, fd in pairs]
        self.words = [BINARY, *map(str, args)]
        if through:
            self.words = [*through, f"--fdname={names}", *self.words]
        if pairs or limit:
            self.words = [sys.executable, "-c", LAUNCH, str(limit or ""), names,
                          " ".join(map(str, self.fds)), *self.words]
        self.words = [*under, *self.words]


def run(*args, timeout=30, env=None, **how):
    """The binary as a command: a CompletedProcess with text output."""
    command = Command(*args, **how)
    return subprocess.run(command.words, capture_output=True, text=True, pass_fds=command.fds,
                          stdin=subprocess.DEVNULL, timeout=timeout * SCALE,
                          env=environment(env))


def environment(more):
    env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
    env.update(more or {})
    return env


class Connection(http.client.HTTPConnection):
    """HTTP to an address as the daemon logs it."""

    def __init__(self, address, timeout):
        super().__init__("127.0.0.1", timeout=timeout)
        self._address = address

    def connect(self):
        self.sock = connect_to(self._address, self.timeout)


def connect_to(address, timeout):
    """A socket connected to "127.0.0.1:PORT", "[::1]:PORT" or "unix:PATH"; to every address: to
    127.0.0.1."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        try:
            sock.connect(address[len("unix:"):])
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "127.0.0.1"}.get(host, host.strip("[]"))
    return socket.create_connection((host, int(port)), timeout=timeout)


class Daemon:
    """With a `stderr` there is no log to read: its addresses are then the Unix sockets that the
    configuration names."""

    def __init__(self, directory, conf_text, args=(), env=None, stderr=None, **how):
        self.conf = directory / "health.conf"
        self.conf.write_text(conf_text)
        self.log = directory / "log"
        self._listens = count_listens(conf_text)
        self._told = re.findall(r'"(unix:[^"]+)"', conf_text) if stderr is not None else []
        self._ended = False
        command = Command("-c", self.conf, *args, **how)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command.words, stdin=subprocess.DEVNULL, pass_fds=command.fds,
                stdout=log, stderr=log if stderr is None else stderr, env=environment(env))
        self.pid = self.process.pid

    # What it says.

    def log_text(self):
        return self.log.read_text(errors="replace")

    def wait_log(self, pattern, timeout=10.0, start=0):
        """The match of `pattern` in the log after its first `start` characters."""
        wanted = re.compile(pattern, re.MULTILINE)

        def look():
            found = wanted.search(self.log_text(), start)
            assert found or self.process.poll() is None, \
                f"ended before it logged {pattern!r}:\n{self.log_text()}"
            return found
        try:
            return wait_for(look, timeout, f"the log line {pattern!r}")
        except AssertionError as fault:
            raise AssertionError(f"{fault}; the log:\n{self.log_text()}") from None

    def wait_listening(self):
        wait_for(lambda: len(self.addresses) >= self._listens or self.process.poll() is not None, 10,
                 "the listening socket")
        assert self.process.poll() is None, f"did not start:\n{self.log_text()}"

    @property
    def addresses(self):
        """Every address ever listened on, in the order of the log."""
        return self._told or LISTENING.findall(self.log_text())

    @property
    def ports(self):
        """The ports of those that have one."""
        return [int(a.rpartition(":")[2]) for a in self.addresses if not a.startswith("unix:")]

    @property
    def port(self):
        return self.ports[0]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    # Asking it.

    def connect(self, address=None, timeout=10.0):
        """A new connection to an address, to the first one if none is given."""
        return connect_to(address or self.addresses[0], timeout * SCALE)

    def get(self, path, headers=None, method="GET", port=None, timeout=10.0, address=None):
        """One request on a connection of its own."""
        address = f"127.0.0.1:{port}" if port else address or self.addresses[0]
        connection = Connection(address, timeout * SCALE)
        try:
            connection.request(method, path, headers=headers or {})
            reply = connection.getresponse()
            body = reply.read().decode()
            return Answer(reply.status, reply.headers, body)
        finally:
            connection.close()

    def health(self):
        """Status and body of /health."""
        answer = self.get("/health")
        return answer.status, answer.body

    def wait_health(self, pattern, timeout=10.0, path="/health", meanwhile=lambda: None):
        """The first answer whose "STATUS BODY" matches `pattern`; meanwhile() before each look."""
        wanted = re.compile(pattern, re.DOTALL)
        seen = []

        def look():
            meanwhile()
            answer = self.get(path)
            seen[:] = [f"{answer.status} {answer.body}"]
            return answer if wanted.search(seen[0]) else None
        try:
            return wait_for(look, timeout, f"{path} like {pattern!r}")
        except AssertionError as fault:
            raise AssertionError(f"{fault}; last:\n{seen}\n{self.log_text()}") from None

    def metric(self, sample):
        """The value of one line of /metrics, named with its labels; None if it is not there."""
        for line in self.get("/metrics").body.splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return None

    def raw(self, sent, timeout=10.0):
        """Sends bytes on a new connection; everything that came until the other side closed."""
        with self.connect(timeout=timeout) as sock:
            received = b""
            try:
                sock.sendall(sent)
            except BrokenPipeError:
                pass  # a Unix socket tells at once that enough has been read; TCP does later
            while True:
                try:
                    piece = sock.recv(65536)
                except ConnectionResetError:
                    return received
                if not piece:
                    return received
                received += piece

    # Its life.

    def reload(self, conf_text, wait=True):
        """Writes the file and sends SIGHUP; the line that told how it ended."""
        start = len(self.log_text())
        new = self.conf.with_suffix(".new")
        new.write_text(conf_text)
        os.replace(new, self.conf)
        self.kill(signal.SIGHUP)
        return self.wait_log(RELOAD_ENDED.pattern, start=start).group(0) if wait else None

    def kill(self, sig):
        self.process.send_signal(sig)

    def wait_exit(self, timeout=15.0):
        """The exit code; checks that no sanitizer has reported anything."""
        self._ended = True
        try:
            code = self.process.wait(timeout * SCALE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {timeout * SCALE:g} s:\n"
                                 f"{self.log_text()}") from None
        assert not SANITIZER_REPORT.search(self.log_text()), self.log_text()
        return code

    def stop(self, timeout=15.0):
        self.kill(signal.SIGTERM)
        return self.wait_exit(timeout)

    def finish(self):
        """The end of a test: a daemon that still runs must end well."""
        if not self._ended:
            code = self.stop()
            assert code == 0, f"exit code {code}:\n{self.log_text()}"


def count_listens(conf_text):
    """How many addresses a configuration text listens on."""
    found = re.search(r"\blisten\s*=\s*(\[(?:[^]\"]|\"[^\"]*\")*\]|\([^)]*\)|\{[^}]*\}|\"[^\"]*\")", conf_text)
    if not found:
        return 1
    strings, groups = re.subn(r"\{[^}]*\}", "", found.group(1))
    return groups + len(re.findall(r'"[^"]*"', strings))
