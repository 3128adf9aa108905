"""systemd's manager, asked over D-Bus: to make a unit, to change it, to stop it.

Where systemd is process 1, the whole cgroup tree is its own, and a group that it does not know of may lose its limits
at the next reload. So one asks it for a *transient unit*: a scope, which is a cgroup around processes that somebody
else has started. The calls are few (org.freedesktop.systemd1.Manager)::

    StartTransientUnit  name, mode, properties   answers with a job; JobRemoved says how it went
    SetUnitProperties   name, runtime, properties
    StopUnit            name, mode               a job again
    ResetFailedUnit     name                     forget that it failed, so that its name is free

An ordinary user has a manager of its own, on the bus of its session. D-Bus itself is jeepney's.

Source: org.freedesktop.systemd1(5) of systemd 252.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import Any, Self

from jeepney import DBusAddress, DBusErrorResponse, MatchRule, Message, message_bus, new_method_call
from jeepney.auth import AuthenticationError
from jeepney.io.blocking import Proxy, open_dbus_connection
from jeepney.wrappers import unwrap_msg

from ..errors import DeadlineExceeded, FailedPrecondition

Property = tuple[str, tuple[str, Any]]
"""A property's name, its type as D-Bus writes it (``t``: 64 bits, ``b``: yes or no), and its value."""

_NAME = "org.freedesktop.systemd1"
_MANAGER = DBusAddress("/org/freedesktop/systemd1", _NAME, f"{_NAME}.Manager")
_PROPERTIES = DBusAddress("/org/freedesktop/systemd1", _NAME, "org.freedesktop.DBus.Properties")
_NO_SUCH_UNIT = f"{_NAME}.NoSuchUnit"
_SECONDS = 30.0


class Manager:
    """A connection to the manager that is ours: root's, or that of our own user. A context that closes it.

    Raises:
        FailedPrecondition: there is none.
    """

    def __init__(self) -> None:
        bus = "SYSTEM" if os.geteuid() == 0 else "SESSION"
        try:
            self._connection = open_dbus_connection(bus)
            self._ask("Subscribe")  # or it sends no signals
        except (OSError, KeyError, RuntimeError, AuthenticationError, FailedPrecondition) as error:
            raise FailedPrecondition(f"systemd cannot be asked for a cgroup: no {bus.lower()} bus ({error})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def top(self) -> str:
        """The cgroup below which this manager's units are, as a path from the tree's root; empty for root's."""
        ((_, path),) = self._ask("Get", "ss", (_MANAGER.interface, "ControlGroup"), _PROPERTIES)
        return str(path).rstrip("/")

    def start(self, name: str, properties: Iterable[Property]) -> None:
        """Make the transient unit *name*, and wait until it is there.

        Raises:
            FailedPrecondition: systemd does not want to, or the unit failed.
        """
        self._reset(name)
        self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", (name, "fail", list(properties), []))

    def set(self, name: str, properties: Iterable[Property]) -> None:
        """Change the unit until the machine starts anew.

        Raises:
            FailedPrecondition: systemd does not want to.
        """
        self._ask("SetUnitProperties", "sba(sv)", (name, True, list(properties)))

    def stop(self, name: str) -> None:
        """Stop the unit, whose processes are ended, and forget it; none there is fine."""
        try:
            self._job("StopUnit", "ss", (name, "replace"))
        except NoSuchUnit:
            return
        self._reset(name)

    def _reset(self, name: str) -> None:
        try:
            self._ask("ResetFailedUnit", "s", (name,))
        except NoSuchUnit:
            pass  # it had not failed, and nobody remembers it

    def _job(self, method: str, signature: str, arguments: tuple[Any, ...]) -> None:
        """Ask for a job, and wait for its end. Every signal is kept: ours may come before the answer that names it."""
        rule = MatchRule(type="signal", interface=_MANAGER.interface, member="JobRemoved", path=_MANAGER.object_path)
        Proxy(message_bus, self._connection).AddMatch(rule)
        ended: deque[Message] = deque()
        with self._connection.filter(rule, queue=ended):
            (job,) = self._ask(method, signature, arguments)
            while True:
                try:
                    _, path, unit, result = self._connection.recv_until_filtered(ended, timeout=_SECONDS).body
                except TimeoutError:
                    raise DeadlineExceeded(f"systemd did not finish {method} {arguments[0]} in {_SECONDS} s") from None
                if path == job:
                    break
        if result != "done":
            raise FailedPrecondition(f"systemd's job {method} {unit} ended as {result!r}")

    def _ask(
        self, method: str, signature: str | None = None, arguments: tuple[Any, ...] = (), of: DBusAddress = _MANAGER
    ) -> tuple[Any, ...]:
        call = new_method_call(of, method, signature, arguments)
        try:
            return tuple(unwrap_msg(self._connection.send_and_get_reply(call, timeout=_SECONDS)))
        except DBusErrorResponse as error:
            kind = NoSuchUnit if error.name == _NO_SUCH_UNIT else FailedPrecondition
            raise kind(f"systemd refused {method}: {' '.join(map(str, error.data))}") from error
        except TimeoutError:
            raise DeadlineExceeded(f"systemd did not answer {method} in {_SECONDS} s") from None


class NoSuchUnit(FailedPrecondition):
    """systemd knows no unit of this name."""
