"""What an end-to-end test gets: see fixtures.py."""
from fixtures import *  # noqa: F401,F403
