"""The model of the publication protocol (src/report/board.pml), searched by Spin to the end, and
broken on purpose to see that each fault is found."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess

import pytest

MODEL = pathlib.Path(os.environ.get("TOP_SRCDIR", ".")).resolve() / "src/report/board.pml"
CLAIMS = re.findall(r"^ltl (\w+)", MODEL.read_text(), re.MULTILINE)
BUGS_THERE = set(re.findall(r"^#ifn?def (BUG_\w+)", MODEL.read_text(), re.MULTILINE))
# Against a search without an end; the whole takes a minute of one processor.
SECONDS = 600 * max(1, int(os.environ.get("HEALTHSVC_TEST_SCALE", "1")))

# How many readers, reloads and results; together they take some ten seconds. Each number more
# costs a factor of ten.
SAFE = ((2, 1, 0), (1, 2, 1), (2, 0, 2))
FAIR = ((2, 0, 1), (1, 1, 0))

# A bug, how big the model must be to show it, and what says so: an assertion, the name of an ltl
# line, or a deadlock. The last three were in the code until the model showed them.
SNAPSHOT_GONE = r"assertion violated .*snapshot_gone"
CONFIG_GONE = r"assertion violated .*config_gone"
DEADLOCK = "invalid end state"
BUGS = {
    "BUG_UNLOCKED_BEFORE_REFERENCE": ((1, 0, 0), SNAPSHOT_GONE),
    "BUG_RELEASE_BEFORE_EXCHANGE": ((1, 0, 0), SNAPSHOT_GONE),
    "BUG_PUBLISH_WITHOUT_LOCK": ((1, 0, 0), SNAPSHOT_GONE),
    "BUG_FREED_BEFORE_LAST_READER": ((1, 0, 0), SNAPSHOT_GONE),
    "BUG_BEFORE_NOT_RELEASED": ((0, 0, 0), r"assertion violated .*snapshot_gone\[i\]"),
    "BUG_COUNT_NOT_ATOMIC": ((1, 0, 0), "assertion violated"),
    "BUG_BODY_WITHOUT_COMPARE": ((2, 0, 0), r"assertion violated .*bodies==0"),
    "BUG_SNAPSHOT_BORROWS": ((1, 2, 0), CONFIG_GONE),
    "BUG_NAMES_NOT_ADOPTED": ((1, 2, 0), CONFIG_GONE),
    "BUG_PROBE_BORROWS": ((0, 2, 1), CONFIG_GONE),
    "BUG_POSTED_NOT_NOTED": ((0, 2, 0), r"assertion violated .*plan_old"),
    "BUG_INBOX_WITHOUT_LOCK": ((0, 1, 0), DEADLOCK),
    "BUG_STOP_WITHOUT_WAKE": ((0, 0, 0), DEADLOCK),
    "BUG_READERS_NOT_AWAITED": ((1, 0, 0), "assertion violated"),
    "BUG_READERS_FIRST": ((1, 0, 1), "publication_ends"),
    "BUG_STOP_NOT_TOLD": ((0, 0, 1), "assertion violated"),
    "BUG_READY_AT_EACH_END": ((0, 2, 0), "assertion violated"),
    "BUG_LATE_END_TOLD_LAST": ((0, 2, 0), r"assertion violated .*told==begun"),
}


def run(words, folder):
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{words}:\n{done.stdout}"
    return done.stdout


def search(folder, size, claims=(None,), bug=None):
    """What the search says of each claim; None: of the assertions and of deadlocks."""
    folder.mkdir()
    sizes = [f"-D{name}={count}" for name, count in zip(("READERS", "RELOADS", "RESULTS"), size)]
    run(["spin", *sizes, *([f"-D{bug}"] if bug else []), "-a", MODEL], folder)
    # The generated code indexes arrays of nobody when there is no reader or reload: -w.
    how = ["-DSAFETY", "-DNOCLAIM"] if claims == (None,) else ["-DNFAIR=3"]
    run(["gcc", "-w", "-O0" if bug else "-O1", "-DMEMLIM=3000", *how, "-o", "pan", "pan.c"], folder)
    said = {}
    for claim in claims:
        fair = ["-a", "-f", "-N", claim] if claim else []
        said[claim] = run(["./pan", "-m1000000", *fair], folder)
        if not bug and not re.search(r"errors: 0$", said[claim], re.MULTILINE):
            said[claim] += run(["spin", "-t", "-p", *sizes, MODEL], folder)[-20000:]
    return said


def jobs():
    """Every search by its name: the arguments of search()."""
    for size in SAFE:
        yield f"safe {size}", (size,)
    for size in FAIR:
        yield f"fair {size}", (size, CLAIMS)
    for bug, (size, said) in BUGS.items():
        yield bug, (size, (said if said in CLAIMS else None,), bug)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All searches, on as many processors as there are: each a future."""
    folder = tmp_path_factory.mktemp("spin")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(search, folder / re.sub(r"\W+", "_", name), *args)
               for name, args in jobs()}


pytestmark = pytest.mark.skipif(not shutil.which("spin"), reason="needs spin")


def check_whole(said):
    assert re.search(r"errors: 0$", said, re.MULTILINE), said
    for cut in ("max search depth too small", "Search not completed", "out of memory"):
        assert cut not in said, said


@pytest.mark.parametrize("size", SAFE)
def test_nothing_bad_happens(results, size):
    check_whole(results[f"safe {size}"].result()[None])


def test_every_step_is_reached(results):
    """In the one that has some of each. Main's first letter finds no other before it."""
    _, _, said = results[f"safe {SAFE[1]}"].result()[None].partition("unreached in proctype")
    said, _, _ = said.partition("unreached in claim")
    left = re.findall(r'board\.pml:\d+, state \d+, "(.*)"', said)
    assert left == ["next[inbox_end] = 1"], said


@pytest.mark.parametrize("size", FAIR)
@pytest.mark.parametrize("claim", CLAIMS)
def test_something_good_happens_in_the_end(results, claim, size):
    check_whole(results[f"fair {size}"].result()[claim])


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(results, bug):
    (said,) = results[bug].result().values()
    assert re.search(r"errors: [1-9]", said), said
    wanted = "acceptance cycle" if BUGS[bug][1] in CLAIMS else BUGS[bug][1]
    assert re.search(rf"^pan:1: {wanted}", said, re.MULTILINE), said


def test_each_bug_of_the_model_is_tried():
    assert sorted(BUGS_THERE) == sorted(BUGS)
