"""docs/configuration.md, written from the config models themselves.

python -m east_core.config.reference > docs/configuration.md
"""

from collections.abc import Iterator
from typing import Any

from east_core.config.run import RunConfig
from east_core.form_schema import bounds_in_words

INTRODUCTION = """# Configuration

Written by `python -m east_core.config.reference` from the models in `east_core/config/` and
`east_core/weighting/`. A run is one TOML file (see `infra/configs`) or one form
in the Prefect UI; every key is optional, an unknown key is an error. `--set a.b=value` changes one
setting on the command line. `resources` is where and how fast; all the rest is the science, and is
part of what identifies an artifact (paths excepted: there the content counts).
"""
_LIMITS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "pattern": "matches `{}`",
}


def reference() -> str:
    """The whole page: a table for the run, and one for each model below it."""
    schema = RunConfig.model_json_schema()
    models = [("RunConfig", schema), *schema["$defs"].items()]
    return "\n".join([INTRODUCTION, *(_section(model) for _, model in models)])


def _section(model: dict[str, Any]) -> str:
    rows = "\n".join(_rows(model))
    text = model.get("description", "").split("\n\n")[0].replace("\n", " ")
    head = "| key | type and bounds | default | meaning |\n|---|---|---|---|"
    return f"## {model['title']}\n{text}\n\n{head}\n{rows}\n"


def _rows(model: dict[str, Any]) -> Iterator[str]:
    for name, field in model.get("properties", {}).items():
        about = field.get("description", "Chooses this kind.")
        meaning = about.removesuffix(f" ({bounds_in_words(field)})")  # the type tells them
        default = _default(field.get("default"))
        yield f"| `{name}` | {_type(field)} | {default} | {meaning} |".replace(
            "\\boxed", "\\\\boxed"
        )


def _default(value: Any) -> str:
    if isinstance(value, dict):
        return "see its table"
    return f"`{value}`".replace("\n", " ")


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return f"[{field['$ref'].split('/')[-1]}]"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    variants = field.get("anyOf") or field.get("oneOf")
    if variants:
        return " or ".join(_type(variant) for variant in variants)
    limits = [text.format(field[key]) for key, text in _LIMITS.items() if key in field]
    return " ".join([str(field.get("type", "any")), ", ".join(limits)]).strip()


if __name__ == "__main__":
    print(reference(), end="")
