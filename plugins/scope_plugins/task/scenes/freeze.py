"""Render the frozen test set: ``python -m scope_plugins.task.scenes.freeze FOLDER``.

The shipped test set was rendered once; `frozen.SHA256` has its hashes. Another run gives the same questions, and the
same images if Pillow and the photographs are the same.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from random import Random
from zipfile import ZipFile, ZipInfo

from scope_plugins.task.scenes.compose import plan
from scope_plugins.task.scenes.photographs import photographs
from scope_plugins.task.scenes.questions import Asker, chosen
from scope_plugins.task.scenes.sprites import SHIPPED, read_sprites

SCENES = 416
QUALITY = 80
"""WebP quality, at which 336 x 336 pixels take about 17 kB."""


def freeze(folder: Path, scenes: int = SCENES) -> dict[str, str]:
    """Write ``images.zip`` and ``questions.json.gz``, and return the SHA-256 of each.

    The photographs take turns, so that each has the same number of scenes.
    """
    sprites, found = read_sprites(SHIPPED), photographs("test")
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    with ZipFile(folder / "images.zip", "w") as archive:
        for index in range(scenes):
            seed = f"test:{index}"
            scene = plan(seed, [found[index % len(found)]])
            image, boxes = scene.draw(sprites)
            questions = chosen(Asker(seed, boxes, scene.photograph, Random(f"{seed}:test")))  # noqa: S311
            buffer = BytesIO()
            image.save(buffer, "WEBP", quality=QUALITY, method=6)
            name = f"{index:03}.webp"
            archive.writestr(ZipInfo(name), buffer.getvalue())  # ZipInfo has a fixed date
            objects = [[box.label, box.x0, box.y0, box.x1, box.y1] for box in boxes]
            asked = [asdict(question) for question in questions]
            shown = scene.photograph.name
            entries.append({"id": seed, "image": name, "photograph": shown, "objects": objects, "questions": asked})
    text = json.dumps(entries, separators=(",", ":")).encode()
    (folder / "questions.json.gz").write_bytes(gzip.compress(text, mtime=0))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


if __name__ == "__main__":
    for file, digest in freeze(Path(sys.argv[1])).items():
        sys.stdout.write(f"{file} {digest}\n")
