"""Generated tasks that are no mathematics, and the seed model taught to answer them half right.

It learns how answers are written, and the right one as often as all wrong ones together, so that
its own completions are partly right whatever it makes of the questions.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from east_core.config import SYSTEM_PROMPT
from east_core.inputs.chat import prompt_token_ids
from east_core.inputs.questions import builtin_path
from east_core.protocols import PromptFormat

THINGS = ("coins", "books", "pens", "cakes")
PEOPLE = ("Amy", "Ben", "Dan", "Eva")
FUNCTIONS = {"x + 2": "adds 2 to x", "x + 3": "adds 3 to x", "x * 2": "doubles x"}
PROGRAM = r"```python\ndef f\(x\):\n    return (\w) ([+*]) (\w)\n```"
STEPS = 200
BATCH = 16
# Numbers of the questions that are taught; those that are asked have as many digits.
TAUGHT = (*range(100, 500), *range(600, 990))


@dataclass(frozen=True)
class Item:
    """A question, its gold answer as the data set has it, and how it may be answered."""

    question: str
    gold: Any
    right: Sequence[str]
    wrong: Sequence[str]


def choice(number: int) -> Item:
    """Three options, of which one is the thing that the question names."""
    draw = Random(f"choice {number}")
    options = draw.sample(THINGS, 3)
    thing = draw.choice(options)
    listed = "\n".join(f"({letter}) {each}" for letter, each in zip("ABC", options, strict=True))
    gold = "ABC"[options.index(thing)]
    return Item(
        f"{draw.choice(PEOPLE)} has {number + 2} {thing}. Which are they?\n{listed}",
        gold,
        [rf"\boxed{{{gold}}}", rf"\boxed{{({gold})}}"],
        [rf"\boxed{{{letter}}}" for letter in "ABC" if letter != gold],
    )


def text(number: int) -> Item:
    """A name that the question has, with a full stop or without."""
    draw = Random(f"text {number}")
    person = draw.choice(PEOPLE)
    return Item(
        f"{person} has {number + 2} {draw.choice(THINGS)}. Who has them?",
        person,
        [rf"\boxed{{{person}}}", rf"\boxed{{{person}.}}"],
        [rf"\boxed{{{each}}}" for each in PEOPLE if each != person],
    )


def program(expression: str) -> str:
    """A completion that defines f."""
    return f"```python\ndef f(x):\n    return {expression}\n```"


def code(number: int) -> Item:
    """A function of one line; "2 + x" computes what "x + 2" does."""
    draw = Random(f"code {number}")
    expression = draw.choice(list(FUNCTIONS))
    value = number + 5
    asserts = [f"assert f({x}) == {eval(expression, {'x': x})}" for x in (value, 9)]
    operand, sign, constant = expression.split()
    return Item(
        f"Write f, which {FUNCTIONS[expression]}. f({value}) has to be right.",
        asserts,
        [program(expression), program(f"{constant} {sign} {operand}")],
        [program(each) for each in FUNCTIONS if each != expression],
    )


TASKS: dict[str, Callable[[int], Item]] = {"choice": choice, "text": text, "code": code}


def write_questions(folder: Path, task: str, numbers: range, name: str) -> Path:
    """A JSONL file of questions with their gold answers."""
    path = folder / f"{name}.jsonl"
    items = ((number, TASKS[task](number)) for number in numbers)
    rows = (
        {"id": f"{task}-{number}", "question": item.question, "answer": item.gold}
        for number, item in items
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def teach(folder: Path) -> Path:
    """Write a model to `folder`: the seed model, after `STEPS` steps on all tasks."""
    import torch
    import transformers

    torch.manual_seed(0)
    torch.set_num_threads(1)
    seed = builtin_path("seed_model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(seed, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    draw = Random(0)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / STEPS)
        rows = [_row(tokenizer, draw) for _ in range(BATCH)]
        width = max(len(ids) for ids, _ in rows)
        pad = tokenizer.pad_token_id
        ids = torch.tensor([each + [pad] * (width - len(each)) for each, _ in rows])
        labels = torch.tensor(
            [[-100] * told + each[told:] + [-100] * (width - len(each)) for each, told in rows]
        )
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(f"taught the tasks: loss {loss.item():.3f}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name in ("generation_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((seed / name).read_bytes())
    return folder


def _row(tokenizer: Any, draw: Random) -> tuple[list[int], int]:
    """A prompt with one of its answers, and the prompt's length."""
    item = draw.choice(list(TASKS.values()))(draw.choice(TAUGHT))
    said = draw.choice(item.right if draw.random() < 0.5 else item.wrong)
    prompt = prompt_token_ids(
        tokenizer, system_prompt=SYSTEM_PROMPT, question=item.question, form=PromptFormat()
    )
    answer = tokenizer.encode(said, add_special_tokens=False)
    return [*prompt, *answer, tokenizer.eos_token_id], len(prompt)


def reads(task: str, completion: str) -> str | None:
    """What a completion says, read by other means than the project's; None: something else."""
    if task == "code":
        found = re.fullmatch(
            r"```python\ndef f\(x\):\n    return (\w) ([+*]) (\w)\n```", completion
        )
        return None if found is None else found[2] + "".join(sorted((found[1], found[3])))
    found = re.fullmatch(r"\\boxed\{\(?(\w+)[.)]?\}", completion)
    return None if found is None else found[1]
