"""What a row of the fault matrix is."""
import pytest


def row(fault, holds):
    """Marks a test as a row: what goes wrong, and what must hold besides what the witness holds
    against every row. A `holds` that takes something of the witness's away says so and why."""
    return pytest.mark.row(fault, holds)


def rows(faults, holds):
    """Marks a test as several rows, of which the same must hold: it goes through all of them."""
    def mark(test):
        for fault in faults:
            test = row(fault, holds)(test)
        return test
    return mark


def elsewhere(fault, holds, test):
    """For a file's list ELSEWHERE: a row that a test of another folder shows; `test` is its file,
    "::" and its name."""
    return fault, holds, test
