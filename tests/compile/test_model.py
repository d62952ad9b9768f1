"""The model of the publication protocol and the code it models say the same."""
import os
import pathlib
import re

import pytest

TOP = pathlib.Path(os.environ.get("TOP_SRCDIR", "."))
MODEL = (TOP / "src/report/board.pml").read_text()
HEADER, _, BODY = MODEL.partition("\n */\n")


def listed():
    """What the header lists: (file, function) and its [(step, line of code)]."""
    functions = {}
    for line in HEADER.splitlines():
        if found := re.fullmatch(r" \* (src/\S+\.c)", line):
            file = found[1]
        elif found := re.fullmatch(r" \*   (\w+)", line):
            functions[file, found[1]] = steps = []
        elif found := re.fullmatch(r" \*     (\w+) +(\S.*)", line):
            steps.append((found[1], found[2]))
    return functions


LISTED = listed()


def body_of(file, function):
    """The text of a function of a file, its blanks made one each."""
    found = re.search(rf"^[^\s#/*][^\n;]*\b{function}\([^;{{]*\n\{{\n(.*?)^\}}",
                      (TOP / file).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{file} has no function {function}"
    return " ".join(found[1].split())


@pytest.mark.parametrize("file, function", LISTED)
def test_the_code_has_the_lines_in_their_order(file, function):
    body, at = body_of(file, function), 0
    for _, line in LISTED[file, function]:
        assert line in body, f"{file} {function}() has no: {line}"
        at = body.find(line, at)
        assert at >= 0, f"{file} {function}() has this line before the ones listed before: {line}"
        at += len(line)


def test_every_step_is_listed_and_every_listed_step_is_there():
    steps = set(re.findall(r"^inline (\w+)|^proctype (\w+)", BODY, re.MULTILINE))
    steps = {inline or process for inline, process in steps}
    named = {step for rows in LISTED.values() for step, _ in rows}
    own = {step for step in steps if step.startswith("ghost_")}
    assert sorted(steps - own - named) == []
    assert sorted(named - steps) == []
