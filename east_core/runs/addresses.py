"""Where everything of a run lives: the one place that spells its addresses and file names.

    {run}/config                       the run's settings; claims the address for this run
    {run}/questions                    the training questions, frozen at the run's start
    {run}/benchmarks/{name}            the test questions, likewise
    {run}/base-model                   which files the base model consists of (not the weights)
    {run}/round-00/scores/{name}       the base model's scores
    {run}/round-01/samples             completions of the questions by checkpoint 0, in shards
    {run}/round-01/weights             clusters, entropy and weight of every question
    {run}/round-01/examples            what is trained on
    {run}/round-01/checkpoint          the trained model
    {run}/round-01/scores/{name}       its scores
    {run}/round-01/report              the curves so far: accuracy, entropy, kept, loss

Round r samples from checkpoint r-1, trains checkpoint r and scores it. Every stage goes through
`materialize`: what is recorded is returned, what is missing is built from what is recorded.
"""

from east_core.store.manifest import LOGS

QUESTIONS, SAMPLES, EXAMPLES = "questions.parquet", "samples.parquet", "examples.parquet"
SHARDS, WEIGHTS = "shards.json", "weights"
PREDICTIONS, VOTES = "predictions.parquet", "votes.parquet"
CURVE, MAP = "accuracy.png", "questions.png"
TRAINING_LOG = f"{LOGS}training.jsonl"
OVERHEAD_LOG = f"{LOGS}overhead.json"


def round_name(number: int) -> str:
    """The folder of a round: "round-02"."""
    return f"round-{number:02d}"
