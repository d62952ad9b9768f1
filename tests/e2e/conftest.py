"""What an end-to-end test gets: see fixtures.py."""
import os

from fixtures import *  # noqa: F401,F403
import daemon

# Under memcheck (make check-valgrind) these would look at Valgrind instead of the daemon.
NOT_UNDER_MEMCHECK = (
    # It runs one thread at a time: one that is held by force may hold all others.
    "test_a_frozen_checker", "test_what_was_under_way_in_a_stall", "test_the_last_reload_is_told",
    # It keeps the last descriptors of the limit for itself.
    "test_too_few_descriptors", "test_the_limit_of_descriptors",
    # 3.19 knows no pidfd_open(): every command is "not tried" there.
    "test_plugins", "test_what_plugins_measure_is_exported", "test_measurements_come_and_go",
    "test_a_plugin_asks_a_server", "test_a_hanging_command_ends_with_the_daemon",
    "test_a_command_that_ignores_sigterm_is_killed", "test_commands_that_wait_for_others",
    "test_changed_arguments_are_asked_anew",
)


def pytest_configure(config):
    config.addinivalue_line("markers", "plain_build: neither with a sanitizer nor under memcheck, "
                            "which keep memory that is freed")


def pytest_collection_modifyitems(config, items):
    memcheck = "HEALTHSVC_MEMCHECK" in os.environ
    left_out = []
    for item in items:
        plain = item.get_closest_marker("plain_build") is not None
        if (memcheck and (plain or item.name.startswith(NOT_UNDER_MEMCHECK))) or \
                (plain and daemon.is_sanitized()):
            left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
