"""A module cut into rows of prose and code, for the pages of the tour.

What a reader needs stands in the source already: a docstring says what, a comment says why. So prose is whatever the
interpreter would not run, and code is the rest::

    def stage(plan, channel):                 │  row 1   prose: the docstring     code: def stage(…): and on
        \"\"\"Into the cgroup, …\"\"\"              │
        child = os.fork()                     │
        channel.hear()  # the parent has …    │  row 2   prose: the comment       code: channel.hear() and on

A row begins at every class and function, at every line with a comment, and where a definition has ended. A string
that stands alone after an assignment is prose of that assignment. Comments that speak to a tool, such as
``type: ignore``, stay with the code. Nothing here knows of Sphinx. Read next: annotated.py.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

FOR_TOOLS = re.compile(r"#\s*(type:|noqa|pragma|fmt:|ruff:|!)")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Prose:
    """A docstring (reST) or a comment (plain), and the *line* of the file where it begins."""

    line: int
    text: str
    is_comment: bool


@dataclass
class Row:
    """Prose beside code. *names* are what is defined here: dotted name and the Python domain's word for its kind."""

    start: int
    title: str = ""
    names: list[tuple[str, str]] = field(default_factory=list)
    prose: list[Prose] = field(default_factory=list)
    code: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Module:
    """The essay at its top, if it has one, and the rows below."""

    essay: Prose | None
    rows: list[Row]


def split(source: str) -> Module:
    """Cut the text of a module.

    >>> module = split('\"\"\"Essay.\"\"\"\\n\\nx = 1  # one\\ny = 2\\n')
    >>> module.essay.text, [(row.prose[0].text, row.code) for row in module.rows]
    ('Essay.', [('one', [(3, 'x = 1'), (4, 'y = 2')])])
    """
    return _Splitter(source).module()


class _Splitter:
    def __init__(self, source: str) -> None:
        self.lines = source.splitlines()
        self.tree = ast.parse(source)
        self.essay: Prose | None = None
        self.rows: dict[int, Row] = {}
        self.cuts: dict[int, list[tuple[int, int]]] = {}  # line: byte ranges that are prose
        self.inside_string: set[int] = set()
        self.pending: list[tuple[int, str, str]] = []
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        self._read(self.tree, "", top=True)
        self._read_comments(tokens)

    def module(self) -> Module:
        """Fill the rows with the lines that are left; blank ones only between two that are not."""
        row = Row(0)
        rows = [row]
        after_prose = False
        for number, line in enumerate(self.lines, 1):
            if number in self.rows:
                row = self.rows[number]
                rows.append(row)
            text = self._without_prose(number, line)
            if text or number in self.inside_string:
                row.code.append((number, text))
            elif not line.strip() and row.code and row.code[-1][1] and not after_prose:
                row.code.append((number, ""))
            after_prose = not text and number in self.cuts
        for each in rows:
            while each.code and not each.code[-1][1]:
                each.code.pop()
            each.names += [(name, kind) for line, name, kind in self.pending if self._holds(each, rows, line)]
            each.prose.sort(key=lambda prose: (prose.is_comment and prose.line >= each.start, prose.line))
        return Module(self.essay, [row for row in rows if row.code or row.prose])

    def _holds(self, row: Row, rows: list[Row], line: int) -> bool:
        return row.start == max(each.start for each in rows if each.start <= line)

    def _without_prose(self, number: int, line: str) -> str:
        encoded = line.encode()
        for begin, end in sorted(self.cuts.get(number, []), reverse=True):
            encoded = encoded[:begin] + encoded[end:]
        return line if number in self.inside_string else encoded.decode().rstrip()

    def _row(self, line: int) -> Row:
        return self.rows.setdefault(line, Row(line))

    def _read(self, node: ast.AST, prefix: str, *, top: bool = False, in_class: bool = False) -> None:
        """Note the docstrings and definitions in the body of *node*, and in all that is in them."""
        previous: ast.stmt | None = None
        for statement in _statements(node):
            if _is_string(statement):
                self._take_docstring(statement, node if previous is None else previous)
            elif isinstance(statement, Definition):
                self._define(statement, prefix, top=top, in_class=in_class)
            else:
                if isinstance(previous, Definition) or (_is_import(previous) and not _is_import(statement) and top):
                    self._row(statement.lineno)
                if top or in_class:
                    for name in _assigned(statement):
                        self._names_near(statement.lineno, prefix + name, "data" if top else "attribute")
                self._read(statement, prefix)
            previous = statement

    def _define(self, node: Definition, prefix: str, *, top: bool, in_class: bool) -> None:
        is_class = isinstance(node, ast.ClassDef)
        if top or in_class or ast.get_docstring(node):
            row = self._row(_first_line(node))
            row.title = prefix + node.name
            if top or in_class:
                row.names.append((row.title, "class" if is_class else "method" if in_class else "function"))
        self._read(node, f"{prefix}{node.name}.", in_class=is_class)

    def _names_near(self, line: int, name: str, kind: str) -> None:
        """Remember a name for the row that will hold *line*; where rows begin is not known yet."""
        self.pending.append((line, name, kind))

    def _take_docstring(self, statement: ast.stmt, owner: ast.AST) -> None:
        assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        prose = Prose(statement.lineno, _dedent(str(statement.value.value)), is_comment=False)
        if isinstance(owner, ast.Module):
            self.essay = prose
        else:
            assert isinstance(owner, ast.stmt)
            self._row(_first_line(owner)).prose.append(prose)
        for number in range(statement.lineno, (statement.end_lineno or 0) + 1):
            begin = statement.col_offset if number == statement.lineno else 0
            whole = len(self.lines[number - 1].encode())
            end = statement.end_col_offset if number == statement.end_lineno else None
            rest = self.lines[number - 1].encode()[end:].decode()
            self.cuts.setdefault(number, []).append((begin, whole if FOR_TOOLS.match(rest.strip()) else end or whole))

    def _read_comments(self, tokens: list[tokenize.TokenInfo]) -> None:
        """Own-line comments go to the row of the next line of code, others to a row that begins with their line."""
        block: list[tokenize.TokenInfo] = []
        for token in tokens:
            if token.type == tokenize.STRING:
                self._note_string(token)
            if token.type == tokenize.COMMENT and not FOR_TOOLS.match(token.string):
                line = token.start[0]
                self.cuts.setdefault(line, []).append(
                    (len(token.line[: token.start[1]].encode()), len(self.lines[line - 1].encode()))
                )
                if token.line[: token.start[1]].strip():
                    self._row(line).prose.append(_comment([token]))
                else:
                    block.append(token)
            elif block and token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
                start = block[-1].start[0] if token.type == tokenize.ENDMARKER else token.start[0]
                self._row(start).prose.append(_comment(block))
                block = []

    def _note_string(self, token: tokenize.TokenInfo) -> None:
        """The lines of a string are kept as they are, the blank ones too."""
        begin, end = token.start[0], token.end[0]
        if begin != end and begin not in self.cuts:
            self.inside_string.update(range(begin, end))


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


def _is_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_import(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _assigned(node: ast.stmt) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        for name in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(name, ast.Name):
                yield name.id


def _dedent(text: str) -> str:
    first, _, rest = text.partition("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest.splitlines() if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in rest.splitlines())]).strip()


def _comment(tokens: list[tokenize.TokenInfo]) -> Prose:
    text = "\n".join(re.sub(r"^#:? ?", "", token.string) for token in tokens)
    return Prose(tokens[0].start[0], text, is_comment=True)
