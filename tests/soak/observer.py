#!/usr/bin/env python3
"""The independent observer of a soak: asks, and judges every answer (model.py).

    observer.py FOLDER TARGETS PORT DAEMON_PID

It is told on standard input, a line of JSON each, which configurations may be in force. The bounds
of the model are wider by SLACK_S, for publishing, and by the lateness that was measured in the last
WINDOW_S: for how long the checker's thread was ready to run and did not (schedstat; but waits of up
to a millisecond each, of a thread that also sleeps, are nothing), for how long the responder did
not look at its sockets, or its threads on each processor did not run, and by how much this program
woke too late. If in any one second of it all but the last was more than UNSURE_S, checks can time
out, or come in another's slot, or not at all, for nothing: then what does not fit in time is
counted as unsure. What does not fit in form is wrong whatever the machine does.

FOLDER/seen has what it has seen so far, as one line of JSON; at the end of its input it prints it.
"""

import collections
import email.utils
import json
import os
import random
import re
import select
import socket
import sys
import time

import model
from model import Entry, Truth, Version, Wrong

SCALE = float(os.environ.get("HEALTHSVC_TEST_SCALE") or 1)
SLACK_S = 0.5 * SCALE
WINDOW_S = 20
UNSURE_S = 0.5  # a slow target leaves a check 0.55 s until its timeout
WRITE_S = 10
SHOWN = 20

WORD = {"OK": "pass", "Warning": "warn", "Error": "fail"}
STATE = re.compile(r'^healthsvc_dependency_state\{dependency="([^"]+)",state="(\w+)"\} 1$', re.M)
SAMPLE = re.compile(r"^(healthsvc_[a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", re.M)


def now_us():
    return time.monotonic_ns() // 1000


class Unsure(Exception):
    """An answer that is wrong, if the machine did not stand still."""


class Told:
    """The configurations that may be in force."""

    def __init__(self):
        self.versions = collections.deque()  # oldest first
        self.settling = collections.deque()  # (when, entry)
        self.removed = collections.deque(maxlen=200)
        self.newest_seen = 0

    def take(self, m):
        if m["say"] == "sent":
            self._sent(m)
        else:
            self._loaded(m)

    def _sent(self, m):
        entries = dict(self.versions[-1].entries) if self.versions else {}
        for op in m["ops"]:
            name = op["name"]
            if op["do"] == "remove":
                del entries[name]
                continue
            before = entries.get(name)
            entries[name] = Entry(op, m["at"] if op["asked"] else before.asked_us, before)
            if before:
                self.settling.append((m["at"] + model.SETTLING_US, entries[name]))
        self.versions.append(Version(m["number"], m["status"], entries, m["at"], m["second"]))

    def _loaded(self, m):
        version = self.versions[-1]
        version.loaded_us = m["at"]
        for entry in version.entries.values():
            if entry.asked_us == version.sent_us:
                entry.asked_us = m["at"]
        for older in list(self.versions)[:-1]:
            self.removed.extend(name for name in older.entries if name not in version.entries)

    def forget(self, t0_us):
        """What cannot be in force, or matter, for an answer that was asked for at t0."""
        while len(self.versions) > 1 and (self.versions[1].loaded_us or t0_us) < t0_us:
            self.versions.popleft()
        while self.settling and self.settling[0][0] < t0_us:
            self.settling.popleft()[1].settle()

    def of_service(self, service):
        """Each configuration has a number, which is in the service's name."""
        number = int(service.rpartition("-")[2])
        if number < self.newest_seen:
            raise Wrong(f"configuration {number} after {self.newest_seen}")
        self.newest_seen = number
        for version in self.versions:
            if version.number == number:
                return version
        raise Wrong(f"configuration {number}; in force can be {[v.number for v in self.versions]}")

    def of_names(self, names):
        for version in self.versions:
            if names == version.names:
                return version
        raise Wrong("other dependencies than those of any configuration that can be in force")


