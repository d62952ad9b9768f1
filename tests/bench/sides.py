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

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self):
        self.end()
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
        return self.process.stdout.readline()

    def do(self, what):
        """reset, mute, fail or heal: see responder.c."""
        self._say(what)

    def reset(self):
        self.do("reset")

    def report(self):
        """Connections; of their lateness against the schedule, in us, median, p99 and most."""
        return [int(word) for word in self._say("report").split()]

    def gaps(self):
        """As report(), of how much longer than a second they came after the one before."""
        return [int(word) for word in self._say("gaps").split()]


class Logging(Side):
    """One whose lines on standard error are kept, each with its time."""

    def __init__(self, argv):
        super().__init__(argv, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

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
                    raise RuntimeError(f"{self.process.args[0]} never logged '{text}': "
                                       f"{self.lines[-5:]}")

    def stop(self):
        self.end()
        self.reader.join()
        self.process.stderr.close()


class Healthsvc(Logging):
    def __init__(self, config):
        self.path = WORK / "health.conf"
        self.path.write_text(config)
        super().__init__([HEALTHSVC, "-c", self.path])
        self.port = int(self.await_line("listening on ")[1].split("listening on ")[1].split(":")[1]
                        .split()[0])

    def forecast_mb(self):
        """What -t says of its memory, at rest and if all hang."""
        told = subprocess.run([HEALTHSVC, "-t", "-c", self.path], check=True, capture_output=True,
                              text=True).stdout
        return re.search(r"^memory +(.*) \(", told, re.MULTILINE).group(1)

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

    def says(self):
        """Whether all is well, by its own word; None: it says nothing."""
        return says_200(self.port, "/health")


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


class Haproxy(Logging):
    """Health checks alone, on one thread: what it does best. No traffic passes. `/alive` fails when
    any server is down."""

    def __init__(self, addresses, port, tls_ca=None, check="inter 1s", mode=("-db",), state=None):
        tls = f" check-ssl verify required ca-file {tls_ca}" if tls_ca else ""
        servers = "\n".join(
            f"  server s{i} {a}:{p} check {check}{tls}"
            for i, (a, p) in enumerate(with_ports(addresses, port))
        )
        self.port = free_port()
        self.control = WORK / "haproxy.sock"
        load_state = "  load-server-state-from-file global\n" if state else ""
        path = WORK / "haproxy.cfg"
        path.write_text(
            "global\n  nbthread 1\n  maxconn 100\n"
            f"  stats socket {self.control} level admin expose-fd listeners\n"
            + (f"  server-state-file {state}\n" if state else "")
            + "defaults\n  mode http\n  timeout connect 800ms\n  timeout check 800ms\n"
            f"  timeout client 1s\n  timeout server 1s\n{load_state}"
            f"frontend f\n  bind 127.0.0.1:{self.port}\n  monitor-uri /alive\n"
            f"  monitor fail if {{ nbsrv(b) lt {len(addresses)} }}\n  default_backend b\n"
            "backend b\n  option httpchk\n"
            "  http-check send meth GET uri /health ver HTTP/1.1 hdr Host localhost\n"
            f"  http-check expect status 200\n{servers}\n"
        )
        self.control.unlink(missing_ok=True)
        super().__init__(["haproxy", *mode, "-f", path])
        deadline = time.monotonic() + 60  # it takes long to read thousands of servers
        while not self.control.exists() and self.process.poll() is None:
            if time.monotonic() > deadline:
                raise RuntimeError("haproxy does not get ready")
            time.sleep(0.002)

    def says(self):
        return says_200(self.port, "/alive")

    def ask_control(self, command):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.control))
            sock.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


class Monit(Side):
    """Its shortest cycle is a second, in which it asks one after the other."""

    def __init__(self, addresses, port, cycles=""):
        self.port = free_port()
        self.path = WORK / "monitrc"
        hosts = "\n".join(
            f"check host d{i} with address {a}\n  if failed port {p} protocol http "
            f'request "/health" with timeout 1 seconds{cycles} then alert'
            for i, (a, p) in enumerate(with_ports(addresses, port))
        )
        self.path.write_text(
            f"set daemon 1\nset pidfile {WORK}/monit.pid\nset idfile {WORK}/monit.id\n"
            f"set statefile {WORK}/monit.state\n"
            f"set httpd port {self.port} and use address 127.0.0.1 allow 127.0.0.1\n{hosts}\n"
        )
        self.path.chmod(0o600)
        super().__init__(["monit", "-I", "-c", self.path], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)

    def states(self):
        """By dependency, whether it is well; None: it has not been asked yet, says monit."""
        try:
            text = http_body(self.port, "/_status?format=xml")
        except OSError:
            return {}
        rows = re.findall(r"<name>(d\d+)</name>.*?<status>(\d+)</status>.*?"
                          r"<monitor>(\d)</monitor>", text, re.DOTALL)
        return {name: None if monitor != "1" else status == "0" for name, status, monitor in rows}

    def says(self):
        states = self.states().values()
        return all(states) if states and None not in states else None


class Blackbox(Side):
    """Asks when it is asked, one probe for each request."""

    def __init__(self):
        self.port = free_port()
        path = WORK / "blackbox.yml"
        path.write_text("modules:\n  http_2xx:\n    prober: http\n    timeout: 800ms\n"
                        "    http:\n      preferred_ip_protocol: ip4\n")
        super().__init__(["prometheus-blackbox-exporter", f"--config.file={path}",
                          f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"],
                         stderr=subprocess.DEVNULL)
        await_port(self.port)

    @staticmethod
    def path(host, port):
        return f"/probe?module=http_2xx&target=http://{host}:{port}/health"


class Nginx(Side):
    """Answers every request with a small 200, and keeps connections; by TLS if it has a certificate
    (then with one process, whose CPU is all that it uses)."""

    def __init__(self, cert=None):
        self.port = free_port()
        path = WORK / "nginx.conf"
        tls = f"    ssl_certificate {cert};\n    ssl_certificate_key {cert};\n" if cert else ""
        path.write_text(
            f"daemon off;\npid {WORK}/nginx.pid;\nerror_log stderr;\n"
            + ("master_process off;\n" if cert else "worker_processes auto;\n")
            + "events { worker_connections 4096; }\nhttp {\n  access_log off;\n"
            "  keepalive_requests 1000000;\n"
            + "".join(f"  {kind}_temp_path {WORK}/{kind};\n"
                      for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"  server {{\n    listen 127.0.0.1:{self.port}{' ssl' if cert else ''};\n{tls}"
            '    location / { return 200 "Up and running\n"; }\n  }\n}\n'
        )
        super().__init__(["nginx", "-c", path], stderr=subprocess.DEVNULL)
        await_port(self.port)


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


def with_ports(addresses, port):
    """Pairs of both; the port may be one for all, or a list."""
    return zip(addresses, port if isinstance(port, list) else [port] * len(addresses))


def await_port(port, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


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


def http_body(port, path):
    """What is answered, to its end."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: bench\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(1 << 16), b"")).decode(errors="replace")


def says_200(port, path):
    """Whether it answers 200; None: it does not answer."""
    try:
        return http_body(port, path).split(" ")[1] == "200"
    except (OSError, IndexError):
        return None


def middle(values):
    """Median with the spread behind it."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}..{max(values):.1f})"


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]
