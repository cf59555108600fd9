"""The pages of the methods, their index, and the images on them; called by generate.py.

Texts come from the recipes (`about`, `formula`, `code`, `differences`), figures from docs/evidence.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import scope_core as scope
from scope_adapters.pages.facts import Host, Method, methods
from scope_adapters.pages.markdown import paper_links, table
from scope_adapters.pages.method import method_page
from scope_core.registry.kinds import HOME
from scope_plugins import recipes

DOCS = Path(__file__).resolve().parent
PAGES, IMAGES = DOCS / "methods", DOCS / "pictures" / "methods"
RESULTS = DOCS / "evidence" / "strategies" / "results.json"
SPECS = "docs/methods/specs"
QUESTION = "Where is the umbrella?"
TOWER = "scope select demo:astronaut --spec {spec}"
MODEL = f'scope run docs/pictures/scene.png -q "{QUESTION}" --spec {{spec}}'
VIDEO = (
    *("dycoke", "fastvid", "flashvid", "floc", "framefusion", "holitom", "nth_frame", "prunevid"),
    *("uniform_frames", "vcast", "vidcom2"),
)
"""Methods whose image is that of a clip."""
CLIP = "scope select clip.mp4 --at vision --spec {spec}"
COMMANDS = {
    **{name: CLIP.format(spec=f"{name}@50%" if name == "dycoke" else f"{name}@10%") for name in VIDEO},
    "prumerge": TOWER.format(spec="prumerge"),
    "prumerge_plus": TOWER.format(spec="prumerge_plus"),
    "scope_text": MODEL.format(spec="scope_text@64"),
    "fastv": MODEL.format(spec="fastv"),
    "dart": MODEL.format(spec="dart@64"),
    "pyramiddrop": MODEL.format(spec=f"{SPECS}/pyramiddrop.yaml"),
    "sparsevlm": MODEL.format(spec=f"{SPECS}/sparsevlm.yaml"),
    "pact": MODEL.format(spec=f"{SPECS}/pact.yaml"),
    "cdpruner": MODEL.format(spec=f"{SPECS}/cdpruner.yaml --plugin {SPECS}/relevance.py"),
    "evs": 'scope run frame-1.png frame-2.png frame-3.png -q "Where is the ball?" --spec evs@50%',
}
"""The command that draws a method's image, where `command` has another."""
NOTES = {
    **dict.fromkeys(
        VIDEO, "A clip of 16 frames, one of those that [Methods for videos](../video-methods.md#measured) measures."
    ),
    "pyramiddrop": "The first of three stages, in a model of 4 layers.",
    "sparsevlm": "The first of three stages, in a model of 4 layers.",
    "pact": "In a model of 4 layers.",
    "cdpruner": "No CLIP was at hand: relevance is the cosine of the question's words and the tokens, in the language "
    "model's space.",
    "evs": "Three frames in which a ball moves over a photograph.",
}
UNDRAWN = (
    *(
        "anchorprune",
        "autoprune",
        "clse",
        "d2pruner",
        "eadp",
        "feather",
        "fitprune",
        "ivcprune",
        "priortr",
        "topv",
        "v2drop",
        "vscan",
        "vtw",
    ),
    "zooprune",
)
"""Methods without an image: they read signals that neither tower nor model at hand gives, or layers that it lacks, or
keep nothing that could be shown."""
SHORT = {
    "before the projector": "before projector",
    "after the projector": "after projector",
    "inside the language model": "language model",
}
"""Places in the index."""
WIDTH, QUALITY = 800, 80
"""Width of the images in pixels, and their quality as WebP."""


def built_in() -> list[Method]:
    """The methods that scope-core itself ships, SCOPE first, controls last."""
    order = [recipe.name for recipe in recipes.scope_recipes()]
    found = methods(scope.default_registry())
    own = [one for one in found if one.registry.get("recipe", one.name).origin.distribution == HOME]
    return sorted(own, key=lambda one: order.index(one.name))


def pages(families: Sequence[Host]) -> dict[Path, str]:
    """The page of every method, and their index; ``families`` are those of the models that the pages name."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    texts = {PAGES / f"{one.name}.md": page(one, families, results) for one in built_in()}
    return {**texts, PAGES / "README.md": index()}


def page(method: Method, families: Sequence[Host], results: dict[str, Any]) -> str:
    """The page of a method."""
    drawn = method.name not in UNDRAWN
    text = method_page(
        method.name,
        registry=method.registry,
        hosts=families,
        image=f"../pictures/methods/{method.name}.webp" if drawn else "",
        caption=f"{NOTES.get(method.name, '')} Drawn by `{command(method)} --out kept.png`.".strip() if drawn else "",
        source=f"[{source(method.name).name}](../../{source(method.name).as_posix()})",
        results=results,
        docs="../",
    )
    return f"<!-- written by docs/generate.py; do not edit -->\n\n{text}"


def index() -> str:
    """The page with all methods in one table, which the site can filter."""
    rows = []
    for one in built_in():
        without = any(not variant.needs_cls for variant in one.variants)
        cls = "no" if not one.needs_cls else "yes, `@no_cls` without" if without else "yes"
        rows.append(
            (
                f"[{one.name}]({one.name}.md)",
                one.item.summary,
                SHORT.get(one.place, one.place),
                cls,
                "yes" if one.needs_text else "no",
                "no" if one.attention_free else "yes",
                "yes" if one.merges else "no",
                "no" if one.served() else "yes",
                "; ".join(paper_links(one.item.paper)) or "-",
            )
        )
    head = ("method", "keeps", "acts", "CLS", "question", "attention", "merges", "served", "paper")
    return f"{INTRODUCTION}\n{table(head, rows)}\n{AFTER}"


INTRODUCTION = """\
<!-- written by docs/generate.py; do not edit -->

