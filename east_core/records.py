"""The domain's nouns: frozen, typed, free of behaviour beyond what their fields imply."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

FinishReason = Literal["stop", "length", "unknown"]


class TokenIds(Sequence[int]):
    """Token ids, four bytes each: what a tuple of int would take nine times the memory for."""

    __slots__ = ("_packed",)

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._packed = array("i", ids)

    @classmethod
    def from_bytes(cls, packed: bytes) -> "TokenIds":
        """Ids out of this machine's 32-bit integers."""
        ids = cls()
        ids._packed.frombytes(packed)
        return ids

    def __bytes__(self) -> bytes:
        return self._packed.tobytes()

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> "TokenIds": ...
    def __getitem__(self, at: int | slice) -> "int | TokenIds":
        return TokenIds(self._packed[at]) if isinstance(at, slice) else self._packed[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenIds) and self._packed == other._packed

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __repr__(self) -> str:
        return f"TokenIds({self._packed.tolist()})"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answer.

    `answer` is the final answer alone ("72", "\\frac{1}{2}"), not the worked solution;
    None only in label-free training. `level` and `subject` are kept for per-group scores.
    """

    id: str
    prompt: str
    answer: str | None = None
    level: str | None = None
    subject: str | None = None


def set_of(question_id: str) -> str:
    """The set that a mixture's question is of: its id is "SET/ID", in every table."""
    return question_id.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Completion:
    """One response of the model to one question.

    `finish_reason` "length" marks a completion cut off at max_tokens: never a training target.
    `token_count` counts generated tokens, the end-of-sequence token included where produced.
    `mean_logprob` is the mean natural-log probability of those tokens under the sampling model,
    before temperature; None where the sampler does not tell.
    `ids` are what is trained on: the tokens as the model gave them, the one that ended its turn
    included. `text` is for people, and for reading the answer. None: the ids are not known (an
    imported text, or a stop string that began within a token).
    """

    text: str
    finish_reason: FinishReason = "unknown"
    token_count: int = 0
    mean_logprob: float | None = None
    ids: TokenIds | None = None


@dataclass(frozen=True, slots=True)
class SampledQuestion:
    """A question and the completions sampled for it, in sampling order.

    `prompt_ids` is the prompt as the model saw it; None where it is not known.
    """

    question: Question
    completions: tuple[Completion, ...]
    prompt_ids: TokenIds | None = None


@dataclass(frozen=True, slots=True)
class AnswerCluster:
    """Completions of one question whose final answers are equal.

    `answer` is the representative form (None: no extractable answer, an outcome of its own).
    `members` are indices into the question's completions, ascending.
    """

    answer: str | None
    members: tuple[int, ...]
    is_correct: bool


@dataclass(frozen=True, slots=True)
class AnswerClusters:
    """All clusters of one question, largest first; every completion is in exactly one."""

    question_id: str
    clusters: tuple[AnswerCluster, ...] = field(default=())

    @property
    def sample_count(self) -> int:
        """n, the number of completions."""
        return sum(len(cluster.members) for cluster in self.clusters)

    @property
    def entropy_bits(self) -> float:
        """Entropy of the answer distribution in bits (EAST step 4): 0 when unanimous."""
        return entropy_bits([len(cluster.members) for cluster in self.clusters])

    @property
    def accuracy(self) -> float:
        """A, the share of completions in the correct cluster."""
        return self._share(
            sum(len(cluster.members) for cluster in self.clusters if cluster.is_correct)
        )

    @property
    def no_answer_share(self) -> float:
        """The share of completions without an answer."""
        silent = sum(len(cluster.members) for cluster in self.clusters if cluster.answer is None)
        return self._share(silent)

    @property
    def rejected_share(self) -> float:
        """R, the share of the most common wrong answer ("no answer" is not an answer)."""
        wrong = (
            len(cluster.members)
            for cluster in self.clusters
            if not cluster.is_correct and cluster.answer is not None
        )
        return self._share(max(wrong, default=0))

    def _share(self, count: int) -> float:
        return count / self.sample_count if self.sample_count else 0.0


def entropy_bits(cluster_sizes: list[int]) -> float:
    """Shannon entropy of the answer distribution, in bits (EAST, arXiv:2503.23913, step 4).

    Unanimous answers give 0; n different answers give log2(n).
    """
    total = sum(cluster_sizes)
    shares = (size / total for size in cluster_sizes if size)
    return abs(-math.fsum(share * math.log2(share) for share in shares))


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A prompt (the question's text) with one correct completion and its weight, for SFT.

    Here and in the records below, ids are those of the samples; None where these have none.
    """

    question_id: str
    prompt: str
    completion: str
    weight: float
    prompt_ids: TokenIds | None = None
    completion_ids: TokenIds | None = None


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """A correct and a wrong completion of one question with the question's weight, for DPO."""

    question_id: str
    prompt: str
    chosen: str
    rejected: str
    weight: float
    prompt_ids: TokenIds | None = None
    chosen_ids: TokenIds | None = None
    rejected_ids: TokenIds | None = None


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """One completion labelled desirable (correct) or not, with its weight, for KTO."""

    question_id: str
    prompt: str
    completion: str
    is_desirable: bool
    weight: float
    prompt_ids: TokenIds | None = None
    completion_ids: TokenIds | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One benchmark question's completion, its extracted answer and its grade.

    It is the greedy one, or the first sample where scores are means over samples.
    """

    question_id: str
    completion: str
    answer: str | None
    gold: str
    is_correct: bool
    finish_reason: FinishReason = "unknown"
    token_count: int = 0
    level: str | None = None
    subject: str | None = None
