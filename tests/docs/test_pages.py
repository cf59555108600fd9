"""The pages hang together, and agree with the code."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
import toml_files

import scope_core as scope
from docs.pages import PAGES, ROOT, blocks, name_of
from scope_core.registry import hookspecs
from scope_core.registry.specs import slots_of

DOCS = ROOT / "docs"
PAGE = pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
HOOKS = {
    name: tuple(inspect.signature(hook).parameters)
    for name, hook in vars(hookspecs).items()
    if name.startswith("scope_") and inspect.isfunction(hook)
}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    text = page.read_text("utf-8")
    for block in reversed(blocks(text)):
        text = text[: block.start] + text[block.start + len(block.body) :]
    return text


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    made: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        anchor = base = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while anchor in made:
            number += 1
            anchor = f"{base}-{number}"
        made.add(anchor)
    return made


@PAGE
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(page)} links to {target}; headings: {sorted(anchors(file))}"


@PAGE
def test_lines_are_not_endless(page: Path) -> None:
    """Prose is wrapped; tables, headings and generated pages are what they are."""
    if page.name == "api.md":
        return
    long = [
        line for line in prose(page).split("\n") if len(line) > 125 and not line.lstrip().startswith(("|", "![", "["))
    ]
    assert not long, long


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent == DOCS and p.name != "index.md"], ids=name_of)
def test_every_page_is_on_the_map(page: Path) -> None:
    assert f"]({page.name})" in (DOCS / "index.md").read_text("utf-8")


def test_every_hook_is_documented_with_its_signature() -> None:
    documented = {
        name: tuple(word.strip() for word in words.split(",") if word.strip())
        for name, words in re.findall(
            r"^### `(scope_\w+)\((.*)\)`$", (DOCS / "hooks.md").read_text("utf-8"), re.MULTILINE
        )
    }
    assert documented == HOOKS


def test_every_hook_has_an_example_that_runs() -> None:
    run = "\n".join(b.body for b in blocks((DOCS / "hooks.md").read_text("utf-8")) if b.language == "python")
    assert [name for name in HOOKS if f"@hookimpl\ndef {name}(" not in run] == []


def test_every_public_name_is_documented() -> None:
    api = (DOCS / "api.md").read_text("utf-8")
    assert [name for name in scope.__all__ if f"`{name}`" not in api and f".{name}`" not in api] == []
    assert "## Others" not in api, "put new public names into a group in docs/generate.py"


def test_a_stale_page_is_noticed(generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text("a\n<!-- generated: zoo -->\nold\n<!-- end -->\nb\n", encoding="utf-8")
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 1
    assert "old" in (tmp_path / "page.md").read_text("utf-8")
    monkeypatch.setattr("sys.argv", ["generate.py"])
    assert generate.main() == 0
    text = (tmp_path / "page.md").read_text("utf-8")
    assert (text[:2], text[-2:]) == ("a\n", "b\n")
    assert ("dinov2-small" in text, "old" in text) == (True, False)
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 0


def test_every_error_is_on_the_errors_page() -> None:
    page = (DOCS / "errors.md").read_text("utf-8")
    errors = [name for name in scope.__all__ if Exception in getattr(getattr(scope, name), "__mro__", ())]
    assert [name for name in errors if name not in page] == []


def test_every_extra_is_in_the_quick_start_with_what_it_brings() -> None:
    project = toml_files.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    rows = re.findall(r"^\| (none|`\w+`) \| (.*?) \| .+ \|$", (DOCS / "quickstart.md").read_text("utf-8"), re.MULTILINE)
    shown = {name.strip("`"): {word.split()[0] for word in brings.split(", ")} for name, brings in rows}
    assert shown == {
        extra: {name for text in needs for name in brought(text)}
        for extra, needs in {"none": project["dependencies"], **project["optional-dependencies"]}.items()
    }


def brought(requirement: str) -> list[str]:
    """The package of a requirement; extras of our own, in backticks."""
    name, extras = re.match(r"([\w.-]+?)(?:\[(.*)\])?(?=[<>=;\s]|$)", requirement).groups()
    return [f"`{extra}`" for extra in extras.split(",")] if name == "scope-core" else [name]


@PAGE
def test_nobody_is_told_to_fetch_scope_core_from_an_index(page: Path) -> None:
    """It is on none yet: pages install it from a checkout. (Hints of the program are for who has it already.)"""
    found = re.findall(r"pip install[^`\n]*", page.read_text("utf-8"))
    assert [text for text in found if re.search(r"(?<![/\w])scope-core", text)] == []


def test_pictures_are_small_and_used() -> None:
    texts = "".join(page.read_text("utf-8") for page in PAGES)
    pictures = [path for path in (DOCS / "pictures").rglob("*") if path.is_file()]
    for picture in pictures:
        name = picture.relative_to(DOCS).as_posix()
        assert picture.stat().st_size < 300_000, name
        assert f"{name})" in texts, f"{name} is on no page"
    assert sum(picture.stat().st_size for picture in pictures) < 4_500_000


def test_no_page_names_this_machine() -> None:
    for page in PAGES:
        assert not re.findall(r"/(?:home|root|work|tmp|opt|Users)/", page.read_text("utf-8")), name_of(page)


def test_the_table_of_options_has_the_defaults_of_slots() -> None:
    """A slot may be left out, or have another default than that of its kind."""
    lines, registry = (DOCS / "parts.md").read_text("utf-8").splitlines(), scope.default_registry()
    seen = 0
    for record in (record for kind in registry.kinds() for record in registry.records(kind)):
        fields = getattr(getattr(record, "spec", None), "model_fields", {})
        for option, slot in slots_of(record.spec).items() if fields else ():
            start = f"| `{record.name}` | `{option}` | any {slot.kind} |"
            row = next((line for line in lines if line.startswith(start)), None)
            if row is not None and not fields[option].is_required():
                assert row.startswith(f"{start} `{fields[option].default}` |")
                seen += 1
    assert seen > 10
