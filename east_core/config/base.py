"""What every config model shares: it is frozen, and holds no credentials."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from east_core.form_schema import for_forms
from east_core.store.location import holds_password
from east_core.weighting.base import BaseWeighting


class Frozen(BaseModel):
    """Base of every config model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=for_forms)

    # Settings that came after runs had been made without them, where the default changes nothing.
    later: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_kinds(cls, given: Any) -> Any:
        """A table that does not say which kind it is (of weighting, of loss) is the default's."""
        if not isinstance(given, Mapping):
            return given
        return {name: cls._of_a_kind(name, value) for name, value in given.items()}

    @classmethod
    def _of_a_kind(cls, name: str, value: Any) -> Any:
        field = cls.model_fields.get(name)
        if field is None or not isinstance(field.discriminator, str):
            return value
        if not isinstance(value, Mapping) or field.discriminator in value:
            return value
        return {field.discriminator: getattr(field.default, field.discriminator), **value}

    def identity(self, exclude: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The settings as they enter a recipe, defaults written out.

        Those of `later` are left out while they have their default: a run that was begun before
        they existed goes on.
        """
        plain = self.model_dump(mode="json")
        names = (name for name in type(self).model_fields if name not in exclude)
        return {name: self._identified(name, plain[name]) for name in names if self._counts(name)}

    def _counts(self, name: str) -> bool:
        default = type(self).model_fields[name].default
        return name not in self.later or getattr(self, name) != default

    def _identified(self, name: str, plain: Any) -> Any:
        value = getattr(self, name)
        if isinstance(value, Mapping):
            return {
                key: each.identity() if isinstance(each, Frozen) else plain[key]
                for key, each in value.items()
            }
        return value.identity() if isinstance(value, Frozen | BaseWeighting) else plain


def _without_credentials(url: str) -> str:
    """`url`, which must not hold a password: settings stay in records, logs and Prefect."""
    if holds_password(url):
        raise ValueError("leave the password out of the URL; set it in the environment")
    return url


Location = Annotated[str, AfterValidator(_without_credentials)]
