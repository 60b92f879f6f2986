"""Values as plain JSON, for pipes between processes that do not trust one another.

Nothing but builtin types comes out of `decode`, so no `__eq__` of a program's own ever decides. The
file imports nothing of east_core: it runs in the sandbox too.
"""

import re
from collections.abc import Callable
from typing import Any

DEEPEST = 40
MOST_VALUES = 200_000

_LISTS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_SCALARS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, lambda value: ["int", hex(int.__index__(value))]),
    (float, lambda value: ["float", float.__repr__(value)]),
    (complex, lambda value: ["complex", repr(value.real), repr(value.imag)]),
    (bytes | bytearray, lambda value: ["bytes", bytes(value).hex()]),
)
_FLOAT = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,4})?|inf)|nan")
_TEXTS = {"int": 1, "float": 1, "complex": 2, "bytes": 1, "opaque": 1}
"""The texts that follow the name of a scalar."""


class NotPlain(Exception):
    """A value that is none, or too large to be passed on."""


class Opaque:
    """Stands for a value that is not plain; it equals nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name


def encode(value: Any) -> Any:
    """A value as JSON; one of another type by the name of its type alone.

    Raises NotPlain where it is nested too deep, or holds too much.
    """
    left = [MOST_VALUES]
    return _encoded(value, 0, left)


def _encoded(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1 + _size(value) // 8
    if depth > DEEPEST or left[0] < 0:
        raise NotPlain("the value is too large or nested too deep")
    if value is None or isinstance(value, bool):
        return value
    for kind, scalar in _SCALARS:
        if isinstance(value, kind):
            return scalar(value)
    for name, kind in _LISTS.items():
        if isinstance(value, kind):
            return [name, *(_encoded(item, depth + 1, left) for item in value)]
    if isinstance(value, dict):
        pairs = dict.items(value)
        inner = ([_encoded(k, depth + 1, left), _encoded(v, depth + 1, left)] for k, v in pairs)
        return ["dict", *inner]
    return ["opaque", type(value).__name__]


def _size(value: Any) -> int:
    """The bytes of a scalar, about."""
    if isinstance(value, int):
        return int.bit_length(value) // 8
    return len(value) if isinstance(value, str | bytes | bytearray) else 0


def is_plain(plain: Any, depth: int = 0) -> bool:
    """Whether a message is what `encode` makes, told without making the value."""
    if plain is None or isinstance(plain, bool | str):
        return True
    if depth > 2 * DEEPEST or not isinstance(plain, list) or not plain:
        return False
    name, *parts = plain
    if not isinstance(name, str):
        return False
    if name in _LISTS:
        return all(is_plain(part, depth + 1) for part in parts)
    if name == "dict":
        return all(
            isinstance(part, list) and len(part) == 2 and all(is_plain(p, depth + 2) for p in part)
            for part in parts
        )
    return (
        name in _TEXTS
        and len(parts) == _TEXTS[name]
        and all(isinstance(part, str) for part in parts)
        and (name != "float" or _FLOAT.fullmatch(parts[0]) is not None)
    )


def decode(plain: Any) -> Any:
    """The value that `encode` made plain. Raises NotPlain for anything that it never makes."""
    try:
        return _decoded(plain, 0)
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise NotPlain(str(error)) from None


def _decoded(plain: Any, depth: int) -> Any:
    if depth > DEEPEST + 1:
        raise NotPlain("nested too deep")
    if plain is None or isinstance(plain, bool | str):
        return plain
    name, *parts = plain
    if name in _LISTS:
        return _LISTS[name](_decoded(part, depth + 1) for part in parts)
    if name == "dict":
        return {_decoded(k, depth + 1): _decoded(v, depth + 1) for k, v in parts}
    return _MADE[name](*parts)


def _complex(real: str, imaginary: str) -> complex:
    return complex(float(real), float(imaginary))


_MADE: dict[str, Callable[..., Any]] = {
    "int": lambda digits: int(digits, 16),
    "float": float,
    "complex": _complex,
    "bytes": bytes.fromhex,
    "opaque": Opaque,
}
