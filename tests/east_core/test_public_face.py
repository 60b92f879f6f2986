"""What others may import from east_core, and what that costs them."""

import subprocess
import sys

import east_core

HEAVY = {"torch", "vllm", "transformers", "trl", "deepspeed", "prefect", "ray", "pandas", "s3fs"}
LOSSES = {"sft_loss", "dpo_losses", "kto_losses", "kl_estimate", "weighted_mean"}


def in_a_fresh_interpreter(code: str) -> tuple[float, set[str]]:
    """The seconds of CPU time that `code` takes, and the packages that are imported after it."""
    ask = f"""
import sys, time
began = time.process_time()
{code}
print(time.process_time() - began, *{{name.split(".")[0] for name in sys.modules}})
"""
    command = [sys.executable, "-c", ask]
    seconds, *packages = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()
    return float(seconds), set(packages)


def test_every_name_resolves_to_a_thing_that_says_what_it_is() -> None:
    for name in east_core.__all__:
        assert getattr(east_core, name).__doc__, name
    assert dir(east_core) == east_core.__all__


def test_importing_it_is_light() -> None:
    seconds, packages = in_a_fresh_interpreter("import east_core")
    assert seconds < 1
    assert not packages & HEAVY


def test_all_but_the_losses_do_without_torch() -> None:
    names = sorted(set(east_core.__all__) - LOSSES)
    _, packages = in_a_fresh_interpreter(f"from east_core import {', '.join(names)}")
    assert not packages & HEAVY
