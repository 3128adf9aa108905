"""How long to wait for what never comes: limits are those of an ordinary host, and longer where all is slower.

No test asserts a time. But each that waits must end some day, and in a guest that is interpreted that day is later.
"""

from __future__ import annotations

import os


def patience(seconds: float) -> float:
    """*seconds* of an ordinary host, here. ``MINICONTAINERD_PATIENCE`` says how many times slower this one is."""
    return seconds * max(1.0, float(os.environ.get("MINICONTAINERD_PATIENCE") or 1))
