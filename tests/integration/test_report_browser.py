"""The report in a real browser: pictures drawn, nothing fetched, hostile text shown as text."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Completion, Question, SampledQuestion
from east_core.reports.html import write_report_page
from east_core.runs.run import Run
from east_core.studies.study import parse_study
from east_core.testing.fakes import InstantTrainer, ScriptedSampler, write_model
from flows.self_training import self_training
from tasks.engines import Engines, use_engines

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
HOSTILE = (
    "</pre><script>document.title = 'owned'</script><img src=http://outside.example/x>"
    "<svg onload=document.title='owned'> "
)


class HostileSampler(ScriptedSampler):
    def sample(
        self, model: ModelSource, shards: Any, settings: GenerationSettings, total: int
    ) -> Any:
        for shard in super().sample(model, shards, settings, total):
            yield [hostile(item) for item in shard]


def hostile(item: SampledQuestion) -> SampledQuestion:
    said = tuple(
        Completion(HOSTILE + c.text, c.finish_reason, c.token_count, c.mean_logprob)
        for c in item.completions
    )
    return SampledQuestion(
        Question(item.question.id, HOSTILE + item.question.prompt, item.question.answer), said
    )


def finished_run(folder: Path) -> Run:
    questions = folder / "questions.jsonl"
    rows = (
        {"id": f"q{i}", "question": f"{HOSTILE}{i} + 1", "answer": str(i + 1)} for i in range(40)
    )
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = parse_study(
        {
            "name": "hostile",
            "store": str(folder / "store"),
            "seeds": [1],
            "run": {
                "rounds": 3,
                "model": {"name": str(write_model(folder / "model"))},
                "questions": {"path": str(questions)},
                "benchmarks": {"sums": {"path": str(questions)}},
            },
        }
    )
    config = next(study.runs())
    with use_engines(Engines(HostileSampler(), InstantTrainer())):
        self_training(config)
    return Run.open(config)


def test_the_report_in_chromium(tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; apt-get install chromium")
    run = finished_run(tmp_path)
    url = f"file://{write_report_page(run.store, run.config.name)}"
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        overflow = page.evaluate("document.body.scrollWidth - document.body.clientWidth")
        title, text = page.title(), page.inner_text("body")
        shots = Path(os.environ.get("EAST_SCREENSHOTS", ".east/test/screenshots"))
        shots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=shots / "report.png", full_page=True)
        page.set_viewport_size({"width": 420, "height": 900})
        page.emulate_media(color_scheme="dark")
        overflow_of_a_phone = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.screenshot(path=shots / "report-phone-dark.png", full_page=True)
        browser.close()
    assert [address for address in asked if not address.startswith("data:")] == [url]
    assert len(widths) == 6
    assert all(width > 300 for width in widths)
    assert overflow <= 0
    assert overflow_of_a_phone <= 0
    assert background == "rgb(13, 17, 23)"
    assert title == "sft-uniform-seed-1 – self-training report"
    assert "<script>document.title = 'owned'</script>" in text
