r"""Pupils, who write the text that a seed model learns its errors from.

What a model gets wrong, and how, decides what its answers' entropy says. The pupils differ in just
that; a problem's difficulty is a matter of its own (`word_problems.Difficulty`).

    one    the demo's: a hard part has one misconception, so that a question has few wrong answers
    many   hard parts are misread as often, in any of several ways: many different wrong answers
    firm   half of the kinds are nearly always misread, in one way, the other half hardly ever: the
           model is sure of what it most needs to unlearn
    lucky  long problems are guessed without a step, the others misread as by `one`: what is right
           of the guesses is right by luck
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from east_core.demo.events import RULES, Kind, Reckoning
from east_core.demo.word_problems import DEMO_DIFFICULTY, MAX_DRAWS, Problem

FAR: Final = 12
"""A guess is at most so far from the answer."""

_RATES: Final = {kind: rule.misread_rate for kind, rule in RULES.items() if rule.misreadings}
_FIRM: Final = {kind: (0.9, 0.1)[number % 2] for number, kind in enumerate(_RATES)}


@dataclass(frozen=True)
class Pupil:
    """Misreads hard parts, each independently at its kind's rate, and guesses what is too long.

    `ways` is the number of different misreadings of a part, at most as many as it has;
    `guesses_from` the number of steps from which on a problem is guessed.
    """

    rates: Mapping[Kind, float]
    ways: int = 1
    guesses_from: int | None = None

    def solution(self, problem: Problem, rng: Random) -> str:
        """A solution in the pupil's way, its own arithmetic right."""
        if self.guesses_from is not None and len(problem.steps()) >= self.guesses_from:
            return f"\\boxed{{{max(1, problem.answer + rng.randint(-FAR, FAR))}}}"
        return problem.solution(self.misread(problem, rng))

    def misread(self, problem: Problem, rng: Random) -> dict[int, Reckoning]:
        """Which hard parts the pupil misreads, and how.

        What leads to an uneven division or an amount out of bounds is drawn again, since it would
        teach unsound arithmetic; after MAX_DRAWS of them the pupil misreads nothing.
        """
        for _ in range(MAX_DRAWS):
            parts = [
                part for part in problem.hard_parts if rng.random() < self.rates[problem.kind(part)]
            ]
            misread = {part: self._way(problem.misreadings(part), rng) for part in parts}
            if all(step.is_sound(DEMO_DIFFICULTY.largest) for step in problem.steps(misread)):
                return misread
        return {}

    def _way(self, ways: tuple[Reckoning, ...], rng: Random) -> Reckoning:
        return ways[0] if self.ways == 1 else rng.choice(ways[: self.ways])


PUPILS: Final[dict[str, Pupil]] = {
    "one": Pupil(_RATES),
    "many": Pupil(_RATES, ways=4),
    "firm": Pupil(_FIRM),
    "lucky": Pupil(_RATES, guesses_from=4),
}
