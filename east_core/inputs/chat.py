"""Prompts and completions as token ids: the one place where text becomes what a model sees.

Sampling and training both render prompts here, so the ids trained on are the ids sampled on.
The chat template alone decides about BOS (the tokenizer adds no special tokens of its own). A
completion ends with EOS, which is a label like any other token.

The tokenizer is an argument (any Hugging Face tokenizer), so nothing heavy is imported here.
"""

import datetime
from typing import Any, Protocol

from east_core.errors import DataError
from east_core.protocols import PromptFormat

BARE = PromptFormat()
# What a tokenizer must give back: words, digits, LaTeX, line breaks, runs of spaces.
PROBES = (
    "hello world",
    "12345 + 67.5 = 12,412.5",
    "so \\frac{1}{2} of $x^2$ is \\boxed{5}.",
    "first line\nsecond line\n\nlast",
    "two  spaces,   three",
)


_ASKED = "1 + 1 = ?"


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

    def decode(self, token_ids: list[int], **options: Any) -> Any:
        """The text of token ids (transformers says `str | list[str]`)."""
        ...


def messages(
    system_prompt: str | None, question: str, form: PromptFormat = BARE
) -> list[dict[str, str]]:
    """The conversation that asks `question`: the system prompt where there is one, the user.

    Where the model knows no system role, its prompt stands before the question.
    """
    if system_prompt and form.system_prompt_in == "user":
        return [{"role": "user", "content": f"{system_prompt}\n\n{question}"}]
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": question}]


def template_options(form: PromptFormat) -> dict[str, Any]:
    """What a template is given beside the messages: its options, and the date it may write."""
    if form.date is None:
        return dict(form.options)
    return {**form.options, "strftime_now": datetime.date.fromisoformat(form.date).strftime}


def prompt_text(
    tokenizer: ChatTokenizer,
    *,
    system_prompt: str | None,
    question: str,
    form: PromptFormat = BARE,
) -> str:
    """The prompt as text, up to where the model goes on: the assistant's turn and its prefix."""
    rendered = tokenizer.apply_chat_template(
        messages(system_prompt, question, form),
        chat_template=form.chat_template,
        add_generation_prompt=True,
        tokenize=False,
        **template_options(form),
    )
    return f"{rendered}{form.assistant_prefix or ''}"


def prompt_token_ids(
    tokenizer: ChatTokenizer,
    *,
    system_prompt: str | None,
    question: str,
    form: PromptFormat = BARE,
) -> list[int]:
    """Token ids of the prompt, up to where the model goes on."""
    text = prompt_text(tokenizer, system_prompt=system_prompt, question=question, form=form)
    return tokenizer.encode(text, add_special_tokens=False)


def completion_token_ids(tokenizer: ChatTokenizer, completion: str) -> list[int]:
    """Token ids of a completion and the EOS that ends it.

    They are tokenised apart from the prompt, as the model produced them: no merge across the
    boundary can change the prompt's ids.
    """
    assert tokenizer.eos_token_id is not None  # check_tokenizer has refused such a tokenizer
    return [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]


def check_tokenizer(
    tokenizer: ChatTokenizer,
    system_prompt: str | None,
    where: str,
    form: PromptFormat = BARE,
) -> None:
    """Raise DataError where `tokenizer` can't render our prompts, or loses what it reads.

    `where` names the model in the message.
    """
    if not (form.chat_template or tokenizer.chat_template):
        raise DataError(
            f"{where} has no chat template; set model.chat_template (builtin:question_answer and "
            "builtin:few_shot are for base models), or use an instruction-tuned model"
        )
    if tokenizer.eos_token_id is None:
        raise DataError(f"{where} has no EOS token; set eos_token in its tokenizer_config.json")
    check_round_trip(tokenizer, where)
    text = _probe_prompt(tokenizer, system_prompt, where, form)
    _check_content(text, system_prompt, where)
    _check_bos(tokenizer, tokenizer.encode(text, add_special_tokens=False), where)


def check_round_trip(tokenizer: ChatTokenizer, where: str) -> None:
    """Raise DataError where text does not survive encoding and decoding."""
    for text in PROBES:
        ids = tokenizer.encode(text, add_special_tokens=False)
        back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back.removeprefix(" ") != text:
            raise DataError(
                f"{where}: its tokenizer makes {text!r} into {back!r}; it was loaded as the wrong "
                "kind: set tokenizer_class to PreTrainedTokenizerFast in its tokenizer_config.json"
            )


def _check_bos(tokenizer: ChatTokenizer, ids: list[int], where: str) -> None:
    """A BOS may be part of every turn (SmolLM2), or be EOS too (Granite): only two at the start
    are one too many.
    """
    if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
        raise DataError(
            f"{where}: the prompt begins with BOS twice; its chat template must write bos_token "
            "once"
        )


def _check_content(text: str, system_prompt: str | None, where: str) -> None:
    """A template may pass over what it does not know."""
    if _ASKED not in text:
        raise DataError(f"{where}: its chat template leaves the question out of the prompt")
    if system_prompt and system_prompt.strip() not in text:
        raise DataError(
            f"{where}: its chat template leaves the system prompt out; set "
            'model.system_prompt_in to "user", or sampling.system_prompt to none'
        )


def _probe_prompt(
    tokenizer: ChatTokenizer, system_prompt: str | None, where: str, form: PromptFormat
) -> str:
    try:
        return prompt_text(tokenizer, system_prompt=system_prompt, question=_ASKED, form=form)
    except Exception as error:  # templates are programs: they raise what they like
        advice = "; check model.chat_template and model.chat_template_kwargs"
        if system_prompt and form.system_prompt_in == "system":
            advice = '; set model.system_prompt_in to "user", or sampling.system_prompt to none'
        reason = " ".join(str(error).split())
        raise DataError(
            f"{where}: the chat template refuses our prompt: {reason}{advice}"
        ) from error
