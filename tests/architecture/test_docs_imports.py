"""The docs import from faces only, in every code block."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs.pages import PAGES, name_of

from architecture.test_imports import FACES

ALLOWED = {*FACES, "scope_adapters"}
OURS = r"(scope_(?:core|plugins|bench|adapters)[\w.]*)"
IMPORT = re.compile(rf"^\s*(?:from {OURS} import|import {OURS})", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_blocks_import_from_faces(page: Path) -> None:
    blocks = re.findall(r"^```(?:python|pycon|py)[^\n]*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    modules = {one or other for block in blocks for one, other in IMPORT.findall(block)}
    assert modules <= ALLOWED, f"{page.name} imports from {sorted(modules - ALLOWED)}"
