"""The README's tables of settings say what the source's rows say.

HEALTHSVC_GOLDEN_WRITE=1 make check ONLY=test_docs writes them anew.
"""
import os
import pathlib
import subprocess

README = pathlib.Path(os.environ.get("TOP_SRCDIR", ".")) / "README.md"
BEGIN = "<!-- settings: written by test_docs.py -->\n"
END = "<!-- end of settings -->\n"


def tables():
    """Markdown of what config_describe() says: "[section]" lines, and rows of four columns."""
    said = subprocess.run(["tests/compile/describe"], capture_output=True, text=True,
                          check=True).stdout
    text = ""
    for line in said.splitlines():
        if line.startswith("["):
            text += f"| {line.strip('[]')} | value | default | meaning |\n|---|---|---|---|\n"
        elif line:
            name, *rest = (column.replace("|", "\\|") for column in line.split("\t"))
            assert len(rest) == 3, line
            text += f"| `{name}` | {' | '.join(rest)} |\n"
        else:
            text += "\n"
    return text


def test_the_readme_lists_every_setting_as_the_source_does():
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    listed, _, after = rest.partition(END)
    wanted = tables()
    if os.environ.get("HEALTHSVC_GOLDEN_WRITE"):
        README.write_text(before + BEGIN + wanted + END + after)
        return
    assert listed == wanted
