"""How a run's prompts are rendered, and the date in them."""

import datetime
from collections.abc import Sequence
from typing import Any

from east_core.config.passed_on import engine_identity
from east_core.inputs import base_models as base_model
from east_core.inputs.templates import asks_for_date, template_of, template_text
from east_core.protocols import PromptFormat
from east_core.runs import addresses
from east_core.runs.run import Run
from east_core.store import ArtifactRecord, Stage, materialize


def pin_date(run: Run, donors: Sequence[Run] = ()) -> ArtifactRecord | None:
    """Record today's date for a template that writes one; None where the model's writes none.

    The day of the run's first start, or `model.template_date`: prompts stay the same after
    midnight. An arm of a study takes the date of the arms before it (`donors`).
    """
    config = run.config.model
    folder = base_model.locate_model(config, run.store.cache)
    if not asks_for_date(template_of(folder, config.chat_template)):
        return None
    known = (each.store.record(each.at.template_date) for each in (run, *donors))
    pinned = next((str(record.facts["date"]) for record in known if record), None)
    date = config.template_date or pinned or today().isoformat()
    stage = Stage(run.at.template_date, addresses.TEMPLATE_DATE, recipe={"date": date})
    return materialize(run.store, stage, lambda _: {"date": date})


def today() -> datetime.date:
    """The day by this machine's clock and time zone, as a template would write it."""
    return datetime.datetime.now().astimezone().date()


def prompt_format(run: Run) -> PromptFormat:
    """How the run's prompts are rendered, for sampler and trainer alike.

    The date is the one that `pin_date` recorded, where the template writes one.
    """
    model, pinned = run.config.model, run.store.record(run.at.template_date)
    return PromptFormat(
        chat_template=template_text(model.chat_template),
        options=model.chat_template_kwargs,
        date=None if pinned is None else str(pinned.facts["date"]),
        system_prompt_in=model.system_prompt_in,
        assistant_prefix=run.config.sampling.assistant_prefix,
    )


def engine_recipe(run: Run) -> dict[str, Any]:
    """What a user's engine options add to a recipe; nothing where none changes samples."""
    counting = engine_identity(run.config.resources.engine_options)
    return {"engine": counting} if counting else {}
