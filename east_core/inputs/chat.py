"""Prompts and completions as token ids: the one place where text becomes what a model sees.

Sampling and training both render prompts here, so the ids trained on are the ids sampled on.
The chat template alone decides about BOS (the tokenizer adds no special tokens of its own), so
BOS stands there once. A completion ends with EOS, which is a label like any other token.

The tokenizer is an argument (any Hugging Face tokenizer), so nothing heavy is imported here.
"""

from typing import Any, Protocol

from east_core.errors import DataError


class ChatTokenizer(Protocol):
    """What is used of a Hugging Face tokenizer."""

    chat_template: str | dict[str, str] | None
    bos_token_id: int | None
    eos_token_id: int | None

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any:
        """Render messages through the chat template."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text."""
        ...


def messages(system_prompt: str | None, question: str) -> list[dict[str, str]]:
    """The conversation that asks `question`: the system prompt where there is one, the user."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": question}]


def prompt_token_ids(
    tokenizer: ChatTokenizer, *, system_prompt: str | None, question: str
) -> list[int]:
    """Token ids of the prompt, up to where the assistant's turn begins."""
    ids: list[int] = tokenizer.apply_chat_template(
        messages(system_prompt, question),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    return ids


def completion_token_ids(tokenizer: ChatTokenizer, completion: str) -> list[int]:
    """Token ids of a completion and the EOS that ends it.

    They are tokenised apart from the prompt, as the model produced them: no merge across the
    boundary can change the prompt's ids.
    """
    assert tokenizer.eos_token_id is not None  # check_tokenizer has refused such a tokenizer
    return [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]


def check_tokenizer(tokenizer: ChatTokenizer, system_prompt: str | None, where: str) -> None:
    """Raise DataError where `tokenizer` can't render our prompts or end a completion.

    `where` names the model in the message.
    """
    if not tokenizer.chat_template:
        raise DataError(
            f"{where} has no chat template; use an instruction-tuned model, or put a "
            "chat_template.jinja beside its tokenizer"
        )
    if tokenizer.eos_token_id is None:
        raise DataError(f"{where} has no EOS token; set eos_token in its tokenizer_config.json")
    if _render(tokenizer, system_prompt, where).count(tokenizer.bos_token_id) > 1:
        raise DataError(
            f"{where}: the prompt holds BOS twice; its chat template must write bos_token once"
        )


def _render(tokenizer: ChatTokenizer, system_prompt: str | None, where: str) -> list[int | None]:
    try:
        return [*prompt_token_ids(tokenizer, system_prompt=system_prompt, question="1 + 1 = ?")]
    except Exception as error:  # templates are programs: they raise what they like
        cure = "; set sampling.system_prompt to none" if system_prompt else ""
        raise DataError(f"{where}: the chat template refuses our prompt: {error}{cure}") from error