# Methods

Every method is a recipe: its name works wherever a spec is expected, as in `visionzip@64`. Each page says what the
method rewards, shows it on a photograph, and has its formula, its parts as YAML, the models it runs on, and how it
differs from the authors' code. Variants after `@` are on the page of their method: `@official` follows the released
code where that differs from the paper, `@no_cls` is for towers without a CLS token.

<div data-filter></div>
"""
AFTER = """\
| column | says |
|---|---|
| acts | where tokens are dropped: before or after the projector, or inside the language model |
| CLS | whether the tower must have a CLS token |
| question | whether another question keeps other tokens |
| attention | whether it reads attention, which is computed from one layer's queries and keys |
| merges | whether dropped tokens are merged into kept ones |
| served | whether [vLLM](../serving.md) serves it |

`scope list recipe` prints this list with the recipes of installed plugins, `scope list recipe --model NAME` says which
run on a model, and `scope page NAME` writes such a page for any recipe, a third-party one too.
[Parts](../parts.md) has the parts that these recipes are made of, [Configure](../configure.md#change-a-recipe) says
how to change one, [Write a recipe](../write-a-recipe.md) how to add one, and [Compare](../compare.md) and
[Benchmark](../benchmark.md) how to measure them.

## Methods that are not here

| method | why |
|---|---|
| VisionTrim, FlashVLM, Script, CoIn, OccamToken | known from abstracts, or without the code that matters |
| VisionSelector, IDPruner, ATP-LLaVA, DyMU, HiDrop | need trained weights |
| SparseVILA, ZipVL, LOOK-M | prune caches while decoding |
| PixelPrune | prunes pixels before the tower |
"""


def source(name: str) -> Path:
    """The file of a recipe, from the repository's root."""
    modules = [module for module in vars(recipes).values() if hasattr(module, "RECIPES")]
    (found,) = [module.__name__ for module in modules for recipe in module.RECIPES if recipe.name == name]
    return Path("plugins", f"{found.replace('.', '/')}.py")


def command(method: Method) -> str:
    """The command that draws the image of a method, without ``--out``."""
    plain = TOWER if method.points == ["vision"] else MODEL
    return COMMANDS.get(method.name, plain.format(spec=f"{method.name}@64"))


def draw(names: Collection[str] = ()) -> int:
    """Draw the images of these methods, by default of all, by the command line; the exit status."""
    from PIL import Image

    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        frames = {path.name: str(path) for path in (*drawn_frames(Path(folder)), drawn_clip(Path(folder)))}
        for one in [one for one in built_in() if not names or one.name in names]:
            out = Path(folder) / f"{one.name}.png"
            words = [frames.get(word, word) for word in shlex.split(command(one))]
            line = [sys.executable, "-m", "scope_core", *words[1:], "--out", str(out)]
            done = subprocess.run(line, check=False, cwd=DOCS.parent, stdout=subprocess.DEVNULL)
            if done.returncode:
                return done.returncode
            with Image.open(out) as drawn:
                small = drawn.convert("RGB").resize((WIDTH, round(drawn.height * WIDTH / drawn.width)), Image.LANCZOS)
            path = IMAGES / f"{one.name}.webp"
            small.save(path, quality=QUALITY, method=6)
            print(f"written: {path}, {path.stat().st_size // 1000} kB")
    return 0


def drawn_frames(folder: Path) -> Iterator[Path]:
    """Three frames in which a ball moves over a photograph."""
    from PIL import Image, ImageDraw
    from skimage import data

    photograph = Image.fromarray(data.coffee()).crop((100, 30, 436, 366))
    for number in range(3):
        frame, left = photograph.copy(), 40 + 90 * number
        ImageDraw.Draw(frame).ellipse((left, 40, left + 56, 96), fill="#d62728", outline="white", width=3)
        path = folder / f"frame-{number + 1}.png"
        frame.save(path)
        yield path


def drawn_clip(folder: Path) -> Path:
    """A clip of docs/evidence/video as a file."""
    from scope_core.clips import write_clip

    sys.path.insert(0, str(DOCS / "evidence" / "video"))
    import clips

    path = folder / "clip.mp4"
    write_clip(clips.draw(clips.plan(1))[0], path, 2.0)
    return path
