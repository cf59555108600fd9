"""The site's navigation holds every page. What else is strict about it, ``mkdocs build --strict`` says in CI."""

from __future__ import annotations

import importlib.util
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from docs.pages import PAGES, ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mkdocs_hooks", DOCS / "mkdocs_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), yaml.BaseLoader)


def pages_of(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(item)]


def test_navigation_holds_every_page_once(hooks: ModuleType, config: dict[str, Any]) -> None:
    nav = pages_of(hooks.on_config({**config, "docs_dir": str(DOCS)})["nav"])
    assert sorted(nav) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS))


def test_nothing_is_fetched_from_elsewhere(config: dict[str, Any]) -> None:
    assert config["theme"]["font"] == "false"
    assert "analytics" not in config["extra"]
    assert config["strict"] == "true"


def shown(hooks: ModuleType, text: str, page: str = "page.md") -> str:
    where = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    return hooks.on_page_markdown(text, page=where, config={"docs_dir": str(DOCS)}, files=None)


def test_flags_of_code_blocks_are_for_the_tests_alone(hooks: ModuleType) -> None:
    text = "```python no-run\na = 1\n```\n```text about\n3\n```\n```yaml\nb: 2\n```\n"
    assert shown(hooks, text) == text.replace(" no-run", "").replace(" about", "")


def test_links_that_leave_the_documentation_name_their_file(hooks: ModuleType) -> None:
    assert shown(hooks, "the [licence](../LICENSE).") == "the licence (`LICENSE` in the repository)."
    assert shown(hooks, "[`scripts/docs`](../scripts/docs)") == "`scripts/docs`"
    inside = "[a decision](../errors.md), [a heading](../api.md#selection), [elsewhere](https://example.org)"
    assert shown(hooks, inside, "decisions/page.md") == inside
