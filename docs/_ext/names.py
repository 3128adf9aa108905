"""Which names in a module's code stand for something of this package, and for what.

Only what can be known from the text alone: imported names, names of the module itself, their attributes, and
``self.name`` within a class. A name that a function binds itself is its own, whatever else is called so.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = "minicontainerd"
ROOT = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def module_name(path: Path) -> str:
    """``minicontainerd.store.blobs`` for its path; a package for its ``__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def references(source: str, path: Path) -> dict[tuple[int, int], str]:
    """Full names by place: line from 1, and column from 0 in characters.

    >>> text = "from minicontainerd.oci import digest\\ndef f(x): return digest.of(x)\\n"
    >>> references(text, ROOT / PACKAGE / "a.py")[2, 24]
    'minicontainerd.oci.digest.of'
    """
    finder = _Finder(source, path)
    finder.visit(finder.tree)
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, source: str, path: Path) -> None:
        self.lines = source.splitlines()
        self.tree = ast.parse(source)
        self.module = module_name(path)
        self.package = self.module if path.name == "__init__.py" else self.module.rpartition(".")[0]
        self.found: dict[tuple[int, int], str] = {}
        self.locals: list[set[str]] = []
        self.owner = ""  # the class we are in
        self.known = {name: f"{self.module}.{name}" for name in _bound(self.tree)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                self.known |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}

    def _origin(self, node: ast.ImportFrom) -> str:
        above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
        return ".".join([*above, *([node.module] if node.module else [])])

    def _note(self, line: int, byte_column: int, full: str) -> str:
        if full.startswith(PACKAGE):
            self.found[line, len(self.lines[line - 1].encode()[:byte_column].decode())] = full
        return full

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._note(alias.lineno, alias.col_offset, f"{self._origin(node)}.{alias.name}")
        if node.module:
            column = self.lines[node.lineno - 1].index(node.module, node.col_offset + 5)
            self._note(node.lineno, column, self._origin(node))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self.owner = self.owner, f"{self.module}.{node.name}"
        self.generic_visit(node)
        self.owner = outer

    def _function(self, node: Function) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        imported = {
            alias.asname or alias.name
            for each in ast.walk(node)
            for alias in getattr(each, "names", [])
            if isinstance(alias, ast.alias)
        }
        own = {argument.arg for argument in every if argument} | _bound(node)
        for outside in (*getattr(node, "decorator_list", []), *arguments.defaults, *every):
            if outside is not None:
                self.visit(outside)
        self.locals.append(own - imported)
        for inside in node.body if isinstance(node.body, list) else [node.body]:
            self.visit(inside)
        self.locals.pop()
        if not isinstance(node, ast.Lambda) and node.returns:
            self.visit(node.returns)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._resolve(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not self._resolve(node):
            self.visit(node.value)

    def _resolve(self, node: ast.expr) -> str:
        """The full name of *node*, noting it and what it is an attribute of; the empty string if not known."""
        if isinstance(node, ast.Name):
            if node.id == "self":
                return self.owner
            if any(node.id in names for names in self.locals):
                return ""
            return self._note(node.lineno, node.col_offset, self.known.get(node.id, ""))
        if isinstance(node, ast.Attribute) and (value := self._resolve(node.value)):
            column = (node.end_col_offset or 0) - len(node.attr.encode())
            return self._note(node.end_lineno or node.lineno, column, f"{value}.{node.attr}")
        return ""


def _bound(node: ast.AST) -> set[str]:
    """The names bound in the body of *node*, not in functions and classes within."""
    found: set[str] = set()
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(each.name)
        elif not isinstance(each, ast.Lambda):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                found.add(each.id)
            elif isinstance(each, ast.ExceptHandler) and each.name:
                found.add(each.name)
            waiting.extend(ast.iter_child_nodes(each))
    return found
