"""The witness of the fault matrix (../faults/witness.py) must see what it is there for: each of these
daemons is a fake with one fault of its own."""
import http.server
import pathlib
import sys
import threading
import time

import pytest

from waiting import SCALE, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "faults"))

from witness import Witness, disagreement  # noqa: E402

GOOD, BAD = "OK", "Error. connection refused"


class Fake:
    """Says what it is told of "faulty" and "beside-1", and asks those beside it as a daemon does."""

    def __init__(self, peers):
        self.states = {"faulty": GOOD, "beside-1": GOOD, "beside-2": GOOD}
        self.verdict = None  # what follows
        self.how = None  # what it does with a request in place of answering
        self.asking = True
        self.alive = True
        self.exit_code = 0
        self.peers = peers
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        threading.Thread(target=self._ask, daemon=True).start()
        self.addresses = [f"127.0.0.1:{self._server.server_port}"]
        self.process = self

    def _ask(self):
        while self._server is not None:
            for peer in self.peers.values():
                if self.asking:
                    peer.times.append(time.monotonic())
            time.sleep(0.1)

    def answer(self):
        verdict = self.verdict or (GOOD if set(self.states.values()) == {GOOD} else "Error")
        lines = "".join(f"{name} status: {state}\n" for name, state in self.states.items())
        return 200 if verdict == GOOD else 500, \
            f"gateway status: {verdict}\nDependencies:\n{lines}"

    def _handler(fake):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if fake.how and fake.how(self):
                    return
                status, body = fake.answer()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args):
                pass
        return Handler

    # What a Daemon has.

    def poll(self):
        return None if self.alive else -11

    def log_text(self):
        return "the log"

    def stop(self):
        return self.exit_code

    def end(self):
        server, self._server = self._server, None
        server.shutdown()
        server.server_close()


@pytest.fixture
def fake_and_witness(peers):
    made = []

    def start(_conf):
        made.append(Fake(witness.beside))
        return made[0]
    witness = Witness(start, peers)
    witness.watch("http://127.0.0.1:1/")
    yield made[0], witness
    made[0].end()


def polls(witness, count=20):
    """Until so many more answers have been seen."""
    seen = len(witness._polls)
    wait_for(lambda: len(witness._polls) >= seen + count)


def turn(fake, state):
    fake.states["faulty"] = state


def test_a_truthful_daemon_is_believed(fake_and_witness):
    fake, witness = fake_and_witness
    with witness.fault(r"Error\. connection refused"):
        turn(fake, BAD)
    with witness.recovery():
        turn(fake, GOOD)
    witness.end()


def hang_up(handler):
    handler.close_connection = True
    return True


def cut_short(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ngateway")
    handler.close_connection = True
    return True


def once(what):
    """Does it for one request."""
    left = [what]
    return lambda handler: left.pop()(handler) if left else None


@pytest.mark.parametrize("fault, told", [
    (lambda fake: turn(fake, BAD), "faulty is said to be: Error. connection refused"),
    (lambda fake: fake.states.update({"beside-1": BAD}), "beside-1 is said to be: Error"),
    (lambda fake: fake.states.pop("beside-2"), "beside-2 is said to be: nothing"),
    (lambda fake: setattr(fake, "verdict", "Warning"), "the verdict should be OK"),
    (lambda fake: setattr(fake, "how", once(hang_up)), "a request was lost"),
    (lambda fake: setattr(fake, "how", once(cut_short)), "a request was lost"),
    (lambda fake: setattr(fake, "alive", False), "it has died"),
    (lambda fake: setattr(fake, "exit_code", 99), "exit code 99"),
], ids=["down for nothing", "another is down", "another is gone", "verdict", "lost", "cut",
        "dead", "exit"])
def test_a_fault_is_seen(fake_and_witness, fault, told):
    fake, witness = fake_and_witness
    polls(witness)
    fault(fake)
    polls(witness)
    with pytest.raises(AssertionError, match=told):
        witness.end()


def test_a_late_answer_is_seen(fake_and_witness):
    fake, witness = fake_and_witness

    def late(handler):
        began = time.monotonic()
        while time.monotonic() < began + witness.slack() + 2 * SCALE:  # slack() may grow meanwhile
            time.sleep(0.05)
    fake.how = once(late)
    wait_for(lambda: any(p.ended - p.began > 2 * SCALE for p in witness._polls), 60)
    with pytest.raises(AssertionError, match="answered after"):
        witness.end()


def test_a_state_that_comes_too_late_is_seen(fake_and_witness):
    _, witness = fake_and_witness
    with pytest.raises(AssertionError, match="did not come within"):
        with witness.fault(r"Error\. connection refused", within=0.5 * SCALE):
            pass


def test_a_state_that_comes_and_goes_is_seen(fake_and_witness):
    fake, witness = fake_and_witness
    with witness.fault(r"Error\. connection refused"):
        turn(fake, BAD)
    turn(fake, GOOD)
    polls(witness)
    with pytest.raises(AssertionError, match="faulty is said to be: OK"):
        witness.end()


def test_a_dependency_that_is_not_asked_any_more_is_seen(fake_and_witness):
    fake, witness = fake_and_witness
    fake.asking = False
    last = max(witness.beside["beside-1"].times)
    wait_for(lambda: time.monotonic() - last > 0.5 * SCALE + witness.slack() + 2 * SCALE, 60)
    with pytest.raises(AssertionError, match="beside-1 was not asked for"):
        witness.end()


def test_an_excuse_covers_its_time_only(fake_and_witness):
    fake, witness = fake_and_witness
    polls(witness)
    with witness.excuse("the test says so"):
        turn(fake, BAD)
        polls(witness)
        turn(fake, GOOD)
        polls(witness, 4)
    assert list(witness._judge_polls()) == []
    turn(fake, BAD)
    polls(witness)
    with pytest.raises(AssertionError, match="faulty is said to be"):
        witness.end()


@pytest.mark.parametrize("status, body, wrong", [
    (200, "gateway status: OK\nDependencies:\na status: OK\n", None),
    (500, "gateway status: Error\nDependencies:\na status: Error. HTTP 503\n", None),
    (200, "gateway status: Warning\nDependencies:\na status: Error. HTTP 503 (optional)\n", None),
    (200, "gateway status: Warning\nDependencies:\na status: Warning. slow\n", None),
    (200, "gateway status: OK\nDependencies:\na status: Error. HTTP 503 (info)\n", None),
    (500, "gateway status: Error. shutting down\nDependencies:\na status: OK\n", None),
    (200, "gateway status: Error. shutting down\nDependencies:\na status: OK\n", "no failure"),
    (500, "gateway status: OK\nDependencies:\na status: OK\n", "code"),
    (200, "gateway status: OK\nDependencies:\na status: Error. x\n", "verdict"),
    (500, "gateway status: Error\nDependencies:\na status: OK\n", "verdict"),
    (200, "gateway status: OK\nDependencies:\na status: OK", "not the text format"),
    (200, "gateway status: OK\nDependencies:\na status: OK\n\n", "not the text format"),
    (200, "gateway status: OK\nDependencies:\na status: Error. \x1b[2J\n", "not the text format"),
    (200, "gateway status: Fine\nDependencies:\na status: OK\n", "first line"),
    (200, "", "not the text format"),
])
def test_what_an_answer_says_of_itself(status, body, wrong):
    told = disagreement(status, body)
    assert wrong is None and told is None or wrong in told
