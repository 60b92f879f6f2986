r"""Make the built-in demo from scratch: its questions, its tokenizer and its seed model.

    python examples/seed_model/train_seed.py --output east_core/demo

or questions of another difficulty, or a seed that errs in another way (east_core/demo/pupils.py):

    python examples/seed_model/train_seed.py --output easy --questions-only --steps 1 --largest 20
    python examples/seed_model/train_seed.py --output many --pupil many
    python examples/seed_model/train_seed.py --output many --pupil many \
        --start east_core/demo/seed_model

The seed should gain from self-training, so it must know better than it does. It is trained in four
stages, none of them on a question of the two files:

1. arithmetic: solutions without their questions, cheap, so that sums are sound;
2. stories: whole conversations with right solutions, learnt from the user's turn on, since telling
   a story teaches the model to copy from it;
3. sound: the same, but only the solutions are learnt;
4. habits: the same with a pupil's errors.

Sampled at temperature 1 the seed then errs about as often as stage 4 did, and now and then not at
all: the right solutions that self-training finds and keeps. With --start the first three stages are
left out: a model that is there, such as the demo's, gets the pupil's habits in place of its own.

All seeds are fixed. The question files are the same byte for byte everywhere; the weights on the
same kind of machine with the same PyTorch version and number of threads.
"""

# ruff: noqa: S311 - seeded generators are what a reproducible seed model needs

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from east_core.demo import DEMO_FOLDER, SYSTEM_PROMPT
from east_core.demo.pupils import PUPILS, Pupil
from east_core.demo.word_problems import (
    DEMO_DIFFICULTY,
    Difficulty,
    Problem,
    as_row,
    distinct_problems,
    draw_problem,
)

SEED: Final = 42
TRAIN_QUESTIONS: Final = 500
TEST_QUESTIONS: Final = 500
POOL_BATCHES: Final = 32
"""Batches drawn at a time and sorted by length, so that little is spent on padding."""
SOLUTIONS_A_ROW: Final = 3
IGNORED: Final = -100

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|end|>"
ROLES: Final = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Special tokens stand at every border, so no merge can cross from a prompt into its answer."""


@dataclass(frozen=True)
class Stage:
    """One stage of training: its length, its batch and its learning rate's shape.

    The rate rises over `warmup` steps to `peak` and falls along a cosine to `floor * peak`.
    """

    name: str
    steps: int
    peak: float
    batch_size: int
    warmup: int = 30
    floor: float = 0.02

    def learning_rate(self, step: int) -> float:
        """The rate for the given step, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak * (
            self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))
        )


ARITHMETIC: Final = Stage("arithmetic", 900, 1e-2, 16, floor=0.1)
STORIES: Final = Stage("stories", 700, 1e-2, 16, floor=0.5)
SOUND: Final = Stage("sound", 1000, 6e-3, 32)
HABITS: Final = Stage("habits", 200, 3e-3, 16)
STAGES: Final = (ARITHMETIC, STORIES, SOUND, HABITS)


@dataclass(frozen=True)
class Row:
    """One training sequence: token ids, and labels that are IGNORED where nothing is learnt."""

    ids: list[int]
    labels: list[int]


def make_questions(taken: set[str], difficulty: Difficulty) -> dict[str, list[Problem]]:
    """The questions of both files, disjoint; their keys are added to `taken`."""
    counts = {"train": TRAIN_QUESTIONS, "test": TEST_QUESTIONS}
    return {
        split: list(islice(distinct_problems(Random(f"{SEED}/{split}"), taken, difficulty), count))
        for split, count in counts.items()
    }


def write_questions(questions: dict[str, list[Problem]], folder: Path) -> None:
    """Write train.jsonl and test.jsonl, after a check that no question stands twice."""
    texts = [problem.question for problems in questions.values() for problem in problems]
    assert len(texts) == len(set(texts)), "a question stands twice; change the seed"
    for split, problems in questions.items():
        rows = (as_row(problem, f"{split}-{i:04d}") for i, problem in enumerate(problems))
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8", newline="\n")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE that reads any text, has single digits, and knows the task's words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True, normalized=False) for text in (PAD, BOS, EOS, *ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=20,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = Random(f"{SEED}/tokenizer")
    problems = [draw_problem(rng) for _ in range(5000)]
    texts = [text for p in problems for text in (p.question, p.solution(), SYSTEM_PROMPT)]
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama with heads of 32, the smallest that vLLM's CPU attention takes."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return model


def render_prompt(tokenizer: PreTrainedTokenizerFast, question: str) -> str:
    """The demo's prompt for a question, up to the place where the answer begins."""
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": question},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text


def conversation_rows(
    tokenizer: PreTrainedTokenizerFast, stage: Stage, taken: frozenset[str], pupil: Pupil
) -> Iterator[Row]:
    """Conversations without end, as the chat template renders them, none with a key in `taken`."""
    rng = Random(f"{SEED}/{stage.name}")
    for problem in distinct_problems(rng, set(taken)):
        text = pupil.solution(problem, rng) if stage is HABITS else problem.solution()
        prompt = tokenizer.encode(render_prompt(tokenizer, problem.question))
        answer = tokenizer.encode(text + EOS)
        told = prompt.index(tokenizer.eos_token_id) + 1 if stage is STORIES else len(prompt)
        yield Row(prompt + answer, [IGNORED] * told + prompt[told:] + answer)


