"""What crosses a pipe comes out as it went in, or is refused in one line."""

import dataclasses

import pytest

from east_core.engines.messages import Message, encode
from east_core.engines.probe import Probe
from east_core.engines.trl import messages as trl
from east_core.engines.trl.data import TrainingData
from east_core.engines.trl.training import TrlTrainer  # noqa: F401 - the parent imports no engine
from east_core.engines.vllm import messages as vllm
from east_core.errors import EngineError, TrainingDiverged
from east_core.protocols import GenerationSettings, PromptFormat, TrainingResult
from east_core.records import Completion, TokenIds

FORM = PromptFormat(options={"enable_thinking": False}, date="2026-11-25")
SETTINGS = GenerationSettings(
    8, 0.7, 0.9, 64, "Think.", ("###", "\n\n"), seed=3, stop_token_ids=(1, 2), prompt=FORM
)
COMPLETIONS = (
    Completion("so \\boxed{2}\u2028", "stop", 9, -0.25, TokenIds([5, 128009, 0])),
    Completion("", "length", 0, None),
)
STEP = trl.TrainingStep(1, 3, 0.5, 0.25, 1.0, 0.125, 1e-5, 0.75, 1e4)


def ids_of(text: str) -> str:
    return f'{{"type":"GeneratedSamples","key":"0:1","completions":[],"prompt_ids":{text}}}'


@pytest.mark.parametrize(
    "message",
    [
        vllm.Load("/models/base"),
        vllm.Load("/models/base", Probe([1, 2], [-0.5])),
        vllm.SetGeneration(SETTINGS),
        vllm.GenerateBatch([vllm.GenerationRequest("0:1", "q", "1 + 1?\n")]),
        vllm.Sleep(),
    ],
)
def test_what_the_sampler_asks_reaches_the_worker(message: Message) -> None:
    assert vllm.read_command(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        vllm.Loaded("/models/base", 1e-6, True),
        vllm.Loaded("/models/base", None, False),
        vllm.Loaded("/models/base", 0.0, True, Probe([1, 2], [-0.5])),
        vllm.GeneratedSamples("0:1", COMPLETIONS, TokenIds([1, 2])),
        vllm.Asleep(),
    ],
)
def test_what_the_worker_tells_reaches_the_sampler(message: Message) -> None:
    assert vllm.read_worker_message(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        trl.Prepared(TrainingData(12, 1, 1.25)),
        trl.Resumed("checkpoint-4"),
        trl.SkippedCheckpoint("checkpoint-8", "it was not finished"),
        trl.SavedCheckpoint("checkpoint-4"),
        trl.StepDone(STEP),
        trl.Finished(TrainingResult(6, 21, 0, 1.5, 0.5)),
        trl.Failed("TrainingDiverged", "loss is nan"),
        trl.Ended([trl.RankEnd(1, -9)]),
    ],
)
def test_what_a_rank_tells_reaches_its_parent(message: Message) -> None:
    assert trl.read_rank_message(encode(message)) == message


def test_what_the_trainer_asks_reaches_the_process_that_forks() -> None:
    assert trl.read_command(encode(trl.Fork("/scratch/job.json", 2))) == trl.Fork(
        "/scratch/job.json", 2
    )


def test_a_message_is_one_line() -> None:
    assert "\n" not in encode(vllm.GeneratedSamples("0:1", COMPLETIONS, TokenIds([1, 2])))


def test_fields_go_by_name_so_their_order_may_change() -> None:
    line = (
        '{"type":"GeneratedSamples","completions":[{"token_count":9,"finish_reason":"stop",'
        '"mean_logprob":-0.25,"text":"x"}],"prompt_ids":[7],"key":"0:1"}'
    )
    completion = Completion("x", "stop", 9, -0.25)
    assert vllm.read_worker_message(line) == vllm.GeneratedSamples(
        "0:1", (completion,), TokenIds([7])
    )


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            '{"type":"GeneratedSamples","completions":[["x","stop",9,-0.25]],"key":"0:1"}',
            "Expected `object",
        ),
        (
            '{"type":"GeneratedSamples","completions":[{"finish_reason":"stop"}],"key":"0:1"}',
            "field `text`",
        ),
        ('{"type":"GeneratedSamples","key":"0:1"}', "missing required field `completions`"),
        ('{"type":"GeneratedSamples","key":1,"completions":[]}', "Expected `str`, got `int`"),
        ('{"type":"GeneratedSamples","key":"0:1","completions":[],"n":1}', "unknown field `n`"),
        (ids_of("[5000000000]"), "32-bit integers"),
        (ids_of('"words"'), "32-bit integers"),
        (ids_of("[1.5]"), "32-bit integers"),
        ('{"type":"Shout"}', "'Shout'"),
        ('{"key":"0:1"}', "`type`"),
        ("[1, 2]", "Expected `object`"),
        ("{", "truncated"),
    ],
)
def test_a_message_that_is_not_understood_is_one_clear_error(line: str, fault: str) -> None:
    with pytest.raises(EngineError, match="can't be read") as caught:
        vllm.read_worker_message(line)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_ranks_error_keeps_its_kind() -> None:
    error = trl.Failed("TrainingDiverged", "loss is nan").error()
    assert (type(error), str(error)) == (TrainingDiverged, "loss is nan")
    assert type(trl.Failed("Unheard", "of").error()) is EngineError


def test_every_field_of_a_completion_crosses() -> None:
    names = {spec.name for spec in dataclasses.fields(Completion)}
    line = encode(vllm.GeneratedSamples("0:1", COMPLETIONS, TokenIds([1, 2])))
    assert all(f'"{name}"' in line for name in names)
