"""`east`, with scripted engines that are processes, as real ones are: there is something to kill.

    python tests/integration/scripted_children.py run CONFIG

A supervised process is asked before each shard is answered, and another one "trains". They are
started and ended by the product's own supervision; what they do is sleep.
"""

import contextlib
import sys
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


if __name__ == "__main__":
    # vLLM's own process would be started early, and never be asked: 20 s of CPU a run
    early.early_sampler = lambda resources: contextlib.nullcontext()  # type: ignore[assignment]
    with use_engines(Engines(ChildSampler(), ChildTrainer())):
        main()
