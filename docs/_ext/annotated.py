"""``.. annotated:: minicontainerd/store/blobs.py``: a module as prose beside its code.

The prose is the source's own (split.py), so it cannot drift. Its reST is read as that of any page: roles point to
other stops of the tour, and a name that no longer exists fails the build. In the code, every name that is defined in
the package is a link to its definition. ``annotated`` on an ``__init__.py`` gives the opening of a room, without a
heading; the table of its modules becomes a list of links.

The page is plain HTML and CSS. Where the window is narrow, the prose comes above its code.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from pygments import lex
from pygments.formatters.html import _get_ttype_class
from pygments.lexers.python import PythonLexer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.util.docutils import SphinxDirective

from docs._ext.names import PACKAGE, ROOT, module_name, references
from docs._ext.split import Module, Prose, Row, split

Piece = tuple[str, str, str]  # of a line of code: its colour, its text, and what it refers to or nothing
ENTRY = re.compile(r"^( +)([A-Za-z_][\w.]*(?:, [A-Z]\w*)*): ")
SECTION = re.compile(r"^(Raises|Args):$")
FILE = re.compile(r"\b(?:[a-z_]+/)*[a-z_]+\.py\b")
COMMIT = re.compile(r"mailto:(\w+)@([0-9a-f]{7,40})$")
UPSTREAM = {
    "containerd": "containerd/containerd",
    "ttrpc": "containerd/ttrpc",
    "runc": "opencontainers/runc",
    "crun": "containers/crun",
}
"""Whom a source like ``containerd@301026e`` means, on GitHub."""
LITERAL = re.compile(r"``([^`]+)``|(?<![\w*])\*(\w[^*\n]*)\*")


class code_column(nodes.General, nodes.Element):
    """The code of one row: ``lines`` are lists of (token class, text, full name or nothing)."""


class Annotated(SphinxDirective):
    """The directive. Its argument is a path below the root of the project."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A section for the module, with its essay and its rows."""
        self.path = ROOT / self.arguments[0]
        self.env.note_dependency(str(self.path))
        self.module = module_name(self.path)
        source = self.path.read_text()
        parts = split(source)
        saved = {key: self.env.ref_context.get(key) for key in ("py:module", "py:class")}
        self.env.ref_context.update({"py:module": self.module, "py:class": None})
        try:
            return self._section(source, parts)
        finally:
            self.env.ref_context.update(saved)

    def _section(self, source: str, parts: Module) -> list[nodes.Node]:
        target = self._target(self.module, "module")
        essay = self._prose([parts.essay], "annotated-essay") if parts.essay else nodes.container()
        link_modules(essay, self.path)
        rows = nodes.container(classes=["annotated"])
        if parts.rows:
            lines = highlighted(source, parts, self.path)
            rows += [self._row(row, lines) for row in parts.rows]
        body: list[nodes.Node] = [essay, rows] if parts.rows else [essay]
        if self.path.name == "__init__.py":
            return [target, *body]
        section = nodes.section(
            ids=[nodes.make_id(self.path.name)], names=[self.path.name], classes=["annotated-module"]
        )
        section += [nodes.title("", self.path.name), target, *body]
        self.state.document.note_implicit_target(section, section)
        return [section]

    def _row(self, row: Row, lines: dict[int, list[Piece]]) -> nodes.Node:
        parent = row.title.rpartition(".")[0]
        self.env.ref_context["py:class"] = row.title if ("class" in dict(row.names).values()) else parent or None
        left = self._prose(row.prose, "annotated-prose")
        if row.title:
            name = nodes.paragraph("", "", classes=["annotated-name"])
            name += nodes.reference("", row.title, refid=f"{self.module}.{row.title}", internal=True)
            left.insert(0, name)
        for name, kind in row.names:
            left.insert(0, self._target(f"{self.module}.{name}", kind))
        folded = all(re.match(r"(from|import) |\)?$|    \w+,", text) for _, text in row.code)
        right = code_column(folded=folded, lines=[lines[number] for number, _ in row.code])
        classes = ["annotated-row", *(["annotated-definition"] if row.title else [])]
        return nodes.container("", left, right, classes=classes)

    def _target(self, name: str, kind: str) -> nodes.Node:
        """Make *name* known to roles and to links in code."""
        target = nodes.target("", "", ids=[name])
        self.state.document.note_explicit_target(target)
        domain = self.env.domains.python_domain
        if kind == "module":
            domain.note_module(name, name, "", "", False)
        domain.note_object(name, kind, name, location=target)
        return target

    def _prose(self, prose: list[Prose], kind: str) -> nodes.Element:
        """Docstrings are reST; a comment is a plain sentence, in which ``literals`` and *names* are marked."""
        column = nodes.container(classes=[kind])
        for each in prose:
            if each.is_comment:
                column += nodes.paragraph("", "", *comment_nodes(each.text), classes=["annotated-comment"])
                continue
            lines = sections(each.text.splitlines())
            items = [(str(self.path), each.line - 1 + number) for number in range(len(lines))]
            self.state.nested_parse(StringList(lines, items=items), 0, column)
        link_sources(column)
        return column


