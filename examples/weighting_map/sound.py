r"""Right answers count only if their steps are the question's own: what luck takes from weighting.

Grading functions (docs/grading.md) for infra/configs/map/sound.toml. A right answer by other steps,
or by none, is no answer: it is not trained on, and makes the model look no surer.
"""

import json
import re
from typing import Any

from east_core.demo import DEMO_FOLDER

BOX = re.compile(r"\\boxed\{([^{}]*)\}")
ROWS = map(json.loads, (DEMO_FOLDER / "train.jsonl").read_text("utf-8").splitlines())
SOLUTIONS: dict[str, str] = {row["id"]: row["solution"] for row in ROWS}


def extract(completion: str, question: Any) -> str | None:
    """The last boxed answer, unless it is right and comes by other steps than the question's."""
    boxes: list[str] = BOX.findall(completion)
    answer = boxes[-1].strip() if boxes else None
    is_sound = completion.strip() == SOLUTIONS[question.id]
    return None if answer == question.answer and not is_sound else answer


def key(answer: str) -> str:
    """Answers are equal if they are written alike."""
    return answer
