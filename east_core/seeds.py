"""Independent random streams named by what they are for, not by when they are drawn."""

import hashlib


def derive_seed(run_seed: int, *parts: str | int) -> int:
    """A 31-bit seed that depends on the run's seed and on `parts` alone.

    The same parts give the same seed on every machine, in every order of work, so a question's
    samples depend neither on its shard nor on the batch it was generated in.
    """
    name = "/".join([str(run_seed), *map(str, parts)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") & 0x7FFF_FFFF
