"""The manual pages: what they say of the program is so, and their examples work."""
import functools
import os
import pathlib
import re
import shutil
import string
import subprocess

import pytest

import daemon

TOP = pathlib.Path(os.environ.get("TOP_SRCDIR", "."))
PAGES = ("healthsvc.8", "health.conf.5")
ESCAPES = {r"\e": "\\", r"\-": "-", r"\&": "", r"\(ha": "^", r"\(ti": "~", r"\(aq": "'"}


def page(name):
    return (TOP / "conf/man" / name).read_text()


def section(name, title):
    text = page(name).partition(f"\n.Sh {title}\n")[2].partition("\n.Sh ")[0]
    assert text, f"{name} has no section {title}"
    return text


def items(name, title, macro):
    """The words that head an item of a section's list by that macro."""
    heads = re.findall(rf"^\.It {macro} (.*)$", section(name, title), re.MULTILINE)
    return {word for head in heads for word in head.replace(",", " ").split()}


def literal(text):
    """What a reader sees of a literal block."""
    def plain(escape):
        assert escape[0] in ESCAPES, f"what is {escape[0]}?"
        return ESCAPES[escape[0]]
    return re.sub(r"\\(\(..|.)", plain, text)


def examples():
    """Every configuration shown in the manual and in the README: (where, text)."""
    shown = [("health.conf.5", literal(block)) for block in re.findall(
        r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", page("health.conf.5"), re.MULTILINE)]
    shown += [("README.md", block) for kind, block in re.findall(
        r"^```(\w*)\n((?:.*\n)*?)```$", (TOP / "README.md").read_text(), re.MULTILINE)
        if not kind and "name = " in block]
    for where, text in shown:
        if text.startswith("{"):
            text = f"dependencies = (\n{text}\n);\n"
        yield where, text


EXAMPLES = list(examples())
SHIPPED = (TOP / "conf/health.conf").read_text()
# What a '#' without a space makes a comment, in the lines that follow one another.
GROUPS = re.findall(r"(?:^ *#[a-z].*\n)+", SHIPPED, re.MULTILINE)
URLS = {"dns": "dns://h/name", "file": "file:///x", "icmp": "icmp://h"}
NEEDS = {name: 'sslmode = "verify-full";' for name in ("postgres", "mysql")}  # to have a use for TLS


@pytest.mark.skipif(not shutil.which("mandoc"), reason="needs mandoc")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_warn_of(name):
    linted = subprocess.run(["mandoc", "-Tlint", "-Wwarning", TOP / "conf/man" / name],
                            capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


def test_the_options_of_page_help_and_program_are_the_same():
    helped = set(re.findall(r"(?<=\s)-(\w)\b", daemon.run("-h").stdout))
    known = {letter for letter in string.ascii_letters + string.digits
             if "unknown option" not in daemon.run(f"-{letter}").stderr}
    listed = {word for word in items("healthsvc.8", "OPTIONS", "Fl") if len(word) == 1}
    synopsis = set(re.findall(r"(?:Fl|\|) (\w)\b", section("healthsvc.8", "SYNOPSIS")))
    assert len(known) >= 5
    assert helped == known == listed == synopsis


def test_a_long_option_of_the_page_does_what_the_short_one_does():
    pairs = re.findall(r"^\.It Fl (\w) , Fl Fl (\w+)$", page("healthsvc.8"), re.MULTILINE)
    assert len(pairs) == 2
    for short, long in pairs:
        said, wanted = daemon.run(f"--{long}"), daemon.run(f"-{short}")
        assert (said.returncode, said.stdout) == (0, wanted.stdout)


def test_the_help_fits_a_terminal_and_names_what_the_page_describes():
    helped = daemon.run("-h").stdout
    assert max(map(len, helped.splitlines())) < 80
    assert set(re.findall(r"\bSIG\w+", helped)) == items("healthsvc.8", "SIGNALS", "Dv")
    assert (set(re.findall(r"(?<=\s)/[\w/]+", helped))
            == items("healthsvc.8", "HTTP INTERFACE", "Pa"))


def test_every_variable_that_the_source_reads_is_in_the_page():
    sources = "".join(path.read_text() for path in sorted((TOP / "src").rglob("*.c")))
    read = set(re.findall(r'\bgetenv\("(\w+)"\)', sources))
    assert len(read) >= 4
    assert read <= items("healthsvc.8", "ENVIRONMENT", "Ev")


def test_there_are_examples():
    assert len([where for where, _ in EXAMPLES if where == "health.conf.5"]) >= 7
    assert len([where for where, _ in EXAMPLES if where == "README.md"]) >= 3


def try_out(text, folder, authority):
    """What -t says of it, with the files there that it names: passwords and certificates."""
    for kind, name in re.findall(r'(\w+)_(?:file|credential) = "([^"]*)"', text):
        if kind in ("password", "details_token"):
            (folder / name).write_text("secret\n")
        else:
            shutil.copy(authority.ca_file if kind == "ca" else client(authority), folder / name)
        (folder / name).chmod(0o600)
    conf = folder / "health.conf"
    conf.write_text(text)
    return daemon.run("-t", "-c", conf, env={
        "HEALTH_PASSWORD": "secret", "CREDENTIALS_DIRECTORY": str(folder)})


@functools.lru_cache
def client(authority):
    """A file with a certificate and its key: one for all who ask, so that they fit."""
    return authority.issue("client.example")


@pytest.mark.parametrize("text", [text for _, text in EXAMPLES],
                         ids=[f"{where}-{i}" for i, (where, _) in enumerate(EXAMPLES)])
def test_an_example_is_a_good_configuration(text, tmp_path, authority):
    said = try_out(text, tmp_path, authority)
    assert (said.returncode, said.stderr) == (0, "")
    named = len(re.findall(r"\bname +=", text)) - len(re.findall(r"^name +=", text, re.MULTILINE))
    assert re.search(rf"\b{named} dependenc", said.stdout)


def test_each_group_of_the_shipped_settings_suits_every_scheme(tmp_path, authority):
    """Uncommented in the file, with a dependency of each scheme to have a use for it."""
    schemes = re.search(r"^schemes: (.*)$", daemon.run("-V").stdout, re.MULTILINE)[1].split()
    schemes.remove("exec")
    asked = ",\n".join(f'{{ name = "{name}"; url = "{URLS.get(name, f"{name}://h:1")}";'
                       f'{NEEDS.get(name, "")} }}' for name in schemes)
    opening = "\ndependencies = (\n"
    assert len(GROUPS) > 40 and len(schemes) > 30 and SHIPPED.count(opening) == 1
    for group in GROUPS:
        text = SHIPPED.replace(group, group.replace("#", "")).replace(
            opening, f"{opening}{asked}\n")
        said = try_out(text, tmp_path, authority)
        assert (said.returncode, said.stderr) == (0, ""), group
        assert f"{len(schemes)} dependencies" in said.stdout


def test_make_installs_the_pages_and_the_completion(tmp_path):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    made = subprocess.run(
        ["make", "-s", "install-man", "install-dist_bashcompletionDATA", f"DESTDIR={tmp_path}",
         "prefix=/usr"], capture_output=True, text=True, check=False, env=env)
    assert made.returncode == 0, made.stderr
    installed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")
                 if path.is_file()}
    assert installed == {"usr/share/man/man5/health.conf.5", "usr/share/man/man8/healthsvc.8",
                         "usr/share/bash-completion/completions/healthsvc"}
