"""The README and the manual say what the source's rows say.

What can be known from the source is written from it, between two marks in the document:
HEALTHSVC_GOLDEN_WRITE=1 make check ONLY=test_docs writes all of it anew.
"""
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

import pytest

TOP = pathlib.Path(os.environ.get("TOP_SRCDIR", "."))
MARKS = {  # by the document's suffix: what comes before and after a written part
    ".md": ("<!-- {}: written by test_docs.py -->\n", "<!-- end of {} -->\n"),
    ".5": ('.\\" {}: written by test_docs.py\n', '.\\" end of {}\n'),
}


def described(what):
    """Lines of columns, as tests/compile/describe says them; an empty line is an empty list."""
    said = subprocess.run(["tests/compile/describe", what], capture_output=True, text=True,
                          check=True).stdout
    return [line.split("\t") if line else [] for line in said.splitlines()]


# ---- Markdown ----

def settings_markdown():
    """A line of one column, "[section]", heads each table; a row has four columns."""
    text = ""
    for row in described("settings"):
        if len(row) == 1:
            text += f"| {row[0].strip('[]')} | value | default | meaning |\n|---|---|---|---|\n"
        elif row:
            name, *rest = (column.replace("|", "\\|") for column in row)
            assert len(rest) == 3, row
            text += f"| `{name}` | {' | '.join(rest)} |\n"
        else:
            text += "\n"
    return text


def readme_schemes():
    """The rows of "What it can ask": the schemes of each, and its other columns."""
    section = (TOP / "README.md").read_text().partition("\n## What it can ask\n")[2]
    rows = re.findall(r"^\| (`.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    for row in rows:
        names, *rest = (column.strip() for column in row.split("|"))
        assert len(rest) == 3, row
        yield re.findall(r"`(\w+)`", names), *rest


# ---- the fault matrix ----

FAULTS = TOP / "tests" / "faults"


@functools.lru_cache(maxsize=None)
def fault_rows():
    """Every row: area, fault, what holds, the test's name."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = pathlib.Path(scratch) / "rows"
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                               "--collect-only", f"--rows-to={rows}", str(FAULTS)],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return [tuple(json.loads(line)) for line in rows.read_text().splitlines()]


def faults_markdown(area):
    text = "| fault | what holds | shown by |\n|---|---|---|\n"
    for where, fault, holds, test in fault_rows():
        if where == area:
            text += f"| {fault} | {holds} | `{test}` |\n"
    return text


# ---- mdoc ----

def sentence(text):
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def mdoc(text):
    """Lines of running text: each sentence on a new one, as mdoc wants it; of Markdown's signs
    `code` and *emphasis* are known."""
    text = text.replace("\\", "\\e").replace("^", "\\(ha").replace("~", "\\(ti")
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    text = re.sub(r"\*([^*]+)\*", r"\\fI\1\\fR", text)
    lines = []
    for part in re.split(r"(?<=[.;:]) (?=[A-Z])", text):
        lines += textwrap.wrap(part, 78, break_long_words=False, break_on_hyphens=False)
    return "".join(("\\&" if line[0] in ".'" else "") + line + "\n" for line in lines)


def settings_mdoc():
    schemes = {name for name, _, _ in described("schemes")}
    text = ""
    for row in described("settings"):
        if len(row) == 1:
            heading = row[0].strip("[]")
            if heading.split(",")[0] not in schemes:
                heading = heading[0].upper() + heading[1:]
            text += f'.Ss "{heading}"\n.Bl -tag -width Ds\n'
        elif row:
            name, value, default, meaning = row
            if not default.startswith("required") or value.startswith("one of"):
                default = "default: " + default
            text += f".It Cm {name}\n{mdoc(meaning)}.br\n{mdoc(sentence(f'{value}; {default}'))}"
        else:
            text += ".El\n"
    return text + ".El\n"


def schemes_mdoc():
    ports = {name: port for name, port, _ in described("schemes")}
    text = ".Bl -tag -width Ds\n"
    for names, asks, bad, logs in readme_schemes():
        heads = [f"Cm {name}" + (f" No ({ports[name]})" if ports[name] else "") for name in names]
        text += f".It {' , '.join(heads)}\n{mdoc(sentence('asks: ' + asks))}"
        for title, told in (("bad", bad), ("in its log", logs)):
            if told:
                text += ".br\n" + mdoc(sentence(f"{title}: {told}"))
    return text + ".El\n"


def facts_mdoc():
    facts = (("path", "A path in the URL"), ("unix", "By way of a Unix socket"),
             ("login", "A user and a password"), ("tls", "TLS from the first byte"),
             ("starttls", "TLS if they are told so, once connected"))
    schemes = described("schemes")
    text = ".Bl -tag -width Ds\n"
    for fact, title in facts:
        names = [name for name, _, words in schemes if fact in words.split()]
        text += f'.It "{title}"\n' + mdoc(", ".join(names) + ".")
    return text + ".El\n"


def outcomes_mdoc():
    outcomes = described("outcomes")
    widest = max((token for token, *_ in outcomes), key=len)
    text = f".Bl -tag -width {widest} -compact\n"
    for token, kind, meaning in outcomes:
        text += f".It Li {token}\n" + mdoc(f"{kind.replace('_', ' ')}: {meaning}")
    return text + ".El\n"


WRITTEN = (
    ("README.md", "settings", settings_markdown),
    ("conf/man/health.conf.5", "settings", settings_mdoc),
    ("conf/man/health.conf.5", "schemes", schemes_mdoc),
    ("conf/man/health.conf.5", "facts", facts_mdoc),
    ("conf/man/health.conf.5", "outcomes", outcomes_mdoc),
    *(("conf/doc/faults.md", area, functools.partial(faults_markdown, area))
      for area in sorted(p.stem.removeprefix("test_") for p in FAULTS.glob("test_*.py"))),
)


@pytest.mark.parametrize("document, what, write", WRITTEN,
                         ids=[f"{document}: {what}" for document, what, _ in WRITTEN])
def test_a_document_says_what_the_source_does(document, what, write):
    path = TOP / document
    begin, end = (mark.format(what) for mark in MARKS[path.suffix])
    before, mark, rest = path.read_text().partition(begin)
    assert mark, f"{document} has no line {begin}"
    listed, mark, after = rest.partition(end)
    assert mark, f"{document} has no line {end}"
    wanted = write()
    if os.environ.get("HEALTHSVC_GOLDEN_WRITE"):
        path.write_text(before + begin + wanted + end + after)
        return
    assert listed == wanted


def test_the_readme_tells_of_every_scheme():
    told = [name for names, *_ in readme_schemes() for name in names]
    assert sorted(told) == sorted(name for name, _, _ in described("schemes"))


def test_a_row_that_points_elsewhere_points_to_a_test():
    for *_, test in fault_rows():
        file, found, name = test.partition("::")
        if found:
            assert f"\ndef {name.partition('[')[0]}(" in (TOP / file).read_text(), test
