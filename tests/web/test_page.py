"""The page of `scope demo` as a visitor meets it, in a real browser."""

from __future__ import annotations

import io
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Server, Visit, shot, started, visited
from PIL import Image
from playwright.sync_api import Browser, Page, expect

LABELS = ".sd-figures figcaption strong"


def labels(page: Page) -> list[str]:
    return page.locator(LABELS).all_text_contents()


def picture(colour: str = "teal", size: tuple[int, int] = (300, 200)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def upload(page: Page, name: str, data: bytes) -> None:
    page.locator("#image input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def replace_spec(page: Page, text: str) -> None:
    page.locator("#spec .cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def test_load_pick_slide_and_compare(visit: Visit) -> None:
    page = visit.page
    assert labels(page) == ["scope@64", "visionzip@64", "divprune@64", "random@64"]
    expect(page.locator("#answers tbody tr")).to_have_count(5)
    expect(page.locator("#answers tbody tr").first).to_contain_text("all tokens")
    first = page.locator(".sd-figures img").first.get_attribute("src")
    page.locator("#gallery button", has_text="coffee").click()
    expect(page.locator(".sd-figures img").first).not_to_have_attribute("src", first or "")

    slider = page.locator("#budget input[type=range]")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("16", "576")
    slider.focus()
    page.keyboard.press("ArrowLeft")  # the keyboard moves it
    expect(page.locator(LABELS).first).to_have_text("scope@63")
    expect(page.locator(".sd-kept").first).to_have_text("63 of 576 tokens")
    page.keyboard.press("End")
    expect(page.locator(".sd-kept").first).to_have_text("576 of 576 tokens")
    page.keyboard.press("Home")
    expect(page.locator(LABELS)).to_have_text(["scope@16", "visionzip@16", "divprune@16", "random@16"])

    page.locator("#methods input").fill("fastv")
    page.get_by_role("option", name="fastv", exact=True).click()
    expect(page.locator(LABELS)).to_have_count(5)
    expect(page.locator("#answers tbody tr").last).to_contain_text("fastv@16")
    tab(page, "Coverage over budget")
    expect(page.locator("#curve img")).to_have_attribute("alt", re.compile("for scope, visionzip, divprune, random;"))
    expect(page.locator("#curve")).to_contain_text("fastv is not drawn: it selects inside the language model")
    shot(page, "compare")


def test_a_scene_has_questions_with_known_answers(visit: Visit) -> None:
    page = visit.page
    page.locator("#gallery button", has_text="scenes 1").click()
    page.locator("#suggestions").get_by_text("Is there an apple").click()
    expect(page.locator("#answers")).to_contain_text("Right: yes.")
    expect(page.locator("#answers tbody tr").first).to_contain_text("right")
    page.locator("#question textarea, #question input").fill("Where is the bicycle?")
    page.keyboard.press("Enter")
    expect(page.locator("#answers")).to_contain_text("Right: top-left.")


def test_a_mistyped_spec_is_marked_and_corrected(visit: Visit) -> None:
    page = visit.page
    tab(page, "Edit a method")
    expect(page.locator("#spec .cm-content")).to_contain_text("recipe: scope")
    replace_spec(page, "recipe: scope\nbudget: 64\ncombiner: {alpah: 2}\n")
    expect(page.locator("#mistakes .sd-alert")).to_contain_text("did you mean 'alpha'?")
    expect(page.locator("#mistakes .sd-place")).to_have_text("line 3: combiner: {alpah: 2}")
    expect(page.locator("#spec .sd-wrong")).to_have_text("combiner: {alpah: 2}")
    shot(page, "mistake")
    assert labels(page)[0] == "scope@64"  # what was right last is still shown
    page.get_by_role("button", name="Put the suggestion in").click()
    expect(page.locator(LABELS).first).to_have_text("scope+alpha=2@64")
    expect(page.locator("#mistakes .sd-alert")).to_have_count(0)
    expect(page.locator("#python .cm-content")).to_contain_text("'alpha': 2.0")

    alpha = page.get_by_label("combiner.alpha")
    expect(alpha).to_have_value("2")
    alpha.fill("-1")
    alpha.press("Enter")
    expect(page.locator("#mistakes .sd-alert")).to_contain_text("greater than or equal to 0")
    expect(page.locator("#spec .cm-content")).to_contain_text("alpha: 2")  # what is right stays
    alpha.fill("3")
    alpha.press("Enter")
    expect(page.locator("#spec .cm-content")).to_contain_text("alpha: 3")
    page.locator("#budget input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#spec .cm-content")).to_contain_text("budget: 65")
    page.get_by_role("button", name="Keep as a new method").click()
    expect(page.locator(LABELS)).to_have_text(["scope@65", "visionzip@65", "divprune@65", "random@65", "scope 2@65"])


def test_options_are_controls_and_another_part_brings_its_own(visit: Visit) -> None:
    page = visit.page
    tab(page, "Edit a method")
    coverage = page.get_by_label("coverage", exact=True)
    coverage.click()
    page.get_by_role("option", name="log_det", exact=True).click()
    expect(page.get_by_label("coverage.ridge")).to_have_value("0")
    expect(page.locator(LABELS).first).to_have_text("scope+coverage=log_det@64")
    page.get_by_role("button", name="Undo all changes").click()
    expect(page.locator(LABELS).first).to_have_text("scope@64")
    expect(page.locator("#spec .cm-content")).to_contain_text("coverage: facility_location")


def test_a_spec_is_uploaded_and_a_wrong_one_is_told(visit: Visit) -> None:
    page = visit.page
    tab(page, "Edit a method")
    files = page.locator("input[type=file][accept*=yaml]")
    good = b"recipe: scope\nbudget: 9\ncombiner: coverage_only\n"
    files.set_input_files({"name": "mine<img src=x>.yaml", "mimeType": "text/yaml", "buffer": good})
    expect(page.locator(LABELS).last).to_have_text(re.compile(r"^mineimg srcx@\d+$|^mine.*@\d+$"))
    files.set_input_files({"name": "wrong.yaml", "mimeType": "text/yaml", "buffer": b"recipe: scop\nbudget: 9\n"})
    expect(page.locator("#mistakes .sd-alert")).to_contain_text("did you mean 'scope'?")
    expect(page.locator(".sd-figures .sd-error", has_text="scope").last).to_be_visible()
    files.set_input_files({"name": "bomb.yaml", "mimeType": "text/yaml", "buffer": b"\xff\xfe\xfd"})
    expect(page.locator("#mistakes .sd-alert").first).to_contain_text("UTF-8")


def test_broken_uploads_are_answered_in_words(visit: Visit) -> None:
    page = visit.page
    before = page.locator(".sd-figures img").first.get_attribute("src") or ""
    whole = picture()
    for name, data, words in (
        ("notes.png", b"no image", "not an image that Pillow can read"),
        ("cut.png", whole[: len(whole) // 2], "cut.png"),
        ("<img src=x onerror=alert(1)>.png", b"GIF89a", "onerror=alert(1)"),
        (
            "drawing.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
            "'drawing.svg' is not",
        ),
        ("wide.png", picture(size=(60_000, 900)), "60,000 x 900 pixels"),
    ):
        upload(page, name, data)
        expect(page.locator("#image-alert")).to_contain_text(words)
        assert "/tmp" not in page.locator("#image-alert").inner_text()
    shot(page, "broken-upload")
    assert page.locator(".sd-figures img").first.get_attribute("src") == before
    upload(page, "fine.png", whole)
    expect(page.locator(".sd-figures img").first).not_to_have_attribute("src", before)
    expect(page.locator("#image-alert .sd-alert")).to_have_count(0)


def test_a_patch_says_what_covers_it_and_the_order_is_played(visit: Visit) -> None:
    page = visit.page
    stage = page.locator(".sd-stage").first
    stage.click(position={"x": 40, "y": 40})
    expect(page.locator(".sd-found li")).to_have_count(4)
    expect(page.locator(".sd-found li").last).to_have_text(
        re.compile(r"^random@64: row \d+, column \d+ is (kept itself|covered by row)")
    )
    text = page.locator(".sd-found li").first.inner_text()
    stage.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".sd-found li").first).not_to_have_text(text)
    row = int(re.search(r"row (\d+)", text)[1])  # type: ignore[index]
    expect(page.locator(".sd-found li").first).to_contain_text(f"row {row + 1}, ")
    page.keyboard.press("Escape")
    expect(page.locator(".sd-found li")).to_have_count(1)

    play = page.locator(".sd-player button")
    play.click()
    expect(play).to_have_text("Pause")
    play.click()
    expect(page.locator(".sd-player output")).to_have_text(re.compile(r"^\d+ of 64 picks$"))
    page.locator(".sd-player input").focus()
    page.keyboard.press("Home")
    expect(page.locator(".sd-player output")).to_have_text("0 of 64 picks")
    dark = stage.locator("canvas").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)"
    )
    assert dark  # picks that were not made yet are covered
    page.keyboard.press("End")
    expect(page.locator(".sd-player output")).to_have_text("all 64 picks")


