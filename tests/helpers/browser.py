"""The Chromium of the machine, for tests that look at a page as a person does."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's browser; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install pytest-playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        sync_api.expect.set_options(timeout=60_000)
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


def with_axe(page: Any) -> Any:
    """The page, ready for `serious`; the test is skipped without axe-core."""
    axe = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    page.add_script_tag(content=Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")
    return page


def serious(page: Any, state: str, looks: Sequence[tuple[int, str]]) -> list[tuple]:
    """What axe-core calls serious or critical, and what is wider than the window, in looks of a width and a theme."""
    found = []
    for width, theme in looks:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
        page.evaluate("document.body.style.background = 'var(--body-background-fill)'")
        violations = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
        bad = [(one["id"], one["nodes"][0]["html"]) for one in violations if one["impact"] in ("serious", "critical")]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            bad.append(("wider than the window", ""))
        found += [(state, width, theme, *one) for one in bad]
    return found
