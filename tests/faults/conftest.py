"""The fault matrix: each test here is one row of it, and is watched by a witness.

    @row("connection refused", "down, and named, within two checks")
    def test_connection_refused(peers, witness):
        peer = peers.http()
        witness.watch(peer.url())
        with witness.fault("Error. connection refused", outcome="connect_refused"):
            peer.close()
        with witness.recovery():
            peer.open()

conf/doc/faults.md is written from the rows; see tests/compile/test_docs.py. The fixtures are those
of the end-to-end tests (../e2e/fixtures.py), and `witness`, which says in witness.py what it holds
against every row.
"""
import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))

from fixtures import *  # noqa: E402,F401,F403
import daemon  # noqa: E402
import peers as peers_module  # noqa: E402
import wire  # noqa: E402
import witness as witness_module  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "row(fault, holds): the test's row of the matrix")
    config.addinivalue_line("markers", "plain_build: not with a sanitizer, which reserves terabytes "
                            "of addresses and has large frames")


def pytest_addoption(parser):
    parser.addoption("--rows-to", help="write the matrix there, one row a line of JSON")


def pytest_collection_modifyitems(config, items):
    rows = []
    for item in items:
        found = [mark.args for mark in item.iter_markers("row")]
        if not found or "witness" not in item.fixturenames:
            raise pytest.UsageError(f"{item.nodeid}: a row of the matrix has @row and a witness")
        rows += [(item.path.stem.removeprefix("test_"), *args, item.name) for args in found]
    if config.getoption("--rows-to"):
        for module in {item.module.__name__: item.module for item in items}.values():
            rows += [(module.__name__.removeprefix("test_"), *row)
                     for row in getattr(module, "ELSEWHERE", ())]
        pathlib.Path(config.getoption("--rows-to")).write_text(
            "".join(json.dumps(row) + "\n" for row in rows))
    if daemon.is_sanitized():
        plain = [item for item in items if item.get_closest_marker("plain_build")]
        items[:] = [item for item in items if item not in plain]
        config.hook.pytest_deselected(items=plain)


@pytest.fixture
def network():
    """A network of the test's own, which it can break: see wire.py. Ask for it before anything that
    is to be in it."""
    if os.geteuid() != 0:
        pytest.skip("a network of its own needs root")
    made = wire.Network()
    yield made
    made.close()


@pytest.fixture
def far(network):
    """Peers at the far end of the network's wire."""
    made = peers_module.Peers(bind=wire.NEAR, host=wire.FAR)
    yield made
    made.close()


@pytest.fixture
def witness(healthsvc, peers):
    """Watches one daemon; what it saw is judged when the test has ended."""
    made = witness_module.Witness(healthsvc, peers)
    yield made
    made.end()
