"""Where everything of a run, a study and a line of retraining lives: the only place that says it.

    {run}/config                       the run's settings; claims the address for this run
    {run}/rounds/0005                  written when the run was extended to 5 rounds
    {run}/stops/0003                   written when the run ended early after round 3
    {run}/questions                    the training questions, frozen at the run's start
    {run}/benchmarks/{name}            the test questions, likewise
    {run}/replay                       the solutions that are replayed, where some are given
    {run}/template-date                today's date, where the chat template writes one
    {run}/base-model                   which files the base model consists of (not the weights)
    {run}/round-00/scores/{name}       the base model's scores
    {run}/round-01/samples             completions of the questions by checkpoint 0
    {run}/round-01/samples/{shard}     the same, shard by shard; 0000000-0000499 names questions
    {run}/round-01/weights             clusters, entropy and weight of every question
    {run}/round-01/nothing-kept        instead of weights: why no question is kept
    {run}/round-01/examples            what is trained on
    {run}/round-01/checkpoint          the trained model
    {run}/round-01/scores/{name}       its scores
    {run}/round-01/report              the curves so far: accuracy, entropy, kept, loss
    {run}/averages/{name}              a weighted average of the run's checkpoints
    {run}/report.html                  the page that `east report` writes (no artifact)
    {run}/live.json                    what the run is doing right now (no artifact)

    {study}/comparison/{digest}        a study's comparison; a study's store is {store}/{study}

    {line}-0003/arrivals               the questions of a line's run 3; the run itself beside them
    {line}/history/0003                what became of it
    {line}/champion.json               the last decision, for programs (no artifact)

Round r samples from checkpoint r-1, trains checkpoint r and scores it. Every stage goes through
`materialize`: what is recorded is returned, what is missing is built from what is recorded.
"""

import re
from dataclasses import dataclass

from east_core.store.manifest import LOGS

# Kinds of artifacts: the last part of an address, and the name of the stage that makes it.
CONFIG, ROUNDS, QUESTIONS, BENCHMARKS = "config", "rounds", "questions", "benchmarks"
TEMPLATE_DATE, REPLAY = "template-date", "replay"
BASE_MODEL, SAMPLES, WEIGHTS, EXAMPLES = "base-model", "samples", "weights", "examples"
CHECKPOINT, SCORES, REPORT = "checkpoint", "scores", "report"
NOTHING_KEPT, AVERAGES = "nothing-kept", "averages"
STOPS = "stops"
COMPARISON, ARRIVALS, HISTORY = "comparison", "arrivals", "history"

# Files of artifacts.
CONFIG_FILE = "config.json"
QUESTIONS_FILE, SAMPLES_FILE = "questions.parquet", "samples.parquet"
TASK_FILE = "task.json"
SHARDS_FILE, WEIGHTS_FOLDER, EXAMPLES_FILE = "shards.json", "weights", "examples.parquet"
PREDICTIONS_FILE, VOTES_FILE = "predictions.parquet", "votes.parquet"
ACCURACY_PICTURE, QUESTIONS_PICTURE = "accuracy.png", "questions.png"
OVERHEAD_LOG, OVERLAPS_LOG = f"{LOGS}overhead.json", f"{LOGS}overlaps.json"
COMPARISON_FILE, COMPARISON_TABLE = "comparison.json", "comparison.md"
ARRIVALS_FILE = "arrivals.parquet"

# Files for people and programs, which are no artifacts.
REPORT_PAGE, CHAMPION_FILE, LIVE_FILE = "report.html", "champion.json", "live.json"
VIEWS = (REPORT_PAGE, CHAMPION_FILE, LIVE_FILE)

_ROUND = re.compile(r"round-(\d{2,})")
_START = {
    TEMPLATE_DATE: False,
    CONFIG: False,
    QUESTIONS: False,
    REPLAY: False,
    BASE_MODEL: False,
    BENCHMARKS: True,
    ROUNDS: True,
    STOPS: True,
    AVERAGES: True,
}
_SHARD = re.compile(rf"/{SAMPLES}/(\d+)-(\d+)$")


