"""Watches a daemon through a fault, and holds against it what holds in every row of the matrix.

No crash: it runs to the end, exits 0 on SIGTERM and no sanitizer has a word.
No lost request: clients ask for /health all the time, on new and on kept connections; every one
    gets a whole answer, in time.
No lie: an answer agrees with itself (the verdict follows from the states that it lists), and each
    state is one that may be true at that time: never down before the fault, never up later than the
    settings allow, never back and forth between the two.
Others unaffected: two dependencies beside the faulty one stay up, and are asked at their period,
    which is counted where they are asked.
Recovery: once the fault is gone, the state is as it was within the time that the settings allow.

A row takes something of this away only by excuse(), with a reason.

Bounds come from the settings; what a busy machine adds is measured while it happens (see
Metronome), so that it is not held against the daemon.
"""
import collections
import contextlib
import http.client
import re
import threading
import time

import daemon
from waiting import SCALE

Poll = collections.namedtuple("Poll", "began ended status body fault")
Belief = collections.namedtuple("Belief", "pattern since until")

# All of them times SCALE. Long enough for a busy machine to hold up a healthy peer no three times
# in a row, short enough for a row to take a few seconds.
PERIOD_S, TIMEOUT_S, CONFIRM_S = 0.5, 0.4, 0.1
FALL, RISE = 2, 2
BESIDE = ("beside-1", "beside-2")
POLL_S = 0.025  # between two requests of each client; times SCALE too
HELD_PERIODS = 1  # for how long a state that has been reached must last

LINE = re.compile(r"([A-Za-z0-9._-]+) status: (OK|(?:Warning|Error)\. [ -~]+)\n")
STARVED_STATE = re.compile(r"Error\. (stale: last checked|timeout after) .*")


def ms(seconds):
    return f"{round(seconds * 1000)}ms"


class Metronome:
    """How late a thread that only sleeps is woken, at worst and in all: what the machine owes to
    nobody's fault."""

    def __init__(self, stop):
        self.worst = self.total = 0.0
        self._stop = stop
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        last = time.monotonic()
        while not self._stop.wait(0.02):
            now = time.monotonic()
            late = now - last - 0.02
            self.worst = max(self.worst, late)
            self.total += late if late > 0.05 else 0
            last = now


