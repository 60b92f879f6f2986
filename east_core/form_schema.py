"""What the JSON schemas of settings say to the forms that are drawn from them."""

from typing import Any

# A number field of Prefect's UI moves in steps of `multipleOf`, or else of 0.01, and the browser
# refuses to save what lies between two of them, such as a learning rate of 2e-6. Prefect's server
# divides by the step and refuses what leaves a rest. With this one every number above 1e-9 is more
# than 2^53 steps, a quotient that has no fraction in floating point, so rounding refuses none.
STEP = 1e-25


def fine_steps(schema: dict[str, Any]) -> None:
    """Give every number in a schema the step of the forms; nothing else is checked by it."""
    if schema.get("type") == "number":
        schema["multipleOf"] = STEP
    for part in schema.values():
        for inner in part if isinstance(part, list) else [part]:
            if isinstance(inner, dict):
                fine_steps(inner)
