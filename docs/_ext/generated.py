"""Reference pages made from the program itself, so that they say what it does.

``.. commands:: minicontainerd.cli.main:command minictr``  every command with its options, as click knows them
``.. default-config::``                                   what ``minicontainerd config default`` prints
``.. clauses::``                                          conformance/clauses/*.toml, and the tests that name each
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from conformance.clause_list import all_clauses, read_clauses
from docs._ext.names import ROOT

Aliases = dict[str, str]  # alias: full name


class Commands(SphinxDirective):
    """A command with all that are below it: a section each."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """The sections; the outermost command is the page itself."""
        module, _, name = self.arguments[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        for file in (ROOT / "minicontainerd").rglob("*.py"):
            self.env.note_dependency(str(file))
        context = click.Context(command, info_name=self.arguments[1])
        return [*self._about(command, context, []), *self._below(command, context)]

    def _below(self, command: click.Command, context: click.Context) -> Iterator[nodes.section]:
        if not isinstance(command, click.Group):
            return
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is None or child.hidden:
                continue
            inner = click.Context(child, info_name=name, parent=context)
            title = inner.command_path
            section = nodes.section(ids=[nodes.make_id(title)], names=[title])
            self.state.document.note_implicit_target(section, section)
            section += [nodes.title("", title), *self._about(child, inner, aliases(command, name))]
            section += list(self._below(child, inner))
            yield section

    def _about(self, command: click.Command, context: click.Context, others: list[str]) -> list[nodes.Node]:
        usage = f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
        parts: list[nodes.Node] = [nodes.literal_block(usage, usage, language="none")]
        parts += [nodes.paragraph("", text) for text in (command.help or "").split("\n\n") if text]
        if others:
            parts.append(nodes.paragraph("", "Also: ", *_listed(others)))
        records = [record for each in command.params if (record := option(each, context))]
        if records:
            options = nodes.definition_list(classes=["options"])
            for flags, help in records:
                term = nodes.term("", "", nodes.literal("", flags))
                options += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", help)))
            parts.append(options)
        return parts


def _listed(words: list[str]) -> Iterator[nodes.Node]:
    for index, word in enumerate(words):
        yield nodes.Text(", " if index else "")
        yield nodes.literal("", word)


def option(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    """How an option is written and what it does, with its default where that says something."""
    record = parameter.get_help_record(context)
    default = parameter.to_info_dict()["default"]
    says_nothing = isinstance(default, bool) or not isinstance(default, str | int | float) or default == ""
    if record is None or says_nothing or "[default" in record[1]:
        return record
    return record[0], f"{record[1]} Default: {default}."


def aliases(group: click.Group, name: str) -> list[str]:
    """The other names of a command: ``ls`` of ``list``."""
    table: dict[str, Any] = getattr(group, "groups", {})
    if name in table:
        return list(table[name][1])
    return [alias for alias, full in getattr(group, "aliases", {}).items() if full == name]


class DefaultConfig(SphinxDirective):
    """The configuration that is built in."""

    def run(self) -> list[nodes.Node]:
        """A block of TOML."""
        from minicontainerd.daemon import config

        self.env.note_dependency(config.__file__)
        text = config.dump(config.Config())
        return [nodes.literal_block(text, text, language="toml")]


class Clauses(SphinxDirective):
    """A section for each file of clauses: its comment, and a table."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        named = tests_by_clause()
        sections: list[nodes.Node] = []
        for file in sorted((ROOT / "conformance" / "clauses").glob("*.toml")):
            self.env.note_dependency(str(file))
            section = nodes.section(ids=[nodes.make_id(file.stem)], names=[file.stem])
            self.state.document.note_implicit_target(section, section)
            comment = [line for line in file.read_text().split("\n\n")[0].splitlines() if line.startswith("#")]
            text = " ".join(line.lstrip("# ") for line in comment)
            rows = [self._row(id, clause, named.get(id, [])) for id, clause in read_clauses(file).items()]
            head = ["clause", "the sentence, in our words", "tests"]
            section += [nodes.title("", file.name), nodes.paragraph("", text), table(head, [34, 40, 26], rows)]
            sections.append(section)
        for path in (ROOT / "conformance").rglob("test_*.py"):
            self.env.note_dependency(str(path))
        return sections

    def _row(self, id: str, clause: dict[str, Any], tests: list[str]) -> list[nodes.Element]:
        first = nodes.container("", nodes.paragraph("", "", nodes.literal("", id)))
        first += nodes.paragraph("", f"{clause['level']} · {clause['place']}", classes=["clause-place"])
        last = nodes.container(classes=["clause-tests"])
        last += [nodes.paragraph("", "", _test(test)) for test in tests] or [nodes.paragraph("", _untested(clause))]
        return [first, nodes.paragraph("", clause["summary"]), last]


def _untested(clause: dict[str, Any]) -> str:
    who = clause.get("binds", "runtime")
    return str(clause.get("reason") or ("none yet" if who == "runtime" else f"binds {WHO[who]}"))


WHO = {
    "author": "whoever writes the config or the bundle",
    "caller": "whoever calls the runtime",
    "agent": "whoever the runtime talks to",
    "elsewhere": "another platform than Linux",
    "specification": "specifications that follow",
}


def _test(name: str) -> nodes.Text:
    """A test's name is a sentence: ``daemon/test_life::test_it_runs`` is ``life: it runs``."""
    file, _, function = name.partition("::")
    return nodes.Text(f"{Path(file).name.removeprefix('test_')}: {function.removeprefix('test_').replace('_', ' ')}")


def tests_by_clause() -> dict[str, list[str]]:
    """``folder/file::test`` by the clauses that its marks name, read from the text of the tests."""
    known = all_clauses()
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "conformance").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for mark in getattr(node, "decorator_list", []):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.clause":
                    name = f"{path.relative_to(ROOT / 'conformance').with_suffix('')}::{getattr(node, 'name', '')}"
                    for argument in mark.args:
                        for id in _ids(str(ast.literal_eval(argument)), known):
                            found.setdefault(id, []).append(name)
    return found


def _ids(named: str, known: Iterable[str]) -> list[str]:
    """The clauses that *named* stands for: itself, or all of *known* that it fits where it has a ``{parameter}``."""
    if "{" not in named:
        return [named]
    pattern = re.sub(r"\\\{\w+\\\}", r"[^.]+", re.escape(named))
    return [id for id in known if re.fullmatch(pattern, id)]


def table(head: list[str], widths: list[int], rows: list[list[nodes.Element]]) -> nodes.table:
    """A table as docutils builds it."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", _row([nodes.paragraph("", word) for word in head]))
    body = nodes.tbody()
    body += [_row(row) for row in rows]
    group += body
    return nodes.table("", group, classes=["clauses", "colwidths-given"])


def _row(cells: list[nodes.Element]) -> nodes.row:
    row = nodes.row()
    row += [nodes.entry("", cell) for cell in cells]
    return row


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("commands", Commands)
    app.add_directive("default-config", DefaultConfig)
    app.add_directive("clauses", Clauses)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
