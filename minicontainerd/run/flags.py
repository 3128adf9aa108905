"""The command line, read the way Go's flag package does: callers of runtimes write it for that.

``-root X``, ``--root X`` and ``--root=X`` are the same; a flag that is a switch takes no value, except ``=false``;
and flags end at the first word that is none: what follows belongs to the container's program. Python's argparse
knows other rules, and takes longer to import than a container takes to be asked for its state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InvalidArgument

SWITCH, VALUE, MANY = "switch", "value", "many"
Kinds = Mapping[str, str]


class Flags:
    """What was given: switches, values, lists; absent ones are False, "" and []."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._values: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {}

    def on(self, name: str) -> bool:
        return self._values.get(name, "false") == "true"

    def value(self, name: str, default: str = "") -> str:
        return self._values.get(name, default)

    def many(self, name: str) -> list[str]:
        return self._lists.get(name, [])

    def number(self, name: str) -> int | None:
        """The flag as an integer, None if it was not given.

        Raises:
            InvalidArgument: it is none.
        """
        text = self._values.get(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            raise InvalidArgument(f'invalid value "{text}" for flag -{name}: parse error') from None

    def add(self, name: str, value: str) -> None:
        if self._kinds[name] == MANY:
            self._lists.setdefault(name, []).append(value)
        else:
            self._values[name] = value


def parse(words: Sequence[str], kinds: Kinds, short: Mapping[str, str]) -> tuple[Flags, list[str]]:
    """Read flags of *kinds* from the front of *words*; *short* maps one letter to a name. The flags, and the rest.

    >>> flags, rest = parse(["-d", "--root=/r", "id", "--help"], {"detach": SWITCH, "root": VALUE}, {"d": "detach"})
    >>> flags.on("detach"), flags.value("root"), rest
    (True, '/r', ['id', '--help'])

    Raises:
        InvalidArgument: a flag is unknown, or its value is missing.
    """
    flags, rest = Flags(kinds), list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        name = short.get(name, name)
        if name not in kinds:
            raise InvalidArgument(f"flag provided but not defined: -{name}")
        if kinds[name] == SWITCH:
            value = value if equals else "true"
        elif not equals:
            if not rest:
                raise InvalidArgument(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        flags.add(name, value)
    return flags, rest
