"""Hooks of the site's generator: flags of code blocks, links to the code, the lists of methods and of decisions.

Code blocks carry flags for the tests (```` ```python no-run ````, ```` ```text about ````; see tests/docs/pages.py)
that mean nothing to a reader. ``NAV`` of mkdocs.yml is checked by ``mkdocs build --strict``; methods and decisions are
added here from their folders, so that a new one needs no line in mkdocs.yml.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

OUTWARD = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>(?:\.\./)+[^)#\s]*)\)")
FLAGS = re.compile(r"^(`{3,}\w+) [\w -]+$", re.MULTILINE)


FOLDERS = {"Methods": ("methods", "[a-z]*.md"), "Decisions": ("decisions", "[0-9]*.md")}
"""Sections of the menu with a page for each file of a folder, after its README."""


def on_config(config: Any) -> Any:
    """Put every method under *Methods*, and every decision under *Decisions*."""
    docs = Path(config["docs_dir"])
    for section in config["nav"]:
        for name, (folder, pattern) in FOLDERS.items():
            if name in section:
                pages = sorted(page.relative_to(docs).as_posix() for page in (docs / folder).glob(pattern))
                named = [{Path(page).stem: page} for page in pages] if name == "Methods" else pages
                section[name] = [f"{folder}/README.md", *named]
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Code blocks without their flags; links to files outside the documentation as the names of these files."""
    docs = Path(config["docs_dir"]).resolve()
    here = (docs / page.file.src_uri).parent

    def named(link: re.Match[str]) -> str:
        target = (here / link["path"]).resolve()
        if target.is_relative_to(docs):
            return link[0]
        path = target.relative_to(docs.parent).as_posix()
        return link["text"] if link["text"] == f"`{path}`" else f"{link['text']} (`{path}` in the repository)"

    return OUTWARD.sub(named, FLAGS.sub(r"\1", markdown))
