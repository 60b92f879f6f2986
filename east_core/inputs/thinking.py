"""Whether a chat template begins the thinking inside the prompt, found without an engine.

transformers may not be installed where a run's flow lives, so the template is rendered by Jinja
alone, with what transformers gives to templates.
"""

import datetime
import json
from pathlib import Path
from typing import Any

from east_core.answers.thinking import opens_thinking

_PROBE = "1 + 1 = ?"
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def template_opens_thinking(folder: Path, system_prompt: str | None, prefix: str | None) -> bool:
    """Whether the model's prompts end inside the thinking; False where it has no chat template.

    `prefix` is what every answer begins with, part of the prompt.
    """
    settings = _tokenizer_settings(folder)
    template = _template(folder, settings)
    asked = _asking_part(template, settings, system_prompt) if template else ""
    return opens_thinking(asked + (prefix or ""))


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    settings: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return settings


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    named = settings.get("chat_template")
    if isinstance(named, list):
        return next((one["template"] for one in named if one["name"] == "default"), None)
    return named


def _asking_part(template: str, settings: dict[str, Any], system_prompt: str | None) -> str:
    """What stands behind the question in a prompt: where the model is asked to go on."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    user = {"role": "user", "content": _PROBE}
    for messages in ([*system, user], [user]):
        try:
            rendered = _environment().from_string(template)
            prompt = rendered.render(
                messages=messages, add_generation_prompt=True, **_special_tokens(settings)
            )
        except Exception:  # noqa: S112 templates are programs and raise what they like; one that refuses our prompt is told where prompts are made
            continue
        return str(prompt.rpartition(_PROBE)[2])
    return ""


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    """The tokens that templates write, as texts."""
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
