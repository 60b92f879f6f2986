from east_core.inputs.context import context_bound, context_needed


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
    assert context_bound(10, ["\u00fc", None], 52) == 64
    assert context_bound(11, ["\u00fc", None], 52) == 128
