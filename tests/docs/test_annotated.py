"""A module cut into prose and code loses nothing, and keeps the order."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs._ext.split import FOR_TOOLS, split

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for path in (ROOT / "minicontainerd").rglob("*.py") if not path.name.endswith("_pb2.py"))
NOT_WRITTEN = '"""To be written."""'
LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def tokens(source: str) -> list[tokenize.TokenInfo]:
    return [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in LAYOUT]


def code_of(source: str) -> list[str]:
    """What is no comment and no string that stands alone, worked out with another rule than ``split`` has."""
    found: list[str] = []
    statement: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            words = [word for word in statement if not word.startswith("#")]
            alone = len(words) == 1 and words[0].endswith(('"', "'"))
            found += [] if alone else statement
            statement = []
        elif token.type not in (*LAYOUT, tokenize.COMMENT) or FOR_TOOLS.match(token.string):
            statement.append(token.string)
    return found


def check(source: str) -> None:
    module = split(source)
    lines = [line for row in module.rows for line in row.code]
    numbers = [number for number, _ in lines]
    assert numbers == sorted(set(numbers))
    for number, text in lines:
        assert source.splitlines()[number - 1].startswith(text)
    shown = "\n".join(text for _, text in lines) + "\n"
    assert [token.string for token in tokens(shown)] == code_of(source)
    prose = [each for row in module.rows for each in row.prose] + ([module.essay] if module.essay else [])
    kept = sum(len(each.text.splitlines()) for each in prose if each.is_comment)
    comments = [token for token in tokens(source) if token.type == tokenize.COMMENT]
    assert kept == sum(not FOR_TOOLS.match(token.string) for token in comments)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_line_of_a_module_appears_once_and_in_order(path: Path) -> None:
    check(path.read_text())


PIECES = st.sampled_from(
    [
        '"""A text.\n\n{i}On lines."""',
        "x = 1  # why one",
        "y = (\n{i}    1,  # first\n\n{i}    2,\n{i})",
        "# a reason\n{i}# on two lines",
        "z = '''kept\n\n  as it is'''",
        "import os",
        "",
        "w = 'no # comment'  # type: ignore[misc]",
        "ü = 'ü'  # ü",
        "@f  # decorated\n{i}def g() -> None:\n{i}    '''Text.'''",
        "def h() -> None: ...",
    ]
)
BODIES = st.recursive(
    st.lists(PIECES, min_size=1, max_size=5),
    lambda body: st.lists(st.one_of(PIECES, st.tuples(st.sampled_from(["class A:", "def f(a):", "if x:"]), body))),
    max_leaves=12,
)


def written(body: list[Any], indent: str = "") -> str:
    text = ""
    for piece in body:
        if isinstance(piece, tuple):
            text += f"{indent}{piece[0]}\n{written(piece[1], indent + '    ')}{indent}    pass\n"
        else:
            text += indent + str(piece).replace("{i}", indent) + "\n"
    return text


@given(BODIES)
def test_every_line_of_any_module_appears_once_and_in_order(body: list[Any]) -> None:
    check(written(body))


def test_every_module_has_one_stop_on_the_tour() -> None:
    pages = (ROOT / "docs" / "tour").glob("*.rst")
    stops = [stop for page in pages for stop in re.findall(r"^\.\. annotated:: (\S+)", page.read_text(), re.M)]
    assert sorted(stops) == sorted(set(stops))
    # An __init__ that says nothing yet opens no room.
    wanted = {str(path.relative_to(ROOT)) for path in MODULES if path.read_text().strip() not in ("", NOT_WRITTEN)}
    missing, gone = wanted - set(stops), set(stops) - {str(path.relative_to(ROOT)) for path in MODULES}
    assert (missing, gone) == (set(), set())
