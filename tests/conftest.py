"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from conformance import leaks

# The same examples every time: a red run must mean that the change is at fault. And no deadline: machines are noisy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all tests: no mount, namespace, process, cgroup or temporary folder of theirs is there any more."""
    leaks.become_subreaper()
    folder = tmp_path_factory.getbasetemp()
    before = leaks.remains(folder)
    yield
    left = leaks.new_remains(before, seconds=10, folder=folder)
    assert not left, "\n".join(["left behind:", *sorted(left)])
