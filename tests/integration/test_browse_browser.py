"""`east browse` in a real browser: light and dark, wide and narrow, nothing from outside."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.runs.run import Run
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config
from tests.integration.test_ui_browser import CHROMIUM, OPTIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
playwright = pytest.importorskip("playwright.sync_api")
SHOTS = Path(os.environ.get("EAST_SCREENSHOTS", ".east/test/screenshots"))
PAGES = {
    "runs": "/",
    "run": "/run/first",
    "samples": "/run/first/samples/2?sort=entropy",
    "compare": "/compare?run=first&run=second",
    "champions": "/champions",
    "report": "/run/first/report",
}
SQUEEZED = """[...document.querySelectorAll('td, th')]
  .map(cell => [cell.innerText, cell.clientWidth])
  .filter(([text, width]) => text.length > 8 && width < 50)"""
DARK, LIGHT = "rgb(13, 17, 23)", "rgb(255, 255, 255)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`east browse` of a store with two runs."""
    folder = tmp_path_factory.mktemp("browse")
    for name in ("first", "second"):
        finish(Run.open(sums_config(folder, name=name)), ScriptedSampler(), InstantTrainer())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = "from flows.commands.main import main; main()"
    command = [sys.executable, "-c", program, "browse", str(folder / "store"), "--port", str(port)]
    env = {name: value for name, value in os.environ.items() if "AUTH_STRING" not in name}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        try:
            match = re.search(r"http://\S+(?=/)", told)
            assert match, told
            _wait_for(port)
            yield match[0]
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.3)
    raise AssertionError("east browse does not listen")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None or shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine; apt-get install chromium")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [420, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_is_drawn_and_asks_nobody(
    browser: Any, address: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(120_000)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    for name, path in PAGES.items():
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=SHOTS / f"browse-{name}-{width}-{scheme}.png", full_page=True)
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{name} at {width}"
        assert page.evaluate(SQUEEZED) == [], name
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert all(found > 100 for found in widths), name
        assert len(widths) >= {"run": 5, "compare": 1, "report": 5}.get(name, 0)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == (DARK if scheme == "dark" else LIGHT)
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    assert [text for text in complaints if "Content Security Policy" in text] == []
    page.close()


def test_a_person_filters_opens_a_run_looks_at_a_completion_and_compares(
    browser: Any, address: str
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(address)
    page.get_by_role("searchbox").fill("seco")
    page.get_by_role("button", name="Filter").click()
    assert page.get_by_text("1 of 2 runs").is_visible()
    page.get_by_role("link", name="second", exact=True).click()
    page.get_by_role("link", name="samples of round 1").click()
    page.get_by_role("combobox", name="filter").select_option("kept")
    page.get_by_role("button", name="Show").click()
    page.locator("details > summary").first.click()
    assert "boxed" in page.locator(".completions pre").first.inner_text()
    page.goto(address)
    for name in ("first", "second"):
        page.get_by_role("checkbox", name=f"compare {name}").check()
    page.get_by_role("button", name="Compare the chosen").click()
    assert page.get_by_text("2 runs beside each other").is_visible()
    page.close()
