"""What the tree promises without being run: each header compiles alone, no room includes from a
higher one, and every file is in the Makefile's lists."""
import os
import pathlib
import re
import shlex
import subprocess

import pytest

TOP = pathlib.Path(os.environ.get("TOP_SRCDIR", "."))
COMPILE = [*shlex.split(os.environ.get("CC", "cc")),
           *shlex.split(os.environ.get("CPPFLAGS", "-D_GNU_SOURCE -Iinclude -Isrc")),
           *shlex.split(os.environ.get("CFLAGS", ""))]
HEADERS = sorted(p.relative_to(TOP).as_posix()
                 for folder in ("include", "src", "tests") for p in (TOP / folder).rglob("*.h"))
SOURCES = sorted(p.relative_to(TOP).as_posix() for p in (TOP / "src").rglob("*.c"))

# From low to high; a room includes from itself and from those before it. probe.h stands alone:
# it is the one thing that config knows of the probes.
ROOMS = ["base", "probe.h", "config", "check", "probe", "report", "web", "daemon", "command",
         "main"]
# Contracts that no single .c file of their name stands behind.
OWNERS = {"attr.h": "base", "outcome.def": "base", "probe.h": "probe.h", "results.h": "check",
          "render.h": "report"}


def room_of(path):
    """The room of a file of the tree; None for one that is not in it."""
    parts = pathlib.PurePosixPath(path).parts
    if parts[:2] == ("include", "healthsvc"):
        if parts[2] in OWNERS:
            return OWNERS[parts[2]]
        stem = pathlib.PurePosixPath(parts[2]).stem
        homes = [p for p in SOURCES if p.endswith(f"/{stem}.c")]
        assert len(homes) == 1, f"{path}: whose contract is it? {homes}"
        return room_of(homes[0])
    if parts[0] == "src":
        return "main" if parts[1] == "main.c" else parts[1]
    return None


def included(source):
    """The files of the tree that a source includes, in whatever depth."""
    rule = subprocess.run([*COMPILE, "-MM", str(TOP / source)], capture_output=True, text=True,
                          check=True).stdout
    for path in rule.replace("\\\n", " ").split(":", 1)[1].split():
        path = os.path.relpath(os.path.realpath(path), os.path.realpath(TOP))
        if not path.startswith(".."):
            yield path


@pytest.mark.parametrize("header", HEADERS)
def test_header_compiles_alone(header, tmp_path):
    source = tmp_path / "alone.c"
    source.write_text(f'#include "{(TOP / header).resolve()}"\nextern int alone;\n')
    built = subprocess.run([*COMPILE, "-Werror", "-Wno-unused-function", "-Wno-unused-variable",
                            "-fsyntax-only", str(source)], capture_output=True, text=True,
                           check=False)
    assert built.returncode == 0, built.stderr


@pytest.mark.parametrize("source", SOURCES)
def test_includes_only_downwards(source):
    own = room_of(source)
    for path in included(source):
        room = room_of(path)
        if room is None:
            continue
        assert ROOMS.index(room) <= ROOMS.index(own), f"{source} ({own}) includes {path} ({room})"
        if path.startswith("src/") and own != "main":
            assert room == own, f"{source} includes the private {path}"


def test_makefile_names_every_file():
    words = set(re.findall(r"[\w./-]+", (TOP / "Makefile.am").read_text()))
    made = re.compile(r"\.(o|a|gcda|gcno|pyc|trs|log)$|/\.deps/|/\.dirstamp$|__pycache__")
    missing = []
    for folder in ("include", "src", "conf", "tests"):
        for path in (TOP / folder).rglob("*"):
            name = path.relative_to(TOP).as_posix()
            if path.is_dir() or made.search(name) or is_elf(path):
                continue
            # A test program is listed without its ".c", a folder of data by its name.
            folders = [p.as_posix() for p in pathlib.PurePosixPath(name).parents]
            listed = {name, name.removesuffix(".c"), *(f for f in folders if "/" in f)}
            if not listed & words:
                missing.append(name)
    assert missing == []


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"
