"""Settings of a benchmark: questions of one's own, or a task of lm-evaluation-harness."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag

from east_core.config.base import Frozen
from east_core.config.inputs import DatasetConfig

# Where and how fast, and where the task is found (what it says counts): nothing of what is asked.
_PLACES = frozenset({"include_path", "backend", "batch_size"})


class HarnessTask(Frozen):
    """A task of lm-evaluation-harness, which asks and grades in a process of its own."""

    model_config = ConfigDict(title="Task of lm-evaluation-harness")

    task: str = Field(
        pattern=r"^[A-Za-z0-9][\w.:+-]{0,199}$",
        description="Name of the task (gsm8k, arc_challenge, mmlu_anatomy); one, and no group.",
    )
    metric: str | None = Field(
        None,
        pattern=r"^[^,\s]{1,100}(,[^,\s]{1,100})?$",
        description="Which of its outcomes counts, as METRIC or METRIC,FILTER "
        "(exact_match,strict-match): one that is 0 or 1 for each question. None: the first such.",
    )
    num_fewshot: int | None = Field(
        None, ge=0, le=1000, description="Examples in front of each question. None: the task's own."
    )
    limit: int | None = Field(None, ge=1, description="Use the first so many questions only.")
    apply_chat_template: bool = Field(
        True,
        description="Ask in the model's chat template, examples as turns. False: as plain text, "
        "as leaderboards ask base models.",
    )
    system_prompt: str | None = Field(
        None, min_length=1, description="System prompt of the task; sampling's is not given to it."
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Longest answer in tokens. None: the task's own, or 256."
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="Seed of the choice of examples, the same for all rounds. None: the harness's "
        "own, as in published scores.",
    )
    include_path: str | None = Field(
        None,
        min_length=1,
        description="Folder with tasks of your own (YAML), which may run code: only what you "
        "trust.",
    )
    backend: Literal["auto", "hf", "vllm"] = Field(
        "auto",
        description="What generates: vllm on GPUs where the harness's environment has it, else "
        "hf (transformers).",
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="Questions at a time. auto: as many as a GPU holds; 8 on CPUs."
    )

    def asked(self) -> dict[str, Any]:
        """What is asked and how it is graded, as it enters a recipe."""
        return self.identity(_PLACES)

    @property
    def tasks_folder(self) -> Path | None:
        """`include_path` as an absolute path."""
        return None if self.include_path is None else Path(self.include_path).expanduser().resolve()


Benchmark: TypeAlias = DatasetConfig | HarnessTask


def kind_of_benchmark(given: Any) -> str:
    """The tag of a benchmark's kind, which pydantic names in the location of an error."""
    has_task = "task" in given if isinstance(given, Mapping) else hasattr(given, "task")
    return "harness task" if has_task else "questions"


Benchmarks: TypeAlias = dict[
    str,
    Annotated[
        Annotated[DatasetConfig, Tag("questions")] | Annotated[HarnessTask, Tag("harness task")],
        Field(discriminator=Discriminator(kind_of_benchmark)),
    ],
]
