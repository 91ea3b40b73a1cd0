"""How much a person has to correct in drafts, by a script that does it as a person would: in the browser, by clicks.

    python inference.py --label data/own/notes
    python -m benchmarks.corrections data/own/notes records/

Every draft in the folder is opened in the Review tab, held against the right record (`records/<document>.json`),
corrected value by value and row by row, and accepted. Then the folder is labeled, and can be trained on. It needs
Chromium, and a model as app.py does.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from benchmarks import screenshots, shared
from extraction import drafts, files, own_folder, stage
from extraction.own_folder import Folder
from extraction.page import view
from extraction.tasks import records

ROW = re.compile(r"([^\[]+)\[(\d+)\]")


class Reviewer:
    """Somebody at the Review tab who knows the right records."""

    def __init__(self, page: Any):
        from playwright.sync_api import expect

        self.page, self.expect = page, expect
        self.typed = self.rows = 0

    def boxes(self) -> dict[str, Any]:
        found = self.page.locator("#review_fields [data-field]")
        names = found.evaluate_all("nodes => nodes.map(node => node.dataset.field)")
        return dict(zip(names, found.locator("textarea").all(), strict=True))

    def values(self) -> dict[str, str]:
        return {name: value for name, box in self.boxes().items() if (value := box.input_value())}

    def open(self, document: Path) -> None:
        self.page.locator("#queue .file").get_by_text(document.name, exact=True).click()
        self.expect(self.page.locator('#queue [aria-current="true"]')).to_contain_text(document.name)
        self.expect(self.page.locator("#review_fields [data-field]").first).to_be_visible()

    def saved(self, document: Path, before: int) -> int:
        """Wait until the page has written a new version of the draft."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if (version := drafts.read(document).version) > before:
                self.page.wait_for_timeout(100)
                return version
            self.page.wait_for_timeout(50)
        raise files.StageError(f"{document.name}: the change was not saved")

    def correct(self, document: Path, record: dict) -> None:
        """Make the draft what the record is: rows first, then each value that differs."""
        version = drafts.read(document).version
        for name, rows in _lists(record).items():
            have = len({row[2] for field in self.boxes() if (row := ROW.match(field)) and row[1] == name})
            act = "Add a row to" if have < len(rows) else "Remove row"
            for i in range(abs(len(rows) - have)):
                label = f"{act} {view.label(name)}" if have < len(rows) else f"{act} {have - i}"
                self.page.locator("#review_fields").get_by_role("button", name=label, exact=True).first.click()
                version = self.saved(document, version)
                self.rows += 1
        wanted = {leaf.path: leaf.value for leaf in records.leaves(record)}
        for name in dict.fromkeys([*wanted, *self.values()]):
            if self.values().get(name, "") != wanted.get(name, ""):
                self._type(name, wanted.get(name, ""))
                version = self.saved(document, version)
                self.typed += 1

    def _type(self, name: str, value: str) -> None:
        if name not in self.boxes():
            option = self.page.locator(f'#review_fields select option[value="{name}"]')
            option.locator("xpath=..").select_option(name)
        box = self.boxes()[name]
        box.fill(value)
        box.press("Enter")

    def accept(self, document: Path) -> None:
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("a")
        self.expect(self.page.locator("#queue")).not_to_contain_text(document.name)


def _lists(record: dict) -> dict[str, list]:
    return {name: value for name, value in record.items() if isinstance(value, list)}


def main(argv: list[str] | None = None) -> int:
    p = shared.parser(__doc__)
    p.add_argument("folder", type=Path, metavar="FOLDER", help="documents with drafts")
    p.add_argument("records", type=Path, metavar="RECORDS", help="folder with the right record of each, DOCUMENT.json")
    p.add_argument("--model", default="gguf", help="as for app.py")
    args = p.parse_args(argv)
    waiting = [w.document for w in drafts.queue(Folder(args.folder)) if w.draft]
    right = {path: files.read_json(args.records / f"{path.name}.json") for path in waiting}
    asked = [records.leaves(record) for record in right.values()]
    from playwright.sync_api import sync_playwright

    started = time.monotonic()
    with screenshots.running(args.model, "--review", args.folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=screenshots.chromium(), args=screenshots.CHROMIUM)
        page = browser.new_page(viewport=screenshots.VIEWPORT)
        page.goto(address)
        reviewer = Reviewer(page)
        for document in waiting:
            reviewer.open(document)
            reviewer.correct(document, right[document])
            reviewer.accept(document)
            if own_folder.read_record(document) != records.prune(right[document]):
                raise files.StageError(f"{document.name}: what was accepted is not the right record")
        browser.close()
    seconds = time.monotonic() - started
    count = sum(len(list(leaves)) for leaves in asked)
    print(f"{len(waiting)} documents with {count} values: {reviewer.typed} values typed, {reviewer.rows} rows added or")
    print(f"removed, {seconds / max(len(waiting), 1):.1f} seconds a document; all records are the right ones")
    print(f"Next: python download_datasets.py --own {args.folder}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
