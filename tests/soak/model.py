"""What the daemon's answers must be, by a model of its own: nothing here is the daemon's code.

What the targets really did is in the file `truth` (responder.c writes it). A state is wrong if the
target has behaved otherwise, all the time, for longer than README's bounds allow (`healthsvc -t`;
period P, timeout T, confirm C):

    up, degraded   P + T + (fall - 1) * max(C, T) + T
    down           P + T + (rise - 1) * max(C, T) + T
    unknown        a second, over which first checks are spread, + T, since it is asked
    stale          always wrong

and 5 s + T more for those with a host name, since an answer of the name server holds so long; and
the slack (observer.py). A reason is wrong if the target has behaved in one way all that time, and
the reason is none of that way's.
"""

import mmap
import re

NEVER = 2**63 - 1
WORDS = 8  # of 64 bits, for each target in the truth
BEHAVIOUR, SINCE, LAST, CHECKS = 0, 1, 2, 5
GOOD, WARN, BAD = 0, 1, 2
SKIPS, DOUBLES, STILL = 2, 3, 4  # of the entry behind the last target's
LATE, LAST_TICK = 2, 3  # of those behind that one: of each processor
STILL_US = 50_000
NAME_HOLDS_S = 5
SETTLING_US = 30_000_000

HEALTHY, SLOW, DRIP, WARNING, S500, S503, REFUSE, RESET, HANG, GARBAGE, CUT, NO_NAME = range(12)
TIMEOUT = r"timeout after [0-9.]+m?s in (exchange|connect|tls)"
# By what the target does, then by its kind; "" is every other kind.
REASONS = {
    WARNING: {"": "half full", "x": ".+"},
    S500: {"": "HTTP 500.*", "r": "server is starting.*|.*LOADING.*", "x": ".+"},
    S503: {"": "HTTP 503.*"},
    REFUSE: {"": "connection refused"},
    RESET: {"": "connection reset by peer|closed without a reply"},
    HANG: {"": TIMEOUT},
    GARBAGE: {"": ".+"},
    CUT: {"": "connection closed before the reply was complete|closed in the middle of .*"},
    NO_NAME: {"": "host name '.*' does not exist|" + TIMEOUT},
}
SUFFIX = {"required": "", "optional": " (optional)", "info": " (info)"}
RANK = {"pass": 0, "warn": 1, "fail": 2}


class Wrong(Exception):
    """An answer that cannot be."""


class Entry:
    """One dependency as a configuration has it."""

    def __init__(self, op, asked_us, before=None):
        self.name, self.slot, self.kind = op["name"], op["slot"], op["kind"]
        self.settings, self.asked_us = op["settings"], asked_us
        s = self.settings
        period, timeout, slow = s["period"], s["timeout"], max(s["confirm"], s["timeout"])
        named = NAME_HOLDS_S + timeout if self.kind == "d" else 0
        self.own_down = int(1e6 * (period + 2 * timeout + (s["fall"] - 1) * slow + named))
        self.own_up = int(1e6 * (period + 2 * timeout + (s["rise"] - 1) * slow + named))
        self.unknown = int(1e6 * (1 + timeout + named))
        self.fresh_ms = 1000 * (period + 2 * timeout)
        self.down, self.up = self.own_down, self.own_up
        if before:  # what is shown may have been seen by those settings yet
            self.down, self.up = max(self.down, before.down), max(self.up, before.up)
            self.fresh_ms = max(self.fresh_ms, before.fresh_ms)
        self.importance = s["importance"]
        self.suffix = SUFFIX[self.importance]
        self.ok_line = f"{self.name} status: OK"

    def settle(self):
        self.down, self.up = self.own_down, self.own_up

    def row(self, line):
        """State and reason of its line in the text format."""
        if line == self.ok_line:
            return "up", None
        head = f"{self.name} status: "
        word, _, reason = line[len(head):].partition(". ")
        if not line.startswith(head) or not reason.endswith(self.suffix):
            raise Wrong(f"line '{line}' for {self.name}, {self.importance}")
        reason = reason[:len(reason) - len(self.suffix)]
        if reason and word == "Warning":
            return "degraded", reason
        if reason and word == "Error":
            return state_of_reason(reason), reason
        raise Wrong(f"line '{line}' for {self.name}, {self.importance}")


