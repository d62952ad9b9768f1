"""make demo: the original system, started, broken, mended."""
import collections
import os
import pathlib
import re
import subprocess

import daemon
from waiting import SCALE

TOP = pathlib.Path(os.environ.get("TOP_SRCDIR", "."))


def own_ports(peers, folder):
    """The demo's files, with each port replaced by one that nobody else has."""
    free = collections.defaultdict(lambda: str(peers.refused().port))
    for conf in (TOP / "conf/demo").glob("*.conf"):
        (folder / conf.name).write_text(
            re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: free[found.group()], conf.read_text()))
    assert len(free) == 3


def test_the_demo_tells_the_whole_story(peers, tmp_path):
    own_ports(peers, tmp_path)
    shown = subprocess.run([TOP / "conf/demo/run", tmp_path], capture_output=True, text=True, check=False,
                           timeout=60 * SCALE, stdin=subprocess.DEVNULL,
                           env=dict(os.environ, HEALTHSVC_BIN=daemon.BINARY, ONCE="1"))
    assert shown.returncode == 0, shown.stdout + shown.stderr
    story = shown.stdout
    at = 0
    for part in ("Up and running\n", "gateway status: OK\n", "airports status: OK\n",
                 "gateway status: Error\n", "airports status: Error. connection refused\n",
                 "gateway status: OK\n", "airports status: OK\n"):
        found = story.find(part, at)
        assert found >= 0, f"{part!r} does not come after {story[:at]}\n---\n{story[at:]}"
        at = found + len(part)
    assert not daemon.SANITIZER_REPORT.search(story + shown.stderr)
