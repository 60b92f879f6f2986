"""Messages between our processes: named, typed, each one line of JSON.

A kind of message is a subclass of `Message`; its name travels with it, so a union of kinds can be
read back (`reader`). What can't be read, because a field is missing, of another type or unknown, is
an EngineError: the two sides are then not of the same version, and nothing may be guessed.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from east_core.errors import EngineError
from east_core.records import TokenIds

_SHOWN = 80  # characters of a message that can't be read


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """What one of our processes tells another."""


def encode(message: Message) -> str:
    """A message as one line of JSON."""
    return msgspec.json.encode(message, enc_hook=_plain).decode()


def reader(kinds: Any) -> Callable[[str], Any]:
    """A function that reads messages of these kinds and raises EngineError for all else."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kinds, dec_hook=_typed)

    def read(line: str) -> Any:
        try:
            return decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise EngineError(
                f"a message between our processes can't be read: {error}; it begins "
                f"{line[:_SHOWN]!r}: is one version of the project installed everywhere?"
            ) from error

    return read


def _plain(value: Any) -> Any:
    """What msgspec does not know itself as what it knows."""
    if isinstance(value, TokenIds):
        return list(value)
    raise NotImplementedError(f"{type(value).__name__} can't cross between processes")


def _typed(kind: type, value: Any) -> Any:
    """The inverse of `_plain`; msgspec makes a ValueError its own."""
    assert kind is TokenIds
    try:
        return TokenIds(value)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"token ids must be 32-bit integers: {error}") from error
