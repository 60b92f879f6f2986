"""A RunConfig from a TOML file and `--set` overrides, with errors that name the field."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from east_core.config.run import RunConfig
from east_core.errors import ConfigError
from east_core.store.redaction import redact


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that a TOML file describes, with `a.b=value` overrides applied.

    Raises ConfigError with one line that names the file, the field, what is wrong and what is
    allowed.
    """
    return parse_config(read_settings(path), overrides, str(path))


def read_settings(path: Path) -> dict[str, Any]:
    """The plain values of a TOML file. Raises ConfigError where it can't be read."""
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; see infra/configs for examples") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOML's own, and no UTF-8
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return _with_folder(settings, str(path.parent.resolve()))


def _with_folder(settings: dict[str, Any], folder: str) -> dict[str, Any]:
    """The settings, where grading functions are looked for beside the file that names them."""
    told = {
        name: _with_folder(value, folder) if isinstance(value, dict) else value
        for name, value in settings.items()
    }
    return {"folder": folder, **told} if told.get("kind") == "python" else told


def parse_config(
    settings: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "config"
) -> RunConfig:
    """The run that plain values describe; `where` names their source in errors."""
    merged = with_overrides(settings, overrides)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe(error)}") from error


def with_overrides(settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The settings with `a.b=value` overrides applied."""
    merged: dict[str, Any] = {**settings}
    for override in overrides:
        _apply(merged, override)
    return merged


def describe(error: ValidationError, model: type[BaseModel] = RunConfig) -> str:
    """All of a validation's problems on one line; `model` is what was validated."""
    return "; ".join(_problem(dict(detail), model) for detail in error.errors(include_url=False))


def _problem(detail: dict[str, Any], model: type[BaseModel]) -> str:
    path = list(detail["loc"])
    tag = _tag(path)
    location = ".".join(map(str, _written(path)))
    if detail["type"] == "extra_forbidden":
        of_kind = f" of {tag!r}" if tag and tag not in _UNNAMED else ""
        return f"{location} is not a setting{of_kind}{_suggestion(model, path)}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = detail.get("input")
    shown = f" (got {redact(repr(given))})" if isinstance(given, str | int | float) else ""
    return f"{location}: {message}{shown}" if location else message


# Where the tag of a union's member stands in a location: behind the setting, or behind a name.
_TAGGED = {name: 1 for name, field in RunConfig.model_fields.items() if field.discriminator}
_TAGGED |= {"benchmarks": 2}
_UNNAMED = ("data set", "questions")  # kinds that a user does not name


def _tag(path: Sequence[str | int]) -> str | int | None:
    """The kind that a location of pydantic's goes through, where it is in a tagged union."""
    at = _TAGGED.get(str(path[0]), len(path)) if path else 0
    return path[at] if len(path) > at else None


def _written(path: Sequence[str | int]) -> list[str | int]:
    """A location as users write it: pydantic adds the tag of the union's member."""
    if not _tag(path):
        return list(path)
    at = _TAGGED[str(path[0])]
    return [*path[:at], *path[at + 1 :]]


def _suggestion(model: type[BaseModel], path: Sequence[str | int]) -> str:
    """The setting that was meant: one of that name elsewhere, else the nearest at its level."""
    *parents, name = map(str, _written(path))
    location = ".".join([*parents, name])
    here = [".".join([*parents, field]) for kind in _level(model, path) for field in kind]
    meant = [known for known in sorted(_known_fields(model)) if known.rsplit(".", 1)[-1] == name]
    meant = [known for known in meant if known != location]
    meant += difflib.get_close_matches(location, here, n=1)
    return f"; did you mean {meant[0]}?" if meant else "; see docs/configuration.md"


def _level(model: type[BaseModel], path: Sequence[str | int]) -> Iterator[set[str]]:
    """The names of the settings at a location's level, for each model that may stand there."""
    level = [model]
    for part in path[:-1]:
        fields = [kind.model_fields.get(str(part)) for kind in level]
        inner = [kind for field in fields if field for kind in _models_in(field.annotation)]
        # no setting: the tag of a union's member, or the key of a mapping
        level = inner or [kind for kind in level if _tag_of(kind) in (None, part)]
    yield from (set(kind.model_fields) for kind in level)


def _tag_of(kind: type[BaseModel]) -> Any:
    """What tells a member of a tagged union from the others; None for any other model."""
    tag = kind.model_fields.get("kind") or kind.model_fields.get("loss")
    return tag.default if tag else None


def _known_fields(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every setting's dotted name."""
    names: set[str] = set()
    for name, spec in model.model_fields.items():
        is_mapping = getattr(spec.annotation, "__origin__", None) is dict
        nested = [] if is_mapping else _models_in(spec.annotation)
        inner = set().union(*(_known_fields(kind, f"{prefix}{name}.") for kind in nested))
        names |= inner or {prefix + name}
    return names


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that an annotation consists of."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [kind for part in getattr(annotation, "__args__", ()) for kind in _models_in(part)]


def _apply(settings: dict[str, Any], override: str) -> None:
    """Set one "a.b=value"; the value is TOML, or plain text where it is no TOML."""
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {override}: expected a.b=value, such as sampling.temperature=0.8")
    *parents, last = name.split(".")
    table = settings
    for parent in parents:
        inner = table.get(parent, {})
        if not isinstance(inner, Mapping):
            raise ConfigError(f"--set {override}: {parent} is a value, not a table")
        table[parent] = {**inner}
        table = table[parent]
    table[last] = _toml_value(text)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
