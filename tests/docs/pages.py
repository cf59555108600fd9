"""Pages of the documentation, their fenced blocks, and a runner that follows a page as a reader would.

* ```` ```python ```` runs, all blocks of a page in one module, in order; ```` ```python no-run ```` is only compiled.
  ```` ```python encoder-outputs ```` runs where models take encoded images.
* ```` ```text ```` right after a Python block is what that block prints; ``...`` stands for anything. After
  ```` ```text about ```` any number stands for any other: times, and figures that differ a little between machines.
* A block right after a line that ends in ``` `name.ext`: ``` is a file: it is saved under that name and not run.
  After ``Add to `name.ext`:`` it is added to the end of that file.

``python tests/docs/pages.py [PAGE...]`` runs pages and writes what their blocks print into the ```` ```text ````
blocks, except where these hold ``...``.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import re
import shutil
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.exists() and page.parent.parent != ROOT / "docs" / "evidence"  # tables that a command wrote
]

_FENCE = re.compile(r"^(?P<tick>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=tick)[ ]*$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?P<add>[Aa]dd to )?`(?P<name>[\w./-]+\.\w+)`:\s*\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, what follows the language, the text, and where it is."""

    language: str
    flags: tuple[str, ...]
    body: str
    line: int
    start: int
    """Offset of the body in the page."""
    file: str = ""
    adds: bool = False


def name_of(page: Path) -> str:
    """The page's path below the project, for test ids and messages."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        label = _FILE.search(text[: match.start()])
        found.append(
            Block(
                language,
                tuple(flags),
                match["body"],
                text.count("\n", 0, match.start()) + 1,
                match.start("body"),
                label["name"] if label else "",
                bool(label and label["add"]),
            )
        )
    return found


def save(block: Block, folder: Path) -> Path:
    """Save a block that is a file, or add it to the one that is there."""
    path = folder / block.file
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if block.adds else ""
    path.write_text(f"{old}\n\n{block.body}" if old else block.body, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Command:
    """One ``$`` line of a console block, and the output that is shown under it."""

    line: str
    shown: str


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[list[str]] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            found.append([line.removeprefix("$ ")])
        elif found:
            found[-1].append(line)
    return [Command(line, "\n".join(output)) for line, *output in found]


def output_of(text: str, found: list[Block], number: int) -> Block | None:
    """The block that shows what Python block ``number`` prints, if the page has one."""
    if number + 1 == len(found) or found[number + 1].language != "text":
        return None
    block, after = found[number], found[number + 1]
    between = text[block.start + len(block.body) : after.start]
    return after if re.fullmatch(r"`+\n\n?`+text[^\n]*\n", between) else None


def lay_out(folder: Path) -> None:
    """What pages open by its path in a checkout."""
    (folder / "docs" / "pictures").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "docs" / "pictures" / "scene.png", folder / "docs" / "pictures")


def run(page: Path, folder: Path) -> Iterator[tuple[Block, str, Block | None]]:
    """Follow a page in ``folder``, the current directory: each Python block, what it printed and should print."""
    text = page.read_text(encoding="utf-8")
    found = blocks(text)
    lay_out(folder)
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(folder))
    saved: set[str] = set()
    try:
        for number, block in enumerate(found):
            if block.file:
                saved.add(save(block, folder).stem)
                for name in saved:
                    sys.modules.pop(name, None)
                importlib.invalidate_caches()
            elif block.language == "python":
                # the blank lines make line numbers in tracebacks those of the page
                code = compile("\n" * block.line + block.body, str(page), "exec")
                if "no-run" in block.flags or ("encoder-outputs" in block.flags and not _takes_encoder_outputs()):
                    continue
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(code, module.__dict__)
                yield block, printed.getvalue(), output_of(text, found, number)
    finally:
        sys.path.remove(str(folder))
        for name in (module.__name__, *saved):
            sys.modules.pop(name, None)


def _takes_encoder_outputs() -> bool:
    """Whether models of the installed transformers take encoded images; the docs show what newer ones do."""
    from transformers import LlavaForConditionalGeneration

    return "mm_encoder_outputs" in inspect.signature(LlavaForConditionalGeneration.forward).parameters


def matches(printed: str, wanted: Block) -> bool:
    """Whether ``printed`` is what ``wanted`` shows."""
    shown = wanted.body.strip()
    if "about" in wanted.flags:
        printed, shown = (re.sub(r"\d+(\.\d+)?", "#", text) for text in (printed, shown))
    pattern = re.escape(shown).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, tidy(printed).strip(), re.DOTALL) is not None


def tidy(printed: str) -> str:
    """Output as a page shows it: no spaces at the end of lines, no empty lines around it."""
    return "\n".join(line.rstrip() for line in printed.strip().split("\n")) + "\n"


def _update(page: Path) -> None:
    import os
    import tempfile

    text = page.read_text(encoding="utf-8")
    changes: list[tuple[Block, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for _, printed, wanted in run(page, Path(folder)):
            if wanted is None or matches(printed, wanted):
                continue
            if "..." not in wanted.body:
                changes.append((wanted, tidy(printed)))
            else:
                print(f"{name_of(page)}:{wanted.line} has ... and does not match:\n{printed}")
        os.chdir(ROOT)
    for block, new in reversed(changes):
        text = text[: block.start] + new + text[block.start + len(block.body) :]
    page.write_text(text, encoding="utf-8")
    print(f"{name_of(page)}: {len(changes)} outputs written")


if __name__ == "__main__":
    for given in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        _update(given)
