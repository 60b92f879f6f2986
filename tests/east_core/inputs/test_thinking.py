"""Chat templates that begin the thinking, against TRL's collection of real ones."""

import importlib.util
import json
from pathlib import Path

import pytest

from east_core.inputs.thinking import template_opens_thinking
from east_core.protocols import PromptFormat

BARE = PromptFormat()
PREFIXED = PromptFormat(assistant_prefix="<think>\n")
SYSTEM = "Think between <think> and </think>."
R1 = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}<|Assistant|><think>\n"
CLOSED = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n\n</think>\n\n"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}"


def folder_with(folder: Path, template: str) -> Path:
    (folder / "chat_template.jinja").write_text(template)
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<s>"}}))
    return folder


def test_a_template_that_begins_the_thinking_is_found(tmp_path):
    assert template_opens_thinking(folder_with(tmp_path, R1), SYSTEM, BARE)
    assert template_opens_thinking(folder_with(tmp_path, NO_SYSTEM + R1), SYSTEM, BARE)


def test_a_thinking_that_is_closed_at_once_is_none(tmp_path):
    assert not template_opens_thinking(folder_with(tmp_path, CLOSED), SYSTEM, BARE)
    assert not template_opens_thinking(folder_with(tmp_path, "{{ messages }}"), "<think>", BARE)


def test_the_prefix_of_the_answer_counts(tmp_path):
    assert template_opens_thinking(folder_with(tmp_path, "{{ messages }}"), None, PREFIXED)
    assert template_opens_thinking(tmp_path / "no folder", None, PREFIXED)


def test_the_template_may_stand_in_the_tokenizers_settings(tmp_path):
    settings = {"chat_template": [{"name": "default", "template": R1}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert template_opens_thinking(tmp_path, None, BARE)


@pytest.mark.parametrize(
    ("name", "is_open"),
    [
        ("deepseek_r1_distill", True),
        ("qwen3_5_think", True),
        ("nemotron_3_nano", True),
        ("qwen3_5_nothink", False),
        ("qwen3", False),  # the model begins the thinking by itself
        ("llama3_2", False),
        ("gptoss", False),
        ("gemma3", False),
        ("phi3", False),
    ],
)
def test_real_templates(tmp_path, name, is_open):
    found = importlib.util.find_spec("trl")
    if found is None or found.origin is None:
        pytest.skip("TRL's templates are not here")
    template = Path(found.origin).parent / "chat_templates" / f"{name}.jinja"
    assert (
        template_opens_thinking(folder_with(tmp_path, template.read_text()), None, BARE) is is_open
    )


def test_the_runs_own_template_and_options_count(tmp_path):
    hybrid = "{{ messages }}{% if enable_thinking %}<think>{% else %}<think></think>{% endif %}"
    folder_with(tmp_path, "{{ messages }}")  # the tokenizer's own never thinks
    on = PromptFormat(chat_template=hybrid, options={"enable_thinking": True})
    off = PromptFormat(chat_template=hybrid, options={"enable_thinking": False})
    assert template_opens_thinking(tmp_path, SYSTEM, on)
    assert not template_opens_thinking(tmp_path, SYSTEM, off)


def test_the_system_prompt_stands_where_the_run_puts_it(tmp_path):
    """A template that looks at its first role sees the one that the run's prompts have."""
    roles = "{{ messages }}{% if messages[0].role == 'user' %}<think>{% endif %}"
    folder_with(tmp_path, roles)
    assert template_opens_thinking(tmp_path, SYSTEM, PromptFormat(system_prompt_in="user"))
    assert not template_opens_thinking(tmp_path, SYSTEM, BARE)


def test_the_date_is_the_runs(tmp_path):
    dated = "{{ messages }}{% if strftime_now('%Y') == '2001' %}<think>{% endif %}"
    folder_with(tmp_path, dated)
    assert template_opens_thinking(tmp_path, None, PromptFormat(date="2001-02-03"))
    assert not template_opens_thinking(tmp_path, None, BARE)
