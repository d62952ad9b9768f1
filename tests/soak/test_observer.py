"""The observer of the soak must see a lie: each of its judgements, by answers that are made up."""
import collections
import email.utils
import json
import pathlib
import struct
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import model
import observer
from model import HANG, HEALTHY, NEVER, S500, WARNING

SECOND_US = 1_000_000
SETTINGS = {"period": 1.0, "timeout": 0.8, "fall": 3, "rise": 2, "confirm": 1.0}
DOWN_S, UP_S = 4.6, 3.6  # the documented bounds of these settings
NAMES = ("a", "b", "c")
IMPORTANCE = {"a": "required", "b": "optional", "c": "info"}


class Punctual:
    """Nobody was late, or (`us`, `second_us`) so much."""

    us = second_us = most_us = 0

    def measure(self):
        pass


class Scene:
    """Three targets that have been healthy for long, configuration 7, and answers to be given."""

    def __init__(self, folder):
        self.path = folder / "truth"
        self.now_us = observer.now_us()
        self.rows = [self.row(HEALTHY, 1000, good=NEVER) for _ in NAMES]
        self.missed = (0, 0)
        told = observer.Told()
        self.write()
        self.observer = observer.Observer(folder, model.Truth(self.path, len(NAMES)), told, self,
                                          Punctual())
        self.observer.hear = lambda: True
        told.take({"say": "sent", "number": 7, "status": 503, "second": None,
                   "at": self.ago(1000), "ops": [self.op(name) for name in NAMES]})
        told.take({"say": "loaded", "at": self.ago(1000)})
        self.fields = {}

    def ago(self, seconds):
        return int(self.now_us - seconds * SECOND_US)

    def op(self, name, asked=True, **settings):
        return {"do": "put", "name": name, "slot": NAMES.index(name[0]), "kind": "h",
                "asked": asked,
                "settings": {**SETTINGS, "importance": IMPORTANCE[name[0]], **settings}}

    def row(self, behaviour, since_s, good=0, warn=0, bad=0):
        return (behaviour, self.ago(since_s), good, warn, bad, 0, 0, 0)

    def write(self):
        words = [word for row in self.rows for word in row]
        words += (0, 0, *self.missed, 0, 0, 0, 0)
        self.path.write_bytes(struct.pack(f"={len(words)}q", *words))

    def behaves(self, name, behaviour, since_s):
        """Since then; before that it was healthy."""
        row = {"good": self.ago(since_s)}
        row["warn" if behaviour == WARNING else "bad"] = NEVER
        self.rows[NAMES.index(name)] = self.row(behaviour, since_s, **row)
        self.write()

    def has_recovered(self, name, since_s):
        self.rows[NAMES.index(name)] = self.row(HEALTHY, since_s, good=NEVER, bad=self.ago(since_s))
        self.write()

    def ask(self, path, **how):
        """The client's part."""
        fields = {"Date": email.utils.formatdate(time.time(), usegmt=True), "Content-Type":
                  "text/plain; charset=utf-8", **self.fields}
        return self.status, fields, self.body

    def look(self, page, status, body):
        """What the observer counts when it is given that."""
        self.status, self.body = status, body
        self.observer.counts = collections.Counter()
        self.observer.look(getattr(self.observer, page))
        return {key: n for key, n in self.observer.counts.items()
                if key in ("wrong", "unsure", "failed", "wrong slots", "unsure slots")}

    def health(self, status, *lines):
        return self.look("health_text", status, "\n".join(lines) + "\n")


