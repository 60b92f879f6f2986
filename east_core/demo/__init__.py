"""The built-in demo: a small task, its questions, and a seed model that a CPU can train.

    word_problems.py   generates the task: templated word problems and their solutions
    events.py          what happens in them, how it is reckoned, and how it is misread
    pupils.py          who errs, and how: what a seed model learns its bad habits from
    train.jsonl        questions to sample and train on
    test.jsonl         questions to evaluate on, disjoint from the training questions
    seed_model/        a Llama of under a million parameters with sound arithmetic and bad habits

All three data files are made by examples/seed_model/train_seed.py.
"""

from pathlib import Path

DEMO_FOLDER = Path(__file__).resolve().parent
TRAIN_QUESTIONS = DEMO_FOLDER / "train.jsonl"
TEST_QUESTIONS = DEMO_FOLDER / "test.jsonl"
SEED_MODEL = DEMO_FOLDER / "seed_model"
SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
"""The released EAST code's system prompt, with which the seed model was trained."""

__all__ = ["DEMO_FOLDER", "SEED_MODEL", "SYSTEM_PROMPT", "TEST_QUESTIONS", "TRAIN_QUESTIONS"]
