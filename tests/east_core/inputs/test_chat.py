import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from east_core.errors import DataError
from east_core.inputs.chat import (
    check_tokenizer,
    completion_token_ids,
    prompt_text,
    prompt_token_ids,
)
from east_core.inputs.turns import ids_behind_answer
from east_core.protocols import PromptFormat

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m.role }}<|end|>\n{{ m.content }}"
    "{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|end|>\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}hi"
)


def byte_tokenizer(template, special, **roles):
    """A byte-level tokenizer whose post-processor writes BOS, as Llama's does."""
    vocabulary = {byte: index for index, byte in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    if bos := roles.get("bos_token"):
        pair = (bos, core.token_to_id(bos))
        core.post_processor = processors.TemplateProcessing(f"{bos} $A", special_tokens=[pair])
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=template, **roles)


def llama_like():
    special = ["<|begin|>", "<|start|>", "<|end|>", "<|eot|>"]
    roles = {"bos_token": "<|begin|>", "eos_token": "<|eot|>", "pad_token": "<|end|>"}
    return byte_tokenizer(LLAMA, special, **roles)


def chatml():
    special = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
    return byte_tokenizer(CHATML, special, eos_token="<|im_end|>", pad_token="<|pad|>")


def pad_is_eos():
    special = ["<|im_start|>", "<|im_end|>"]
    return byte_tokenizer(CHATML, special, eos_token="<|im_end|>", pad_token="<|im_end|>")


STYLES = pytest.mark.parametrize("style", [llama_like, chatml, pad_is_eos])


@STYLES
def test_the_prompt_is_the_rendered_template_and_no_more(style):
    tokenizer = style()
    text = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Think."}, {"role": "user", "content": "1+1?"}],
        add_generation_prompt=True,
        tokenize=False,
    )
    ids = prompt_token_ids(tokenizer, system_prompt="Think.", question="1+1?")
    assert tokenizer.decode(ids) == text
    assert text.rstrip().endswith(("assistant", "assistant<|end|>"))


def test_bos_stands_once_where_the_tokenizer_would_add_its_own():
    tokenizer = llama_like()
    ids = prompt_token_ids(tokenizer, system_prompt=None, question="1+1?")
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id


@STYLES
def test_a_completion_ends_with_eos_once_and_has_no_bos(style):
    tokenizer = style()
    ids = completion_token_ids(tokenizer, "so \\boxed{2}")
    assert ids[-1] == tokenizer.eos_token_id
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids[:-1]) == "so \\boxed{2}"


@STYLES
def test_good_tokenizers_pass_the_check(style):
    check_tokenizer(style(), "Think.", "model")


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (byte_tokenizer(None, ["<|e|>"], eos_token="<|e|>"), "base has no chat template"),
        (byte_tokenizer(CHATML, ["<|im_end|>"]), "base has no EOS token"),
        (byte_tokenizer(NO_SYSTEM, ["<|e|>"], eos_token="<|e|>"), 'system_prompt_in to "user"'),
        (
            byte_tokenizer(
                "{{bos_token}}" + LLAMA, ["<|b|>", "<|e|>"], bos_token="<|b|>", eos_token="<|e|>"
            ),
            "BOS twice",
        ),
    ],
)
def test_bad_tokenizers_are_refused_in_one_line(tokenizer, message):
    with pytest.raises(DataError, match=message) as caught:
        check_tokenizer(tokenizer, "Think.", "base")
    assert "\n" not in str(caught.value)


GRANITE = (
    "{{ '<|role|>today: ' + strftime_now('%d %b %Y') + '<|end|>' }}{% for m in messages %}"
    "{{ '<|role|>' + m.role + ': ' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|role|>assistant' }}{% endif %}"
)
DEAF = "{{ messages[-1].content }}"


def smollm2_like():
    special = ["<|im_start|>", "<|im_end|>"]
    return byte_tokenizer(CHATML, special, bos_token="<|im_start|>", eos_token="<|im_end|>")


def granite_like():
    special = ["<|role|>", "<|end|>"]
    return byte_tokenizer(GRANITE, special, bos_token="<|end|>", eos_token="<|end|>")


@pytest.mark.parametrize("style", [smollm2_like, granite_like])
def test_a_bos_that_is_part_of_every_turn_is_no_fault(style):
    check_tokenizer(style(), "Think.", "model")


def prompt(tokenizer, **options):
    form = PromptFormat(**options)
    return prompt_text(tokenizer, system_prompt="Think.", question="1+1?", form=form)


def test_the_date_is_the_one_that_is_given_whatever_the_day():
    dated = prompt(granite_like(), date="2026-11-25")
    assert dated.startswith("<|role|>today: 25 Nov 2026<|end|>")
    assert dated.replace("25 Nov", "26 Nov") == prompt(granite_like(), date="2026-11-26")


def test_a_template_without_a_date_does_not_care_for_one():
    assert prompt(chatml(), date="2026-11-25") == prompt(chatml())


def test_the_system_prompt_may_stand_before_the_question():
    merged = prompt(chatml(), system_prompt_in="user")
    assert merged == "<|im_start|>user\nThink.\n\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    refusing = byte_tokenizer(NO_SYSTEM + "{{ messages[0].content }}", ["<|e|>"], eos_token="<|e|>")
    check_tokenizer(refusing, "Think.", "model", PromptFormat(system_prompt_in="user"))


def test_an_answers_prefix_ends_the_prompt():
    tokenizer = chatml()
    form = PromptFormat(assistant_prefix="<think>\n")
    ids = prompt_token_ids(tokenizer, system_prompt=None, question="1+1?", form=form)
    assert tokenizer.decode(ids).endswith("<|im_start|>assistant\n<think>\n")


def test_a_template_of_ones_own_and_what_it_is_given():
    own = "{{ messages[-1].content }} {{ effort }}"
    assert prompt(chatml(), chat_template=own, options={"effort": "low"}) == "1+1? low"
    base = byte_tokenizer(None, ["<|e|>"], eos_token="<|e|>")
    form = PromptFormat(chat_template="{{ messages[0].content }} {{ messages[-1].content }}")
    check_tokenizer(base, "Think.", "base", form)


def test_what_ends_a_turn_is_what_the_template_writes_behind_an_answer():
    tokenizer = llama_like()
    assert ids_behind_answer(tokenizer) == [tokenizer.convert_tokens_to_ids("<|eot|>")]
    assert ids_behind_answer(chatml())[0] == chatml().convert_tokens_to_ids("<|im_end|>")
    form = PromptFormat(chat_template="{{ messages[0].content }}")
    assert ids_behind_answer(chatml(), form) == []


def test_a_template_that_leaves_something_out_is_refused():
    with pytest.raises(DataError, match="leaves the system prompt out"):
        check_tokenizer(byte_tokenizer(DEAF, ["<|e|>"], eos_token="<|e|>"), "Think.", "m")
    with pytest.raises(DataError, match="leaves the question out"):
        check_tokenizer(byte_tokenizer("{{ 'hi' }}", ["<|e|>"], eos_token="<|e|>"), None, "m")


def test_a_tokenizer_that_loses_spaces_is_refused_with_the_cure():
    broken = chatml()
    broken.backend_tokenizer.decoder = decoders.Fuse()
    with pytest.raises(DataError, match="tokenizer_class to PreTrainedTokenizerFast"):
        check_tokenizer(broken, "Think.", "m")
