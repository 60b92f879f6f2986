"""What works with which family of models: the table of docs/models.md, a row a family.

    pytest -m families tests/integration/test_families.py -k "check"        what needs no engine
    pytest -m families tests/integration/test_families.py -k "gemma-2"      one family's whole row

Each test fills its family's cells of the page with --write-pages; what was not run stays as it was,
empty at first. Real config classes, tokenizers and templates; two layers of width 128, taught to
answer and to end their turn (tests/integration/teaching.py).
"""

import html
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from east_core.config import ModelConfig
from east_core.engines.trl.training import TrlTrainer
from east_core.errors import DataError
from east_core.inputs.inspection import PLAIN_CLASS, InspectedModel, inspect_model
from east_core.inputs.templates import asks_for_date, template_of
from east_core.planning.model_shape import shape_of
from tests.integration.families import FAMILIES, tiny_model
from tests.integration.family_bench import (
    KEPT_FILES,
    QUESTIONS,
    ROUTER,
    SYSTEM,
    TRAININGS,
    Bench,
    differs,
)
from tests.integration.teaching import form_of, taught

pytestmark = pytest.mark.families
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- families:begin -->", "<!-- families:end -->"
COLUMNS = (
    "check",
    "end of turn",
    "date",
    "plan within 1%",
    "sample",
    "trained ids = sampled ids",
    *TRAININGS,
    "config untouched",
    "reload in place",
)
# DeepSeek's tokenizer under transformers' Llama class: what east check is there to refuse.
REFUSED = {"r1-distill-llama": "tokenizer_class to PreTrainedTokenizerFast"}
Fill = Callable[..., None]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shipped(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as its makers ship it."""
    return tiny_model(family, tmp_path_factory.mktemp(family) / "shipped")


@pytest.fixture(scope="module")
def cured(family: str, shipped: Path) -> Path:
    """The same, cured as `east check` says where it is refused."""
    if family not in REFUSED:
        return shipped
    folder = shutil.copytree(shipped, shipped.with_name("cured"))
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace("LlamaTokenizerFast", PLAIN_CLASS))
    return folder


@pytest.fixture(scope="module")
def folder(family: str, cured: Path) -> Path:
    """The model that speaks."""
    folder = shutil.copytree(cured, cured.with_name("model"))
    return taught(folder, FAMILIES[family], SYSTEM, QUESTIONS)


@pytest.fixture(scope="module")
def trainer() -> Iterator[TrlTrainer]:
    """One for all families: its ranks are forked from one process."""
    with TrlTrainer(on_step=lambda _: None, on_log=lambda _: None) as opened:
        yield opened


@pytest.fixture(scope="module")
def bench(family: str, folder: Path, trainer: TrlTrainer) -> Iterator[Bench]:
    with Bench(family, folder, trainer) as opened:
        yield opened


@pytest.fixture
def fill(family: str, pytestconfig: pytest.Config) -> Fill:
    """Writes cells of the family's row where pages are written."""

    def write(**cells: str) -> None:
        if pytestconfig.getoption("--write-pages"):
            write_cells(family, cells)

    return write


def inspected(name: str, folder: Path) -> InspectedModel:
    model = ModelConfig(name=str(folder))
    return inspect_model(folder, model, SYSTEM, form_of(FAMILIES[name]))


def write_cells(family: str, cells: dict[str, str]) -> None:
    """Write cells of a family's row, by their columns' names."""
    rows = {name: dict.fromkeys(COLUMNS, "") for name in FAMILIES}
    before, table, after = _parted(PAGE.read_text("utf-8"))
    for line in table.splitlines()[2:]:
        name, *told = [cell.strip() for cell in line.strip("|").split("|")]
        rows[name] = dict(zip(COLUMNS, told, strict=True))
    rows[family] |= cells
    lines = [("family", *COLUMNS), ("---",) * (len(COLUMNS) + 1)]
    lines += [(name, *cells.values()) for name, cells in rows.items()]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def _parted(page: str) -> tuple[str, str, str]:
    before, rest = page.split(BEGIN)
    table, after = rest.split(END)
    return before, table.strip(), after


def test_check(family: str, shipped: Path, cured: Path, fill: Fill) -> None:
    """The wall lets the family pass, or refuses it with a cure that cures it."""
    told = "ok"
    if message := REFUSED.get(family):
        with pytest.raises(DataError, match=message):
            inspected(family, shipped)
        told = "refused; ok with the cure that it names"
    model = inspected(family, cured)
    assert model.facts.turn_end is not None
    end, token = model.facts.turn_end
    assert token == FAMILIES[family].turn_end
    assert end in model.facts.stops
    form = form_of(FAMILIES[family])
    (length,) = model.prompt_lengths([QUESTIONS[0].prompt], SYSTEM, form)
    assert length > len(QUESTIONS[0].prompt.split())
    if FAMILIES[family].refuses_system:
        told = "ok, system prompt in the question"
    writes = asks_for_date(template_of(cured, form.chat_template))
    turn = f"<code>{html.escape(token).replace('|', '&#124;')}</code>"
    fill(check=told, **{"end of turn": turn, "date": "pinned" if writes else "none"})


def test_plan(shipped: Path, fill: Fill) -> None:
    """The shape's parameters are those of the real class."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(shipped))
    counted, told = model.num_parameters(), shape_of(ModelConfig(name=str(shipped))).parameters
    assert abs(told - counted) <= 0.01 * counted
    fill(**{"plan within 1%": f"{told / counted - 1:+.2%}"})


def test_sample(bench: Bench, fill: Fill) -> None:
    """Most completions end as the family's turns do, by themselves, in the id of its end."""
    said = bench.said()
    ended = [each for each in said if each.finish_reason == "stop"]
    assert len(ended) >= 0.7 * len(said)
    assert all(each.ids is not None and each.ids[-1] == bench.end for each in ended)
    assert any("5" in each.text for each in ended)
    assert any("7" in each.text for each in ended)
    fill(sample="ok")


@pytest.mark.parametrize("training", TRAININGS)
def test_training(training: str, bench: Bench, fill: Fill) -> None:
    """Every id that is trained on was sampled, the first loss is what the sampling engine's own
    log-probabilities give, and two ranks end where one does.
    """
    trained = bench.trained(training)
    assert trained.result.ids.sampled == trained.completions
    assert trained.result.ids.encoded == trained.result.ids.ended == 0
    assert trained.rows == trained.sampled
    assert all(row[-1] == bench.end for row in trained.rows)
    assert abs(trained.result.first_loss - trained.first_loss) < 1e-3
    assert differs(trained.out, bench.folder) > 0
    fill(**{"trained ids = sampled ids": "all"})
    told = "ok"
    if TRAININGS[training].ranks > 1:
        apart = differs(trained.out, bench.trained("SFT").out)
        assert apart < 1e-5
        told = f"ok, {apart:.0e} from one rank"
    fill(**{training: told})


def test_router_loss(family: str, bench: Bench) -> None:
    """A mixture's router learns from its own loss, which adds to the examples'."""
    if not FAMILIES[family].config.endswith(("MoeConfig", "OssConfig")):
        pytest.skip("no mixture of experts")
    with_router, without = bench.trained(ROUTER), bench.trained("SFT")
    assert with_router.result.first_loss > without.result.first_loss + 0.01
    assert differs(with_router.out, without.out) > 1e-7


def test_config_untouched(bench: Bench, fill: Fill) -> None:
    """What a user has beside the weights stays as it came, byte for byte."""
    for training in TRAININGS:
        for file in KEPT_FILES:
            theirs, ours = bench.folder / file, bench.trained(training).out / file
            assert theirs.exists() == ours.exists(), (training, file)
            assert not theirs.exists() or theirs.read_bytes() == ours.read_bytes(), (training, file)
    fill(**{"config untouched": "byte for byte"})


def test_reload(bench: Bench, fill: Fill, caplog: pytest.LogCaptureFixture) -> None:
    """The engine takes every trained checkpoint in place, speaks like it, and still stops."""
    bench.said()
    engine, kept = bench.engine, bench.family.config != "GptOssConfig"
    for training in TRAININGS:
        said = bench.ask(bench.trained(training).out, training)
        assert sum(each.finish_reason == "stop" for each in said) >= 0.7 * len(said), training
        assert (bench.engine == engine) is kept, f"{training}: the engine was started anew"
    assert not caplog.records, "the checkpoint's own log-probabilities were not recognised"
    fill(**{"reload in place": "ok" if kept else "started anew"})
