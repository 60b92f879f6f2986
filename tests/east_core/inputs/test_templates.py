from pathlib import Path

import jinja2
import pytest

from east_core.errors import ConfigError
from east_core.inputs.templates import SHIPPED, asks_for_date, template_of, template_text

SYSTEM, QUESTION = "Reason.", "1 + 1 = ?"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_templates_ask_the_question_and_end_an_answer(name: str) -> None:
    template = jinja2.Template(template_text(f"builtin:{name}") or "")
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    prompt = template.render(messages=asked, eos_token="</s>")
    assert prompt.startswith("Reason.\n\nQuestion: ")
    assert prompt.endswith(f"Question: {QUESTION}\nAnswer:")
    answered = [*asked, {"role": "assistant", "content": "It is \\boxed{2}."}]
    whole = template.render(messages=answered, eos_token="</s>")
    assert whole.startswith(prompt + " It is \\boxed{2}.</s>")


def test_the_shots_answer_in_a_box() -> None:
    prompt = jinja2.Template(template_text("builtin:few_shot") or "").render(messages=[])
    shots = prompt.split("Question: ")[1:]
    assert len(shots) == 4
    assert all(shot.count("\\boxed{") == 1 for shot in shots)


def test_a_template_is_a_file_or_its_text(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{{ messages }}")
    assert template_text(str(file)) == template_text(f"file://{file}") == "{{ messages }}"
    assert template_text("{{ messages[0] }}") == "{{ messages[0] }}"
    assert template_text(None) is None


@pytest.mark.parametrize("setting", ["builtin:absent", "absent.jinja"])
def test_what_is_no_template_is_refused_with_the_shipped_ones(setting: str) -> None:
    with pytest.raises(ConfigError, match="builtin:question_answer") as told:
        template_text(setting)
    assert "\n" not in str(told.value)


def test_a_models_own_template_stands_in_either_file(tmp_path: Path) -> None:
    settings = tmp_path / "tokenizer_config.json"
    assert template_of(tmp_path, None) is None
    settings.write_text('{"chat_template": "a"}')
    assert template_of(tmp_path, None) == "a"
    settings.write_text('{"chat_template": [{"name": "default", "template": "b"}]}')
    assert template_of(tmp_path, None) == "b"
    (tmp_path / "chat_template.jinja").write_text("c")
    assert template_of(tmp_path, None) == "c"
    assert template_of(tmp_path, "{{ d }}") == "{{ d }}"


def test_only_a_template_that_writes_a_date_asks_for_one() -> None:
    assert asks_for_date("{{ strftime_now('%d %b %Y') }}")
    assert not asks_for_date("Today Date: {{ date_string }}")
    assert not asks_for_date(None)
