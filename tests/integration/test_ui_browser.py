"""A person at the UI: fills the form, watches the run, looks at the curve, cancels another.

Chromium is Debian's, without a network; screenshots are left in $EAST_SCREENSHOTS or .east/test.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SHOTS = Path(os.environ.get("EAST_SCREENSHOTS", ".east/test/screenshots"))
RUN_SECONDS = 900


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; apt-get install chromium")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.outside = []  # type: ignore[attr-defined]
        page.on("request", lambda request: page.outside.append(request.url))
        yield page
        browser.close()


def shoot(page: Any, name: str) -> None:
    page.wait_for_timeout(1500)
    page.screenshot(path=SHOTS / f"{name}.png")


def field(page: Any, label: str) -> Any:
    titled = f"//span[contains(@class, 'property__label') and text()='{label} (Optional)']"
    own = "ancestor::div[contains(@class, 'p-label__header')][1]/.."
    return page.locator(f"{titled}/{own}//*[self::input or self::textarea]").first


def fill_form(page: Any, name: str, rounds: int) -> None:
    field(page, "Name").fill(name)
    field(page, "Rounds").fill(str(rounds))
    field(page, "Questions").fill("train.jsonl")
    field(page, "Benchmarks").fill('{"problems": "test.jsonl"}')
    page.get_by_role("button", name="SFT", exact=True).click()
    field(page, "Learning Rate").fill("0.0001")
    field(page, "Max Tokens").fill("96")


def submit(page: Any, up: Any) -> str:
    """Submit the form, and open the run's page."""
    page.get_by_role("button", name="Submit").click()
    found = up.wait_until(lambda: up.api("flow_runs/filter", {}), 60, "the run")
    page.goto(f"{up.url}/runs/flow-run/{found[0]['id']}")
    return str(found[0]["id"])


def open_form(page: Any, up: Any) -> None:
    page.goto(f"{up.url}/deployments")
    page.get_by_text("self-training", exact=True).first.wait_for()
    shoot(page, "deployments")
    page.goto(f"{up.url}/deployments/deployment/{up.deployment('self-training')['id']}/run")
    page.get_by_role("button", name="Submit").wait_for()


def png_size(data: bytes) -> tuple[int, int]:
    assert data.startswith(b"\x89PNG")
    return struct.unpack(">II", data[16:24])  # type: ignore[return-value]


def test_a_run_from_the_form_to_the_curve(page: Any, east_up: Any) -> None:
    open_form(page, east_up)
    shoot(page, "form")
    fill_form(page, "by-hand", 2)
    run = submit(page, east_up)
    east_up.wait_until(lambda: _progress(east_up), RUN_SECONDS, "a progress artifact")
    shoot(page, "running")
    assert east_up.wait_for_end(run, RUN_SECONDS)["type"] == "COMPLETED"
    page.goto(f"{east_up.url}/runs/flow-run/{run}")
    page.locator("#subflow-runs").click()
    page.get_by_text("by-hand: round 2").first.wait_for()
    shoot(page, "completed")
    _look_at_curves(page, east_up)
    for kind in ("weights", "solutions", "browser"):
        open_artifact(page, east_up, f"by-hand-{kind}")
        shoot(page, kind)
    assert [
        url for url in page.outside if not url.startswith((east_up.url, "data:", "blob:"))
    ] == []


def _progress(up: Any) -> list[Any]:
    wanted = {"artifacts": {"type": {"any_": ["progress"]}}}
    return list(up.api("artifacts/filter", wanted))


def open_artifact(page: Any, up: Any, key: str) -> None:
    """The latest one with this key."""
    (found,) = [entry for entry in up.api("artifacts/latest/filter", {}) if entry["key"] == key]
    page.goto(f"{up.url}/artifacts/artifact/{found['latest_id']}")
    page.get_by_text("Artifact", exact=True).first.wait_for()


_COLOURS = """image => {
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0);
  const seen = new Set(), data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  for (let i = 0; i < data.length; i += 4)
    seen.add(data[i] + ',' + data[i + 1] + ',' + data[i + 2]);
  return seen.size; }"""


def _look_at_curves(page: Any, up: Any) -> None:
    """Each of the report's pictures has pixels of several colours; the table is `east show`'s."""
    open_artifact(page, up, "by-hand")
    pictures = page.locator("img[src*='/east/']")  # both of Prefect's UIs show an address
    pictures.first.wait_for()
    shoot(page, "curve")
    report = up.folder / ".east/store/by-hand/round-02/report"
    drawn = sorted(path.stem for path in report.glob("*.png"))
    assert {"accuracy", "diversity", "entropy", "kept", "loss"} <= {*drawn}
    assert pictures.evaluate_all("images => images.map(image => image.alt)") == drawn
    for name, picture in zip(drawn, pictures.all(), strict=True):
        picture.scroll_into_view_if_needed()
        picture.screenshot(path=SHOTS / f"curve-{name}.png")
        assert picture.evaluate("image => image.naturalWidth") > 400
        assert picture.evaluate(_COLOURS) > 10
    text = page.locator("table").first.inner_text()
    for entry in _east_show(up.folder, "by-hand")["rounds"]:
        assert f"{entry['accuracy']['problems']['value']:.1%}" in text
    assert png_size((SHOTS / "curve.png").read_bytes())[0] == 1280


def _east_show(folder: Path, name: str) -> Any:
    east = Path(sys.executable).with_name("east")
    command = [east, "show", f".east/store/{name}", "--json"]
    return json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)


def test_cancelling_ends_every_process_within_30_seconds_and_the_run_can_go_on(
    page: Any, east_up: Any, small_form: Callable[..., dict[str, Any]]
) -> None:
    run = east_up.start("self-training", small_form("stopped"))
    east_up.wait_until(lambda: east_up.processes("engines.vllm.worker"), RUN_SECONDS, "the engine")
    page.goto(f"{east_up.url}/runs/flow-run/{run}")
    page.get_by_role("button", name="Cancel").first.click()
    shoot(page, "cancel")
    page.get_by_role("button", name="Confirm").click()
    asked = time.monotonic()
    east_up.wait_until(
        lambda: not any(map(east_up.processes, ("engines.vllm.worker", "prefect.engine"))),
        30, "the end of every process",
    )  # fmt: skip
    print(f"cancelled: no process left after {time.monotonic() - asked:.1f} s")
    assert east_up.wait_for_end(run, 60)["type"] == "CANCELLED"
    shoot(page, "cancelled")
    again = east_up.start("self-training", small_form("stopped"))
    assert east_up.wait_for_end(again, RUN_SECONDS)["type"] == "COMPLETED"


def test_a_value_that_the_form_can_not_refuse_fails_in_one_line_before_an_engine_starts(
    east_up: Any, small_form: Callable[..., dict[str, Any]]
) -> None:
    training = {"loss": "sft", "global_batch_size": 7}
    run = east_up.start("self-training", small_form("wrong", training=training))
    state = east_up.wait_for_end(run, 120)
    assert state["type"] == "FAILED"
    assert "global_batch_size 7 is not a multiple of" in state["message"]
    assert "\n" not in state["message"].strip()
    assert not (east_up.folder / ".east" / "store" / "wrong").exists()
