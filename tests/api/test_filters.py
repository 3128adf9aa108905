"""The filter grammar: what parses, what it matches, and that nothing else gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.api.filters import Selector, fields, parse
from minicontainerd.errors import InvalidArgument

IMAGE = fields(name="docker.io/library/debian:12", labels={"a.b": "1", "containerd.io/gc.root": "now"}, kind=None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name~=debian",
        "name~=/^docker.io\\/library/",
        "name~=|^docker.io/|",
        'labels."a.b"==1',
        'labels."containerd.io/gc.root"',
        "labels.a.b==1 , name!=x",
        "labels.missing!=x",
        "kind!=x",
        'name=="docker.io\\x2flibrary/debian:12"',
    ],
)
def test_matches(text: str) -> None:
    assert parse([text]).match(IMAGE)


@pytest.mark.parametrize("text", ["kind", "labels.missing", "name==debian", 'labels."a.b"!=1', "name~=[", "name,kind"])
def test_does_not_match(text: str) -> None:
    assert not parse([text]).match(IMAGE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name=", r"\[name= .*\]|unsupported operator"),
        ("labels.containerd.io/x==y", "quoted literal not terminated"),
        ("name==/x/", "invalid quote encountered"),
        ("name b", "expected an operator"),
        (",", "expected field or quoted"),
        ("name==", "expected value or quoted"),
        ('name=="\\q"', "illegal escape sequence"),
        ("name==a b", "unexpected input: b"),
    ],
)
def test_says_where_the_mistake_is(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse([text])


def test_filters_are_alternatives_and_none_matches_everything() -> None:
    assert parse(["kind", "name"]).match(IMAGE)
    assert parse([]).match(IMAGE)


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse([text]).match(IMAGE)
    except InvalidArgument as error:
        assert "parse error" in str(error)


@given(
    st.lists(st.from_regex(r"\A[A-Za-z0-9_]+\Z"), min_size=1, max_size=3),
    st.sampled_from(["==", "!=", "~="]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
)
def test_what_is_quoted_comes_back(path: list[str], operator: str, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse([f'{".".join(path)}{operator}"{quoted}"']).alternatives == ((Selector(tuple(path), operator, value),),)
