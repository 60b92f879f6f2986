"""What transformers says of a model folder, before an engine is started on it."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("torch") is None:  # where engines have a Python of their own: no news that we need
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"

from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from east_core.config import ModelConfig
from east_core.errors import DataError
from east_core.inputs.chat import (
    PROBES,
    ChatTokenizer,
    check_tokenizer,
    prompt_token_ids,
)
from east_core.inputs.turns import ids_behind_answer, stop_ids
from east_core.protocols import PromptFormat

PLAIN_CLASS = "PreTrainedTokenizerFast"  # takes a tokenizer.json as it is
# What a maker recommends in generation_config.json, and what it is where nothing is said there.
SAMPLING_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class ModelFacts:
    """What `east check` tells of a model.

    `context` is the longest sequence in tokens. `turn_end` is the token that ends an assistant's
    turn by the chat template, None where the template knows no such turn; `stops` are those at
    which an engine stops by itself. `recommended` is how the makers sample, by their
    generation_config.json, where it is not plainly.
    """

    architecture: str
    context: int | None
    vocabulary: int
    turn_end: tuple[int, str] | None
    stops: Mapping[int, str]
    recommended: Mapping[str, float]


@dataclass(frozen=True)
class InspectedModel:
    """A model's tokenizer, with which prompts are rendered, and its facts."""

    tokenizer: ChatTokenizer
    facts: ModelFacts

    def prompt_lengths(
        self, questions: Iterable[str], system_prompt: str | None, form: PromptFormat
    ) -> Iterator[int]:
        """Tokens of each question's prompt."""
        return _lengths(self.tokenizer, questions, system_prompt, form)


def prompt_lengths(
    folder: Path,
    trust_remote_code: bool,
    questions: Iterable[str],
    system_prompt: str | None,
    form: PromptFormat,
) -> Iterator[int]:
    """Tokens of each question's prompt, for a model in a folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    return _lengths(tokenizer, questions, system_prompt, form)


def _lengths(
    tokenizer: ChatTokenizer,
    questions: Iterable[str],
    system_prompt: str | None,
    form: PromptFormat,
) -> Iterator[int]:
    for question in questions:
        ids = prompt_token_ids(tokenizer, system_prompt=system_prompt, question=question, form=form)
        yield len(ids)


def inspect_model(
    folder: Path, model: ModelConfig, system_prompt: str | None, form: PromptFormat
) -> InspectedModel:
    """Load a model's configuration and tokenizer, and render a prompt with its chat template.

    Raises DataError with one line where any of it fails.
    """
    where, trust = f"model {model.name}", model.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
        recommended = _recommended(folder)
    except Exception as error:  # a broken folder can raise anything
        reason = " ".join(str(error).split())
        raise DataError(f"{where} can't be loaded: {reason}") from error
    check_tokenizer(tokenizer, system_prompt, where, form)
    check_against_file(tokenizer, folder, where)
    return InspectedModel(tokenizer, _facts(folder, config, tokenizer, recommended, form))


def check_against_file(tokenizer: ChatTokenizer, folder: Path, where: str) -> None:
    """Raise DataError where transformers gives other ids than the model's own tokenizer.json."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    raw = Tokenizer.from_file(str(file))
    for text in PROBES:
        theirs = raw.encode(text, add_special_tokens=False).ids
        if tokenizer.encode(text, add_special_tokens=False) != theirs:
            raise DataError(
                f"{where}: transformers tokenizes {text!r} otherwise than its tokenizer.json does; "
                f"{_cure(tokenizer, folder)}"
            )


def _cure(tokenizer: ChatTokenizer, folder: Path) -> str:
    """What to change where transformers reads a tokenizer.json in its own way."""
    settings = folder / "tokenizer_config.json"
    named = json.loads(settings.read_text("utf-8")) if settings.is_file() else {}
    if named.get("tokenizer_class") != PLAIN_CLASS:
        return f"set tokenizer_class to {PLAIN_CLASS} in its tokenizer_config.json"
    return (
        f"it takes {type(tokenizer).__name__} for models of this type, whatever "
        "tokenizer_config.json says: use a tokenizer.json of that kind"
    )


def _recommended(folder: Path) -> dict[str, float]:
    """How the makers sample, by their generation_config.json, where it is not plainly."""
    if not (folder / "generation_config.json").is_file():
        return {}
    recommended = GenerationConfig.from_pretrained(folder)
    values = {name: getattr(recommended, name, None) for name in SAMPLING_DEFAULTS}
    return {
        name: value
        for name, value in values.items()
        if value is not None and value != SAMPLING_DEFAULTS[name]
    }


def _turn_end(tokenizer: Any, stops: frozenset[int], form: PromptFormat) -> int | None:
    """The id that ends an answer in the template: a stop where one is there, else the first."""
    behind = ids_behind_answer(tokenizer, form)
    return next((each for each in behind if each in stops), next(iter(behind), None))


def _facts(
    folder: Path, config: Any, tokenizer: Any, recommended: dict[str, float], form: PromptFormat
) -> ModelFacts:
    stops = stop_ids(folder, tokenizer)
    end = _turn_end(tokenizer, stops, form)
    named = tokenizer.convert_ids_to_tokens
    return ModelFacts(
        architecture=(config.architectures or [type(config).__name__])[0],
        context=getattr(config.get_text_config(), "max_position_embeddings", None),
        vocabulary=len(tokenizer),
        turn_end=None if end is None else (end, named(end)),
        stops={stop: named(stop) for stop in sorted(stops)},
        recommended=recommended,
    )
