"""Settings of what a run starts from: the base model and the data sets."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from east_core.answers.gradings import MATH, Grading
from east_core.config.base import Frozen, Location
from east_core.form_schema import tabs


class ModelConfig(Frozen):
    """The base model: round 0's checkpoint."""

    model_config = ConfigDict(title="Base model")

    name: Location = Field(
        "builtin:seed_model",
        min_length=1,
        description="Hub id (meta-llama/Llama-3.2-1B-Instruct), local folder, fsspec URL "
        "(s3://bucket/model), or builtin:seed_model for the demo's model.",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit of a hub model; None: the default branch."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with a hub model. Leave off unless audited."
    )
    chat_template: Location | None = Field(
        None,
        min_length=1,
        description="Template instead of the tokenizer's: builtin:question_answer or "
        "builtin:few_shot for base models, the path or URL of a .jinja file, or its text.",
    )
    chat_template_kwargs: dict[str, Any] = Field(
        {},
        description="What the template is given besides the messages, by its own names "
        "(enable_thinking, reasoning_effort ...).",
    )
    template_date: str | None = Field(
        None,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Today's date for templates that write one (2026-11-25). None: the day of the "
        "run's first start.",
    )
    system_prompt_in: Literal["system", "user"] = Field(
        "system",
        description="Role of the system prompt; user: in front of the question, for models whose "
        "template knows no system role.",
    )


class DatasetConfig(Frozen):
    """Questions with gold answers: files by path or URL, or a hub data set."""

    model_config = ConfigDict(title="Questions")
    later: ClassVar[frozenset[str]] = frozenset(
        {"grading", "allow_code_execution", "decontaminate"}
    )

    path: Location = Field(
        "builtin:train.jsonl",
        min_length=1,
        description="JSONL or Parquet file, folder or glob, by path or fsspec URL; or a hub data "
        "set id as hub:openai/gsm8k. builtin:train.jsonl and builtin:test.jsonl are the demo's. A "
        "benchmark and a mixture's set must name theirs.",
    )
    format: Literal["gsm8k", "math", "mbpp", "humaneval", "table"] = Field(
        "table",
        description="gsm8k: 'answer' ends in '#### 72'. math: the answer stands in \\boxed{} of "
        "'solution' or 'answer'. mbpp, humaneval: programs, with tests in these data sets' own "
        "columns. table: the columns named below.",
    )
    subset: str | None = Field(None, description="Configuration name of a hub data set ('main').")
    split: str = Field("train", description="Split of a hub data set.")
    revision: str | None = Field(None, description="Revision of a hub data set.")
    question_column: str = Field("question", description="Column of the question (table).")
    answer_column: str | None = Field(
        "answer", description="Column of the gold answer (table); None for label-free training."
    )
    id_column: str | None = Field(
        "id", description="Column of a unique id (table); row numbers where it is absent."
    )
    answer_format: Literal["plain", "gsm8k", "boxed", "tests"] = Field(
        "plain",
        description="How the final answer stands in answer_column (table). tests: asserts, as text "
        "or list, or an object of inputs and outputs, for grading code.",
    )
    limit: int | None = Field(None, ge=1, description="Use the first so many questions only.")
    grading: Grading = Field(
        MATH,
        description="How answers are read and compared: math, choice (letters and the texts of "
        "options), text (words), exact (JSON, code, strings), number (within a tolerance), "
        "python (your own functions) or code (programs, run against tests).",
        json_schema_extra=tabs,
    )
    allow_code_execution: bool = Field(
        False, description="Let grading code run what a model wrote, in a sandbox on this machine."
    )
    decontaminate: bool = Field(
        False,
        description="Leave out the training questions that stand in one of the run's benchmarks "
        "(copied, spelled otherwise, or with other names). False: they are only counted and told.",
    )

    @model_validator(mode="after")
    def _code_is_allowed(self) -> Self:
        if self.grading.kind == "code" and not self.allow_code_execution:
            raise ValueError(
                "grading 'code' runs programs that a model wrote, in a sandbox on this machine; "
                "set allow_code_execution = true beside grading to have that"
            )
        return self

    def require_path(self, name: str) -> None:
        """Raise ValueError where the data set `name` has no path of its own, but the demo's."""
        if "path" not in self.model_fields_set:
            raise ValueError(f"{name} has no path: name its questions' file, folder or data set")

    @property
    def named(self) -> "Mapping[str, DatasetConfig]":
        """The data sets by name, as a mixture has them: this one alone, without a name."""
        return {"": self}

    def reading(self) -> dict[str, Any]:
        """How the rows are read, as it enters a recipe; their content counts, and no path does."""
        return self.model_dump(mode="json", exclude={"path", *self.later})

    @property
    def has_answers(self) -> bool:
        """Whether the data set has gold answers; False for label-free training."""
        return self.format != "table" or self.answer_column is not None
