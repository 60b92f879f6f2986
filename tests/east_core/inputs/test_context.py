from pathlib import Path

from east_core.inputs.context import bytes_around, context_bound, context_needed
from east_core.protocols import PromptFormat


def test_prompts_that_fit_are_no_matter() -> None:
    need = context_needed([10, 100], completion=1000, asked=1152, own=131_072)
    assert need.limit == 1152
    assert need.cut == need.empty == 0
    assert "no room" not in need.line


def test_an_engine_keeps_what_is_asked_for_up_to_the_models_own() -> None:
    assert context_needed([100], completion=1000, asked=1152, own=1024).limit == 1024
    assert context_needed([100], completion=1000, asked=512, own=1024).limit == 512
    assert context_needed([100], completion=1000, asked=2048, own=1024).limit == 1024


def test_prompts_that_do_not_fit_are_counted() -> None:
    need = context_needed([10, 600, 1100], completion=500, asked=1024, own=None)
    assert (need.cut, need.empty) == (2, 1)
    assert "2 prompts leave no room for a full answer, and 1 for none" in need.line
    assert not need.is_full
    assert context_needed([600], completion=500, asked=1024, own=None).is_full


def test_a_bound_without_a_tokenizer_counts_every_byte() -> None:
    assert context_bound(10, 2, 52) == 64
    assert context_bound(11, 2, 52) == 128


def test_a_template_counts_for_what_it_writes(tmp_path: Path) -> None:
    """Templates for tools are ten times as long as what they write around a question."""
    asking = "{% for m in messages %}<\u00fc>{{ m.content }}{% endfor %}{# long" + " " * 5000 + "#}"
    form = PromptFormat(chat_template=asking, assistant_prefix="So ")
    assert bytes_around(tmp_path, None, form) == len("<\u00fc>So ".encode())
    assert bytes_around(tmp_path, "Think.", form) == len("<\u00fc>Think.<\u00fc>So ".encode())


def test_a_template_that_writes_no_question_counts_whole(tmp_path: Path) -> None:
    refusing = "{{ raise_exception('no') }}"
    form = PromptFormat(chat_template=refusing)
    assert bytes_around(tmp_path, "Think.", form) == len(refusing + "Think." + "{}")
