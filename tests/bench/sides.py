"""The programs that a benchmark compares: building, starting, measuring and ending them.

Every process is started here, ended by its own id, and lives on loopback only.
"""

import ctypes
import os
import pathlib
import re
import resource
import shlex
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(tempfile.mkdtemp(prefix="healthsvc-bench-"))
HEALTHSVC = os.environ.get("HEALTHSVC_BIN", "healthsvc")
STARTED = []


def build():
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = shlex.split(os.environ.get("CFLAGS", "-O2 -g")) + ["-std=gnu11", "-D_GNU_SOURCE"]
    for name, libraries in (
        ("plain_server", ["-lcivetweb", "-lpthread"]),
        ("asker", []),
        ("responder", ["-lssl", "-lcrypto"]),
    ):
        source = str(HERE / (name + ".c"))
        subprocess.run(
            [*compiler, *flags, source, "-o", str(WORK / name), *libraries], check=True
        )


def network_of_our_own():
    """A network namespace with nothing but loopback, in which everybody may send an echo request
    (ip(7): ping_group_range); for this process and all that it starts. False: not permitted."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
    return True


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Side:
    """One process: its CPU time, its memory, its end."""

    def __init__(self, argv, **kwargs):
        self.process = subprocess.Popen([str(a) for a in argv], **kwargs)
        STARTED.append(self)

    def cpu_us(self):
        """What all its threads have run, those that have ended included: the CPU-time clock of a
        process, to the nanosecond (clock_getcpuclockid(3))."""
        return time.clock_gettime_ns(~self.process.pid << 3 | 2) / 1000

    def children_cpu_us(self):
        """What its children that have ended used, in clock ticks (proc(5): cutime, cstime)."""
        words = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[13]) + int(words[14])) * 1e6 / os.sysconf("SC_CLK_TCK")

    def memory_mb(self):
        """Resident, and of it what is this process's alone."""
        rows = {}
        for line in pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            words = line.split()
            if words[-1] == "kB":
                rows[words[0]] = int(words[1]) / 1024
        return rows["Rss:"], rows["Private_Clean:"] + rows["Private_Dirty:"]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Responder(Side):
    """Answers on every address of 127/8 as a healthy peer of the scheme does; knows how many came,
    and how late."""

    def __init__(self, cert=None, scheme="http"):
        argv = [WORK / "responder", scheme] + ([cert] if cert else [])
        super().__init__(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def _say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def reset(self):
        self._say("reset")

    def report(self):
        self._say("report")
        return [int(word) for word in self.process.stdout.readline().split()]


class Healthsvc(Side):
    def __init__(self, config):
        self.path = WORK / "health.conf"
        self.path.write_text(config)
        super().__init__([HEALTHSVC, "-c", self.path], stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.port = int(self.await_line("listening on ")[1].split("listening on ")[1].split(":")[1]
                        .split()[0])

    def forecast_mb(self):
        """What -t says of its memory, at rest and if all hang."""
        told = subprocess.run([HEALTHSVC, "-t", "-c", self.path], check=True, capture_output=True,
                              text=True).stdout
        return re.search(r"^memory +(.*) \(", told, re.MULTILINE).group(1)

    def _read(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append((time.monotonic(), line))
                self.news.notify_all()

    def await_line(self, text, since=0, timeout_s=30):
        """When a line with that text was logged, and the line."""
        deadline = time.monotonic() + timeout_s
        with self.news:
            while True:
                for when, line in self.lines:
                    if text in line and when >= since:
                        return when, line
                if self.process.poll() is not None or not self.news.wait(
                    max(0.0, deadline - time.monotonic())
                ):
                    raise RuntimeError(f"healthsvc never logged '{text}': {self.lines[-5:]}")

    def metrics(self):
        """Each sample of /metrics, by its name with labels."""
        body = http_get(self.port, path="/metrics")[1].partition(b"\r\n\r\n")[2].decode()
        samples = {}
        for line in body.splitlines():
            name, _, value = line.rpartition(" ")
            if not line.startswith("#"):
                samples[name] = float(value)
        return samples

    def checks(self):
        """How many have ended, and how many of them well."""
        ended = [(name, value) for name, value in self.metrics().items()
                 if name.startswith("healthsvc_checks_total")]
        return (sum(value for _, value in ended),
                sum(value for name, value in ended if 'class="good"' in name))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        self.reader.join()
        self.process.stderr.close()


def address(i):
    return f"127.1.{(i + 1) >> 8}.{(i + 1) & 255}"


def healthsvc_config(urls, workers=32, more=""):
    return healthsvc_config_of([f'url = "{url}";' for url in urls], workers, more)


def healthsvc_config_of(dependencies, workers=32, more=""):
    groups = ",\n".join(f'{{ name = "d{i}"; {d} }}' for i, d in enumerate(dependencies))
    return (
        f'name = "bench";\nlisten = "127.0.0.1:0";\nworkers = {workers};\n'
        f'defaults = {{ period = "1s"; {more} }};\ndependencies = (\n{groups}\n);\n'
    )


def http_urls(count, port):
    return [f"http://{address(i)}:{port}/health" for i in range(count)]


class Haproxy(Side):
    """Health checks alone, on one thread: what it does best. No traffic passes."""

    def __init__(self, addresses, port, tls_ca=None):
        tls = f" check-ssl verify required ca-file {tls_ca}" if tls_ca else ""
        servers = "\n".join(
            f"  server s{i} {a}:{port} check inter 1s{tls}" for i, a in enumerate(addresses)
        )
        path = WORK / "haproxy.cfg"
        path.write_text(
            "global\n  nbthread 1\n  maxconn 100\n"
            "defaults\n  mode http\n  timeout connect 800ms\n  timeout check 800ms\n"
            "  timeout client 1s\n  timeout server 1s\n"
            f"frontend f\n  bind 127.0.0.1:{free_port()}\n  default_backend b\n"
            "backend b\n  option httpchk\n"
            "  http-check send meth GET uri /health ver HTTP/1.1 hdr Host localhost\n"
            f"  http-check expect status 200\n{servers}\n"
        )
        super().__init__(["haproxy", "-db", "-f", path], stderr=subprocess.DEVNULL)


class Nginx(Side):
    """Answers every request with a small 200 by TLS, and keeps connections."""

    def __init__(self, cert):
        self.port = free_port()
        path = WORK / "nginx.conf"
        path.write_text(
            f"daemon off;\nmaster_process off;\npid {WORK}/nginx.pid;\nerror_log stderr;\n"
            "events { worker_connections 4096; }\nhttp {\n  access_log off;\n"
            "  keepalive_requests 1000000;\n"
            + "".join(f"  {kind}_temp_path {WORK}/{kind};\n"
                      for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"  server {{\n    listen 127.0.0.1:{self.port} ssl;\n"
            f"    ssl_certificate {cert};\n    ssl_certificate_key {cert};\n"
            '    location / { return 200 "Up and running\\n"; }\n  }\n}\n'
        )
        super().__init__(["nginx", "-c", path], stderr=subprocess.DEVNULL)


class Asker(Side):
    def __init__(self, count, port):
        super().__init__([WORK / "asker", port, count])


class PlainServer(Side):
    def __init__(self, response, threads):
        path = WORK / f"response-{len(STARTED)}"
        path.write_bytes(response)
        super().__init__([WORK / "plain_server", 0, threads, path], stdout=subprocess.PIPE,
                         text=True)
        self.port = int(self.process.stdout.readline())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificate():
    """One PEM file with key and self-signed certificate for 127.0.0.1; and the certificate alone."""
    key, cert, both = WORK / "key.pem", WORK / "cert.pem", WORK / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True, stderr=subprocess.DEVNULL,
    )
    both.write_text(cert.read_text() + key.read_text())
    return both, cert


def http_get(port, keep_alive=False, sock=None, timeout_s=60.0, path="/health"):
    """One GET: seconds it took, the whole response, the socket if it was kept."""
    begin = time.monotonic()
    if sock is None:
        sock = socket.create_connection(("127.0.0.1", port), timeout_s)
    kind = "keep-alive" if keep_alive else "close"
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: {kind}\r\n\r\n".encode())
    data = b""
    while True:
        piece = sock.recv(1 << 20)
        if not piece:
            break
        data += piece
        head, blank, body = data.partition(b"\r\n\r\n")
        if blank:
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(body) >= length:
                break
    took = time.monotonic() - begin
    if keep_alive:
        return took, data, sock
    sock.close()
    return took, data, None


def middle(values):
    """Median with the spread behind it."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}..{max(values):.1f})"


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]
