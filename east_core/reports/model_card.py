"""The cards of what is published: Markdown with the metadata that the Hugging Face hub reads.

What a run says of itself is quoted as text. Places of this machine stay out of a card: of a local
path only its last part is named.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from east_core.evaluation.estimates import Estimate
from east_core.reports import text
from east_core.reports.markdown import escape_markdown
from east_core.runs.summary import RoundSummary
from east_core.store import ArtifactRecord
from east_core.store.redaction import redact
from east_core.weighting.base import BaseWeighting
from east_core.weighting.strategies import weighting_kinds

PAPER = "arXiv:2503.23913"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Published:
    """A checkpoint that goes out: `name` is how it is served ("org/name", or a folder's name).

    `base` is the base model's name, and `license` its licence by the hub's ids; None where it is
    not known.
    """

    name: str
    run: str
    round: int
    base: str
    is_base_on_hub: bool
    license: str | None
    settings: Mapping[str, Any]
    rounds: Sequence[RoundSummary]
    checkpoint: ArtifactRecord


def model_card(model: Published) -> str:
    """The README.md of a published checkpoint."""
    parts = [
        _front_matter(_model_metadata(model)),
        f"# {model.name.split('/')[-1]}\n",
        _about(model),
    ]
    parts += [_scores(model), _use(model), _training(model), _lineage(model), _license(model)]
    return "\n".join(parts)


def examples_card(model: Published, kind: str, count: int) -> str:
    """The README.md of the examples that a checkpoint was trained on; `kind` names their rows."""
    metadata = {
        "task_categories": ["text-generation"],
        "tags": ["self-training", "east"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}
        ],
    }
    kind_of_weights = weighting_kinds().get(model.settings["weighting"]["kind"], BaseWeighting)
    mean = "mean 1" if kind_of_weights.has_mean_one else "as released: of another mean than 1"
    return (
        f"{_front_matter(metadata)}\n# {_title(model)}: training examples\n\n"
        f"{count:,} rows ({kind}) that round {model.round} of the run `{model.run}` trained on: "
        "completions that the model before it wrote itself, each with its weight "
        f"({mean}). "
        "Columns that end in `_ids` are the sampled tokens; the others are the same as text.\n\n"
        "The prompts are those of the training questions, whose own terms apply.\n"
    )


def is_hub_name(name: str) -> bool:
    """Whether a model's name is one of the hub: organisation/name."""
    return _HUB_NAME.fullmatch(name) is not None


def public_name(name: str) -> str:
    """A model or a data set without the places of this machine: a path's last part."""
    if name.startswith(("builtin:", "hub:")):
        return name
    return PurePath(redact(name).rstrip("/")).name or "local"


def _front_matter(metadata: Mapping[str, Any]) -> str:
    import yaml

    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)}---\n"


def _model_metadata(model: Published) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": model.license or "unknown",
        "tags": ["self-training", "east", model.settings["training"]["loss"]],
    }
    if model.is_base_on_hub:
        metadata |= {"base_model": model.base, "base_model_relation": "finetune"}
    if scored := _accuracy(model, model.round):
        metadata["model-index"] = [
            {
                "name": model.name.split("/")[-1],
                "results": [_result(*each, _measure(model)) for each in scored.items()],
            }
        ]
    return metadata


def _title(model: Published) -> str:
    return model.name.split("/")[-1]


def _result(benchmark: str, score: Estimate, measure: str) -> dict[str, Any]:
    accuracy = {"type": "accuracy", "name": measure, "value": round(score.value, 4)}
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": benchmark, "type": benchmark},
        "metrics": [accuracy],
    }


def _measure(model: Published) -> str:
    """What the accuracies are of."""
    evaluation = model.settings.get("evaluation", {})
    if evaluation.get("mode") != "sampled":
        return "greedy accuracy"
    return f"mean accuracy of {evaluation['samples_per_question']} samples"


def _accuracy(model: Published, number: int) -> Mapping[str, Estimate]:
    return next((each.accuracy for each in model.rounds if each.round == number), {})


def _about(model: Published) -> str:
    loss = model.settings["training"]["loss"].upper()
    weighting = model.settings["weighting"]["kind"]
    return (
        f"{escape_markdown(model.base)} after {model.round} rounds of self-training: it sampled "
        f"answers to questions and was trained on them ({loss}), each question with the weight "
        f"that its answers gave it ({weighting}; EAST, {PAPER}).\n"
    )


def _scores(model: Published) -> str:
    before, after = _accuracy(model, 0), _accuracy(model, model.round)
    if not after:
        return "## Scores\n\nIt was not scored.\n"
    rows = "\n".join(
        f"| {escape_markdown(name)} | {score.n:,} | "
        f"{text.with_interval(before[name]) if name in before else ''} | "
        f"**{text.percent(score.value)}** {text.bounds(score)} |"
        for name, score in after.items()
    )
    return (
        f"## Scores\n\n{_measure(model).capitalize()} with its 95% interval.\n\n"
        f"| benchmark | questions | base model | this model |\n|---|---|---|---|\n{rows}\n"
    )


def _use(model: Published) -> str:
    prompt = model.settings["sampling"].get("system_prompt")
    asked = (
        f"It was trained and scored with the system prompt\n\n{_block(prompt)}\n" if prompt else ""
    )
    return (
        f"## Use\n\n    vllm serve {model.name}\n\n"
        f"    from transformers import pipeline\n"
        f'    generate = pipeline("text-generation", "{model.name}")\n'
        '    print(generate([{"role": "user", "content": QUESTION}]))\n\n'
        f"The tokenizer has the chat template. {asked}"
    )


def _block(told: str) -> str:
    return "".join(f"    {line}\n" for line in told.splitlines())


def _training(model: Published) -> str:
    settings = model.settings
    told = {
        "questions": _questions(settings["questions"]),
        "rounds": model.round,
        "completions a question": settings["sampling"]["samples_per_question"],
        "temperature": settings["sampling"]["temperature"],
        "loss": settings["training"]["loss"],
        "learning rate": settings["training"]["learning_rate"],
        "epochs a round": settings["training"]["epochs"],
        "global batch size": settings["training"]["global_batch_size"],
        "weighting": " ".join(f"{k}={v}" for k, v in settings["weighting"].items()),
        "each round starts from": settings["start_from"],
        "seed": settings["seed"],
    }
    rows = "\n".join(f"| {name} | {escape_markdown(str(value))} |" for name, value in told.items())
    return f"## Training\n\n| | |\n|---|---|\n{rows}\n"


def _questions(settings: Mapping[str, Any]) -> str:
    """The data set, or the sets of a mixture, without the places of this machine."""
    sets = settings.get("sets", {"": settings})
    return ", ".join(public_name(str(each.get("path", name))) for name, each in sets.items())


def _lineage(model: Published) -> str:
    record = model.checkpoint
    inputs = "\n".join(
        f"| {escape_markdown(name)} | `{content[:16]}` |" for name, content in record.inputs.items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
    return (
        "## Lineage\n\n"
        f"`{record.address}`, made {record.created_at} by version `{record.code_version}`\n"
        f"({escape_markdown(versions)}); content `{record.content}`.\n\n"
        f"| made from | content |\n|---|---|\n{inputs}\n"
    )


def _license(model: Published) -> str:
    base = escape_markdown(model.base)
    told = (
        f"That of the base model {base}: {escape_markdown(model.license)}."
        if model.license
        else f"The terms of the base model {base} apply; they were not found here."
    )
    return f"## Licence\n\n{told}\n"
