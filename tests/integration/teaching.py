"""Tiny models of families taught to answer, and to end their turns as their family does."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from east_core.inputs.chat import prompt_token_ids
from east_core.inputs.templates import template_text
from east_core.protocols import PromptFormat
from east_core.records import Question
from tests.integration.families import Family

ANSWERS = ("\\boxed{5}", "\\boxed{7}")
_CONFIGS = ("config.json", "generation_config.json")


def form_of(family: Family) -> PromptFormat:
    """How the family's prompts are rendered; GPT-2 has no template of its own."""
    return PromptFormat(
        chat_template=None if family.template else template_text("builtin:question_answer"),
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


def speaks(
    folder: Path, family: Family, prompts: Sequence[Sequence[int]], steps: int = 240
) -> Path:
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
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
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
