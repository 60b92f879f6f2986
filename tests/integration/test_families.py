"""What works with which family of models: the table of docs/models.md, a row a family.

    pytest -m slow tests/integration/test_families.py -k "check"        what needs no engine
    pytest -m slow tests/integration/test_families.py -k "gemma-2"      one family's whole row

Each test fills its family's cells; what was not run stays as it was, empty at first. Real config
classes, tokenizers and templates; two layers of width 128 (tests/integration/families.py).
"""

import html
from pathlib import Path

import pytest

from east_core.config import ModelConfig
from east_core.errors import DataError
from east_core.inputs.inspection import InspectedModel, inspect_model
from east_core.inputs.templates import asks_for_date, template_of, template_text
from east_core.planning.model_shape import shape_of
from east_core.protocols import PromptFormat
from tests.integration.families import FAMILIES, Family, tiny_model

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- families:begin -->", "<!-- families:end -->"
COLUMNS = (
    "check",
    "end of turn",
    "date",
    "plan within 1%",
    "sample",
    "trained ids = sampled ids",
    "SFT",
    "config untouched",
    "reload in place",
    "DPO",
    "KTO",
    "LoRA",
    "ZeRO-2, two ranks",
    "ZeRO-3",
)
SYSTEM, QUESTION = "Reason step by step.", "What is 2 + 3?"
# DeepSeek's tokenizer under transformers' Llama class: what east check is there to refuse.
REFUSED = {"r1-distill-llama": "tokenizer_class to PreTrainedTokenizerFast"}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(family, tmp_path_factory.mktemp(family) / "model")


def form_of(family: Family) -> PromptFormat:
    """How the family's prompts are rendered; GPT-2 has no template of its own."""
    return PromptFormat(
        chat_template=None if family.template else template_text("builtin:question_answer"),
        date="2026-11-25",
        system_prompt_in="user" if family.refuses_system else "system",
    )


def inspected(name: str, folder: Path) -> InspectedModel:
    model = ModelConfig(name=str(folder))
    return inspect_model(folder, model, SYSTEM, form_of(FAMILIES[name]))


def fill(family: str, **cells: str) -> None:
    """Write cells of a family's row; columns by their names with _ for what Python can't spell."""
    rows = {name: dict.fromkeys(COLUMNS, "") for name in FAMILIES}
    before, table, after = _parted(PAGE.read_text("utf-8"))
    for line in table.splitlines()[2:]:
        name, *told = [cell.strip() for cell in line.strip("|").split("|")]
        rows[name] = dict(zip(COLUMNS, told, strict=True))
    rows[family] |= {column.replace("_", " "): text for column, text in cells.items()}
    lines = [("family", *COLUMNS), ("---",) * (len(COLUMNS) + 1)]
    lines += [(name, *cells.values()) for name, cells in rows.items()]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def _parted(page: str) -> tuple[str, str, str]:
    before, rest = page.split(BEGIN)
    table, after = rest.split(END)
    return before, table.strip(), after


def test_check(family: str, folder: Path) -> None:
    """The wall lets the family pass, or refuses it with the cure."""
    if message := REFUSED.get(family):
        with pytest.raises(DataError, match=message):
            inspected(family, folder)
        fill(family, check="refused, with the cure")
        return
    model = inspected(family, folder)
    assert model.facts.turn_end is not None
    end, token = model.facts.turn_end
    assert token == FAMILIES[family].turn_end
    assert end in model.facts.stops
    form = form_of(FAMILIES[family])
    (length,) = model.prompt_lengths([QUESTION], SYSTEM, form)
    assert length > len(QUESTION.split())
    writes = asks_for_date(template_of(folder, form.chat_template))
    fill(
        family,
        check="ok" if not FAMILIES[family].refuses_system else "ok, system prompt in the question",
        end_of_turn=f"<code>{html.escape(token).replace('|', '&#124;')}</code>",
        date="pinned" if writes else "none",
    )


def test_plan(family: str, folder: Path) -> None:
    """The shape's parameters are those of the real class."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    counted, told = model.num_parameters(), shape_of(ModelConfig(name=str(folder))).parameters
    assert abs(told - counted) <= 0.01 * counted
    fill(family, **{"plan within 1%": f"{told / counted - 1:+.2%}"})
