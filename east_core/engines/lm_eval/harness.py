"""lm-evaluation-harness as a child process: a task's questions, and a checkpoint's outcomes."""

import collections
import contextlib
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from east_core.config import HarnessTask
from east_core.engines.devices import device_of
from east_core.engines.lm_eval.command import (
    ENVIRONMENT,
    Backend,
    score_command,
    survey_command,
)
from east_core.engines.lm_eval.environment import harness_python, packages
from east_core.engines.lm_eval.output import Output, chosen_metric, read_output
from east_core.engines.lm_eval.rows import Row
from east_core.engines.processes import ChildProcess, time_limit
from east_core.errors import ConfigError, EngineError
from east_core.protocols import HarnessJob, HarnessResult, ModelSource, PromptFormat
from east_core.records import Prediction, Question

SURVEY_SECONDS = 3600.0  # a data set may have to be downloaded
LAST_LINES, LONGEST = 3, 300  # of its output, in an error: lines, and characters of each


class LmEval:
    """The harness in the Python that `harness_python` finds; its output goes to `on_line`."""

    def __init__(self, on_line: Callable[[str], None] = print) -> None:
        self._on_line = on_line

    def survey(self, task: HarnessTask) -> HarnessResult:
        """See `Harness.survey`: the harness's own stand-in for a model is asked."""
        if task.tasks_folder is not None and not task.tasks_folder.is_dir():
            raise ConfigError(f"include_path {task.include_path} is no folder on this machine")
        python = harness_python()
        with tempfile.TemporaryDirectory(prefix="east-lm-eval-") as name:
            folder = Path(name)
            try:
                output = self._run(survey_command(python, task, folder), task, folder)
            except EngineError as error:
                raise ConfigError(str(error)) from error
            metric = chosen_metric(task, output.metrics())
            return _result(output, metric, {}, lambda _: 0)

    def score(self, job: HarnessJob) -> HarnessResult:
        """See `Harness.score`."""
        python, seconds = harness_python(), job.resources.stage_timeout_hours * 3600
        backend = _backend(job, python)
        with tempfile.TemporaryDirectory(prefix="east-lm-eval-") as name:
            folder = Path(name)
            _link_model(job.model, job.prompt, folder / "model")
            command = score_command(python, job, backend, folder)
            output = self._run(command, job.task, folder, seconds)
            setup = {
                "backend": backend,
                "transformers": output.transformers,
                "num_fewshot": output.fewshot,
            }
            return _result(output, job.metric, setup, _token_counter(job.model))

    def _run(
        self, command: list[str], task: HarnessTask, folder: Path, seconds: float = SURVEY_SECONDS
    ) -> Output:
        """Run the harness to its end and read what it wrote. Raises EngineError in one line."""
        last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)

        def on_line(line: str) -> None:
            if line[:1].strip():  # what is indented are the lines of code of a traceback
                last.append(line.strip()[:LONGEST])
            self._on_line(line)

        with ChildProcess(command, ENVIRONMENT) as child:
            with time_limit(child, seconds) as limit:
                for line in child.lines():
                    on_line(line)
                status = child.wait()
            told = "last output: " + (" | ".join(last) or "(none)")
            if limit.has_expired.is_set():
                raise EngineError(f"lm_eval took over {seconds:.0f} s on task {task.task}; {told}")
        if status:
            raise EngineError(f"lm_eval failed on task {task.task} (status {status}); {told}")
        return read_output(folder / "results", task, told)


def _backend(job: HarnessJob, python: str) -> Backend:
    """What generates. Raises ConfigError for vLLM where the harness's Python has none."""
    asked = job.task.backend
    if asked == "hf" or (asked == "auto" and device_of(job.resources) == "cpu"):
        return "hf"
    has_vllm = "vllm" in packages(python)
    if asked == "vllm" and not has_vllm:
        raise ConfigError(f"lm_eval task {job.task.task}: backend vllm is not in {python}")
    return "vllm" if has_vllm else "hf"


def _link_model(model: ModelSource, prompt: PromptFormat, folder: Path) -> None:
    """The checkpoint under a name without commas or spaces, with the run's own chat template."""
    folder.mkdir()
    for file in model.folder.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    if prompt.chat_template is not None:
        template = folder / "chat_template.jinja"
        with contextlib.suppress(FileNotFoundError):
            template.unlink()
        template.write_text(prompt.chat_template, "utf-8")


def _result(
    output: Output, metric: str, setup: Mapping[str, object], count: Callable[[str], int]
) -> HarnessResult:
    graded = output.graded(metric)
    ids = [row.question_id(output.task) for row, _ in graded]
    return HarnessResult(
        metric=metric,
        questions=[
            Question(name, row.prompt, row.target)
            for name, (row, _) in zip(ids, graded, strict=True)
        ],
        predictions=[
            _prediction(name, row, is_correct, count)
            for name, (row, is_correct) in zip(ids, graded, strict=True)
        ],
        task=output.identity,
        setup=setup,
    )


def _prediction(name: str, row: Row, is_correct: bool, count: Callable[[str], int]) -> Prediction:
    return Prediction(
        question_id=name,
        completion=row.completion,
        answer=row.answer,
        gold=row.target,
        is_correct=is_correct,
        token_count=count(row.completion) if row.is_generated else 0,
    )


def _token_counter(model: ModelSource) -> Callable[[str], int]:
    """The tokens of a text under the model's tokenizer; 0 where it can't be read here."""
    file = model.folder / "tokenizer.json"
    if not file.is_file() or find_spec("tokenizers") is None:
        return lambda _: 0
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
