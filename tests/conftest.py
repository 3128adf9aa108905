"""What all tests share."""

from hypothesis import settings

# The same examples every time: a red run must mean that the change is at fault. And no deadline: machines are noisy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
