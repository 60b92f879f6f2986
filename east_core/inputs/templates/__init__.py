"""Chat templates: those that are shipped for base models, a user's own, and a model's.

A template is a Jinja program that transformers runs; here it is text only, so nothing heavy is
imported. The shipped ones know the roles system, user and assistant.
"""

import importlib.resources
import json
from pathlib import Path
from typing import Any

from east_core.errors import ConfigError, DataError
from east_core.inputs.questions import BUILTIN

SHIPPED = ("question_answer", "few_shot")


def template_text(setting: str | None) -> str | None:
    """The template that `model.chat_template` stands for; None: the tokenizer's own.

    Raises ConfigError where it is neither a shipped one, nor a file, nor a template's text.
    """
    if setting is None or "{" in setting:  # a template without a tag would ask no question
        return setting
    if setting.startswith(BUILTIN):
        return _shipped(setting.removeprefix(BUILTIN))
    try:
        return _read(setting)
    except Exception as error:  # each file system has its own kinds
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"model.chat_template {setting!r} can't be read ({reason}); give "
            f"builtin:{' or builtin:'.join(SHIPPED)}, the path of a .jinja file, or the text"
        ) from error


def template_of(folder: Path, setting: str | None) -> str | None:
    """The text of the template that renders a model's prompts; None where it has none."""
    return template_text(setting) or _own_template(folder)


def asks_for_date(template: str | None) -> bool:
    """Whether a template may write today's date: transformers offers it strftime_now."""
    return template is not None and "strftime_now" in template


def _shipped(name: str) -> str:
    if name not in SHIPPED:
        raise ConfigError(
            f"model.chat_template 'builtin:{name}' is not shipped; there are "
            f"builtin:{' and builtin:'.join(SHIPPED)}"
        )
    file = importlib.resources.files(__package__) / f"{name}.jinja"
    return file.read_text("utf-8")


def _read(path: str) -> str:
    if "://" not in path:
        return Path(path).expanduser().read_text("utf-8")
    import fsspec

    with fsspec.open(path, "rt", encoding="utf-8") as stream:
        return str(stream.read())


def _own_template(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return None
    try:
        template: Any = json.loads(settings.read_text("utf-8")).get("chat_template")
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{settings} is no JSON: {error}; download or copy it again") from error
    return _default_of(template)


def _default_of(template: Any) -> str | None:
    """The default of several templates by name, as tokenizer_config.json lists them."""
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default")
    return None if template is None else str(template)
