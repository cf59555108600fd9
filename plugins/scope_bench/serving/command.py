"""``scope bench serve``: options, and the order of steps."""

from __future__ import annotations

import importlib.util
import json as json_module
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scope_bench.accuracy.plot import new_figure
from scope_bench.serving import report
from scope_bench.serving.engine import EVERYTHING, HOST, running
from scope_bench.serving.load import Load, measure
from scope_core import MissingDependencyError, Pruner, TaskError
from scope_core.commands import done, note, numbers, out, progress, show_json, split_commas, state_of, write_text

EXAMPLES = (
    "scope bench serve llava-hf/llava-1.5-7b-hf --spec scope@64",
    "scope bench serve Qwen/Qwen2.5-VL-7B-Instruct --spec scope@no_cls@25% --sizes 1280x720,640x640 --out report",
)
OWNED = ("--host", "--port", "--served-model-name", "--hf-overrides", "--model")
"""Options of vLLM that the command sets itself."""
MOST, FEW = 10_000, 4


def serve(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that `scope serve` serves.")],
    spec: Annotated[str, typer.Option(metavar="SPEC", help="What the pruned engine keeps: a recipe with its budget.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- OPTIONS", help="Options of vLLM, for both engines.", show_default=False),
    ] = None,
    concurrency: Annotated[
        list[str] | None,
        typer.Option(metavar="N,...", help="Clients at the same time.", show_default="1,4,16,32"),
    ] = None,
    requests: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST, help="Requests of a measurement; at least one a client.")
    ] = 64,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WIDTHxHEIGHT,...", help="Sizes of images, equally likely.", show_default="336x336,640x480,480x800"
        ),
    ] = None,
    prompt: Annotated[str, typer.Option(metavar="LOW-HIGH", help="Tokens of the questions.")] = "16-128",
    answer: Annotated[int, typer.Option(metavar="N", min=2, help="Tokens of every answer.")] = 32,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="Turns of both engines; medians count.")] = 1,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Longest start of an engine, and longest measurement.")
    ] = 900,
    seed: Annotated[int, typer.Option(min=0, help="Seed of images and questions, the same for both engines.")] = 0,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write report.json, report.txt and report.png.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Measure requests per second of an unpruned and a pruned vLLM engine, in turns. No request repeats an image."""
    given = list(options or ())
    clients = numbers(concurrency, "--concurrency", (1, 4, 16, 32))
    load = Load(model, requests, _sizes(sizes), _range(prompt), answer, warmups=min(max(clients), 4), patience=patience)
    if owned := [word for word in given if word.partition("=")[0].replace("_", "-") in OWNED]:
        raise typer.BadParameter(
            f"{owned[0]} is set by this command, which serves on {HOST} only", param_hint="OPTIONS"
        )
    if target is not None:
        new_figure(1, 1)  # without matplotlib, say so before measuring
    Pruner(spec, registry=state_of(ctx).registry)
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError("this measures vLLM. Try: pip install 'scope-core[vllm]'")
    measured: dict[str, dict[int, list[dict[str, float]]]] = {
        "all": {n: [] for n in clients},
        spec: {n: [] for n in clients},
    }
    turns = [(turn, *engine) for turn in range(rounds) for engine in (("all", EVERYTHING), (spec, spec))]
    steps, made = len(turns) * (1 + len(clients)), 0
    text = f"2 engines x {', '.join(map(str, clients))} clients x {rounds} round{'s' * (rounds > 1)}"
    with tempfile.TemporaryDirectory() as name, progress(text, log=True) as tell:
        tell(made, steps)
        for turn, engine, served in turns:
            folder = Path(name) / f"{turn}-{'all' if engine == 'all' else 'pruned'}"
            folder.mkdir()
            with running(model, served, given, folder / "engine.log", patience) as started:
                tell(made := made + 1, steps)
                for n in clients:
                    asked = replace(load, requests=max(load.requests, n))
                    one = measure(started, asked, n, seed + 1000 * turn + n, folder / str(n))
                    measured[engine][n].append(one)
                    tell(made := made + 1, steps)
    rows = report.summarized(measured)
    if not any(row["tokens_kept"] < row["tokens_in"] for row in rows if row["engine"] == spec):
        raise TaskError(f"the engine with {spec} kept every token, so there is nothing to compare; lower its budget")
    said = report.verdict(rows)
    if requests * rounds < FEW * max(clients):
        note(
            f"fewer than {FEW} requests for each client: differences may be chance; ask for more (--requests, --rounds)"
        )
    facts = {
        "model": model,
        "spec": spec,
        "settings": {
            "requests": requests, "sizes": [list(size) for size in load.sizes], "prompt": list(load.prompt),
            "answer": answer, "rounds": rounds, "seed": seed, "options": given,
        },
        "rows": rows,
        "verdict": said,
    }  # fmt: skip
    text = "\n".join([report.table(rows), "", *said])
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
        write_text(target / "report.json", json_module.dumps(facts, indent=1) + "\n")
        write_text(target / "report.txt", text + "\n")
        report.draw(rows, target / "report.png")
        done(f"written: {target}")
    if json:
        show_json(facts)
    else:
        out().print(text, markup=False, soft_wrap=True)


def _sizes(given: list[str] | None) -> list[tuple[int, int]]:
    found = []
    for text in split_commas(given) or ["336x336", "640x480", "480x800"]:
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
        if not match:
            raise typer.BadParameter(
                f"'{text}' is not a size; write WIDTHxHEIGHT, e.g. 640x480", param_hint="'--sizes'"
            )
        found.append((int(match[2]), int(match[1])))
    return list(dict.fromkeys(found))


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,5})(?:-([1-9]\d{0,5}))?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if low > high:
        raise typer.BadParameter(
            f"'{text}' is not a range of tokens; write e.g. 16-128, or 64", param_hint="'--prompt'"
        )
    return low, high
