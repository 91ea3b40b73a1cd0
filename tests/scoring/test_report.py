import json
import re

import pytest

from extraction.scoring import differences, report
from extraction.scoring.report import Table

HOSTILE = """<img src=x onerror="document.title='taken'"></script><script>document.title='taken'</script>{{DATA}}"""


def failure(name, task, text, target, prediction):
    found_differences = [vars(d) for d in differences.differences(task, target, prediction)]
    return {
        "id": name,
        "task": task,
        "source": "made up",
        "text": text,
        "target": target,
        "prediction": prediction,
        "completion": "{",
        "problem": None if prediction is not None else "not JSON",
        "differences": found_differences,
    }


FAILURES = [
    failure("tea", "receipt", "Tea 2.00\nTotal 2.00", {"total": "2.00"}, {"total": "2.90"}),
    failure("cake", "receipt", "Cake 3.50", {"total": "3.50", "cash": "5"}, {"total": "3,50"}),
    failure("hostile", "question", HOSTILE, {"answers": [HOSTILE]}, {"answer": "x" + HOSTILE}),
    failure("unread", "contract", "By Acme", {"clauses": {"Parties": ["Acme"]}}, None),
]


def page(failures=FAILURES):
    tables = [Table("Scores", ["task", "metric"], [["receipt", HOSTILE]])]
    return report.page("Evaluation of a model", {"rows": HOSTILE, "text": None}, tables, failures, 10)


def test_a_bar_or_a_line_break_does_not_leave_its_cell():
    assert report.markdown(Table("T", ["a"], [["x|y\nz"]])) == "## T\n\n| a |\n| --- |\n| x\\|y z |\n"


def test_nothing_in_the_data_begins_a_tag_and_the_page_names_no_other_file():
    text = page()
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1]
    assert "<" not in data
    assert json.loads(data)["failures"][2]["text"] == HOSTILE
    assert not re.search(r"\b(?:src|href)=|url\(|@import|https?:", text.replace(data, ""))
    assert "innerHTML" not in text and "insertAdjacent" not in text and "default-src 'none'" in text


def test_a_page_that_would_list_too_many_says_how_many_there_are(monkeypatch):
    monkeypatch.setattr(report, "SHOWN", 2)
    data = json.loads(re.search(r"json\">(.*?)</script>", page(), re.S)[1])
    assert (len(data["failures"]), data["all_failures"], data["scored"]) == (2, 4, 10)


# --- in a browser --------------------------------------------------------------------------------------------


@pytest.fixture
def view(chromium, tmp_path):
    """The page, opened from a file. After the test: nothing else was asked for, and its script made no error."""
    path = tmp_path / "report.html"
    path.write_text(page(), encoding="utf-8")
    requested, errors = [], []
    opened = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened.on("request", lambda request: requested.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(path.as_uri())
    yield opened
    opened.close()
    assert requested == [path.as_uri()] and errors == []


def listed(view):
    return [text.split(" ")[0] for text in view.locator("#list button").all_text_contents()]


@pytest.mark.browser
def test_filters_and_search_leave_the_failures_that_are_asked_for(view):
    assert listed(view) == ["tea", "cake", "hostile", "unread"]
    assert view.locator("#count").text_content() == "4 of 4"
    assert view.locator("#note").text_content() == "4 of 10 rows have a field that differs."
    view.get_by_label("Task").select_option("receipt")
    assert listed(view) == ["tea", "cake"]
    view.get_by_label("Reason").select_option("wrong format")
    assert listed(view) == ["cake"]
    view.get_by_label("Task").select_option("")
    view.get_by_label("Reason").select_option("")
    view.get_by_role("searchbox").fill("ACME")
    assert listed(view) == ["unread"]
    assert "not JSON" in view.locator("#detail").inner_text()
    view.get_by_role("searchbox").fill("no such words")
    assert listed(view) == [] and "Nothing here fails" in view.locator("#detail").inner_text()


@pytest.mark.browser
def test_a_failure_shows_text_target_prediction_and_the_reason_of_each_field(view):
    view.get_by_role("button", name="cake").click()
    detail = view.locator("#detail")
    rows = [row.all_text_contents() for row in (r.locator("td") for r in detail.locator("tbody tr").all())]
    assert rows == [["total", "3.50", "3,50", "wrong format"], ["cash", "5", "", "not found"]]
    assert detail.get_by_label("Document text").inner_text() == "Cake 3.50"
    assert detail.locator("mark").all_text_contents() == ["3.50"]
    assert '"cash": "5"' in detail.get_by_label("Target").inner_text()
    assert '"3,50"' in detail.get_by_label("Prediction").inner_text()


@pytest.mark.browser
def test_what_a_document_says_is_shown_as_text(view):
    view.get_by_role("button", name="hostile").click()
    assert view.get_by_label("Document text").text_content() == HOSTILE
    assert HOSTILE in view.locator("#tables td").all_text_contents()
    assert view.locator("img").count() == 0
    assert view.title() == "Evaluation of a model"


@pytest.mark.browser
def test_the_page_is_used_with_the_keyboard_alone(view):
    view.keyboard.press("/")
    assert view.evaluate("document.activeElement.id") == "search"
    view.keyboard.type("e")
    assert view.locator("#search").input_value() == "e"
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.textContent").startswith("tea")
    view.keyboard.press("ArrowDown")
    assert view.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    assert view.locator("#detail h3").first.text_content() == "cake"
    view.keyboard.press("End")
    assert view.locator("#detail h3").first.text_content() == "unread"


@pytest.mark.browser
def test_the_page_is_dark_where_dark_is_preferred(view):
    def brightness():
        color = view.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)[:3]))

    assert brightness() > 600
    view.emulate_media(color_scheme="dark")
    assert brightness() < 150