def test_texts_are_never_run(visit: Visit) -> None:
    page = visit.page
    for text in (
        "<img src=x onerror='window.hacked=1'>",
        "${window.hacked=1}",
        "{{constructor}}",
        "`${window.hacked=1}`",
    ):
        page.locator("#question textarea, #question input").fill(text)
        page.keyboard.press("Enter")
        expect(page.locator("#answers p").first).to_have_text(text)
    tab(page, "Edit a method")
    replace_spec(page, "recipe: \"<img src=x onerror='window.hacked=1'>${window.hacked=1}\"\nbudget: 3\n")
    expect(page.locator("#mistakes .sd-alert")).to_contain_text("onerror")
    assert page.evaluate("window.hacked") is None


def test_two_visitors_do_not_see_each_other(browser: Browser, server: Server, visit: Visit) -> None:
    other = visited(browser, server)
    for page, colour, key in ((visit.page, "teal", "Home"), (other.page, "crimson", "End")):
        upload(page, f"{colour}.png", picture(colour))
        page.locator("#budget input[type=range]").focus()
        page.keyboard.press(key)
    expect(visit.page.locator(LABELS).first).to_have_text("scope@16")
    expect(other.page.locator(LABELS).first).to_have_text("scope@576")
    one, two = (page.locator(".sd-figures img").first.get_attribute("src") for page in (visit.page, other.page))
    assert one != two
    other.page.reload()
    expect(other.page.locator(LABELS).first).to_have_text("scope@64")
    assert not other.elsewhere
    other.page.context.close()


