"""Signals: sent, and by name and by number, in every way that people and programs write them.

``SIGTERM``, ``TERM``, ``term`` and ``15`` are the same, and ``SIGRTMIN+3`` is a real-time signal. Python's own
:mod:`signal` numbers are right for this machine; only the spelling is added here.
"""

from __future__ import annotations

import os
import signal

from minicontainerd.linux.tell import act, descriptor

NUMBERS: dict[str, int] = {name.name: int(name) for name in signal.Signals}
NUMBERS.update({"SIGIOT": int(signal.SIGABRT), "SIGCLD": int(signal.SIGCHLD)})


def number_of(text: str) -> int:
    """The number of the signal written as *text*.

    >>> number_of("TERM"), number_of("sigkill"), number_of("9"), number_of("RTMIN+3")
    (15, 9, 9, 37)

    Raises:
        ValueError: there is no such signal.
    """
    if text.isdigit():
        return int(text)
    word = text.upper()
    word = word if word.startswith("SIG") else "SIG" + word
    for base in ("SIGRTMIN", "SIGRTMAX"):
        if word.startswith((base + "+", base + "-")):
            return NUMBERS[base] + int(word[len(base) :])
    if word not in NUMBERS:
        raise ValueError(f"unknown signal {text!r}")
    return NUMBERS[word]


@act("pidfd_send_signal(2)", pidfd=descriptor)
def send(pidfd: int, number: int) -> None:
    """Send a signal to the process that *pidfd* is open on. Raises ProcessLookupError (ESRCH): it has ended."""
    signal.pidfd_send_signal(pidfd, number)


def wait() -> None:
    """Do nothing until a signal comes that ends this process."""
    while True:
        signal.pause()


@act("kill(2)")
def kill(pid: int, number: int) -> None:
    """Send a signal by number: only to our own child that is not reaped yet, or the number may be another's by now.

    Raises:
        ProcessLookupError: ESRCH, there is no such process.
    """
    os.kill(pid, number)
