"""A measurement of two parties that take turns, so that whatever slows the machine down slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table; *theirs* and *ours* in *unit*, *target* the highest ratio that we want, if any.

    An absolute *limit* on ours stands in its place where a ratio would say nothing.
    """

    name: str
    unit: str
    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    target: float | None = None
    limit: float | None = None

    @property
    def medians(self) -> tuple[float, float]:
        """Of containerd, and of ours."""
        return statistics.median(self.theirs), statistics.median(self.ours)

    @property
    def ratio(self) -> float:
        """Ours by theirs: below 1 is faster, or smaller."""
        theirs, ours = self.medians
        return ours / theirs

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        if self.limit is not None:
            return self.medians[1] <= self.limit
        return self.target is None or self.ratio <= self.target


def alternate(parties: Sequence[Callable[[int], float]], rounds: int) -> tuple[tuple[float, ...], ...]:
    """Call each of *parties* once a round, with the round's number; what each of them returned.

    Who begins changes from round to round, for the second may find the machine warmer, or busier with the first: the
    kernel takes a container apart after its runtime has ended. Of two, each follows itself as often as the other; of
    more, none follows itself (behind itself `runc run` takes 18 ms where it takes 24 behind ours).
    """
    results: list[list[float]] = [[] for _ in parties]
    for number in range(rounds):
        order = list(enumerate(parties))
        first = number % len(order)
        for which, party in [*order[first:], *order[:first]]:
            results[which].append(party(number))
    return tuple(map(tuple, results))


def milliseconds(work: Callable[[], object]) -> float:
    """How long *work* takes, in milliseconds."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
