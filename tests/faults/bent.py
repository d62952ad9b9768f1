"""A daemon's view of its machine, bent while it runs: see bent.c."""
import mmap
import os
import pathlib
import struct

import daemon

FIELDS = ("wall_s", "suspended_s", "no_descriptor", "no_port", "threads_left", "no_process")
LIBRARY = pathlib.Path(daemon.BINARY).parent / "tests" / "faults" / "bent"


def forgive(folder, function):
    """For `env`: what that function of a library leaks is not held against the daemon."""
    path = folder / f"forgiven-{function}"
    path.write_text(f"leak:^{function}$\n")
    return {"LSAN_OPTIONS": f"suppressions={path}"}


class Bent:
    """`env` is for the daemon; each field of FIELDS can be set at any time, and is 0 (threads_left:
    any number) until then."""

    def __init__(self, folder):
        path = folder / "bent"
        path.write_bytes(bytes(8 * len(FIELDS)))
        with open(path, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8 * len(FIELDS))
        self.threads_left = -1
        asan = os.environ.get("ASAN_OPTIONS", "")
        # AddressSanitizer wants to be the first library, to see every call. These it need not see.
        self.env = {"LD_PRELOAD": str(LIBRARY), "BENT": str(path),
                    "ASAN_OPTIONS": f"{asan}{asan and ':'}verify_asan_link_order=0"}

    def __setattr__(self, name, value):
        if name in FIELDS:
            struct.pack_into("q", self._page, 8 * FIELDS.index(name), value)
        else:
            super().__setattr__(name, value)
