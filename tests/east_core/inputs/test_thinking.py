"""Chat templates that begin the thinking, against TRL's collection of real ones."""

import importlib.util
import json
from pathlib import Path

import pytest

from east_core.inputs.thinking import template_opens_thinking

SYSTEM = "Think between <think> and </think>."
R1 = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}<|Assistant|><think>\n"
CLOSED = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n\n</think>\n\n"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}"


def folder_with(folder: Path, template: str) -> Path:
    (folder / "chat_template.jinja").write_text(template)
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<s>"}}))
    return folder


def test_a_template_that_begins_the_thinking_is_found(tmp_path):
    assert template_opens_thinking(folder_with(tmp_path, R1), SYSTEM, None)
    assert template_opens_thinking(folder_with(tmp_path, NO_SYSTEM + R1), SYSTEM, None)


def test_a_thinking_that_is_closed_at_once_is_none(tmp_path):
    assert not template_opens_thinking(folder_with(tmp_path, CLOSED), SYSTEM, None)
    assert not template_opens_thinking(folder_with(tmp_path, "{{ messages }}"), "<think>", None)


def test_the_prefix_of_the_answer_counts(tmp_path):
    assert template_opens_thinking(folder_with(tmp_path, "{{ messages }}"), None, "<think>\n")
    assert template_opens_thinking(tmp_path / "no folder", None, "<think>\n")


def test_the_template_may_stand_in_the_tokenizers_settings(tmp_path):
    settings = {"chat_template": [{"name": "default", "template": R1}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert template_opens_thinking(tmp_path, None, None)


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
        template_opens_thinking(folder_with(tmp_path, template.read_text()), None, None) is is_open
    )
