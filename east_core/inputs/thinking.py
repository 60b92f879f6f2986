"""Whether a chat template begins the thinking inside the prompt, found without an engine."""

from pathlib import Path

from east_core.answers.thinking import opens_thinking
from east_core.inputs.rendering import PROBE, rendered
from east_core.protocols import PromptFormat


def template_opens_thinking(folder: Path, system_prompt: str | None, form: PromptFormat) -> bool:
    """Whether a run's prompts end inside the thinking; False where there is no chat template.

    `form` is how they are rendered, by sampler and trainer alike.
    """
    prompt = rendered(folder, system_prompt, form) or ""
    asked = prompt.rpartition(PROBE)[2]  # what stands behind the question asks the model to go on
    return opens_thinking(asked + (form.assistant_prefix or ""))
