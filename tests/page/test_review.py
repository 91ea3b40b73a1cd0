"""Drafts are reviewed in a browser as a person does it: by keys, over two sittings, and by two people at once."""

import json
import re

import pytest

import inference
from extraction import drafts, own_folder
from extraction.own_folder import Folder
from tests.helpers import browser, chat_server
from tests.helpers.papers import line, pdf_of
from tests.test_app import RECEIPT, free_port, start

SECRET = "Quentin Ashgrove"


def note(number):
    texts = [f"Delivery note {number}", f"To {SECRET}", f"Bolts   {number}0", f"Total   {number}0"]
    return pdf_of("".join(line(text, x=40, y=700 - 40 * i) for i, text in enumerate(texts)), size=(612, 792))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three documents and their drafts; of note 12 the model has read the total wrong."""
    place = tmp_path_factory.mktemp("own")
    (place / "fields.json").write_text('{"number": "", "total": "", "items": [{"what": "", "count": "", "unit": ""}]}')
    for number in (11, 12, 13):
        (place / f"note_{number}.pdf").write_bytes(note(number))

    def answer(messages, schema):
        number = re.search(r"note (\d+)", messages[-1]["content"])[1]
        total = "999" if number == "12" else f"{number}0"
        items = [{"what": "Bolts", "count": f"{number}0", "unit": None}] if number != "13" else []
        return 200, json.dumps({"number": number, "total": total, "items": items})

    with chat_server.running(answer) as server:
        arguments = ["--schema", str(place / "fields.json"), "--model", server.address, "--label", str(place / "notes")]
        assert inference.main([*map(str, sorted(place.glob("*.pdf"))), *arguments]) == 0
    return Folder(place / "notes")


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    place, port = tmp_path_factory.mktemp("page"), free_port()
    process = start(place, "--port", str(port), "--review", str(folder.path), "--set", f"app.keep_dir={place / 'own'}")
    yield f"http://127.0.0.1:{port}", place / "own"
    process.terminate()
    process.wait(timeout=30)
    said = (place / "stdout").read_text() + (place / "stderr").read_text()
    assert "Traceback" not in said and SECRET not in said and "note_1" not in said


class Person:
    """Somebody with a browser of their own at the Review tab."""

    def __init__(self, chromium, page):
        from playwright.sync_api import expect

        self.page, self.expect = chromium.new_context(viewport={"width": 1280, "height": 900}).new_page(), expect
        self.page.set_default_timeout(30_000)
        self.page.goto(page[0])
        expect(self.page.locator("#queue strong")).to_be_visible()

    def value(self, name):
        return self.page.locator(f'#review_fields [data-field="{name}"]').get_by_role("textbox")

    def correct(self, name, text):
        self.value(name).fill(text)
        self.value(name).press("Enter")

    def sees(self, document, accepted):
        self.expect(self.page.locator('#queue [aria-current="true"]')).to_contain_text(document)
        self.expect(self.page.locator("#queue")).to_contain_text(f"{accepted} of 3 accepted")

    def told(self, pattern):
        self.expect(self.page.locator("#review_status textarea")).to_have_value(re.compile(pattern))

    def leave(self):
        self.page.context.close()


@pytest.mark.browser
def test_drafts_are_corrected_and_accepted_by_keys_and_the_rest_after_the_browser_was_closed(chromium, page, folder):
    ann = Person(chromium, page)
    ann.sees("note_12.pdf", 0)  # the least sure: its total is not printed
    ann.expect(ann.page.locator("#review_view img")).to_be_visible()
    ann.correct("total", "120")
    ann.expect(ann.page.locator('#review_fields [data-field="total"]')).to_have_attribute("data-found", "exact")
    ann.correct("items[0].unit", "pcs")  # no row had one
    ann.expect(ann.page.locator('#review_fields [data-field="items[0].unit"]')).to_contain_text("edited")
    ann.leave()  # in the middle of it
    first, second, third = folder.documents()
    assert drafts.read(second).record["total"] == "120" and folder.labeled() == []

    ann = Person(chromium, page)
    ann.page.keyboard.press("s")
    ann.page.locator("#queue").get_by_text("note_12.pdf").click()
    ann.sees("note_12.pdf", 0)
    ann.expect(ann.value("total")).to_have_value("120")
    ann.value("total").press("a")  # a letter in a box is a letter
    ann.value("total").fill("120")
    ann.value("total").press("Escape")
    ann.page.keyboard.press("a")
    ann.sees("note_1", 1)
    assert own_folder.read_record(second) == {
        "number": "12", "total": "120", "items": [{"what": "Bolts", "count": "120", "unit": "pcs"}]
    }  # fmt: skip
    assert folder.labeled() == [second]


@pytest.mark.browser
def test_two_people_with_one_draft_see_both_versions_and_nothing_is_overwritten(chromium, page, folder):
    document = folder.path / "note_13.pdf"
    ann, bob = Person(chromium, page), Person(chromium, page)
    for one in (ann, bob):
        one.page.locator("#queue").get_by_text("note_13.pdf").click()
        one.expect(one.page.locator('#queue [aria-current="true"]')).to_contain_text("note_13.pdf")
    ann.correct("items[0].what", "Bolts")  # the model had found no item
    ann.expect(ann.page.locator('#review_fields [data-field="items[0].what"]')).to_contain_text("edited")
    bob.correct("items[0].what", "Nuts")
    bob.told("saved this draft at .* after you opened it. Nothing was overwritten")
    bob.expect(bob.page.locator("#versions")).to_contain_text("Nuts")
    bob.expect(bob.page.locator("#versions")).to_contain_text("Bolts")
    looks = [(390, "light"), (1280, "dark")]
    assert browser.serious(browser.with_axe(bob.page), "two versions", looks) == []
    assert drafts.read(document).record["items"] == [{"what": "Bolts", "count": None, "unit": None}]
    bob.page.locator("#theirs").click()
    bob.expect(bob.value("items[0].what")).to_have_value("Bolts")
    bob.expect(bob.page.locator("#versions")).to_be_hidden()
    ann.page.locator("#accept").click()
    ann.expect(ann.page.locator("#queue")).not_to_contain_text("note_13.pdf")
    bob.correct("items[0].what", "Nuts")
    bob.told("accepted this document at")
    assert own_folder.read_record(document)["items"] == [{"what": "Bolts"}]


@pytest.mark.browser
def test_the_tab_fits_a_phone_and_a_change_that_cannot_be_saved_is_told_and_kept_on_the_page(chromium, page, folder):
    ann = Person(chromium, page)
    ann.sees("note_11.pdf", 2)
    draft = own_folder.draft_of(folder.path / "note_11.pdf")
    (folder.path / ".lock").unlink(missing_ok=True)
    (folder.path / ".lock").mkdir()  # as on a disk that takes nothing more
    ann.correct("number", "No. 11")
    ann.told("Not saved yet: cannot write to .*Nothing was changed")
    ann.expect(ann.value("number")).to_have_value("No. 11")
    ann.page.keyboard.press("Escape")
    ann.page.keyboard.press("s")
    ann.told("Skipping would lose your changes")
    (folder.path / ".lock").rmdir()
    assert browser.serious(browser.with_axe(ann.page), "not saved", [(1280, "light"), (390, "dark")]) == []
    ann.page.keyboard.press("a")
    ann.told("note_11.pdf is accepted .* Nothing is left to review. Next: python download_datasets.py --own")
    assert json.loads(draft.read_text())["state"] == "accepted" and len(folder.labeled()) == 3


@pytest.mark.browser
def test_a_corrected_document_is_kept_for_training_only_when_the_box_is_ticked(chromium, page, tmp_path):
    (tmp_path / "receipt.txt").write_text(RECEIPT)
    ann = Person(chromium, page)
    ann.page.get_by_role("tab", name="One document").click()
    ann.page.locator("#document input[type=file]").set_input_files(tmp_path / "receipt.txt")
    ann.expect(ann.page.locator("#document")).to_contain_text("receipt")
    ann.page.get_by_role("button", name="Extract", exact=True).click()
    total = ann.page.locator('#fields [data-field="total"]')
    ann.expect(total).to_be_visible()
    ann.expect(ann.page.locator("#keep")).to_be_hidden()
    total.get_by_role("textbox").fill("10.00")
    total.get_by_role("textbox").press("Enter")
    ann.expect(ann.page.locator("#keep input")).not_to_be_checked()
    assert not page[1].exists()
    ann.page.locator("#keep input").check()
    ann.expect(ann.page.locator("#kept textarea")).to_have_value(
        re.compile("Kept: .*receipt.receipt.txt and receipt.txt.json")
    )
    kept = Folder(page[1] / "receipt")
    assert own_folder.read_record(kept.documents()[0])["total"] == "10.00"
    ann.page.locator("#keep input").uncheck()
    ann.expect(ann.page.locator("#kept textarea")).to_have_value("No longer kept.")
    assert kept.documents() == []


@pytest.mark.browser
def test_a_batch_can_go_into_the_queue(chromium, page, folder, tmp_path):
    before = (folder.path / "note_13.pdf").read_bytes()
    (tmp_path / "note_14.pdf").write_bytes(note(14))
    (tmp_path / "note_13.pdf").write_bytes(note(14))  # another document of a name that is taken
    ann = Person(chromium, page)
    ann.page.get_by_role("tab", name="Batch").click()
    ann.page.locator("#documents input[type=file]").set_input_files(
        [tmp_path / "note_14.pdf", tmp_path / "note_13.pdf"]
    )
    ann.expect(ann.page.locator("#documents")).to_contain_text("note_13")
    ann.page.get_by_label("Drafts to review in notes").check()
    ann.page.get_by_role("button", name="Extract all").click()
    ann.expect(ann.page.locator("#batch_rows")).to_contain_text("read, waits for review")
    ann.expect(ann.page.locator("#batch_rows")).to_contain_text("holds another document called note_13.pdf")
    assert [w.document.name for w in drafts.queue(folder)] == ["note_14.pdf"]
    assert (folder.path / "note_13.pdf").read_bytes() == before