class Lateness:
    """Of who takes part: in the last WINDOW_S; and in the worst second of it, without this
    program's, which makes no check late."""

    def __init__(self, truth, daemon):
        self.truth = truth
        self.us = self.second_us = self.most_us = self.sum_us = self.count = 0
        self.own_us = self.checker_us = 0
        self.history = collections.deque()  # (when, all's, without this program's)
        self.seconds = collections.deque()  # (when, what came in the second before)
        self.seen = None
        for tid in os.listdir(f"/proc/{daemon}/task"):
            with open(f"/proc/{daemon}/task/{tid}/comm") as f:
                if f.read() == "healthsvc-check\n":
                    self.schedstat = f"/proc/{daemon}/task/{tid}/schedstat"

    def woke_late(self, late_us):
        self.own_us += late_us if late_us > 1000 else 0

    def _checker_waited_us(self, now):
        """Since the last time."""
        try:
            with open(self.schedstat) as f:
                ran_ns, waited_ns, turns = map(int, f.read().split())
        except (OSError, ValueError):
            return 0  # a kernel without it; or the daemon has ended, which others tell
        before, self.seen = self.seen, (now, ran_ns, waited_ns, turns)
        if before is None:
            return 0
        passed_us, ran_ns, waited_ns, turns = (a - b for a, b in zip(self.seen, before))
        if ran_ns + waited_ns > 950 * passed_us:  # it never slept: it gets too little
            return waited_ns // 1000
        return max(0, waited_ns // 1000 - 1000 * turns)

    def measure(self):
        now = now_us()
        self.checker_us += self._checker_waited_us(now)
        late_us = self.checker_us + self.truth.stood_still_us(now)
        self.history.append((now, late_us + self.own_us, late_us))
        while self.history[0][0] < now - WINDOW_S * 1_000_000:
            self.history.popleft()
        self.us = late_us + self.own_us - self.history[0][1]
        self.most_us = max(self.most_us, self.us)
        self.sum_us += self.us
        self.count += 1
        before_us = self.history[0][2]
        for when, _, us in reversed(self.history):
            if when <= now - 1_000_000:
                before_us = us
                break
        self.seconds.append((now, late_us - before_us))
        while self.seconds[0][0] < now - WINDOW_S * 1_000_000:
            self.seconds.popleft()
        self.second_us = max(us for _, us in self.seconds)


class Client:
    """HTTP/1.1 by hand, so that every byte counts."""

    def __init__(self, port):
        self.port, self.kept = port, None

    def _connect(self, path):
        if path is None:
            return socket.create_connection(("127.0.0.1", self.port), timeout=10 * SCALE)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10 * SCALE)
        sock.connect(path)
        return sock

    def ask(self, path, headers="", closing=False, unix=None):
        """Status, headers, body."""
        sock, self.kept = self.kept, None
        if sock is None or closing or unix:
            if sock:
                sock.close()
            sock = self._connect(unix)
        closing = closing or unix is not None
        headers += "Connection: close\r\n" if closing else ""
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: soak\r\n{headers}\r\n".encode())
        got = bytearray()
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._receive(sock, "the head")
        first, *lines = got[:end].decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        length = int(fields["Content-Length"])
        body = got[end + 4:]
        while len(body) < length:
            body += self._receive(sock, f"{length} bytes of body")
        if len(body) != length or (closing and sock.recv(1)):
            raise Wrong("bytes behind the answer")
        if fields["Connection"] != ("close" if closing else "keep-alive"):
            closing = True
        if closing:
            sock.close()
        else:
            self.kept = sock
        version, status, _ = first.split(" ", 2)
        if version != "HTTP/1.1" or fields.get("Cache-Control") != "no-store" or \
                fields.get("X-Content-Type-Options") != "nosniff":
            raise Wrong(f"head '{got[:end]}'")
        return int(status), fields, body.decode()

    @staticmethod
    def _receive(sock, what):
        piece = sock.recv(1 << 20)
        if not piece:
            raise Wrong(f"closed before the end of {what}")
        return piece


