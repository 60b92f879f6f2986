"""Every error that this project raises on purpose, on one page.

    EastError                  one clear line: what, where, what to do next
      ConfigError              a setting is unknown, out of range or does not fit another
      DataError                questions, responses or a model folder are not what was asked for
      NothingToLearn           a round kept fewer questions than one batch needs
      StoreError               the artifact store can't be reached, read or written
        ArtifactMismatch       another recipe's artifact already stands at this address
        ArtifactDamaged        a file's size or hash is not the one its record lists
        ArtifactConflict       another writer published at this address first
      EngineError              a sampling or training process ended badly (a retry may cure it)
        TrainingDiverged       the loss is NaN or infinite (a retry will not cure it)
        MachineLost            a machine of the cluster went away, and its work with it

Bad input is an error; a bad completion is data (an answer of None, a count in the statistics).
The command line prints an `EastError` as one line and exits with `exit_code`; any other
exception is a defect of ours and keeps its traceback.
"""

from east_core.text import visible


class EastError(Exception):
    """Base of the tree. The message is one line that a user can act on.

    It may quote names and texts of unknown origin, so it is shown with control characters
    written out.
    """

    exit_code = 1

    def __str__(self) -> str:
        return visible(super().__str__())


class ConfigError(EastError):
    """A setting is unknown, out of range, or does not fit another setting."""

    exit_code = 2


class DataError(EastError):
    """Questions, responses or a model folder are missing or malformed."""

    exit_code = 2


class NothingToLearn(EastError):
    """A round kept fewer questions than one training batch needs."""

    exit_code = 2


class StoreError(EastError):
    """The artifact store can't be reached, read or written."""

    exit_code = 2


class ArtifactMismatch(StoreError):
    """The address already holds an artifact made by another recipe or from other inputs."""


class ArtifactDamaged(StoreError):
    """A file of an artifact is missing, or its size or hash is not the recorded one."""


class ArtifactConflict(StoreError):
    """Another writer published at this address while we were building."""


class EngineError(EastError):
    """A sampling or training process ended badly; the message quotes its last words."""


class TrainingDiverged(EngineError):
    """The training loss became NaN or infinite."""


class MachineLost(EngineError):
    """A machine of the cluster, or our process on it, went away with its work."""
