"""A RunConfig from a TOML file and `--set` overrides, with errors that name the field."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
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
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; see infra/configs for examples") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOML's own, and no UTF-8
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


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


def describe(error: ValidationError) -> str:
    """All of a validation's problems on one line."""
    return "; ".join(_problem(dict(detail)) for detail in error.errors(include_url=False))


def _problem(detail: dict[str, Any]) -> str:
    # Pydantic puts the union member's tag into the location; users write no such key.
    location = ".".join(str(part) for part in detail["loc"] if part not in _TAGS)
    if detail["type"] == "extra_forbidden":
        return f"{location} is not a setting{_suggestion(location)}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = detail.get("input")
    shown = f" (got {redact(repr(given))})" if isinstance(given, str | int | float) else ""
    return f"{location}: {message}{shown}" if location else message


def _tags() -> set[str]:
    """The discriminator values of all unions in RunConfig ("sft", "entropy" ...)."""
    schema = RunConfig.model_json_schema()
    properties = schema["properties"].values()
    mappings = (entry.get("discriminator", {}).get("mapping", {}) for entry in properties)
    return {tag for mapping in mappings for tag in mapping}


_TAGS = _tags()


def _suggestion(location: str) -> str:
    known = sorted(_known_fields(RunConfig))
    name = location.rsplit(".", 1)[-1]
    by_last = {field.rsplit(".", 1)[-1]: field for field in known}
    close = difflib.get_close_matches(name, by_last, n=1, cutoff=0.5)
    return f"; did you mean {by_last[close[0]]}?" if close else "; see docs/configuration.md"


def _known_fields(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every setting's dotted name."""
    names: set[str] = set()
    for name, spec in model.model_fields.items():
        nested = list(_models_in(spec.annotation))
        inner = set().union(*(_known_fields(kind, f"{prefix}{name}.") for kind in nested))
        names |= inner or {prefix + name}
    return names


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that an annotation consists of; none for a mapping of them."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if getattr(annotation, "__origin__", None) is dict:
        return []
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
