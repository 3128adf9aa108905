"""The one way from the event loop to code that blocks: a call in a worker thread.

The lower rooms know nothing of asyncio. Their methods take locks, wait for disks, hash gigabytes; called here, they
do so in one of :data:`THREADS` threads, while the loop goes on. Context variables travel along, so that a request
which is being told (``linux/tell.py``) is told there too.

Not called here is what takes less than the waking of a thread, some hundred microseconds: to look up one row (readers
of a write-ahead log wait for nobody), to open one file. A start of a container makes thirty such calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 16
"""Enough for the layers of a few pulls to be written at once; a thread that waits for a disk costs little."""

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blocking")


@contextlib.asynccontextmanager
async def holding(make: Callable[[], R], release: Callable[[R], object]) -> AsyncIterator[R]:
    """What *make* makes in a worker thread, released at the end of the block.

    A client that goes away while it is being made cancels us, but not the thread: it is waited for, and what it made
    is released too, or its lock would be held for ever.
    """
    making = asyncio.ensure_future(call(make))
    try:
        made = await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait([making])
        if not making.cancelled() and making.exception() is None:
            await call(release, making.result())
        raise
    try:
        yield made
    finally:
        await call(release, made)


async def call(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call *function* in a worker thread."""
    context = contextvars.copy_context()
    work = functools.partial(context.run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_pool, work)
