"""How long to wait for what never comes: limits are those of an ordinary host, and longer where all is slower.

No test asserts a time. But each that waits must end some day, and in a guest that is interpreted that day is later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def patience(seconds: float) -> float:
    """*seconds* of an ordinary host, here. ``MINICONTAINERD_PATIENCE`` says how many times slower this one is."""
    return seconds * max(1.0, float(os.environ.get("MINICONTAINERD_PATIENCE") or 1))


def wait_until(look: Callable[[], Seen], what: str, seconds: float = 10) -> Seen:
    """Look again and again until there is something to see: what *look* returned, the first that is true.

    Raises:
        TimeoutError: *what* did not happen in *seconds* of an ordinary host; says what was seen last.
    """
    give_up = time.monotonic() + patience(seconds)
    while not (seen := look()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"it did not happen that {what}; last seen: {seen!r}")
        time.sleep(0.02)
    return seen
