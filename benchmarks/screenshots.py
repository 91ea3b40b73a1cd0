"""The pictures of the page in docs/pictures/, taken of a real run in a headless Chromium.

    python -m benchmarks.screenshots
    python -m benchmarks.screenshots --model output/cpu/gguf/doc-intel-Q4_K_M.gguf

It needs a model, as app.py does, and Chromium (on Debian: apt-get install chromium). The documents are samples.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import config
from benchmarks import shared
from extraction import files, stage

SAMPLES = shared.SAMPLES / "documents"
PICTURES = config.ROOT / "docs" / "pictures"
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
VIEWPORT = {"width": 1280, "height": 1150}
MAX_PNG, MAX_GIF = 300_000, 2_000_000  # bytes
MODEL_SECONDS = 300  # that one answer of the model may take


@contextmanager
def running(model: str, *more: object) -> Iterator[str]:
    """The address of a page that is ready; `more` are further arguments of app.py."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--model", model, *map(str, more)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOC_INTEL_", "GRADIO_"))}
    with tempfile.TemporaryFile("w+") as said:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=config.ROOT, env=environment, stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            if "page: http" not in process.stdout.readline():
                process.wait()
                said.seek(0)
                raise files.StageError(f"the page did not start. {said.read().strip()}")
            print(f"page ready after {time.monotonic() - started:.1f} s")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def chromium() -> str:
    """Where the browser is. Raises StageError without one."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise files.StageError("no Chromium here; on Debian: apt-get install chromium")
    return path


class Camera:
    """Takes still pictures and the frames of an animation."""

    def __init__(self, page: Any):
        self.page = page
        self.frames: list[tuple[Any, int]] = []

    def _image(self) -> Any:
        from PIL import Image

        self.page.wait_for_timeout(500)  # until what moves has come to rest
        return Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")

    def still(self, name: str) -> None:
        for colors in (256, 128, 64):
            written = io.BytesIO()
            self._image().quantize(colors).save(written, "PNG", optimize=True)
            if written.tell() <= MAX_PNG:
                break
        path = PICTURES / f"{name}.png"
        path.write_bytes(written.getvalue())
        print(f"{path.relative_to(config.ROOT)}: {written.tell() / 1000:.0f} kB, {colors} colors")

    def frame(self, milliseconds: int) -> None:
        self.frames.append((self._image(), milliseconds))

    def movie(self, name: str) -> None:
        """One palette for all frames, so that what does not change costs nothing."""
        from PIL import Image

        for width in (900, 800, 700, 600):
            height = round(width * VIEWPORT["height"] / VIEWPORT["width"])
            images = [image.resize((width, height), Image.Resampling.LANCZOS) for image, _ in self.frames]
            strip = Image.new("RGB", (width, height * len(images)))
            for i, image in enumerate(images):
                strip.paste(image, (0, height * i))
            palette = strip.quantize(128)
            images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
            written = io.BytesIO()
            times = [milliseconds for _, milliseconds in self.frames]
            images[0].save(
                written, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0, optimize=True
            )
            if written.tell() <= MAX_GIF:
                break
        path = PICTURES / f"{name}.gif"
        path.write_bytes(written.getvalue())
        print(
            f"{path.relative_to(config.ROOT)}: {written.tell() / 1000:.0f} kB, {width} x {height}, {len(images)} frames"
        )


def wait_for_result(page: Any, name: str) -> None:
    from playwright.sync_api import expect

    done = re.compile(rf"{re.escape(name)}.*model \d")
    expect(page.locator("#status textarea")).to_have_value(done, timeout=MODEL_SECONDS * 1000)


def take(page: Any) -> None:
    """The steps that the pictures show."""
    from playwright.sync_api import expect

    camera = Camera(page)
    button = page.get_by_role("button", name="Extract", exact=True)
    button.wait_for()
    camera.frame(1200)

    page.locator("#document input[type=file]").set_input_files(SAMPLES / "invoice.pdf")
    expect(page.locator("#document")).to_contain_text("invoice")
    camera.frame(900)
    button.click()
    camera.frame(900)
    wait_for_result(page, "invoice.pdf")
    camera.frame(1600)
    for field in ("invoice_number", "due_date", "line_items[0].amount"):
        page.locator(f'#fields [data-field="{field}"]').first.click()
        camera.frame(1100)
    page.locator('#view rect[data-field="total"]').click()
    camera.frame(1500)
    camera.still("fields")

    page.get_by_role("tab", name=re.compile("^Checks")).click()
    camera.frame(1500)
    page.get_by_role("tab", name="Ask").click()
    for question in ("When is it due?", "What is the total?"):
        page.locator("#question textarea").fill(question)
        page.locator("#question textarea").press("Enter")
        expect(page.locator("#chat .question").last).to_have_text(question, timeout=MODEL_SECONDS * 1000)
        camera.frame(2000)
    camera.still("ask")
    camera.movie("tour")

    page.locator("#dark").click()
    page.locator("#examples").get_by_role("button", name="Long receipt").click()
    wait_for_result(page, "receipt_photo_2.jpg")
    page.get_by_role("tab", name=re.compile("^Fields")).click()
    page.locator("#fields [data-field]").first.click()
    camera.still("photo_dark")
    page.locator("#dark").click()

    broken = Path(tempfile.mkdtemp()) / "scan_0007.pdf"
    broken.write_bytes(b"%PDF-1.7\ncut off")
    names = ("invoice.pdf", "receipt_photo_2.jpg", "letter.txt")
    page.get_by_role("tab", name="Batch").click()
    page.locator("#documents input[type=file]").set_input_files([*(SAMPLES / name for name in names), broken])
    expect(page.locator("#documents")).to_contain_text("scan_0007")
    page.get_by_role("button", name="Extract all").click()
    expect(page.locator("#batch_rows")).to_contain_text("scan_0007", timeout=MODEL_SECONDS * 1000)
    camera.still("batch")
    shutil.rmtree(broken.parent)


def main(argv: list[str] | None = None) -> int:
    p = shared.parser(__doc__)
    p.add_argument("--model", default="gguf", help="as for app.py")
    args = p.parse_args(argv)
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(parents=True, exist_ok=True)
    with running(args.model) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM)
        page = browser.new_page(viewport=VIEWPORT)
        page.set_default_timeout(60_000)
        page.goto(f"{address}/?__theme=light")
        take(page)
        browser.close()
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