@pytest.fixture(name="scene")
def fixture_scene(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    monkeypatch.setattr(observer, "now_us", lambda: scene.now_us)  # time stands still
    return scene


GOOD = ("soak-7 status: OK", "Dependencies:", "a status: OK", "b status: OK", "c status: OK")


def answer(**lines):
    """GOOD with other lines; `first` is the first one."""
    changed = list(GOOD)
    for name, line in lines.items():
        changed[0 if name == "first" else 2 + NAMES.index(name)] = line
    return changed


def test_the_truth_is_right(scene):
    assert scene.health(200, *GOOD) == {}


@pytest.mark.parametrize("status, lines", [
    (503, GOOD),
    (200, answer(first="soak-7 status: Warning")),
    (503, answer(first="soak-7 status: Error")),
    (200, answer(first="soak-7 status: Fine")),
    (200, answer(first="soak-8 status: OK")),
    (200, GOOD[:-1]),
    (200, (*GOOD, "d status: OK")),
    (200, (*GOOD[:2], GOOD[3], GOOD[2], GOOD[4])),
    (200, answer(a="a status: ok")),
    (200, answer(c="c status: Error. HTTP 500")),
    (200, answer(c="c status: Error. HTTP 500 (info)")),
    (503, answer(first="soak-7 status: Error", a="a status: Error. stale: last checked 9s ago")),
    (503, answer(first="soak-7 status: Error", a="a status: Error. not checked yet")),
    (200, answer(first="soak-7 status: Warning", a="a status: Warning. half full")),
])
def test_a_lie_about_the_healthy_is_seen(scene, status, lines):
    assert scene.health(status, *lines).get("wrong", 0) > 0


FAILING = answer(first="soak-7 status: Error", a="a status: Error. HTTP 500")


def test_up_may_last_as_long_as_documented(scene):
    scene.behaves("a", S500, DOWN_S + observer.SLACK_S - 0.1)
    assert scene.health(200, *GOOD) == {}
    assert scene.health(503, *FAILING) == {}


def test_up_for_longer_is_wrong(scene):
    scene.behaves("a", S500, DOWN_S + observer.SLACK_S + 0.1)
    assert scene.health(200, *GOOD) == {"wrong": 1}
    assert scene.health(503, *FAILING) == {}


def test_down_for_longer_is_wrong(scene):
    scene.has_recovered("a", UP_S + observer.SLACK_S - 0.1)
    assert scene.health(503, *FAILING) == {}
    scene.has_recovered("a", UP_S + observer.SLACK_S + 0.1)
    assert scene.health(503, *FAILING) == {"wrong": 1}


def test_a_reason_is_what_is_the_matter(scene):
    scene.behaves("a", HANG, 20)
    timeout = "a status: Error. timeout after 800ms in exchange"
    assert scene.health(503, *answer(first="soak-7 status: Error", a=timeout)) == {}
    assert scene.health(503, *FAILING) == {"wrong": 1}


def test_the_verdict_follows_from_importance(scene):
    scene.behaves("b", S500, 20)
    scene.behaves("c", WARNING, 20)
    lines = {"b": "b status: Error. HTTP 500 (optional)",
             "c": "c status: Warning. half full (info)"}
    assert scene.health(200, *answer(first="soak-7 status: Warning", **lines)) == {}
    assert scene.health(200, *answer(**lines)) == {"wrong": 1}
    assert scene.health(503, *answer(first="soak-7 status: Error", **lines)) == {"wrong": 1}


def test_what_was_late_makes_unsure_and_is_counted(scene):
    scene.behaves("a", S500, 20)
    scene.observer.lateness.second_us = int(2 * observer.UNSURE_S * SECOND_US)
    assert scene.health(200, *GOOD) == {"unsure": 1}
    wrong_verdict = answer(first="soak-7 status: Warning", a="a status: Error. HTTP 500")
    assert scene.health(200, *wrong_verdict) == {"wrong": 1}


@pytest.mark.parametrize("late, count", [(0, "wrong"), (2, "unsure")])
def test_a_checker_that_stands_still_is_no_lie_if_all_do(scene, late, count):
    scene.observer.lateness.second_us = int(late * observer.UNSURE_S * SECOND_US)
    scene.observer.random.random = lambda: 1
    why = "stale: no check has completed for 6 s"
    assert scene.health(503, *answer(first=f"soak-7 status: Error. {why}")) == {count: 1}
    assert scene.look("livez", 503, why + "\n") == {count: 1}
    assert scene.look("readyz", 503, f"[-]checker failed: {why}\nreadyz check failed\n") == \
        {count: 1}
    scene.observer.told.versions[-1].names = ["a"]
    assert scene.look("dependency", 503, f"a status: Error. {why}\n") == {count: 1}


def reload(scene, ops, loaded_s):
    told = scene.observer.told
    told.take({"say": "sent", "number": 8, "status": 500, "second": None,
               "at": scene.ago(loaded_s + 1), "ops": ops})
    told.take({"say": "loaded", "at": scene.ago(loaded_s)})


def test_a_reload_that_is_over_counts(scene):
    reload(scene, [{"do": "remove", "name": "b"}, scene.op("b-1")], 2)
    new = ("soak-8 status: OK", "Dependencies:", "a status: OK", "c status: OK", "b-1 status: OK")
    assert scene.health(200, *GOOD) == {"wrong": 1}
    assert scene.health(200, *new) == {}
    assert scene.health(200, *new[:2], "a status: OK", "b-1 status: OK", "c status: OK") != {}


def test_while_it_reloads_either_is_right_but_there_is_no_way_back(scene):
    scene.observer.told.take({"say": "sent", "number": 8, "status": 500, "second": None,
                              "at": scene.ago(0.1), "ops": []})
    assert scene.health(200, *GOOD) == {}
    assert scene.health(200, "soak-8 status: OK", *GOOD[1:]) == {}
    assert scene.health(200, *GOOD) == {"wrong": 1}


def test_what_is_new_is_unknown_for_a_while_and_does_not_count(scene):
    reload(scene, [scene.op("a")], 1)
    lines = ("soak-8 status: OK", *answer(a="a status: Error. not checked yet")[1:])
    assert scene.health(200, *lines) == {}
    scene.observer.told.versions[-1].entries["a"].asked_us = scene.ago(10)
    assert scene.health(200, *lines) == {"wrong": 1}


def test_one_dependency(scene):
    scene.observer.told.versions[-1].names = ["a"]
    assert scene.look("dependency", 200, "a status: OK\n") == {}
    assert scene.look("dependency", 503, "a status: OK\n") == {"wrong": 1}
    assert scene.look("dependency", 503, "a status: Error. HTTP 500\n") == {"wrong": 1}
    assert scene.look("dependency", 404, "not found\n") == {"wrong": 1}


def test_readyz(scene):
    scene.observer.random.random = lambda: 1
    assert scene.look("readyz", 200, "ok") == {}
    assert scene.look("readyz", 503, "[-]a failed: HTTP 500\n[+]b ok\n[+]c ok\n"
                      "readyz check failed\n") == {"wrong": 1}
    scene.behaves("a", S500, 20)
    assert scene.look("readyz", 200, "ok") == {"wrong": 1}
    failing = "[-]a failed: HTTP 500\n[+]b ok\n[+]c ok\nreadyz check failed\n"
    assert scene.look("readyz", 503, failing) == {}
    assert scene.look("readyz", 500, failing) == {"wrong": 1}
    assert scene.look("readyz", 503, failing.replace("[+]c ok\n", "")) == {"wrong": 1}
    scene.observer.random.random = lambda: 0
    assert scene.look("readyz", 200, failing.replace("check failed", "check passed")) == \
        {"wrong": 1}


def document(states, status="pass", ago_ms=100):
    word = {"up": "pass", "degraded": "warn"}
    return json.dumps({"status": status, "serviceId": "soak-7", "checks": {
        f"{name}:responseTime": [{"status": word.get(state, "fail"), "state": state,
                                  "importance": IMPORTANCE[name], "checkedAgoMs": ago_ms}]
        for name, state in states.items()}})


def test_json(scene):
    scene.fields = {"Content-Type": "application/health+json"}
    up = {name: "up" for name in NAMES}
    assert scene.look("health_json", 200, document(up)) == {}
    assert scene.look("health_json", 200, document(up, ago_ms=5000)) == {"wrong": 3}
    assert scene.look("health_json", 200, document(up, status="warn")) == {"wrong": 1}
    assert scene.look("health_json", 503, document({**up, "a": "down"}, status="fail")) == \
        {"wrong": 1}
    assert scene.look("health_json", 200, document({"a": "up"})) == {"wrong": 1}
    assert scene.look("health_json", 200, document(up)[:-1]) == {"wrong": 1}


def exposition(states, checks=5):
    lines = [f'healthsvc_dependency_state{{dependency="{name}",state="{state}"}} 1'
             for name, state in states.items()]
    lines += ["# HELP healthsvc_verdict .", 'healthsvc_verdict{status="pass"} 1',
              'healthsvc_verdict{status="warn"} 0', 'healthsvc_verdict{status="fail"} 0',
              f"healthsvc_checks_total {checks}"]
    return "\n".join(lines) + "\n"


def test_metrics(scene):
    scene.fields = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    up = {name: "up" for name in NAMES}
    assert scene.look("metrics", 200, exposition(up)) == {}
    assert scene.look("metrics", 200, exposition(up, checks=4)) == {"wrong": 1}
    assert scene.look("metrics", 200, exposition({**up, "c": "down"})) == {"wrong": 1}
    assert scene.look("metrics", 200, exposition({**up, "d": "up"})) == {"wrong": 1}


def test_a_slot_that_was_missed(scene):
    scene.missed = (1, 0)
    scene.write()
    assert scene.health(200, *GOOD) == {"wrong slots": 1}
    scene.missed = (1, 1)
    scene.write()
    scene.observer.lateness.second_us = int(2 * observer.UNSURE_S * SECOND_US)
    assert scene.health(200, *GOOD) == {"unsure slots": 1}
    assert scene.health(200, *GOOD) == {}


def test_the_clock_in_an_answer(scene):
    scene.fields = {"Date": email.utils.formatdate(time.time() - 60, usegmt=True)}
    assert scene.health(200, *GOOD) == {"wrong": 1}
