"""What a monitoring system reads of a plugin: an independent reading of the Monitoring Plugins
Development Guidelines ("Plugin Output", "Performance data")."""
import collections
import re

STATES = ["OK", "WARNING", "CRITICAL", "UNKNOWN"]
LIMIT = 4096  # Nagios reads no more

Item = collections.namedtuple("Item", "value unit warn crit min max")
Line = collections.namedtuple("Line", "state text items")

LABEL = re.compile(r"'((?:[^'=]|'')+)'=|([^\s'=]+)=")
NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
VALUE = re.compile(rf"(U|{NUMBER})(us|ms|s|%|[KMGT]?B|c|)")
RANGE = re.compile(rf"(?:@?(?:~|{NUMBER})?:)?(?:{NUMBER})?")


def read_perfdata(text):
    """The items by label."""
    items, at = {}, 0
    while at < len(text):
        label = LABEL.match(text, at)
        assert label, f"no label at {text[at:]!r}"
        name = (label.group(1) or label.group(2)).replace("''", "'")
        end = text.find(" ", label.end())
        end = len(text) if end < 0 else end
        fields = text[label.end():end].split(";")
        value = VALUE.fullmatch(fields[0])
        assert value and len(fields) <= 5, f"not a value: {text[at:end]!r}"
        fields = (fields[1:] + [""] * 4)[:4]
        assert all(RANGE.fullmatch(f) for f in fields[:2]), fields
        assert all(re.fullmatch(f"({NUMBER})?", f) for f in fields[2:]), fields
        assert name not in items, f"{name} twice"
        number = None if value.group(1) == "U" else float(value.group(1))
        assert number is not None or not value.group(2), "U has no unit"
        items[name] = Item(number, value.group(2), *fields)
        at = end + 1
        assert end == len(text) or at < len(text), "a blank at the end"
    return items


def read(output, code):
    """One whole line that says what the exit code says."""
    assert len(output) <= LIMIT and output.endswith("\n") and output.count("\n") == 1, output
    assert output.isprintable() or output[:-1].isprintable(), output
    text, bar, perfdata = output[:-1].partition(" | ")
    assert "|" not in text and "|" not in perfdata, output
    program, state, dash, said = text.split(" ", 3)
    assert program == "HEALTHSVC" and dash == "-" and said, output
    assert STATES.index(state) == code, f"exit code {code}: {output}"
    assert bool(bar) == bool(perfdata), output
    return Line(state, said, read_perfdata(perfdata))