def sections(lines: list[str]) -> list[str]:
    """Turn ``Raises:`` and ``Args:`` with their entries into a definition list of field lists.

    >>> sections(["Text.", "", "Raises:", "    NotFound: it is not.", "    OSError: else."])
    ['Text.', '', 'Raises', '    :NotFound: it is not.', '    :OSError: else.']
    """
    out: list[str] = []
    inside = False
    for line in lines:
        if match := SECTION.match(line):
            inside = True
            line = match[1]
        elif line and not line.startswith(" "):
            inside = False
        elif inside and line:
            line = ENTRY.sub(r"\1:\2: ", line) if ENTRY.match(line) else "    " + line
        out.append(line)
    return out


def comment_nodes(text: str) -> list[nodes.Node]:
    """A comment's text; the two marks that comments use are rendered."""
    parts: list[nodes.Node] = []
    end = 0
    for match in LITERAL.finditer(text):
        parts.append(nodes.Text(text[end : match.start()]))
        parts.append(nodes.literal("", match[1]) if match[1] else nodes.emphasis("", match[2]))
        end = match.end()
    return [*parts, nodes.Text(text[end:])]


def find_module(word: str, near: Path) -> str | None:
    """The module that *word* means in a docstring of the file *near*: ``blobs``, ``mount.py``, ``linux/mount.py``."""
    stem = word.removesuffix(".py").strip("/")
    if not re.fullmatch(r"[a-z_0-9]+(/[a-z_0-9]+)*", stem):
        return None
    elsewhere = [ROOT / PACKAGE] if word != stem or "/" in stem else []  # a bare word means a neighbour, or nothing
    for folder in (near.parent, *elsewhere):
        if (folder / f"{stem}.py").is_file():
            return module_name(folder / f"{stem}.py")
        if (folder / stem / "__init__.py").is_file():
            return module_name(folder / stem / "__init__.py")
    return None


def link_sources(prose: nodes.Element) -> None:
    """reST takes ``containerd@301026e`` for a mail address; make it a link to that commit, and the path to the file."""
    for reference in list(prose.findall(nodes.reference)):
        uri = str(reference.get("refuri", ""))
        if (match := COMMIT.match(uri)) and match[1] in UPSTREAM:
            reference["refuri"] = f"https://github.com/{UPSTREAM[match[1]]}/tree/{match[2]}"
        elif uri.startswith("mailto:"):
            reference.replace_self(nodes.Text(reference.astext()))


