"""Sampling and training see the very same prompt: ids caught at the border of each engine."""

import json
import sys
from pathlib import Path

from east_core.engines.processes import run_child
from east_core.inputs.questions import builtin_path
from east_core.records import TrainingExample
from east_core.tables import write_table

SYSTEM, QUESTION, ANSWER = "Reason.", "Amy has 3 pens & buys 4. How many?", "3+4=7\n\\boxed{7}"

SAMPLING = """
import json, sys
from types import SimpleNamespace
from transformers import AutoTokenizer
from east_core.engines.vllm.messages import GenerationRequest
from east_core.engines.vllm.worker import Worker
from east_core.protocols import GenerationSettings
folder, system, question = sys.argv[1:]
class Engine:
    model_config = SimpleNamespace(max_model_len=2048)
    def add_request(self, key, prompt, params):
        print("ids", json.dumps({"ids": prompt["prompt_token_ids"]}))
worker = Worker(None, SimpleNamespace(llm_engine=Engine()), AutoTokenizer.from_pretrained(folder))
worker.settings = GenerationSettings(2, 1.0, 1.0, 8, system, (), 0)
worker.ask(GenerationRequest("0:0", "q", question))
"""
TRAINING = """
import json, sys
from pathlib import Path
from transformers import AutoTokenizer
import datasets
from east_core.engines.trl.data import prepare_data
from east_core.config import Resources, SftRecipe
from east_core.protocols import ModelSource
from east_core.protocols import TrainingJob
folder, system, table = sys.argv[1:]
job = TrainingJob(
    model=ModelSource(Path(folder), "base"), reference=None, examples=[Path(table)],
    recipe=SftRecipe(global_batch_size=1), system_prompt=system, seed=0,
    resources=Resources(micro_batch_size=1), scratch=Path(table).parent)
rows = Path(table).parent / "rows.arrow"
prepare_data(job, AutoTokenizer.from_pretrained(folder), rows)
row = datasets.Dataset.from_file(str(rows))[0]
print("ids", json.dumps({"ids": row["input_ids"], "labels": row["labels"]}))
"""


def messages_of(program: str, *arguments: str) -> dict[str, list[int]]:
    lines: list[str] = []
    run_child([sys.executable, "-c", program, *arguments], on_line=lines.append)
    (told,) = [line for line in lines if line.startswith("ids ")]
    message: dict[str, list[int]] = json.loads(told.removeprefix("ids "))
    return message


def test_the_ids_trained_on_begin_with_the_ids_sampled_on(tmp_path: Path) -> None:
    seed = str(builtin_path("seed_model"))
    table = tmp_path / "examples.parquet"
    write_table(table, TrainingExample, [TrainingExample("q", QUESTION, ANSWER, 1.0)])
    sampled = messages_of(SAMPLING, seed, SYSTEM, QUESTION)["ids"]
    trained = messages_of(TRAINING, seed, SYSTEM, str(table))
    prompt, eos = len(sampled), json.loads((Path(seed) / "config.json").read_text())["eos_token_id"]
    assert trained["ids"][:prompt] == sampled
    assert trained["labels"][:prompt] == [-100] * prompt
    assert trained["labels"][prompt:] == trained["ids"][prompt:]
    assert trained["labels"][-1] == eos
