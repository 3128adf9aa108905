"""The one way from the event loop to code that blocks: a call in a worker thread.

The lower rooms know nothing of asyncio. Their methods take locks, wait for disks, hash gigabytes; called here, they
do so in one of :data:`THREADS` threads, while the loop goes on. Context variables travel along, so that a request
which is being told (``linux/tell.py``) is told there too.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 16
"""Enough for the layers of a few pulls to be written at once; a thread that waits for a disk costs little."""

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blocking")


async def call(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call *function* in a worker thread."""
    context = contextvars.copy_context()
    work = functools.partial(context.run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_pool, work)