class Observer:
    def __init__(self, folder, truth, told, client, lateness):
        self.folder = folder
        self.truth, self.told, self.client, self.lateness = truth, told, client, lateness
        self.pipe = b""
        self.counts = collections.Counter()
        self.by_page = collections.Counter()
        self.totals = {}
        self.missed = (0, 0)
        self.random = random.Random(1)
        self.most_ms = 0.0

    def hear(self):
        """Takes all that waits on standard input; False at its end."""
        while select.select([0], [], [], 0)[0]:
            piece = os.read(0, 1 << 20)
            if not piece:
                return False
            *lines, self.pipe = (self.pipe + piece).split(b"\n")
            for line in lines:
                self.told.take(json.loads(line))
        return True

    @property
    def slack_us(self):
        return int(SLACK_S * 1e6) + self.lateness.us

    def is_unsure(self):
        return self.lateness.second_us > UNSURE_S * 1e6

    def ask(self, path, **how):
        """The answer, when it was asked for; and what was so meanwhile is read."""
        t0_us = now_us()
        answer = self.client.ask(path, **how)
        self.most_ms = max(self.most_ms, (now_us() - t0_us) / 1000)
        self.hear()
        self.truth.read()
        self.lateness.measure()
        self.told.forget(t0_us)
        date = email.utils.parsedate_to_datetime(answer[1]["Date"]).timestamp()
        if abs(date - time.time()) > 2 + self.slack_us / 1e6:
            raise Wrong(f"Date {answer[1]['Date']}")
        return (t0_us, *answer)

    # What is told.

    def tell(self, count, text):
        self.counts[count] += 1
        if self.counts[count] <= SHOWN:
            print(f"{time.strftime('%H:%M:%S')} {count}: {text}", file=sys.stderr, flush=True)

    def judge(self, entry, state, t0_us, page, reason=None):
        self.counts["states"] += 1
        self.counts["states surely"] += not self.is_unsure()
        unfit = self.truth.unfit(entry, state, t0_us, self.slack_us)
        if unfit is None and reason is not None and state in ("down", "degraded"):
            fits = self.truth.reason_fits(entry, reason, t0_us, self.slack_us)
            self.counts["reasons"] += fits is not None
            if fits is False:
                unfit = f"{state} for '{reason}'"
        if unfit is not None:
            self.tell("unsure" if self.is_unsure() else "wrong",
                      f"{page}: {entry.name} is {unfit}; slack {self.slack_us / 1e6:.2f} s; "
                      + self.truth.describe(entry, t0_us))

    def judge_verdict(self, word, rows):
        least, most = model.verdicts(rows)
        if not least <= model.RANK[word] <= most:
            raise Wrong(f"verdict {word}, the rows say {least} .. {most}")
        self.counts[f"verdict {word}"] += 1

    def judge_code(self, code, word, version):
        if code != (version.status if word == "fail" else 200):
            raise Wrong(f"{code} for {word}, configuration {version.number} has {version.status}")

    def own_reason(self, reason):
        """The service says that its checker stands still."""
        if not re.fullmatch(r"stale: no check has completed for \d+ s", reason):
            raise Wrong(f"reason '{reason}'")
        raise (Unsure if self.is_unsure() else Wrong)(reason)

    # The pages.

    def health_text(self):
        how = {"closing": self.random.random() < 0.5}
        second = self.told.versions[-1].loaded_us and self.told.versions[-1].second
        if second and self.random.random() < 0.2:
            how = {"unix": second}
        try:
            t0_us, code, fields, body = self.ask("/health", **how)
        except OSError:
            self.hear()
            if second and not self.told.versions[-1].second:
                return  # it has just been taken from the configuration
            raise
        if fields["Content-Type"] != "text/plain; charset=utf-8" or not body.endswith("\n"):
            raise Wrong(f"type {fields['Content-Type']}, ends '{body[-10:]}'")
        first, second, *lines = body[:-1].split("\n")
        service, _, word = first.partition(" status: ")
        if word.startswith("Error. "):
            self.own_reason(word[len("Error. "):])
        if word not in WORD or second != "Dependencies:":
            raise Wrong(f"begins '{first}', '{second}'")
        version = self.told.of_service(service)
        if len(lines) != len(version.names):
            raise Wrong(f"{len(lines)} lines for {len(version.names)} dependencies")
        rows = []
        for entry, line in zip(version.entries.values(), lines):
            state, reason = entry.row(line)
            rows.append((entry, state))
            self.judge(entry, state, t0_us, "/health", reason)
        self.judge_verdict(WORD[word], rows)
        self.judge_code(code, WORD[word], version)

    def health_json(self):
        t0_us, code, fields, body = self.ask(
            "/health", headers="Accept: application/health+json\r\n")
        if not fields["Content-Type"].startswith("application/health+json"):
            raise Wrong(f"type {fields['Content-Type']}")
        doc = json.loads(body)
        if doc.get("output", "").startswith("stale: no check"):
            self.own_reason(doc["output"])
        version = self.told.of_service(doc["serviceId"])
        checks = {key[:-len(":responseTime")]: value for key, value in doc["checks"].items()
                  if key.endswith(":responseTime")}
        if list(checks) != version.names:
            raise Wrong("other dependencies than the configuration's")
        rows = []
        for entry, (check,) in zip(version.entries.values(), checks.values()):
            state = check["state"]
            status = {"up": "pass", "degraded": "warn"}.get(state, "fail")
            if check["importance"] != entry.importance or check["status"] != status:
                raise Wrong(f"{check}")
            rows.append((entry, state))
            self.judge(entry, state, t0_us, "JSON", check.get("output"))
            if check.get("checkedAgoMs", 0) > entry.fresh_ms + self.slack_us / 1000:
                self.judge(entry, f"of {check['checkedAgoMs']} ms ago", t0_us, "JSON")
        self.judge_verdict(doc["status"], rows)
        self.judge_code(code, doc["status"], version)

    def dependency(self):
        if self.told.removed and self.random.random() < 0.1:
            name = self.random.choice(self.told.removed)
        else:
            name = self.random.choice(self.told.versions[-1].names)
        t0_us, code, _, body = self.ask(f"/health/{name}")
        faults = []
        for version in self.told.versions:
            entry = version.entries.get(name)
            if entry is None and code == 404:
                return
            if self.is_unsure() and "status: Error. stale: no check" in body:
                raise Unsure(body)
            try:
                if entry is None:
                    raise Wrong("it is not there")
                state, reason = entry.row(body[:-1])
                self.judge_code(code, "pass" if state in ("up", "degraded") else "fail", version)
            except Wrong as fault:
                faults.append(f"{version.number}: {fault}")
                continue
            self.judge(entry, state, t0_us, f"/health/{name}", reason)
            return
        raise Wrong(f"{name}: {code} '{body[:200]}': {faults}")

    def readyz(self):
        verbose = self.random.random() < 0.3
        t0_us, code, _, body = self.ask("/readyz?verbose" if verbose else "/readyz")
        if code == 200 and not verbose:
            if body != "ok":
                raise Wrong(f"says '{body[:200]}'")
            if not self.is_unsure() and all(
                    self.truth.surely_failing(v, t0_us, self.slack_us) for v in self.told.versions):
                raise Wrong("ok, though a required dependency has failed for long")
            return
        *lines, last = body[:-1].split("\n")
        if last != f"readyz check {'passed' if code == 200 else 'failed'}" or \
                code not in (200, *(v.status for v in self.told.versions)):
            raise Wrong(f"{code}, ends '{last}'")
        if lines and lines[0].startswith("[-]checker failed: "):
            self.own_reason(lines[0].partition(": ")[2])
        version = self.told.of_names([line[3:].partition(" ")[0] for line in lines])
        rows = []
        for entry, line in zip(version.entries.values(), lines):
            if line == f"[+]{entry.name} ok":  # up or degraded, it does not say which
                degraded = self.truth.unfit(entry, "degraded", t0_us, self.slack_us) is None
                self.judge(entry, "degraded" if degraded else "up", t0_us, "/readyz")
                continue
            head = f"[-]{entry.name} failed: "
            if not line.startswith(head) or not line.endswith(entry.suffix):
                raise Wrong(f"line '{line}' for {entry.importance}")
            reason = line[len(head):len(line) - len(entry.suffix)]
            state = model.state_of_reason(reason)
            rows.append((entry, state))
            self.judge(entry, state, t0_us, "/readyz", reason)
        least, most = model.verdicts(rows)
        if not (least == 2) <= (code != 200) <= (most == 2):
            raise Wrong(f"{code}, the rows say {least} .. {most}")

    def livez(self):
        _, code, _, body = self.ask("/livez")
        if code != 200:
            self.own_reason(body[:-1])
        if body != "Up and running\n":
            raise Wrong(f"'{body[:200]}'")

    def metrics(self):
        t0_us, code, fields, body = self.ask("/metrics")
        if code != 200 or not fields["Content-Type"].startswith("text/plain; version=0.0.4"):
            raise Wrong(f"{code} {fields['Content-Type']}")
        states = STATE.findall(body)
        version = self.told.of_names([name for name, _ in states])
        rows = [(entry, state) for entry, (_, state) in zip(version.entries.values(), states)]
        for entry, state in rows:
            self.judge(entry, state, t0_us, "/metrics")
        own = body[body.index("# HELP healthsvc_verdict"):]
        samples = {name: float(value) for name, value in SAMPLE.findall(own)}
        (word,) = (w for w in model.RANK if samples[f'healthsvc_verdict{{status="{w}"}}'])
        if samples.get("healthsvc_heartbeat_age_seconds", 0) <= 5:  # else it fails for that
            self.judge_verdict(word, rows)
        for name, value in samples.items():
            if "_total" in name and value < self.totals.get(name, 0):
                raise Wrong(f"{name} went back from {self.totals[name]} to {value}")
        self.totals = samples

    def slots(self):
        """Not a page: whether each check of the steady targets came in a slot of its own."""
        missed = self.truth.slots_missed()
        if missed != self.missed:
            count = "unsure slots" if self.is_unsure() else "wrong slots"
            self.tell(count, f"skipped and doubled are {missed}, were {self.missed}")
            self.missed = missed

    # Its life.

    def look(self, page):
        name = page.__name__
        self.counts["answers"] += 1
        self.by_page[name] += 1
        try:
            page()
            self.slots()
        except Wrong as fault:
            self.tell("wrong", f"{name}: {fault}")
        except Unsure as fault:
            self.tell("unsure", f"{name}: {fault}")
        except OSError as fault:
            self.lateness.measure()
            self.tell("unsure" if self.is_unsure() else "failed", f"{name}: {fault!r}")
        except (ValueError, KeyError, IndexError) as fault:
            self.tell("wrong", f"{name}: cannot be read: {fault!r}")

    def run(self):
        pages = ((0.25, self.health_text), (0.5, self.readyz), (0.05, self.dependency),
                 (1, self.livez), (2, self.health_json), (10, self.metrics))
        begin = time.monotonic()
        due = [[begin + every * i / len(pages), every, page]
               for i, (every, page) in enumerate(pages)]
        written = begin
        while self.hear():
            if time.monotonic() - written > WRITE_S:
                written = time.monotonic()
                self.write()
            next_one = min(due, key=lambda d: d[0])
            wait_s = next_one[0] - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
                self.lateness.woke_late(int((time.monotonic() - next_one[0]) * 1e6))
            else:
                next_one[0] = time.monotonic()  # nothing is made up for
            next_one[0] += next_one[1]
            if self.told.versions:
                self.look(next_one[2])

    def report(self):
        return json.dumps({
            **self.counts, "by_page": self.by_page, "cpu_s": time.process_time(),
            "most_ms": self.most_ms, "most_slack_s": SLACK_S + self.lateness.most_us / 1e6,
            "mean_slack_s": SLACK_S + self.lateness.sum_us / 1e6 / max(1, self.lateness.count),
            "totals": self.totals})

    def write(self):
        with open(f"{self.folder}/seen.new", "w") as f:
            f.write(self.report())
        os.replace(f"{self.folder}/seen.new", f"{self.folder}/seen")


def main():
    folder, targets, port, daemon = sys.argv[1:]
    truth = Truth(f"{folder}/truth", int(targets))
    observer = Observer(folder, truth, Told(), Client(int(port)), Lateness(truth, daemon))
    observer.run()
    print(observer.report())


if __name__ == "__main__":
    main()