class Witness:
    def __init__(self, healthsvc, peers):
        self._healthsvc = healthsvc
        self._stop = threading.Event()
        self._metronome = Metronome(self._stop)
        self._pollers = []
        self._polls = []
        self._beliefs = {}
        self._excuses = []
        self._began = None
        self.svc = None
        self.beside = {name: peers.http() for name in BESIDE}

    def watch(self, asks=None, settings="", *, up="OK", period=PERIOD_S, timeout=TIMEOUT_S,
              confirm=CONFIRM_S, fall=FALL, rise=RISE, head="", more="", also=None, **how):
        """Starts a daemon that asks `faulty`, if `asks` is given (a URL, or settings like
        'exec = [...];'), and the two beside it; returns once all that is listed is as it should
        be: `up` is what the faulty one's line then says. Seconds are stretched by SCALE. `settings`
        are the faulty one's, `head` is put before and `more` at the end of the file's
        dependencies, whose states are in `also`. What is in `how` goes to daemon.Daemon."""
        self.period, self.timeout, self.confirm = (s * SCALE for s in (period, timeout, confirm))
        self.fall, self.rise = fall, rise
        faulty = ""
        if asks is not None:
            if "=" not in asks.partition("://")[0]:
                asks = f'url = "{asks}";'
            faulty = (f'{{ name = "faulty"; {asks} period = "{ms(self.period)}"; '
                      f'timeout = "{ms(self.timeout)}"; confirm = "{ms(self.confirm)}"; '
                      f'fall = {fall}; rise = {rise}; {settings} }}')
        healthy = [f'{{ name = "{name}"; url = "{peer.url()}"; period = "{ms(PERIOD_S * SCALE)}"; '
                   f'timeout = "{ms(PERIOD_S * SCALE * 0.9)}"; confirm = "{ms(CONFIRM_S * SCALE)}"; '
                   'fall = 3; rise = 1; }' for name, peer in self.beside.items()]
        listed = ",\n  ".join(text for text in (faulty, *healthy, more) if text)
        listen = "" if re.search(r"^\s*listen\b", head, re.MULTILINE) else \
            'listen = "127.0.0.1:0";\n'
        self.conf = f'name = "gateway";\n{listen}{head}\ndependencies = (\n  {listed}\n);\n'
        self.svc = self._healthsvc(self.conf, **how)
        wanted = {name: "OK" for name in BESIDE} | (also or {})
        if asks is not None:
            wanted["faulty"] = up
        for name, state in wanted.items():
            self._believe(name, state)
        for kept in (False, True):
            self._pollers.append(threading.Thread(target=self._poll, args=(kept,), daemon=True))
            self._pollers[-1].start()
        self._well = wanted
        self._began = self.wait_well()
        # What was before the first outcomes is "not checked yet", which is the truth.
        self._polls[:] = [p for p in self._polls if p.began >= self._began]
        return self.svc

    # What a test tells it.

    @contextlib.contextmanager
    def fault(self, state, *, outcome=None, within=None, name="faulty", held=HELD_PERIODS):
        """The fault begins inside the with. `name` must then be in `state` (a regular expression:
        "Error. connection refused"), which must come within the bound and last; the `outcome`'s
        token must be counted."""
        counted = self._outcomes(outcome) if outcome else 0
        with self._change(name, state, within if within is not None else self.bound_down(), held):
            yield
        if outcome:
            self.wait_for(lambda: self._outcomes(outcome) > counted, self.bound_down(),
                          f"a check that ends in {outcome}")

    @contextlib.contextmanager
    def recovery(self, state="OK", *, within=None, name="faulty", held=HELD_PERIODS):
        """The fault ends inside the with; the state is good again within the bound, and lasts."""
        with self._change(name, state, within if within is not None else self.bound_up(), held):
            yield
            if re.fullmatch(state, self._states(self.last()).get(name, "")):
                # By chance: a check that is under way since before may yet end badly.
                self._more_checks("good" if state == "OK" else None, 2, name)

    @contextlib.contextmanager
    def harmless(self, checks=5, *, name="faulty"):
        """The fault begins inside the with, and no state may change by it while `checks` more
        checks of `name` end well. One bad one between them is a busy machine's."""
        bad = self.checks("bad", name)
        yield
        self._more_checks("good", checks, name)
        assert self.checks("bad", name) <= bad + 1 or self._starved()

    @contextlib.contextmanager
    def wavering(self, states, checks=5, *, name="faulty"):
        """The fault begins inside the with; from then to the next recovery any of `states` may be
        seen, in any order, as the fault is one of chance. `checks` checks are waited for."""
        self._believe(name, "|".join(states))
        yield
        self._more_checks(None, checks, name)

    @contextlib.contextmanager
    def excuse(self, why):
        """Nothing that is going on inside the with, at any of its time, is held against anyone."""
        assert why
        began = time.monotonic()
        try:
            yield
        finally:
            self._excuses.append((began, time.monotonic()))

    # Bounds.

    def slack(self):
        """What is added to every bound."""
        return SCALE + 2 * self._metronome.worst + self._metronome.total

    def bound_down(self):
        """From a fault to "down": the next check's start, its end, and the ones that confirm."""
        return self._bound(self.fall)

    def bound_up(self):
        return self._bound(self.rise)

    def _bound(self, in_a_row):
        return self.period + self.timeout + (in_a_row - 1) * max(self.confirm, self.timeout)

    def wait_for(self, ask, within, what):
        """What ask() returns, once it is true; the slack grows while it is waited."""
        began = time.monotonic()
        while not (answer := ask()):
            assert time.monotonic() < began + within + self.slack(), \
                (f"{what} did not come within {within + self.slack():.1f} s; last:\n{self.last()}\n"
                 f"{self.svc.log_text()}")
            time.sleep(0.01)
        return answer

    def _more_checks(self, kind, count, name):
        before = self.checks(kind, name)
        self.wait_for(lambda: self.checks(kind, name) >= before + count,
                      (count + 1) * (self.period + self.timeout), f"{count} checks of {name}")

    def _starved(self):
        """The machine has held up a thread for so long that a healthy peer may miss a deadline, or
        the checker find itself stalled: then that may be told of anybody."""
        return self._metronome.worst > TIMEOUT_S * SCALE / 2

    # What it sees.

    def checks(self, kind, name="faulty"):
        """How many checks of `name` ended in that class; in any if it is None."""
        found = re.findall(rf'^healthsvc_dependency_checks_total{{dependency="{name}",'
                           r'class="(\w+)"} (\d+)$', self.svc.get("/metrics").body, re.MULTILINE)
        return sum(int(count) for was, count in found if kind in (None, was))

    def last(self):
        """The last whole answer's body."""
        return next((p.body for p in reversed(self._polls) if p.body is not None), "")

    def _outcomes(self, token):
        found = re.search(rf'^healthsvc_checks_total{{outcome="{token}",.*}} (\d+)$',
                          self.svc.get("/metrics").body, re.MULTILINE)
        return int(found.group(1)) if found else 0

    def _poll(self, kept):
        connection = None
        while not self._stop.wait(POLL_S * SCALE):
            began = time.monotonic()
            status = body = fault = None
            try:
                if connection is None:
                    connection = daemon.Connection(self.svc.addresses[0], 30 * SCALE)
                connection.request("GET", "/health",
                                   headers={} if kept else {"Connection": "close"})
                reply = connection.getresponse()
                status, body = reply.status, reply.read().decode()
                again = kept and not reply.will_close
            except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
                fault, again = f"{type(error).__name__}: {error}", False
            self._polls.append(Poll(began, time.monotonic(), status, body, fault))
            if not again and connection is not None:
                connection.close()
                connection = None

    def polls_since(self, since):
        """The requests, of /health, that ended after that time."""
        return [p for p in self._polls if p.ended > since]

    def wait_well(self):
        """Until everything is as it was at the beginning; when that was."""
        return self._settle(self._well)

    def _settle(self, wanted):
        def look():
            states = self._states(self.last())
            return all(re.fullmatch(state, states.get(name, "")) for name, state in wanted.items())
        self.wait_for(look, self._bound(1) + 10 * SCALE, str(wanted))
        return time.monotonic()

    @staticmethod
    def _states(body):
        return dict(LINE.findall(body.partition("\nDependencies:\n")[2]))

    def _believe(self, name, pattern):
        self._beliefs.setdefault(name, []).append(
            Belief(re.compile(pattern), time.monotonic(), float("inf")))

    @contextlib.contextmanager
    def _change(self, name, state, within, held):
        began = time.monotonic()
        self._believe(name, state)
        yield
        pattern = re.compile(state)

        def seen():
            return next((p for p in reversed(self._polls) if p.began >= began and p.body is not None
                         and pattern.fullmatch(self._states(p.body).get(name, ""))), None)
        self.wait_for(seen, within, f"{name} in the state {state!r}")
        # A request that began after this answer had come must not see what was before.
        now = time.monotonic()
        self._beliefs[name] = [b if b.pattern == pattern else b._replace(until=min(b.until, now))
                               for b in self._beliefs[name]]
        self._stop.wait(held * self.period)

    # What it holds against the daemon.

    def end(self):
        """Judges all that was seen."""
        self._stop.set()
        for poller in self._pollers:
            poller.join(40 * SCALE)
        if self._began is None:
            return
        ended = time.monotonic()
        assert self.svc.process.poll() is None, f"it has died:\n{self.svc.log_text()}"
        faults = [*self._judge_polls(), *self._judge_beside(ended)]
        assert not faults, "\n".join([*faults[:10], f"({len(faults)} in all)", self.svc.log_text()])
        code = self.svc.stop()
        assert code == 0, f"exit code {code}:\n{self.svc.log_text()}"

    def _excused(self, began, ended):
        return any(began <= until and ended >= since for since, until in self._excuses)

    def _judge_polls(self):
        polls = [p for p in self._polls if not self._excused(p.began, p.ended)]
        assert len(polls) > 10, f"only {len(polls)} requests were made"
        starved = self._starved()
        for p in polls:
            when = f"{p.began - self._began:.3f} s"
            if p.fault is not None:
                yield f"{when}: a request was lost: {p.fault}"
                continue
            if p.ended - p.began > self.slack():
                yield f"{when}: answered after {p.ended - p.began:.3f} s"
            disagrees = disagreement(p.status, p.body)
            if disagrees:
                yield f"{when}: {disagrees}: {p.status} {p.body!r}"
            states = self._states(p.body)
            for name, beliefs in self._beliefs.items():
                state = states.get(name, "nothing")
                if starved and STARVED_STATE.fullmatch(state):
                    continue
                if not any(b.pattern.fullmatch(state) and b.since <= p.ended and p.began <= b.until
                           for b in beliefs):
                    yield f"{when}: {name} is said to be: {state}"

    def _judge_beside(self, ended):
        bound = PERIOD_S * SCALE + self.slack()
        for name, peer in self.beside.items():
            times = [self._began, *(t for t in peer.times if t > self._began), ended]
            for earlier, later in zip(times, times[1:]):
                if later - earlier > bound and not self._excused(earlier, later):
                    yield (f"{earlier - self._began:.3f} s: {name} was not asked for "
                           f"{later - earlier:.3f} s")


def disagreement(status, body):
    """What is wrong with an answer in itself; None if nothing is. Every dependency that is neither
    "(optional)" nor "(info)" is required; an info one changes no verdict."""
    first, _, rest = body.partition("\nDependencies:\n")
    lines = re.findall(r".*\n", rest)
    if not rest.endswith("\n") or not all(LINE.fullmatch(line) for line in lines):
        return "not the text format"
    own = re.fullmatch(r"gateway status: (?:OK|Warning|Error(\. [ -~]+)?)", first)
    if own is None:
        return "not the text format's first line"
    if own.group(1):
        return None if status == 500 else "an error of its own is no failure"
    verdict = "OK"
    for state in (LINE.fullmatch(line).group(2) for line in lines):
        if state == "OK" or state.endswith(" (info)"):
            continue
        if state.startswith("Error") and not state.endswith(" (optional)"):
            verdict = "Error"
            break
        verdict = "Warning"
    if first != f"gateway status: {verdict}":
        return f"the verdict should be {verdict}"
    if status != (500 if verdict == "Error" else 200):
        return "the code does not go with the verdict"
    return None
