"""What the JSON schemas of settings say to the forms that are drawn from them."""

from typing import Any

# A number field of Prefect's UI moves in steps of `multipleOf`, or else of 0.01, and the browser
# refuses to save what lies between two of them, such as a learning rate of 2e-6. Prefect's server
# divides by the step and refuses what leaves a rest. With this one every number above 1e-9 is more
# than 2^53 steps, a quotient that has no fraction in floating point, so rounding refuses none.
STEP = 1e-25


def for_forms(schema: dict[str, Any]) -> None:
    """Make a schema's numbers savable, and let each field tell its bounds in words.

    A form only says "invalid value" of what is outside of them.
    """
    fine_steps(schema)
    for field in schema.get("properties", {}).values():
        if isinstance(field, dict) and (told := bounds_in_words(field)):
            about = str(field.get("description", "")).rstrip()
            field["description"] = f"{about} ({told})" if about else told


def bounds_in_words(field: dict[str, Any]) -> str:
    """ "1 to 1000", "at least 2", "above 0, at most 1"; nothing where there are no bounds."""
    least, above = field.get("minimum"), field.get("exclusiveMinimum")
    most, below = field.get("maximum"), field.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f"{_plain(least)} to {_plain(most)}"
    named = {"at least": least, "above": above, "at most": most, "below": below}
    return ", ".join(
        f"{word} {_plain(limit)}" for word, limit in named.items() if limit is not None
    )


def _plain(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def fine_steps(schema: dict[str, Any]) -> None:
    """Give every number in a schema the step of the forms; nothing else is checked by it."""
    if schema.get("type") == "number":
        schema["multipleOf"] = STEP
    for part in schema.values():
        for inner in part if isinstance(part, list) else [part]:
            if isinstance(inner, dict):
                fine_steps(inner)


def tabs(schema: dict[str, Any]) -> None:
    """Say a tagged union as anyOf: both UIs draw that as tabs, one of them no oneOf."""
    schema["anyOf"] = schema.pop("oneOf")
    schema.pop("discriminator")
