"""`east`, with scripted engines that are processes, as real ones are: there is something to kill.

    python tests/integration/scripted_children.py run CONFIG
    python tests/integration/scripted_children.py fork

The second imports what a run imports, and then forks a process for each line of its input
(`Order`), since most of a scripted run's time is its imports; it tells the process's id.
A supervised process is asked before each shard is answered, and another one "trains". They are
started and ended by the product's own supervision; what they do is sleep.
"""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from east_core.engines.messages import Message
from east_core.engines.processes import ChildProcess, run_child
from east_core.engines.vllm import early
from east_core.errors import EngineError
from east_core.protocols import GenerationSettings, ModelSource, TrainingJob, TrainingResult
from east_core.records import Question, SampledQuestion
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.commands.main import main
from tasks.engines import Engines, use_engines

ENGINE, RANK = "scripted-engine", "scripted-rank"
ANSWERING = (
    "import sys, time\nfor line in sys.stdin:\n    time.sleep(0.15)\n    print(1, flush=True)"
)
TRAINING = "import time\ntime.sleep(0.6)"


class Shard(Message):
    """A shard is to be sampled."""

    number: int


class ChildSampler(ScriptedSampler):
    """Asks a process before each shard, and fails as the real sampler does where it is gone."""

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        """See `Sampler.sample`."""
        with ChildProcess([sys.executable, "-S", "-c", ANSWERING, ENGINE]) as engine:
            lines = engine.lines()
            for number, sampled in enumerate(super().sample(model, shards, settings, total)):
                engine.send(Shard(number))
                if not next(lines, None):
                    raise EngineError(f"the engine {engine.ending()}; {engine.last_output()}")
                yield sampled


class ChildTrainer(InstantTrainer):
    """Writes the checkpoint, and has a process train it meanwhile."""

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """See `Trainer.train`."""
        result = super().train(job, out)
        run_child([sys.executable, "-S", "-c", TRAINING, RANK])
        return result


def run() -> None:
    """The command line with these engines."""
    # vLLM's own process would be started early, and never be asked: 20 s of CPU a run
    early.early_sampler = lambda resources: contextlib.nullcontext()  # type: ignore[assignment]
    with use_engines(Engines(ChildSampler(), ChildTrainer())):
        main()


def fork() -> None:
    """Fork a run for each order: {"arguments": [...], "environment": {...}, "log": PATH}.

    It is nobody's child here, so whoever is a subreaper above has it, and its exit status.
    """
    import flows.self_training  # noqa: F401 what is imported now need not be after a fork
    from east_core.reports import figures  # noqa: F401

    assert threading.active_count() == 1
    for line in sys.stdin:
        reading, writing = os.pipe()
        if (between := os.fork()) == 0:
            if (pid := os.fork()) == 0:
                os.close(writing)
                become(**json.loads(line))
            os.write(writing, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        os.close(writing)
        print(os.read(reading, 20).decode(), flush=True)
        os.close(reading)


def become(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Be a run in this process, and end with it."""
    os.environ.update(environment)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(stream, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["east", *arguments]
    status = 1
    try:
        run()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    fork() if sys.argv[1:] == ["fork"] else run()
