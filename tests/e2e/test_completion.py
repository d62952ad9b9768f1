"""What bash offers after "healthsvc", by way of bash-completion, against what -h says there is."""
import os
import pathlib
import re
import subprocess

import pytest

import daemon

TOP = pathlib.Path(os.environ.get("TOP_SRCDIR", "."))
LIBRARY = pathlib.Path("/usr/share/bash-completion/bash_completion")

# The script is looked for as at the first TAB, then asked as readline would.
ASK = r"""
source "$LIBRARY"
_completion_loader healthsvc
[[ $(complete -p healthsvc) =~ \ -F\ ([^ ]+)\  ]] || exit 9
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_LINE=$*
COMP_POINT=${#COMP_LINE}
COMPREPLY=()
"${BASH_REMATCH[1]}" healthsvc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="needs bash-completion")


@pytest.fixture
def offered(tmp_path):
    """What is offered for the last of the words, in a folder with two files and a folder."""
    scripts = tmp_path / "share/bash-completion/completions"
    scripts.mkdir(parents=True)
    (scripts / "healthsvc").symlink_to((TOP / "conf/bash-completion/healthsvc").resolve())
    here = tmp_path / "here"
    (here / "conf.d").mkdir(parents=True)
    for name in ("health.conf", "my health.conf"):
        (here / name).touch()

    def ask(*words):
        asked = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", ASK, "bash", "healthsvc", *words],
            cwd=here, capture_output=True, text=True, check=False, timeout=30 * daemon.SCALE,
            env=daemon.environment({"LIBRARY": str(LIBRARY),
                                    "XDG_DATA_HOME": str(tmp_path / "share")}))
        assert (asked.returncode, asked.stderr) == (0, "")
        return set(asked.stdout.splitlines()) - {""}
    return ask


def test_every_option_of_the_help_is_offered_and_no_other(offered):
    told = set(re.findall(r"(?<=\s)-\w\b", daemon.run("-h").stdout))
    assert {"-c", "-t", "-h"} <= told
    options = offered("-")
    assert {option for option in options if len(option) == 2} == told
    assert offered("") == options


def test_a_long_option_is_completed_and_means_something(offered):
    for start, option in (("--v", "--version"), ("--h", "--help")):
        assert offered(start) == {option}
        assert daemon.run(option).returncode == 0


def test_files_are_offered_where_a_file_goes(offered):
    assert offered("-c", "") == {"health.conf", "my health.conf", "conf.d"}
    assert offered("-t", "-c", "hea") == {"health.conf"}


def test_formats_are_offered_where_a_format_goes(offered):
    assert offered("-1", "-f", "") == {"text", "json", "nagios"}
    assert offered("-q", "localhost:8000", "-f", "n") == {"nagios"}
    assert offered("-q", "") == offered("-q", "localhost:8000", "-T", "") == set()


def test_what_excludes_another_is_not_offered_after_it(offered):
    assert offered("-t", "") == {"-c"}
    assert offered("-1", "") == {"-c", "-f"}
    assert offered("-c", "health.conf", "") == {"-t", "-1", "-f"}
    assert offered("-q", "localhost:8000", "") == {"-f", "-T"}
    assert offered("-q", "localhost:8000", "-f", "json", "-T", "1s", "") == set()
    assert offered("-t", "-c", "health.conf", "") == set()
    assert offered("-V", "") == set()
