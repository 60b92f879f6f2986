import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from east_core.errors import DataError
from east_core.inputs.chat import check_tokenizer, completion_token_ids, prompt_token_ids

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
