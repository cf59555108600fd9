"""Notebooks run from the first cell to the last, and print and display what their pages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.notebooks import FOLDER, PAGES, cells, differences, notebook, run, written

IDS = [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_the_file_is_the_page(page: Path) -> None:
    file = page.with_suffix(".ipynb")
    fresh = file.exists() and file.read_text(encoding="utf-8") == written(page)
    assert fresh, f"run: PYTHONPATH=tests python -m docs.notebooks {page.stem}"
    assert f"({file.name})" in page.read_text(encoding="utf-8")  # it can be downloaded
    kinds = [cell["cell_type"] for cell in notebook(page)["cells"]]
    assert kinds.count("code") == len(cells(page)) >= 3
    assert "```" not in "".join("".join(cell["source"]) for cell in notebook(page)["cells"])


@pytest.mark.tower
@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_notebooks_run(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    found = differences(page, run(page.with_suffix(".ipynb"), tmp_path))
    assert not found, "\n".join(found)


def test_no_notebook_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.ipynb")} == {page.stem for page in PAGES}
