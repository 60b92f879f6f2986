"""A prompt rendered by Jinja alone, for what is asked of a template without an engine.

transformers may not be installed where a run's flow lives; templates are given here what it gives
them. Sampling and training render with transformers (`east_core.inputs.chat`).
"""

import datetime
import json
from pathlib import Path
from typing import Any

from east_core.inputs.chat import messages, template_options
from east_core.inputs.templates import template_of
from east_core.protocols import PromptFormat

PROBE = "1 + 1 = ?"
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def rendered(folder: Path, system_prompt: str | None, form: PromptFormat) -> str | None:
    """The prompt that asks PROBE, without the answer's prefix.

    Without the system prompt where the template takes none; None where there is no template, or it
    refuses that too.
    """
    template = form.chat_template or template_of(folder, None)
    if template is None:
        return None
    given = {**_special_tokens(folder), **template_options(form)}
    for system in (system_prompt, None):
        asked = messages(system, PROBE, form)
        try:
            program = _environment().from_string(template)
            return str(program.render(messages=asked, add_generation_prompt=True, **given))
        except Exception:  # noqa: S112 templates are programs and raise what they like; one that refuses our prompt is told where prompts are made
            continue
    return None


def _special_tokens(folder: Path) -> dict[str, str]:
    """The tokens that templates write, as texts."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    given = {name: settings.get(name) for name in _TOKENS}
    texts = {
        name: one.get("content") if isinstance(one, dict) else one for name, one in given.items()
    }
    return {name: text or "" for name, text in texts.items()}


def _environment() -> Any:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = datetime.datetime.now().strftime
    return environment
