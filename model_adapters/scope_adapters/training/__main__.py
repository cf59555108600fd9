"""Train a small LLaVA on the scenes task: ``python -m scope_adapters.training --work FOLDER``.

It renders and encodes the scenes (cached in the folder), trains in three stages, the last in three rounds, with
checkpoints, and writes the model to ``FOLDER/model``. Run again with the same options, it continues from there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scope_adapters.training.settings import Settings

logger = logging.getLogger("scope_adapters.training")


def main(
    work: Annotated[Path, typer.Option(help="Folder of the features, the checkpoint, the log and the model.")],
    sprites: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Emoji families. [default: the shipped ones]")
    ] = None,
    photographs: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="More backgrounds for training.")
    ] = None,
    scenes: Annotated[int, typer.Option(min=8)] = Settings.scenes,
    seed: Annotated[int, typer.Option(min=0)] = Settings.seed,
    share: Annotated[float, typer.Option(min=0.0001, max=10, help="Share of the steps of each stage.")] = 1.0,
    compile_: Annotated[bool, typer.Option("--compile/--no-compile", help="Needs a C++ compiler.")] = True,
    half: Annotated[bool, typer.Option(help="In bfloat16: slower if the processor has no instructions for it.")] = True,
) -> None:
    """Train a small LLaVA on the scenes task."""
    from scope_adapters.training.data import WORDINGS, gather, task
    from scope_adapters.training.export import export
    from scope_adapters.training.features import encode
    from scope_adapters.training.run import STAGES, steps_of, train
    from scope_adapters.zoo.towers import dinov2_small

    work.mkdir(parents=True, exist_ok=True)
    plain = Settings(scenes=scenes, seed=seed, compile=compile_, half=half)
    steps = {
        f"{stage}_steps": max(1, round(getattr(plain, f"{stage}_steps") * share))
        for stage in ("align", "lookup", "mixed")
    }
    settings = replace(plain, **steps)
    tasks = [task(sprites=sprites, photographs=photographs, wording=wording, scenes=scenes) for wording in WORDINGS]
    asked = [each.examples("train", seed=seed) for each in tasks]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with _logged(work / "log.txt"), Progress(*columns, speed_estimate_period=600.0) as bars:
        key = f"{scenes} scenes from seed {seed}, sprites {sprites}, photographs {photographs}"
        shown = partial(bars.track, description="features")
        features = encode(asked[0], work / "features", key=key, half=half, track=shown)
        numbers = bars.track(range(scenes), description="questions")
        pools = [[question for wording in asked for question in wording[n].questions] for n in numbers]
        data, words = gather(features, pools)
        logger.info("%d scenes, %d words", len(features), len(words))
        rows = {stage: bars.add_task(stage, total=steps_of(stage, settings)) for stage in STAGES}

        def tick(stage: str, step: int, total: int, loss: float) -> None:
            bars.update(rows[stage], completed=step)
            if step % 50 == 0 or step == total:
                logger.info("%s %d/%d loss %.3f", stage, step, total, loss)

        student = train(data, settings, len(words), work, tick=tick)
        export(student, words, dinov2_small("").module.config, work / "model")
        logger.info("wrote %s", work / "model")


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Show messages on the terminal and append them to a file."""
    lines = logging.FileHandler(path, encoding="utf-8")
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    handlers, before = (RichHandler(show_path=False), lines), logger.level
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


if __name__ == "__main__":
    typer.run(main)
