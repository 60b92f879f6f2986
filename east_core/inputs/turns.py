"""Where a turn ends: the ids at which a model stops, and the one that a trained completion needs.

A sampled completion brings its own end along. Only text whose ids are not known, and what a stop
string ended, must be given one; it is what the model's chat template writes after an assistant's
message. It is often not the tokenizer's EOS: Gemma ends a turn with <end_of_turn>, Phi-3 with
<|end|>.
"""

import json
from pathlib import Path
from typing import Any

from east_core.inputs.chat import BARE, ChatTokenizer, messages, template_options
from east_core.protocols import PromptFormat

_PLAIN = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
_SAID = "so4said5"  # stands in for an assistant's message: no template trims, strips or escapes it


def stop_ids(folder: Path, tokenizer: ChatTokenizer) -> frozenset[int]:
    """The ids at which the model of `folder` stops: its generation_config.json's and its EOS.

    config.json's count where there is no generation_config.json, as for every engine.
    """
    named = _eos_of(folder / "generation_config.json")
    eos = _eos_of(folder / "config.json") if named is None else named
    listed = eos if isinstance(eos, list) else [eos]
    return frozenset(each for each in [*listed, tokenizer.eos_token_id] if isinstance(each, int))


def _eos_of(file: Path) -> Any:
    return json.loads(file.read_text("utf-8")).get("eos_token_id") if file.is_file() else None


def end_of_turn(tokenizer: ChatTokenizer, stops: frozenset[int], form: PromptFormat = BARE) -> int:
    """The id that ends an assistant's turn: the first of `stops` that the template writes after it.

    EOS for a template that writes none, as those of base models.
    """
    after = ids_behind_answer(tokenizer, form)
    assert tokenizer.eos_token_id is not None  # check_tokenizer has refused such a tokenizer
    return next((each for each in after if each in stops), tokenizer.eos_token_id)


def ids_behind_answer(tokenizer: ChatTokenizer, form: PromptFormat = BARE) -> list[int]:
    """What the template writes after an assistant's message; nothing where it writes no message."""
    conversation = [*messages(None, "?"), {"role": "assistant", "content": _SAID}]
    rendered = tokenizer.apply_chat_template(
        conversation,
        chat_template=form.chat_template,
        tokenize=False,
        **template_options(form),
    )
    _, said, behind = rendered.rpartition(_SAID)
    return tokenizer.encode(behind, add_special_tokens=False) if said else []


def is_kept_by_encoding(tokenizer: ChatTokenizer, text: str, ids: list[int]) -> bool:
    """Whether `ids`, made of `text`, are this text again."""
    return bool(tokenizer.decode(ids, **_PLAIN) == text)