def arithmetic_rows(
    tokenizer: PreTrainedTokenizerFast, stage: Stage, pupil: Pupil
) -> Iterator[Row]:
    """Rows of SOLUTIONS_A_ROW solutions without their questions, without end.

    Half of them are mistaken ones, so that their arithmetic is practised too.
    """
    rng = Random(f"{SEED}/{stage.name}")
    while True:
        row = Row([], [])
        for _ in range(SOLUTIONS_A_ROW):
            problem = draw_problem(rng)
            misread = pupil.misread(problem, rng) if rng.random() < 0.5 else {}
            _append_solution(row, tokenizer, problem.solution(misread))
        yield row


def _append_solution(row: Row, tokenizer: PreTrainedTokenizerFast, solution: str) -> None:
    """Add a solution of which all is learnt but the operations, which cannot be foreseen."""
    for line in solution.splitlines(keepends=True):
        left, equals, result = line.rpartition("=")
        asked, learnt = tokenizer.encode(left + equals), tokenizer.encode(result)
        row.ids.extend(asked + learnt)
        row.labels.extend([IGNORED] * len(asked) + learnt)
    row.ids.append(tokenizer.eos_token_id)
    row.labels.append(tokenizer.eos_token_id)


def batches(
    rows: Iterator[Row], size: int, pad_id: int, rng: Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of ids and labels, each (size, seq), right-padded, rows of like length."""
    while True:
        pool = sorted(islice(rows, size * POOL_BATCHES), key=lambda row: len(row.ids))
        starts = list(range(0, len(pool), size))
        rng.shuffle(starts)
        for start in starts:
            yield _padded(pool[start : start + size], pad_id)


def _padded(rows: Sequence[Row], pad_id: int) -> tuple[Tensor, Tensor]:
    width = max(len(row.ids) for row in rows)
    ids = [row.ids + [pad_id] * (width - len(row.ids)) for row in rows]
    labels = [row.labels + [IGNORED] * (width - len(row.labels)) for row in rows]
    return torch.tensor(ids), torch.tensor(labels)


def train(model: LlamaForCausalLM, stage: Stage, rows: Iterator[Row], pad_id: int) -> None:
    """Train the model in place for one stage, with fresh optimizers."""
    optimizers = make_optimizers(model)
    model.train()
    started = time.monotonic()
    data = batches(rows, stage.batch_size, pad_id, Random(f"{SEED}/{stage.name}/batches"))
    for step, (ids, labels) in enumerate(islice(data, stage.steps)):
        loss = next_token_loss(model, ids, labels)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, share in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * stage.learning_rate(step)
            optimizer.step()
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - started
            done = f"{stage.name} {step + 1}/{stage.steps}"
            print(f"{done} loss {loss.item():.4f} {spent:.0f} s", flush=True)


def make_optimizers(model: LlamaForCausalLM) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the layers' matrices, AdamW for the rest, each with its share of the stage's rate.

    Muon learns the carries of this arithmetic in a fraction of the steps that AdamW needs.
    """
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "layers" in name else rest).append(parameter)
    muon = torch.optim.Muon(matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=0.0)
    return [(muon, 1.0), (adamw, 0.3)]


def next_token_loss(model: LlamaForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the labelled tokens; ids and labels: (batch, seq).

    No attention mask is needed: padding stands on the right and attention looks left.
    """
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    targets = labels[:, 1:]
    learnt = targets != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[learnt]), targets[learnt])


def train_all(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    taken: frozenset[str],
    pupil: Pupil,
    keep: Path | None,
    stages: Sequence[Stage] = STAGES,
) -> None:
    """The stages, one after the other; no question has a key in `taken`."""
    for stage in stages:
        rows = (
            arithmetic_rows(tokenizer, stage, pupil)
            if stage is ARITHMETIC
            else conversation_rows(tokenizer, stage, taken, pupil)
        )
        train(model, stage, rows, tokenizer.pad_token_id)
        if keep:
            save(model, tokenizer, keep / stage.name)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a folder that transformers and vLLM load."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=DEMO_FOLDER, help="folder to write to")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch threads")
    parser.add_argument("--questions-only", action="store_true", help="do not train the model")
    parser.add_argument("--pupil", choices=PUPILS, default="one", help="who errs, and how")
    parser.add_argument("--steps", type=int, nargs="+", default=DEMO_DIFFICULTY.step_counts)
    parser.add_argument("--largest", type=int, default=DEMO_DIFFICULTY.largest, metavar="N")
    parser.add_argument("--start", type=Path, help="only teach habits, to the model in this folder")
    parser.add_argument("--keep-stages", type=Path, help="also save the model of each stage here")
    return parser.parse_args()


def made(start: Path | None) -> tuple[PreTrainedTokenizerFast, LlamaForCausalLM]:
    """The tokenizer, and the model that training begins with."""
    if start is None:
        tokenizer = make_tokenizer()
        return tokenizer, make_model(tokenizer)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
    return tokenizer, LlamaForCausalLM.from_pretrained(start)


def main() -> None:
    """Write the question files, then train and save the seed model."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    difficulty = Difficulty(tuple(arguments.steps), arguments.largest)
    write_questions(make_questions(taken, difficulty), arguments.output)
    if arguments.questions_only:
        return
    tokenizer, model = made(arguments.start)
    print(f"{model.num_parameters():,} parameters, vocabulary of {len(tokenizer)}", flush=True)
    pupil = PUPILS[arguments.pupil]
    stages = (HABITS,) if arguments.start else STAGES
    train_all(model, tokenizer, frozenset(taken), pupil, arguments.keep_stages, stages)
    save(model, tokenizer, arguments.output / "seed_model")


if __name__ == "__main__":
    main()
