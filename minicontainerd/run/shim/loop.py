"""An event loop of one screen: descriptors, children, times.

Every callback runs to its end before the next. Signals other than SIGCHLD keep their default; SIGCHLD writes a byte
to a pipe that the loop watches, and then every child that has ended is reaped, whoever started it.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable

READ, WRITE, URGENT, HANGUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLPRI, select.EPOLLHUP | select.EPOLLERR

Ready = Callable[[int], None]
"""Called with the events (READ, WRITE, HANGUP) that have come."""
Ended = Callable[[int, int], None]
"""Called with the pid and the exit status of a child; 128+n when signal n ended it."""


class Loop:
    """See the module."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Ready] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._running = True
        self._ended: Ended = lambda pid, status: None

    def watch(self, descriptor: int, events: int, callback: Ready) -> None:
        """Call *callback* whenever one of *events* (or HANGUP, always) comes for *descriptor*."""
        if descriptor in self._callbacks:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Watch *descriptor* no more; to be called before it is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call *callback* once, in *seconds*."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), callback))

    def reap(self, ended: Ended) -> None:
        """From now on, reap every child that ends and tell *ended*."""
        self._ended = ended
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

        def drain(events: int) -> None:
            os.read(read_end, 4096)
            self._reap_all()

        self.watch(read_end, READ, drain)

    def stop(self) -> None:
        """Leave :meth:`run` when the current callback is done."""
        self._running = False

    def run(self) -> None:
        """Handle events until :meth:`stop`."""
        while self._running:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1
            for descriptor, events in self._epoll.poll(wait):
                callback = self._callbacks.get(descriptor)
                if callback is not None:  # an earlier callback of this round may have closed it
                    callback(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def _reap_all(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._ended(pid, 128 - code if code < 0 else code)
