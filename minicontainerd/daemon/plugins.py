"""Plugins: the daemon as a graph of small parts.

A part says its type, its id, which types it requires, and how to make it. The order in which parts are made follows
from what they require, so nothing else in the daemon knows any order. A part that fails is noted with its reason,
and so are those that needed exactly it; the daemon goes on with the rest, and ``minictr plugins ls`` tells.
A part can be *skipped*: it found that this host has no use for it.

Type names are containerd's: ``io.containerd.snapshotter.v1`` and so on.
Source: containerd@301026e plugins/types.go, docs/PLUGINS.md; the platform in a registration is the host's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from minicontainerd.errors import FailedPrecondition, InvalidArgument, NotFound

log = logging.getLogger(__name__)
T = TypeVar("T")


class Skip(Exception):
    """Raised while a plugin is made: this host has no use for it, which is no failure."""


@dataclass(frozen=True)
class Plugin:
    """A part that could be made. *make* gets a :class:`Context`; *requires* are types, ``*`` is everything else."""

    type: str
    id: str
    make: Callable[[Context], Any]
    requires: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    platforms: bool = False

    @property
    def uri(self) -> str:
        """Type and id together, as in the configuration."""
        return f"{self.type}.{self.id}"


@dataclass
class Made:
    """A part that was made, or the *error* that it was not."""

    plugin: Plugin
    instance: Any = None
    error: BaseException | None = None
    exports: dict[str, str] = field(default_factory=dict)


@dataclass
class Context:
    """What a plugin has while it is made: its folders, its table of the configuration, and the parts before it."""

    plugin: Plugin
    root: Path
    state: Path
    settings: dict[str, Any]
    graph: Graph
    exports: dict[str, str] = field(default_factory=dict)

    def get(self, type: str, kind: type[T], id: str | None = None) -> T:
        """The part of that *type* (and *id*, where there may be several), which is a *kind*.

        Raises:
            NotFound: there is none that could be made.
        """
        for made in self.graph.made:
            if made.plugin.type == type and id in (None, made.plugin.id) and made.error is None:
                if not isinstance(made.instance, kind):
                    raise InvalidArgument(f"plugin {made.plugin.uri} is no {kind.__name__}")
                return made.instance
        raise NotFound(f"no plugins registered for {type}" + (f" with id {id}" if id else ""))

    def all(self, type: str) -> dict[str, Any]:
        """Every part of that *type* that could be made, by id."""
        return {
            made.plugin.id: made.instance for made in self.graph.made if made.plugin.type == type and made.error is None
        }


@dataclass
class Graph:
    """All parts in the order in which they were made."""

    made: list[Made] = field(default_factory=list)

    def build(self, plugins: Iterable[Plugin], context: Callable[[Plugin], Context]) -> None:
        """Make every one of *plugins*, those required first.

        Raises:
            FailedPrecondition: they require each other in a circle.
        """
        for plugin in ordered(list(plugins)):
            made = Made(plugin)
            self.made.append(made)
            own = context(plugin)
            try:
                made.instance = plugin.make(own)
            except Skip as reason:
                made.error = reason
                log.info("skip loading plugin %s: %s", plugin.uri, reason)
            except Exception as error:
                made.error = error
                log.warning("failed to load plugin %s: %s", plugin.uri, error)
            made.exports = own.exports

    def close(self) -> None:
        """Close the parts that can be closed, last made first."""
        for made in reversed(self.made):
            close = getattr(made.instance, "close", None)
            if close is not None:
                close()


def ordered(plugins: list[Plugin]) -> list[Plugin]:
    """*plugins* with those required first, otherwise as they stand; what requires ``*`` comes last.

    >>> a, b, c = Plugin("a", "1", print, ("b",)), Plugin("b", "1", print), Plugin("c", "1", print, ("*",))
    >>> [plugin.type for plugin in ordered([c, a, b])]
    ['b', 'a', 'c']

    Raises:
        FailedPrecondition: they require each other in a circle.
    """
    done: list[Plugin] = []
    open_: list[Plugin] = []

    def visit(plugin: Plugin) -> None:
        if plugin in done:
            return
        if plugin in open_:
            raise FailedPrecondition(f"plugins require each other: {' -> '.join(each.uri for each in open_)}")
        open_.append(plugin)
        for needed in plugins:
            if needed.type in plugin.requires:
                visit(needed)
        open_.pop()
        done.append(plugin)

    for plugin in sorted(plugins, key=lambda plugin: "*" in plugin.requires):
        visit(plugin)
    return done
