"""The report as one page that needs nothing else: no network, no other file, and no script to be read."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from conformance.clause_list import MANDATORY, Clauses, has_to
from conformance.report import Column, Results, coverage, grouped, parts, short

HERE = Path(__file__).parent
STYLE = (HERE / "page.css").read_text()
SCRIPT = (HERE / "page.js").read_text()

WORDS = {
    "holds": "every test passed",
    "differs": "a test found otherwise, for a reason that is told",
    "fails": "a test found otherwise",
    "skipped": "not run there",
    "-": "no test in that run",
}
SIGNS = {"holds": "✓", "differs": "≠", "fails": "✗", "skipped": "○", "-": "·"}

BINDS = {
    "runtime": "",
    "author": "binds whoever writes the config or the bundle",
    "caller": "binds whoever calls the runtime",
    "agent": "binds whoever the runtime talks to",
    "elsewhere": "binds another platform than Linux",
    "specification": "binds specifications that follow",
}


def as_html(results: Results) -> str:
    """The whole page."""
    named = {id for ids in results.clauses.values() for id in ids}
    about = parts(results)
    targets = ", ".join(dict.fromkeys(target for target, _ in results.columns))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Conformance: {escape(targets)}</title>",
            f"<style>{STYLE}</style></head><body>",
            f"<header><h1>Conformance, clause by clause</h1><p>{escape(targets)}</p></header><main>",
            *_overview(results, about, named),
            *_differences(results),
            _choice(),
            *(line for name, clauses in about.items() for line in _part(results, name, clauses, named)),
            f"</main><script>{SCRIPT}</script></body></html>",
            "",
        ]
    )


def _overview(results: Results, about: dict[str, Clauses], named: set[str]) -> Iterable[str]:
    every = {id: clause for clauses in about.values() for id, clause in clauses.items()}
    yield "<section class=cards>"
    for column in results.columns:
        states = [here[column][0] for here in results.found.values() if column in here]
        counts = "".join(
            f"<li class={_class(state)}><b>{states.count(state)}</b> {state}</li>" for state in SIGNS if state in states
        )
        yield f"<div class=card><h2>{_head(column)}</h2><ul>{counts}</ul><p>{len(states)} tests</p></div>"
    yield "</section>"
    yield "<table class=coverage><tr><th>clauses<th>mandatory<th>checked<th>with a reason not<th>without one<th></tr>"
    for name, clauses in {**about, "all": every}.items():
        if has_to(clauses):
            seen = coverage(clauses, named)
            share = 100 * seen.checked / seen.mandatory
            left = seen.mandatory - seen.checked - seen.excused
            link = f'<a href="#{name}">{name}</a>' if name != "all" else "<b>all</b>"
            yield f"<tr><td>{link}<td>{seen.mandatory}<td>{seen.checked}<td>{seen.excused}<td>{left}"
            yield f'<td class=bar><i style="width:{share:.0f}%"></i><span>{share:.0f} %</span></tr>'
    yield "</table>"


def _differences(results: Results) -> Iterable[str]:
    differing = results.differing()
    yield f"<details class=differences open><summary>{len(differing)} of {len(results.found)} tests did not pass"
    yield " everywhere where they were run</summary><dl>"
    for test in differing:
        yield f"<dt>{escape(short(test))} <small>{escape(', '.join(results.clauses[test]))}</small></dt>"
        for column, (state, reason) in results.found[test].items():
            yield f"<dd class={_class(state)}><b>{SIGNS[state]} {_head(column)}</b> {escape(reason)}</dd>"
    yield "</dl></details>"


def _choice() -> str:
    choices = {"all": "all", "must": "mandatory", "differ": "not the same everywhere", "untested": "without a test"}
    buttons = "".join(f"<button data-show={key}>{word}</button>" for key, word in choices.items())
    legend = " ".join(f"<span class={_class(state)}>{SIGNS[state]} {word}</span>" for state, word in WORDS.items())
    return f'<nav hidden>{buttons}<input type=search placeholder="words"></nav><p class=legend>{legend}</p>'


def _part(results: Results, name: str, clauses: Clauses, named: set[str]) -> Iterable[str]:
    yield f"<section id={name}><h2>{name}</h2><table class=clauses><thead><tr><th>clause<th>what it asks"
    yield "".join(f"<th class=state>{_head(column)}" for column in results.columns) + "</tr></thead><tbody>"
    for id, clause in clauses.items():
        yield _row(results, id, clause)
    yield "</tbody></table></section>"


def _row(results: Results, id: str, clause: dict[str, Any]) -> str:
    states = [results.state(id, column) for column in results.columns]
    tests = results.tests(id)
    kinds = [
        "must" if clause["level"] in MANDATORY and clause.get("binds", "runtime") == "runtime" else "",
        "differ" if len({*states} - {"-", "skipped"}) > 1 or {"fails", "differs"} & {*states} else "",
        "" if tests else "untested",
    ]
    cells = "".join(f'<td class="state {_class(state)}" title="{WORDS[state]}">{SIGNS[state]}' for state in states)
    return (
        f'<tr class="{" ".join(filter(None, kinds))}"><td><code>{escape(id)}</code>'
        f"<small><em>{clause['level']}</em> {_place(clause['place'])}</small>"
        f"<td>{escape(clause['summary'])}{_tests(tests) or _why(clause)}{cells}</tr>"
    )


def _tests(tests: list[str]) -> str:
    if not tests:
        return ""
    lines = grouped(tests)
    count = f"{len(lines)} test{'s' if len(lines) > 1 else ''}"
    return f"<details><summary>{count}</summary>{''.join(f'<p>{escape(line)}' for line in lines)}</details>"


def _why(clause: dict[str, Any]) -> str:
    reason = clause.get("reason") or BINDS[clause.get("binds", "runtime")] or "no test yet"
    return f"<small>{escape(reason)}</small>"


def _place(place: str) -> str:
    """A place of the runtime specification is a link."""
    specification, _, file = place.rpartition(" ")
    if specification != "runtime-spec 1.3":
        return escape(place)
    address = f"https://github.com/opencontainers/runtime-spec/blob/v1.3.0/{file}"
    return f'<a href="{escape(address)}">{escape(file)}</a>'


def _head(column: Column) -> str:
    return f"{escape(column[0])} <small>{escape(column[1])}</small>"


def _class(state: str) -> str:
    return "none" if state == "-" else state
