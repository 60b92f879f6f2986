"""Settings of training questions that are several named sets (docs/mixtures.md)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from east_core.answers.gradings import GradingOfSets
from east_core.config.base import Frozen
from east_core.config.inputs import DatasetConfig

NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
# What replayed solutions have for a set's name in their ids.
REPLAY = "replay"


class QuestionSet(DatasetConfig):
    """One set of a mixture: its questions, how they are graded, and its share."""

    model_config = ConfigDict(title="Question set")

    share: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="Part of the questions sampled each round; relative to the sum of all shares.",
    )

    @model_validator(mode="after")
    def _is_screened_with_all(self) -> Self:
        if self.decontaminate:
            raise ValueError("decontaminate holds for all sets: set questions.decontaminate")
        return self


class QuestionMixture(Frozen):
    """Training questions of several named sets, each a share of the questions of a round."""

    model_config = ConfigDict(title="Mixture")

    sets: dict[str, QuestionSet] = Field(
        min_length=1,
        description="The sets by name: each with the settings of Questions, and its share. A "
        "question's id is SET/ID in all tables.",
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="Questions of all sets together. None: as many as the shares allow, which is "
        "where the first set is used up.",
    )
    decontaminate: bool = Field(
        False,
        description="Leave out the questions, of whatever set, that stand in one of the run's "
        "benchmarks; shares are of what is left.",
    )

    @field_validator("sets", mode="before")
    @classmethod
    def _sets_have_names(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            raise ValueError(
                "a set has no name: write [questions.sets.NAME] in place of [[questions.sets]]"
            )
        for name in given if isinstance(given, Mapping) else ():
            if not NAME.fullmatch(str(name)):
                raise ValueError(
                    f"{str(name)!r} is no name of a set: take lower-case letters, digits, '-' and "
                    "'_', at most 63"
                )
            if name == REPLAY:
                raise ValueError(f"a set can't be named {name!r}: replayed examples are")
        return given

    @model_validator(mode="after")
    def _sets_have_paths(self) -> Self:
        for name, each in self.sets.items():
            each.require_path(f"set {name!r}")
        return self

    def reading(self) -> dict[str, Any]:
        """How each set is read, and its share, as it enters a recipe."""
        sets = {name: each.reading() for name, each in self.sets.items()}
        return {"sets": sets, "limit": self.limit}

    @property
    def grading(self) -> GradingOfSets:
        """Each set's own."""
        return GradingOfSets(sets={name: each.grading for name, each in self.sets.items()})

    @property
    def has_answers(self) -> bool:
        """Whether all sets have gold answers."""
        return all(each.has_answers for each in self.sets.values())

    @property
    def named(self) -> Mapping[str, DatasetConfig]:
        """The data sets by name."""
        return self.sets


QuestionSource: TypeAlias = DatasetConfig | QuestionMixture


def _kind_of_questions(given: Any) -> str:
    has_sets = "sets" in given if isinstance(given, Mapping) else hasattr(given, "sets")
    return "mixture" if has_sets else "data set"


Questions = Annotated[
    Annotated[DatasetConfig, Tag("data set")] | Annotated[QuestionMixture, Tag("mixture")],
    Field(discriminator=Discriminator(_kind_of_questions)),
]
