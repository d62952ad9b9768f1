"""Waiting for an event, with a bound."""
import os
import time

SCALE = max(1, int(os.environ.get("HEALTHSVC_TEST_SCALE", "1")))


def wait_for(ask, timeout=10.0, what=None):
    """Polls ask() until it returns something true, and returns that."""
    end = time.monotonic() + timeout * SCALE
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise AssertionError(f"{what or 'the awaited event'} did not come within "
                                 f"{timeout * SCALE:g} s")
        time.sleep(0.01)