def test_everybody_can_read_and_reach_it(visit: Visit) -> None:
    page = visit.page
    expect(page.locator("#answers tbody tr")).to_have_count(5)
    shot(page, "wide")
    for name in ("Answers", "Coverage over budget", "Edit a method", "Not available here"):
        tab(page, name)
        page.wait_for_timeout(500)
        found = Axe().run(page).response["violations"]
        serious = [
            (one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")
        ]
        assert not serious, name


def test_it_fits_a_narrow_screen(browser: Browser, server: Server) -> None:
    one = visited(browser, server, width=390)
    page = one.page
    expect(page.locator("#answers tbody tr")).to_have_count(5)
    shot(page, "narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tops = [box["y"] for figure in page.locator(".sd-figures figure").all() if (box := figure.bounding_box())]
    assert tops[0] == tops[1]  # two side by side
    page.locator("#budget input[type=range]").focus()
    page.keyboard.press("Home")
    expect(page.locator(LABELS).first).to_have_text("scope@16")
    page.context.close()


def test_no_file_of_the_server_can_be_read(server: Server, browser: Browser, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture("orange"))
    context = browser.new_context(base_url=server.address)
    request = context.request
    for path in (
        f"/gradio_api/file={secret}",
        f"/file={secret}",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:9/",
    ):
        assert request.get(path).status == 403
    config = request.get("/config").json()
    image = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "image")
    event = next(one["id"] for one in config["dependencies"] if [image, "upload"] in one["targets"])
    for number, given in enumerate(
        (
            {"path": str(secret)},
            {"path": str(secret), "meta": {"_type": "gradio.FileData"}},
            {"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}},
        )
    ):
        body = {"data": [given, None], "fn_index": event, "session_hash": f"forged{number}"}
        assert request.post("/gradio_api/queue/join", data=body).ok
        said = request.get(f"/gradio_api/queue/data?session_hash=forged{number}").text()
        assert "process_completed" in said
        assert "no longer on the server" in said or '"error"' in said
        assert not list((server.place / "tmp").rglob("secret*"))
    context.close()


@pytest.fixture
def tower(tmp_path: Path) -> Iterator[Server]:
    """A server of a tower alone."""
    running = started(tmp_path / "tower", "--tower", "dinov2-small")
    yield running
    if running.process.poll() is None:
        running.process.kill()


def test_a_tower_is_shown_without_answers_and_stops_cleanly(browser: Browser, tower: Server) -> None:
    one = visited(browser, tower)
    assert one.page.get_by_role("tab").all_text_contents()[:2] == ["Coverage over budget", "Edit a method"]
    assert stopped(tower, one, signal.SIGTERM) == 0
    assert "Traceback" not in tower.said


def test_it_stops_cleanly_and_leaves_nothing(browser: Browser, server: Server) -> None:
    """The server of all tests above, so this one comes last."""
    assert stopped(server, visited(browser, server), signal.SIGINT) == 0


def stopped(running: Server, one: Visit, how: signal.Signals) -> int:
    """The exit code of a server that is stopped while a visitor is there; it has left nothing and asked for nothing."""
    upload(one.page, "mine.png", picture())
    expect(one.page.locator(".sd-figures img").first).to_be_visible()
    assert running.temporary
    code = running.stop(how)
    assert running.reached == ""
    assert [path for path in running.temporary if path.name.startswith("scope-demo")] == []
    assert not list((running.place / "tmp").rglob("mine*"))
    left = [path for name in ("home", "cwd") for path in (running.place / name).rglob("*") if path.is_file()]
    assert [path for path in left if "matplotlib" not in str(path)] == []
    one.page.context.close()
    return code