def link_modules(essay: nodes.Element, near: Path) -> None:
    """In an essay, make links of names of modules: literals, words like ``mount.py``, first cells of a table."""
    for literal in list(essay.findall(nodes.literal)):
        if (module := find_module(literal.astext(), near)) and not isinstance(literal.parent, addnodes.pending_xref):
            literal.replace_self(_link(module, literal))
    for text in list(essay.findall(nodes.Text)):
        inside = text.parent
        if isinstance(inside, nodes.paragraph):
            in_first_cell = isinstance(inside.parent, nodes.entry) and inside.parent.parent.index(inside.parent) == 0
            _link_words(text, re.compile(r"[\w/]+") if in_first_cell else FILE, near)


def _link_words(text: nodes.Text, pattern: re.Pattern[str], near: Path) -> None:
    plain, end = str(text), 0
    parts: list[nodes.Node] = []
    for match in pattern.finditer(plain):
        if module := find_module(match[0], near):
            parts += [nodes.Text(plain[end : match.start()]), _link(module, nodes.literal("", match[0]))]
            end = match.end()
    if parts:
        parent = text.parent
        index = parent.index(text)
        parent[index : index + 1] = [*parts, nodes.Text(plain[end:])]


def _link(module: str, shown: nodes.Element) -> addnodes.pending_xref:
    inner = shown.deepcopy()
    return addnodes.pending_xref(
        "", inner, refdomain="py", reftype="mod", reftarget=module, refexplicit=True, made_of_a_word=True
    )


def highlighted(source: str, parts: Module, path: Path) -> dict[int, list[Piece]]:
    """The code of a module, coloured as a whole and then cut into lines, by their number."""
    numbered = [line for row in parts.rows for line in row.code]
    known = references(source, path)
    found: list[list[Piece]] = [[]]
    column = 0
    for kind, text in lex("\n".join(text for _, text in numbered), PythonLexer(stripnl=False)):
        for index, piece in enumerate(text.split("\n")):
            if index:
                found.append([])
                column = 0
            if piece and len(found) <= len(numbered):
                found[-1].append((_get_ttype_class(kind), piece, known.get((numbered[len(found) - 1][0], column), "")))
            column += len(piece)
    return {number: pieces for (number, _), pieces in zip(numbered, found, strict=False)}


def visit_code_column(self: Any, node: code_column) -> None:
    """Write the code; links are resolved now, when every page is known."""
    domain: PythonDomain = self.builder.env.domains.python_domain
    self.body.append('<div class="annotated-code highlight">')
    self.body.append("<details><summary>imports</summary><pre>" if node["folded"] else "<pre>")
    for line in node["lines"]:
        for css, text, full in line:
            shown = f'<span class="{css}">{html.escape(text)}</span>' if css else html.escape(text)
            if full in domain.objects and (place := domain.objects[full]):
                page = self.builder.get_relative_uri(self.builder.current_docname, place.docname)
                shown = f'<a href="{page}#{place.node_id}">{shown}</a>'
            self.body.append(shown)
        self.body.append("\n")
    self.body.append("</pre></details></div>" if node["folded"] else "</pre></div>")
    raise nodes.SkipNode


def skip(self: Any, node: nodes.Element) -> None:
    """Builders of anything but HTML leave the code out."""
    raise nodes.SkipNode


def resolve_short_name(app: Sphinx, env: Any, node: addnodes.pending_xref, shown: Any) -> nodes.Node | None:
    """Find ``operate.start`` by the end of its full name; names of Python's own modules stand as they are."""
    wanted = str(node["reftarget"])
    domain: PythonDomain = env.domains.python_domain
    found = [name for name in domain.objects if name.endswith("." + wanted)]
    if len(found) == 1:
        node["reftarget"] = found[0]
        return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], found[0], node, shown)
    if node.get("made_of_a_word"):
        return shown  # a module that has no stop; tests/docs says which
    return shown if wanted.split(".")[0] in sys.stdlib_module_names else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("annotated", Annotated)
    app.add_node(code_column, html=(visit_code_column, None), text=(skip, None), latex=(skip, None))
    app.connect("missing-reference", resolve_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