def state_of_reason(reason):
    if reason == "not checked yet":
        return "unknown"
    return "stale" if reason.startswith("stale:") else "down"


class Version:
    """One configuration: its entries in order."""

    def __init__(self, number, status, entries, sent_us, second=None):
        self.number, self.status, self.entries = number, status, entries
        self.sent_us, self.loaded_us = sent_us, None
        self.second = second  # a Unix socket that is listened on too
        self.names = list(entries)


class Truth:
    """What the targets did, as of the last read()."""

    def __init__(self, path, targets):
        self.targets = targets
        with open(path, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        self.read()

    def read(self):
        self.words = memoryview(self.map[:]).cast("q")

    def slots_missed(self):
        """Of the steady targets: skipped and doubled."""
        at = self.targets * WORDS
        return self.words[at + SKIPS], self.words[at + DOUBLES]

    def stood_still_us(self, now_us):
        """For how long in all the responder, or what is to look at a processor, did not run."""
        total_us = self.words[self.targets * WORDS + STILL]
        for at in range((self.targets + 1) * WORDS, len(self.words), WORDS):
            since_us = now_us - self.words[at + LAST_TICK]
            total_us += self.words[at + LATE] + (since_us if since_us > STILL_US else 0)
        return total_us

    def last_us(self, entry, kind):
        return self.words[entry.slot * WORDS + LAST + kind]

    def unfit(self, entry, state, t0_us, slack_us):
        """Why the state cannot be in an answer that was asked for at t0, or None."""
        since_us = t0_us - slack_us
        if state == "up":
            kind, bound_us = GOOD, entry.down
        elif state == "degraded":
            kind, bound_us = WARN, max(entry.down, entry.up)
        elif state == "down":
            kind, bound_us = BAD, entry.up
        elif state == "unknown":
            if entry.asked_us >= since_us - entry.unknown:
                return None
            return f"unknown, but asked for {(t0_us - entry.asked_us) / 1e6:.2f} s"
        else:
            return state
        last_us = self.last_us(entry, kind)
        if last_us >= since_us - bound_us:
            return None
        ago = f"for {(t0_us - last_us) / 1e6:.2f} s" if last_us else "ever"
        return f"{state}, but has not been {('good', 'a warning', 'bad')[kind]} {ago}"

    def reason_fits(self, entry, reason, t0_us, slack_us):
        """None: it behaves so for too short a time to tell."""
        at = entry.slot * WORDS
        behaviour = self.words[at + BEHAVIOUR]
        steady_us = slack_us + max(entry.down, entry.up)
        if behaviour not in REASONS or self.words[at + SINCE] > t0_us - steady_us:
            return None
        known = REASONS[behaviour]
        return re.fullmatch(known.get(entry.kind, known[""]), reason) is not None

    def surely_failing(self, version, t0_us, slack_us):
        """Whether a required dependency cannot but be down."""
        for entry in version.entries.values():
            long_ago_us = t0_us - slack_us - entry.down
            if entry.importance == "required" and entry.asked_us < long_ago_us and \
                    self.last_us(entry, GOOD) < long_ago_us and \
                    self.last_us(entry, WARN) < long_ago_us:
                return True
        return False

    def describe(self, entry, t0_us):
        at = entry.slot * WORDS
        ago = ["now" if us == NEVER else f"{(t0_us - us) / 1e6:.2f} s ago" if us else "never"
               for us in self.words[at + LAST:at + LAST + 3]]
        return (f"behaviour {self.words[at + BEHAVIOUR]} for "
                f"{(t0_us - self.words[at + SINCE]) / 1e6:.2f} s; good {ago[0]}, warning {ago[1]}, "
                f"bad {ago[2]}; kind {entry.kind}, {entry.settings}")


def verdicts(rows):
    """The least and the most that the verdict of these (entry, state) may be. What a reload has
    added does not count before its first result, if the verdict was not fail."""
    least = most = 0
    for entry, state in rows:
        if state == "up" or entry.importance == "info":
            continue
        rank = 2 if entry.importance == "required" and state != "degraded" else 1
        most = max(most, rank)
        if state != "unknown":
            least = max(least, rank)
    return least, most
