"""What transformers says of a model folder, before an engine is started on it."""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from east_core.errors import DataError
from east_core.inputs.chat import check_tokenizer


@dataclass(frozen=True)
class ModelFacts:
    """What `east check` tells of a model. `context` is the longest sequence in tokens."""

    architecture: str
    context: int | None
    vocabulary: int


def inspect_model(folder: Path, name: str, system_prompt: str | None, trust: bool) -> ModelFacts:
    """Load a model's configuration and tokenizer, and render a prompt with its chat template.

    Raises DataError with one line where any of it fails.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    except Exception as error:  # a broken folder can raise anything
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"model {name} can't be loaded: {reason}") from error
    check_tokenizer(tokenizer, system_prompt, f"model {name}")
    return ModelFacts(
        architecture=(config.architectures or [type(config).__name__])[0],
        context=getattr(config, "max_position_embeddings", None),
        vocabulary=len(tokenizer),
    )