@dataclass(frozen=True, slots=True)
class Part:
    """What an address of a run stands for: ("scores", round 2, "gsm8k") or ("config", None, "").

    `name` is the benchmark of scores and test questions, the shard of samples, and the name of an
    average.
    """

    kind: str
    round: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class RunAddresses:
    """The addresses of one run, relative to its store."""

    run: str

    @property
    def config(self) -> str:
        """The settings that claimed the run's name."""
        return f"{self.run}/{CONFIG}"

    @property
    def questions(self) -> str:
        """The training questions."""
        return f"{self.run}/{QUESTIONS}"

    @property
    def replay(self) -> str:
        """The solutions that are replayed, where some are given."""
        return f"{self.run}/{REPLAY}"

    @property
    def template_date(self) -> str:
        """Today's date at the run's first start, where its chat template writes one."""
        return f"{self.run}/{TEMPLATE_DATE}"

    @property
    def report_page(self) -> str:
        """The HTML page that tells the whole run."""
        return f"{self.run}/{REPORT_PAGE}"

    @property
    def live(self) -> str:
        """The file that tells what the run is doing right now."""
        return f"{self.run}/{LIVE_FILE}"

    def extension(self, rounds: int) -> str:
        """The note that the run was extended to so many rounds."""
        return f"{self.run}/{ROUNDS}/{rounds:04d}"

    def stop(self, number: int) -> str:
        """The note that the run ended early after round `number`."""
        return f"{self.run}/{STOPS}/{number:04d}"

    def benchmark(self, name: str) -> str:
        """The test questions of a benchmark."""
        return f"{self.run}/{BENCHMARKS}/{name}"

    def average(self, name: str) -> str:
        """A weighted average of checkpoints."""
        return f"{self.run}/{AVERAGES}/{name}"

    def samples(self, number: int) -> str:
        """The completions that round `number` learns from."""
        return self._in_round(number, SAMPLES)

    def weights(self, number: int) -> str:
        """The weighed questions of a round."""
        return self._in_round(number, WEIGHTS)

    def nothing_kept(self, number: int) -> str:
        """Why a round has no weights."""
        return self._in_round(number, NOTHING_KEPT)

    def examples(self, number: int) -> str:
        """What a round trains on."""
        return self._in_round(number, EXAMPLES)

    def checkpoint(self, number: int) -> str:
        """The model after round `number`; the base model's files for 0."""
        return self._in_round(number, CHECKPOINT) if number else f"{self.run}/{BASE_MODEL}"

    def scores(self, number: int, benchmark: str) -> str:
        """The scores of checkpoint `number` on a benchmark."""
        return self._in_round(number, SCORES, benchmark)

    def round_report(self, number: int) -> str:
        """The curves up to a round."""
        return self._in_round(number, REPORT)

    def part(self, address: str) -> Part | None:
        """What an address stands for; None where it belongs to no run, or to another one."""
        name, *parts = address.split("/")
        if name != self.run or not parts:
            return None
        if match := _ROUND.fullmatch(parts[0]):
            kind, rest = (parts[1:2], parts[2:])
            return Part(kind[0], int(match[1]), "/".join(rest)) if kind else None
        if parts[0] in _START and len(parts) == 1 + _START[parts[0]]:
            return Part(parts[0], None, "/".join(parts[1:]))
        return None

    def _in_round(self, number: int, *parts: str) -> str:
        return "/".join((self.run, f"round-{number:02d}", *parts))


def checkpoint_address(named: str) -> str:
    """The checkpoint that a person named: that of a round, "demo/round-02", or an average."""
    part = part_of(named)
    return named if part is not None and part.kind == AVERAGES else f"{named}/{CHECKPOINT}"


def is_shard(address: str) -> bool:
    """Whether an address is that of a shard of samples, of whatever run."""
    return _SHARD.search(address) is not None


def part_of(address: str) -> Part | None:
    """What an address of any run stands for; None where it is no run's."""
    return RunAddresses(address.split("/")[0]).part(address)


def shard_address(samples: str, questions: range) -> str:
    """The shard of samples that holds the questions of these numbers."""
    return f"{samples}/{questions.start:07d}-{questions.stop - 1:07d}"


def shard_questions(shard: str) -> range:
    """The numbers of the questions in a shard, by its address."""
    match = _SHARD.search(shard)
    assert match is not None, f"{shard} is no address of a shard"
    return range(int(match[1]), int(match[2]) + 1)


def arrivals_file(name: str) -> str:
    """The file of a line's new questions; of those of a mixture's set where it has a name."""
    return f"{name}.parquet" if name else ARRIVALS_FILE


def study_store(store: str, study: str) -> str:
    """The URL of the store in which a study keeps its runs."""
    return f"{store.rstrip('/')}/{study}"


def comparison_address(digest: str) -> str:
    """A study's comparison, named after what it compares."""
    return f"{COMPARISON}/{digest[:12]}"


@dataclass(frozen=True, slots=True)
class LineAddresses:
    """The addresses of one line of retraining."""

    line: str

    def run(self, number: int) -> str:
        """The name of the line's run: "retrain-0003"."""
        return f"{self.line}-{number:04d}"

    def arrivals(self, number: int) -> str:
        """The questions that the line's run is for."""
        return f"{self.run(number)}/{ARRIVALS}"

    @property
    def history(self) -> str:
        """Above all decisions of the line."""
        return f"{self.line}/{HISTORY}"

    def decision(self, number: int) -> str:
        """One decision of the line."""
        return f"{self.history}/{number:04d}"

    @property
    def champion(self) -> str:
        """The checkpoint in use, for programs that serve it."""
        return f"{self.line}/{CHAMPION_FILE}"
