"""A plan's arithmetic, by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from east_core.config import (
    DpoRecipe,
    KtoRecipe,
    Resources,
    RunConfig,
    SamplingRecipe,
    SftRecipe,
)
from east_core.config.toml_file import load_config
from east_core.planning.assumptions import GPUS, Assumptions, Workload
from east_core.planning.basis import Basis
from east_core.planning.figures import human
from east_core.planning.hours import training_rate
from east_core.planning.model_shape import ModelShape, parse_shape, shape_of_size
from east_core.planning.plan import make_plan

CONFIGS = Path(__file__).parents[3] / "infra" / "configs"
EIGHT_B, SEVENTY_B = shape_of_size(8.03e9, 4096, 32), shape_of_size(70.6e9, 8192, 80)
WORK = Workload(questions=1000, test_questions=100, prompt_tokens=100, completion_tokens=200)
ASSUMED = Assumptions(GPUS["h100"])
RANK, ENGINE, ROUND = "training rank", "sampling engine", "a round"


def basis(
    shape: ModelShape = EIGHT_B,
    *,
    training: Any = SftRecipe(global_batch_size=64),  # noqa: B008 frozen
    device: Any = "cuda",
    **resources: Any,
) -> Basis:
    config = RunConfig(
        training=training,
        sampling=SamplingRecipe(samples_per_question=64, max_tokens=900),
        resources=Resources(**resources),
    )
    return Basis(config, shape, WORK, ASSUMED, device)


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "optimizer"),
    [
        # bytes a parameter over 8 ranks (ZeRO, arXiv:1910.02054, table 1: 2 + 2 + 12)
        (1, 2, 2, 12 / 8),
        (2, 2, 2 / 8, 12 / 8),
        (3, 2 / 8, 2 / 8, 12 / 8),
        # DDP keeps everything in fp32, and its buckets beside the gradients
        (0, 4, 8, 8),
    ],
)
def test_model_states_are_those_of_zero(
    stage: int, weights: float, gradients: float, optimizer: float
) -> None:
    plan = make_plan(basis(processes=8, zero_stage=stage))
    p = EIGHT_B.parameters
    assert plan.value(RANK, "weights") == weights * p
    assert plan.value(RANK, "gradients") == gradients * p
    assert plan.value(RANK, "optimizer") == optimizer * p


def test_offload_moves_the_optimizer_to_the_host() -> None:
    near, far = (make_plan(basis(processes=8, offload=how)) for how in ("none", "optimizer"))
    assert far.value(RANK, "optimizer") == far.value(RANK, "optimizer step") == 0
    host = [plan.value("training node", "host memory") for plan in (near, far)]
    assert host[1] - host[0] == (12 + 4) * EIGHT_B.parameters


def test_nodes_share_what_is_offloaded() -> None:
    one, four = (
        make_plan(basis(processes=32, nodes=nodes, offload="optimizer")) for nodes in (1, 4)
    )
    baseline = ASSUMED.rank_baseline
    host = [plan.value("training node", "host memory") for plan in (one, four)]
    assert host[0] - 32 * baseline == pytest.approx(4 * (host[1] - 8 * baseline))


def test_a_layers_activations_by_hand() -> None:
    # bf16, a token: norms 2 x 4096 x (4 + 4 + 2); q, k, v and their like (3 x 4096 + 3 x 1024) x 2;
    # MLP 4 x 14336 x 2
    per_token = 2 * 4096 * 10 + (3 * 4096 + 3 * 1024) * 2 + 4 * 14336 * 2
    plan = make_plan(basis(micro_batch_size=2))
    assert plan.value(RANK, "activations") == 2 * 1000 * 32 * per_token
    less = make_plan(basis(micro_batch_size=2, gradient_checkpointing=True))
    assert less.value(RANK, "activations") == 2 * 1000 * (32 * 4096 * 2 + per_token)


def test_a_layers_activations_are_about_what_autograd_keeps() -> None:
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4}
    config = LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, vocab_size=100)
    model, ids = LlamaForCausalLM(config), torch.zeros((2, 100), dtype=torch.long)
    parameters = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Any) -> Any:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        held = model.model(input_ids=ids)
    counted = sum(size for place, size in kept.items() if place not in parameters)
    assert held.last_hidden_state.shape == (2, 100, 256)
    config_of_plan = RunConfig(resources=Resources(micro_batch_size=2))
    shape = parse_shape(config.to_dict(), "random")
    made = make_plan(Basis(config_of_plan, replace(shape, context=100), WORK, ASSUMED, "cpu"))
    assert made.value(RANK, "activations") == pytest.approx(counted, rel=0.15)


def test_a_pair_has_twice_the_activations_of_an_example() -> None:
    sft = make_plan(basis(micro_batch_size=2))
    dpo = make_plan(basis(micro_batch_size=2, training=DpoRecipe(global_batch_size=64)))
    assert dpo.value(RANK, "activations") == 2 * sft.value(RANK, "activations")
    assert dpo.value(ROUND, "trained") == 2 * sft.value(ROUND, "trained")


def test_the_kv_cache_by_hand() -> None:
    plan = make_plan(basis(tensor_parallel=1))
    assert plan.value(ENGINE, "KV cache a token") == 2 * 32 * 8 * 128 * 2  # 128 KiB
    assert make_plan(basis(tensor_parallel=4)).value(ENGINE, "KV cache a token") == 2**15
    fits = plan.value(ENGINE, "KV cache") / 2**17
    assert plan.value(ENGINE, "sequences at full length") == pytest.approx(fits / 1000)


def test_a_decoding_step_reads_weights_and_cache_once() -> None:
    plan = make_plan(basis(max_sequences=256, engines=2))
    # docs/reproducing.md: bytes / (half of 3.35 TB/s) + 5 ms, for 256 sequences of 200 tokens
    read = 2 * EIGHT_B.parameters + 256 * 200 * 2**17
    rate = 256 / (read / (0.5 * 3.35e12) + 0.005)
    assert plan.value(ROUND, "sampling") == pytest.approx(1000 * 64 * 200 / (2 * rate))


def test_where_nothing_is_set_sequences_are_as_many_as_vllm_chooses() -> None:
    assert basis().most_sequences == 1024
    assert basis(max_sequences=64).most_sequences == 64
    smaller = replace(basis(), assumed=replace(ASSUMED, gpu=GPUS["a100-80"]))
    assert smaller.most_sequences == 256


def test_training_over_nodes_waits_for_the_network_when_micro_batches_are_small() -> None:
    shared = {"processes": 32, "zero_stage": 3}
    here = basis(SEVENTY_B, micro_batch_size=1, **shared)
    apart = basis(SEVENTY_B, micro_batch_size=1, nodes=4, **shared)
    # 3 x 2 B x P x 3/4 from other nodes for each micro-batch of 300 tokens, at 50 GB/s
    seconds = 3 * 2 * SEVENTY_B.parameters * 0.75 / 50e9
    assert training_rate(apart) == pytest.approx(32 * 300 / seconds)
    assert training_rate(here) == pytest.approx(32 * 0.2 * 989e12 / (6 * SEVENTY_B.parameters))


def test_references_and_recomputation_cost_arithmetic() -> None:
    def flops(training: Any, **resources: Any) -> float:
        rate = training_rate(basis(training=training, **resources))
        assert rate is not None
        return 0.2 * 989e12 / rate / EIGHT_B.parameters

    batch = {"global_batch_size": 64, "epochs": 2.0}
    assert flops(SftRecipe(**batch)) == pytest.approx(6)
    assert flops(SftRecipe(**batch), gradient_checkpointing=True) == pytest.approx(8)
    assert flops(DpoRecipe(**batch)) == pytest.approx(6 + 1)
    assert flops(KtoRecipe(**batch)) == pytest.approx(6 + 2 + 2)


def test_hours_on_cpu_need_measured_rates() -> None:
    unknown = basis(device="cpu", engines=1)
    assert not any(one.kind == "seconds" for one in make_plan(unknown).estimates)
    measured = replace(ASSUMED, sampling_rate=1000.0, training_rate=500.0)
    plan = make_plan(replace(unknown, assumed=measured))
    assert plan.value(ROUND, "sampling") == 1000 * 64 * 200 / 1000
    assert plan.value(ROUND, "training") == 1000 * 3 * 300 / 500 + ASSUMED.training_start


def test_lora_trains_and_keeps_little() -> None:
    recipe = SftRecipe(global_batch_size=64, lora={"rank": 16})
    of_lora = basis(training=recipe, processes=1)
    plan = make_plan(of_lora)
    # peft on all linear layers of Llama-3.1-8B with r = 16: 41,943,040 trainable parameters
    assert plan.value(RANK, "optimizer") == 12 * 41_943_040
    assert plan.value(ROUND, "checkpoint stored") == of_lora.weight_bytes * 41_943_040


def test_a_sleeping_engine_saves_its_starts_and_costs_training_memory() -> None:
    awake, asleep = basis(), basis(sleeping_engines=True)
    saved = make_plan(awake).value("the run", "time") - make_plan(asleep).value("the run", "time")
    assert saved == pytest.approx(awake.config.rounds * ASSUMED.engine_start)
    held = make_plan(asleep).value(RANK, "peak") - make_plan(awake).value(RANK, "peak")
    assert held == pytest.approx(ASSUMED.sleeping_engine)
    cluster = asleep.config.resources.model_copy(update={"ray": "auto"})
    config = asleep.config.model_copy(update={"resources": cluster})
    elsewhere = Basis(config, EIGHT_B, WORK, ASSUMED, "cuda")
    assert make_plan(elsewhere).value(RANK, "peak") == make_plan(awake).value(RANK, "peak")


def test_what_does_not_fit_is_said_with_what_to_change() -> None:
    [rank, engine] = make_plan(basis(SEVENTY_B, processes=1)).misfits
    assert "raise zero_stage" in rank
    assert "raise tensor_parallel" in engine
    assert make_plan(basis(processes=8)).misfits == ()


@pytest.mark.parametrize(
    ("file", "shape", "gpus"),
    [("8b-8-gpus.toml", EIGHT_B, 8), ("70b-4-nodes.toml", SEVENTY_B, 32)],
)
def test_the_examples_of_big_models_fit_their_gpus(file: str, shape: ModelShape, gpus: int) -> None:
    config = load_config(CONFIGS / file)
    made = Basis(config, shape, Workload(7500, 5000), ASSUMED, "cuda")
    assert make_plan(made).misfits == ()
    assert made.gpus == gpus
    engines = made.engines * config.resources.tensor_parallel
    assert engines == config.resources.processes == gpus  # no GPU idles in either stage
    assert make_plan(made).value(ENGINE, "sequences at a time") >= 128


def test_figures_read_well() -> None:
    assert human(3.2 * 2**30, "bytes") == "3.2 GiB"
    assert human(512, "bytes") == "512 B"
    assert human(0, "bytes") == "0 B"
    assert human(191e6, "tokens") == "191 M"
    assert human(5040, "seconds") == "84.0 min"
    assert human(90_000, "seconds") == "25.0 h"
