"""How much room prompts and completions need: an engine keeps no more than that."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from east_core.inputs.rendering import PROBE, rendered
from east_core.inputs.templates import template_of
from east_core.protocols import PromptFormat

BLOCK = 64  # tokens; a multiple of the blocks in which engines keep their cache
# How config.json names the longest sequence: nearly all families, GPT-2's, MPT's, Falcon's and
# ChatGLM's.
_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclass(frozen=True)
class ContextNeed:
    """What the prompts of a run need of an engine's context, in tokens.

    `limit` is the context that they get. `cut` prompts leave less than `completion` tokens for
    their answer, and of these `empty` leave nothing at all.
    """

    longest_prompt: int
    completion: int
    limit: int
    prompts: int
    cut: int
    empty: int

    @property
    def is_full(self) -> bool:
        """Whether no prompt leaves the room that was asked for."""
        return self.cut == self.prompts

    @property
    def line(self) -> str:
        """What is config of it."""
        config = (
            f"the longest of {self.prompts} prompts has {self.longest_prompt} tokens; with "
            f"{self.completion} for an answer, the engine keeps {self.limit}"
        )
        if not self.cut:
            return config
        empty = f", and {self.empty} for none" if self.empty else ""
        return f"{config}; {self.cut} prompts leave no room for a full answer{empty}"


def own_context(folder: Path) -> int | None:
    """The longest sequence of a model in tokens, by its config.json; None where it tells none."""
    config = folder / "config.json"
    config = json.loads(config.read_text("utf-8")) if config.is_file() else {}
    config = config.get("text_config") or config
    return next((int(config[name]) for name in _NAMES if config.get(name)), None)


def context_needed(
    prompt_lengths: Sequence[int], completion: int, asked: int, own: int | None
) -> ContextNeed:
    """The context for prompts of these lengths, each with `completion` tokens behind it.

    `asked` is what the run asks its engines for, `own` the model's; None: that is not known.
    """
    limit = min(asked, own) if own else asked
    return ContextNeed(
        longest_prompt=max(prompt_lengths, default=0),
        completion=completion,
        limit=limit,
        prompts=len(prompt_lengths),
        cut=sum(length + completion > limit for length in prompt_lengths),
        empty=sum(length >= limit for length in prompt_lengths),
    )


def bytes_around(folder: Path, system_prompt: str | None, form: PromptFormat) -> int:
    """The most tokens that a prompt has beside its question, found without a tokenizer.

    A token stands for a byte of UTF-8 or more. By a rendered prompt where the template shows the
    question as it is; by all of its text otherwise.
    """
    prefix = form.assistant_prefix or ""
    prompt = rendered(folder, system_prompt, form) or ""
    if prompt.count(PROBE) == 1:
        return len((prompt + prefix).encode()) - len(PROBE)
    template = form.chat_template or template_of(folder, None) or ""
    texts = (system_prompt or "", template, json.dumps(dict(form.options)), prefix)
    return sum(len(text.encode()) for text in texts)


def context_bound(longest_question: int, around: int, completion: int) -> int:
    """A context that surely suffices: `longest_question` in bytes, `around` as `bytes_around`.

    `east check` tells what is needed to the token.
    """
    return -(-(longest_question + around + completion) // BLOCK) * BLOCK
