"""Measures everything on docs/speed.md, by ``scope bench speed``, and writes its tables.

    python docs/speed/run.py            # run all, or those named: python docs/speed/run.py select-warm
    python docs/speed/run.py --write    # only write the page and its picture from the results that are there

Each run leaves ``docs/speed/NAME.json``; the picture is drawn from that of ``growth``. All take about twenty minutes on
one quiet core. Results of another processor have a folder and a page of their own; to make one, copy the files there,
and add it to `PAGES`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from scope_bench.speed.plot import plot
from scope_bench.speed.tables import head, tables

HERE = Path(__file__).resolve().parent
PAGES = {HERE.parent / "speed.md": HERE, HERE.parent / "speed-avx512.md": HERE / "avx512"}
"""Pages, and the folder of each one's results."""
ONE = ("--threads", "1", "--clock", "cpu")
PHOTOS = ("--photos", "demo:astronaut,demo:chelsea,demo:coffee")
SELECT = ("select", *ONE, *PHOTOS, "--specs", "scope")
FIRST = ("capture,generate", *ONE, "--specs", "scope", "--no-steps", "--seconds", "600")

RUNS = {
    "select-warm": (*SELECT, "--tokens", "576", "--keep", "16,64,192"),
    "select-fresh": (*SELECT, "--tokens", "576", "--keep", "16,64,192", "--allocator", "fresh"),
    "select-2880": (*SELECT, "--tokens", "2880", "--keep", "160,640", "--rounds", "9", "--no-libraries", "--no-loop"),
    "recipes": (
        *("select", *ONE, *PHOTOS, "--tokens", "576", "--keep", "64", "--no-libraries", "--no-loop"),
        *("--specs", "scope,coverage_only,divprune,top_k_attention,random,uniform_grid,downsample"),
    ),
    "growth": ("growth", *ONE, *PHOTOS, "--specs", "scope", "--tokens", "2880", "--keep", "16,64,256,640"),
    "profile": ("profile", *ONE, "--specs", "scope", "--rounds", "9", "--seconds", "4"),
    "published": (
        *("published", *ONE, "--tokens", "576", "--width", "1024", "--keep", "64,192"),
        *("--rounds", "9", "--seconds", "4"),
    ),
    "batches": ("batches", "--threads", "2", "--specs", "scope", "--rounds", "7", "--seconds", "5"),
    "llava-1.5": (*FIRST, "--model", "llava-1.5-shape-170m", "--keep", "64,192", "--rounds", "7"),
    "llava-1.5-1b": (*FIRST, "--model", "llava-1.5-shape-1b", "--keep", "64,192", "--rounds", "3"),
    "llava-1.5-deep": (
        *("generate", *ONE, "--specs", "fastv,pyramiddrop", "--no-steps", "--seconds", "600"),
        *("--model", "llava-1.5-shape-deep", "--keep", "192", "--rounds", "3"),
    ),
    "llava-next": (*FIRST, "--model", "llava-next-shape-170m", "--keep", "160,320,640", "--rounds", "3"),
}


def main() -> int:
    """Run what is named, or all; write the page; the exit status."""
    named = [word for word in sys.argv[1:] if not word.startswith("--")]
    for name in () if "--write" in sys.argv else named or RUNS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "scope_core", "bench", "speed", *RUNS[name], "--out", folder]
            done = subprocess.run(command, check=False)
            if done.returncode:
                return done.returncode
            shutil.copy(Path(folder, "speed.json"), HERE / f"{name}.json")
    plot(json.loads((HERE / "growth.json").read_text(encoding="utf-8")), HERE / "growth.png")
    for page, results in PAGES.items():
        page.write_text(filled(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0


def filled(page: str, results: Path) -> str:
    """The page with the tables of the results that are in a folder between its marks."""
    for name in RUNS:
        opening, end = f"<!-- speed: {name} -->\n", "<!-- end -->"
        before, found, rest = page.partition(opening)
        path = results / f"{name}.json"
        if found and path.exists():
            page = before + opening + shown(json.loads(path.read_text(encoding="utf-8"))) + end + rest.partition(end)[2]
    return page


def shown(report: dict) -> str:
    """A result's tables, and what they were measured on."""
    facts = textwrap.fill(head(report).replace("\n", "; "), 120)
    made = [facts, *(table.markdown() for table in tables(report))]
    return "\n\n".join(made) + "\n"


if __name__ == "__main__":
    sys.exit(main())
