"""Commands with aliases, as ctr has them: ``ls`` for ``list``, ``rm`` for ``delete``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

VERBS = {"list": ("ls",), "delete": ("del", "remove", "rm"), "metrics": ("metric",)}


class AliasGroup(click.Group):
    """A group whose commands may have more names than one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.aliases: dict[str, str] = {}

    def verb(self, name: str, *aliases: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
        """A command called *name*, and by its *aliases*; the usual ones of :data:`VERBS` come by themselves."""
        for alias in (*aliases, *VERBS.get(name, ())):
            self.aliases[alias] = name
        return self.command(name, **settings)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name or alias."""
        return super().get_command(context, self.aliases.get(name, name))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but without guessing what an unknown name might have meant."""
        command = self.get_command(context, args[0])
        if command is None:
            context.fail(f"No such command {args[0]!r}.")
        return command.name, command, args[1:]


def group(name: str, help: str) -> Callable[[Callable[..., Any]], AliasGroup]:
    """Declare a group of :meth:`AliasGroup.verb` commands."""
    return click.group(name, cls=AliasGroup, help=help)
