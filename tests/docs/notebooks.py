"""Notebooks: pages under docs/notebooks, each of which is also an .ipynb file, and a runner that executes those.

A page is the source. Its Python blocks are the notebook's code cells, the text between them its other cells. A
```` ```text ```` block after a Python block shows what the cell prints, a picture after it what the cell displays;
neither is in the notebook, where running the cell shows it.

``PYTHONPATH=tests python -m docs.notebooks [NAME...]`` executes notebooks, and writes outputs and pictures into pages.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.pages import ROOT, Block, blocks, matches, output_of, tidy

FOLDER = ROOT / "docs" / "notebooks"
PAGES = sorted(FOLDER.glob("*.md"))
PICTURE = re.compile(r"\A```[ ]*\n\n!\[[^\]]*\]\((?P<path>[^)]+)\)\n")
"""A picture right after a fence."""
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


@dataclass(frozen=True)
class Cell:
    """A code cell: its block, what the page shows that it prints, and the picture that it displays."""

    block: Block
    text: Block | None
    picture: Path | None
    end: int
    """Offset in the page after the cell's outputs."""


def cells(page: Path) -> list[Cell]:
    """The code cells of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = blocks(text)
    made = []
    for number, block in enumerate(found):
        if block.language != "python":
            continue
        printed = output_of(text, found, number)
        last = printed or block
        end = last.start + len(last.body)
        picture = PICTURE.match(text[end:])
        path = (page.parent / picture["path"]).resolve() if picture else None
        made.append(Cell(block, printed, path, end + (picture.end() if picture else text[end:].index("\n") + 1)))
    return made


def notebook(page: Path) -> dict[str, Any]:
    """The page as a notebook without outputs."""
    text, made, start = page.read_text(encoding="utf-8"), [], 0
    for cell in cells(page):
        opening = text.rindex("```python", 0, cell.block.start)
        made += [("markdown", text[start:opening]), ("code", cell.block.body)]
        start = cell.end
    made.append(("markdown", text[start:]))
    listed = []
    for kind, source in made:
        source = source.strip("\n")
        if source:
            more = {"execution_count": None, "outputs": []} if kind == "code" else {}
            lines = source.splitlines(keepends=True)
            listed.append({"cell_type": kind, "id": f"cell-{len(listed)}", "metadata": {}, **more, "source": lines})
    return {"cells": listed, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}


def written(page: Path) -> str:
    """The notebook's file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Output:
    """What a cell printed, and the PNG that it displayed; other results are left out."""

    text: str
    png: bytes | None


def run(file: Path, folder: Path) -> list[Output]:
    """Execute a notebook in ``folder``: the outputs of its code cells. An error in a cell is raised."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(file, as_version=4)
    nbformat.validate(book)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    found = []
    for cell in book.cells:
        if cell.cell_type == "code":
            printed = "".join(one.text for one in cell.outputs if one.output_type == "stream" and one.name == "stdout")
            shown = [one.data["image/png"] for one in cell.outputs if "image/png" in one.get("data", {})]
            found.append(Output(printed, base64.b64decode(shown[-1]) if shown else None))
    return found


def differences(page: Path, outputs: list[Output]) -> list[str]:
    """What the page shows and the notebook does not, or the other way round."""
    from io import BytesIO

    from PIL import Image

    found = []
    for cell, output in zip(cells(page), outputs, strict=True):
        where = f"{page.name}, line {cell.block.line}"
        if cell.text is None and output.text:
            found.append(f"{where} prints what the page does not show:\n{output.text}")
        elif cell.text is not None and not matches(output.text, cell.text):
            found.append(f"{where} printed\n{output.text}\nand shows\n{cell.text.body}")
        if (cell.picture is None) != (output.png is None):
            found.append(f"{where} displays {'no' if output.png is None else 'a'} picture; the page says otherwise")
        elif cell.picture is not None and output.png is not None:
            with Image.open(BytesIO(output.png)) as new, Image.open(cell.picture) as old:
                if any(abs(a - b) > 0.1 * b for a, b in zip(new.size, old.size, strict=True)):  # fonts of plots differ
                    found.append(f"{where} displays {new.size} pixels; {cell.picture.name} has {old.size}")
    return found


def _update(page: Path, outputs: list[Output]) -> None:
    """Write outputs and pictures into a page; pictures of 256 colours."""
    from io import BytesIO

    from PIL import Image

    text = page.read_text(encoding="utf-8")
    for number, (cell, output) in reversed(list(enumerate(zip(cells(page), outputs, strict=True), 1))):
        shown = "```\n"
        if output.text:
            about = "" if cell.text is None or not cell.text.flags else f" {' '.join(cell.text.flags)}"
            same = cell.text is not None and matches(output.text, cell.text)
            body = cell.text.body if cell.text is not None and same else tidy(output.text)
            shown += f"```text{about}\n{body}```\n"
        if output.png is not None:
            name = f"{page.stem}-{number}.png"
            path = ROOT / "docs" / "pictures" / "notebooks" / name
            path.parent.mkdir(exist_ok=True)
            with Image.open(BytesIO(output.png)) as image:
                image.convert("RGB").quantize(256, kmeans=1).save(path, optimize=True)
            shown += f"\n![{'what the cell shows'}](../pictures/notebooks/{name})\n"
        end = cell.block.start + len(cell.block.body)
        old = text[end : cell.end]
        alt = re.search(r"!\[([^\]]*)\]", old)
        text = text[:end] + (shown if alt is None else shown.replace("what the cell shows", alt[1])) + text[cell.end :]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    for given in [FOLDER / f"{name}.md" for name in sys.argv[1:]] or PAGES:
        file = given.with_suffix(".ipynb")
        file.write_text(written(given), encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            made = run(file, Path(folder))
        _update(given, made)
        left = differences(given, made)
        print(f"{given.name}: {len(made)} cells" + "".join(f"\n{one}" for one in left))
