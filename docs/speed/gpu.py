"""What selection costs on a GPU, and whether its kernels pick there what the CPU picks. Run by hand; CI has no GPU.

    python docs/speed/gpu.py                # kernels checked, waits counted, selection timed
    python docs/speed/gpu.py --models       # and LLaVA-1.5 and LLaVA-NeXT of 7B shape, in bfloat16, random weights
    python docs/speed/gpu.py --out gpu.json # and what was measured as JSON

Exit codes: 0 all picks agree, also on streams, and nothing waits between picks; 1 not so; 2 there is no GPU to run on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import scope_core as scope
from scope_bench.speed.machine import machine
from scope_bench.speed.timing import Effort, in_turns, spread

SIZES = ((576, 64), (576, 192), (2880, 640))
TARGETS = {(576, 64): 1.0, (2880, 640): 5.0}  # milliseconds
KINDS = ("noise", "ties", "copies", "zeros")
WAITING = (
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy"),
    "aten::_local_scalar_dense",
)
"""Events of the profiler that stand for a wait, or for a number that the host reads."""
MODELS = (("llava-1.5-shape-7b", "64,192", (1, 8, 32)), ("llava-next-shape-7b", "160,320,640", (1, 8)))


def features(kind: str, batch: int, count: int, width: int, seed: int = 0) -> torch.Tensor:
    """(batch, count, width) float32 on the CPU, of kinds that have many ties."""
    x = torch.randn(batch, count, width, generator=torch.Generator().manual_seed(seed))
    if kind == "ties":
        x = x[..., :6].round()
    if kind == "copies":
        x[:, count // 2 :] = x[:, : count - count // 2].clone()
    if kind == "zeros":
        x[:, ::3] = 0
    return x


def agreement(device: torch.device, sizes: tuple[int, ...] = (1, 24, 576, 1100, 2880)) -> list[dict[str, Any]]:
    """Picks, gains and scores of greedy facility location on the device beside the CPU's, from the same matrix."""
    registry = scope.default_registry()
    coverage = registry.build("coverage", registry.get("coverage", "facility_location").spec())
    kernel = coverage.kernel
    reasons = filter(None, [kernel.why_not(coverage, torch.device(where)) for where in ("cpu", device)])
    if reason := "; ".join(reasons):
        raise SystemExit(f"no compiled way to compare: {reason}")
    metric = registry.build("similarity", registry.get("similarity", "cosine").spec())
    found = []
    for count in sizes:
        for kind in KINDS:
            for batch in (1, 3):
                tokens = scope.VisualTokens.of(features(kind, batch, count, 16))
                tokens = tokens.require(torch.arange(count).expand(batch, -1) == 2)
                matrix = metric.pairwise(tokens)
                scale = torch.rand(batch, count, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
                keep = [max(1, (count - group) // 4) for group in range(batch)]
                moved = scope.VisualTokens.of(tokens.features.to(device), required=tokens.required.to(device))
                here = kernel.picks(coverage, matrix, tokens, scale, scale * 0, keep)
                there = kernel.picks(coverage, matrix.to(device), moved, scale.to(device), scale.to(device) * 0, keep)
                pairs = [(getattr(here, name), getattr(there, name).cpu()) for name in ("picks", "gains", "scores")]
                same = all(torch.equal(one.nan_to_num(-1), other.nan_to_num(-1)) for one, other in pairs)
                found.append({"kind": kind, "batch": batch, "tokens": count, "keep": keep, "same": same})
    return found


def waits(device: torch.device, keep: int) -> int:
    """How often the host waits for the device in one whole selection of ``keep`` from 576 tokens."""
    x, saliency = features("noise", 1, 576, 64).to(device), torch.rand(1, 576).to(device)
    pruner = scope.Pruner(f"scope@{keep}")
    pruner.select(x, saliency=saliency)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            pruner.select(x, saliency=saliency)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(one.message) for one in seen)


def events(device: torch.device, keep: int) -> dict[str, int]:
    """How often one whole selection calls functions that wait for the device, by the profiler's events."""
    x, saliency = features("noise", 1, 576, 64).to(device), torch.rand(1, 576).to(device)
    pruner = scope.Pruner(f"scope@{keep}")
    pruner.select(x, saliency=saliency)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if device.type == "cuda" else []
    with torch.profiler.profile(activities=kinds) as seen:
        pruner.select(x, saliency=saliency)
    names = [event.name for event in seen.events()]
    return {name: names.count(name) for name in WAITING if name in names}


def on_streams(device: torch.device) -> bool:
    """True if selections on three streams at once keep what they keep one after the other."""
    pruner = scope.Pruner("scope@64")
    given = [features("noise", 1, 576, 64, seed).to(device) for seed in range(3)]
    saliency = torch.rand(1, 576, generator=torch.Generator().manual_seed(3)).to(device)
    alone = [pruner.select(x, saliency=saliency).picks for x in given]
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.synchronize(device)
    together = []
    for x in given:
        with torch.cuda.stream(torch.cuda.Stream(device)) if gpu else contextlib.nullcontext():
            together.append(pruner.select(x, saliency=saliency).picks)
    if gpu:
        torch.cuda.synchronize(device)
    return all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def in_a_graph(device: torch.device) -> str:
    """Whether one whole selection can be captured as a CUDA graph: it reads counts, so a refusal is expected."""
    if device.type != "cuda":
        return "no CUDA graphs on this device"
    x, saliency = features("noise", 1, 576, 64).to(device), torch.rand(1, 576).to(device)
    pruner = scope.Pruner("scope@64")
    pruner.select(x, saliency=saliency)
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            pruner.select(x, saliency=saliency)
    except RuntimeError as error:
        return f"not captured: {str(error).strip().splitlines()[0]}"
    return "captured"


def on_device(run: Callable[[], Any], device: torch.device, rounds: int) -> dict[str, float]:
    """Milliseconds from the first kernel's start to the last one's end; on the CPU, of the call."""
    if device.type == "cpu":
        return spread(in_turns({"run": run}, Effort(rounds), device)["run"].wall)
    run()
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
    for start, end in pairs:
        torch.cuda.synchronize(device)
        start.record()
        run()
        end.record()
    torch.cuda.synchronize(device)
    return spread([start.elapsed_time(end) for start, end in pairs])


def selection(
    device: torch.device,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    batches: tuple[int, ...] = (1, 8, 32),
    rounds: int = 25,
) -> list[dict[str, Any]]:
    """Times of the cosine matrix alone, and of whole selections with and without the compiled way."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        for count, keep in sizes:
            for batch in batches:
                x = features("noise", batch, count, 1024).to(device, dtype)
                saliency = torch.rand(batch, count, generator=torch.Generator().manual_seed(2)).to(device, dtype)
                loop = {"recipe": "scope", "budget": keep, "optimizer": {"name": "greedy", "path": "loop"}}

                def cosines(x: torch.Tensor = x) -> None:
                    unit = torch.nn.functional.normalize(x.float(), dim=-1)
                    torch.matmul(unit, unit.mT)

                def select(spec: Any, x: torch.Tensor = x, saliency: torch.Tensor = saliency) -> Callable[[], Any]:
                    pruner = scope.Pruner(spec)
                    return lambda: pruner.select(x, saliency=saliency)

                runs = {"cosines": cosines, "compiled": select(f"scope@{keep}")}
                if batch == 1:
                    runs["loop"] = select(loop)
                walls = in_turns(runs, Effort(rounds, 5.0), device)
                row = {"dtype": str(dtype).removeprefix("torch."), "tokens": count, "keep": keep, "batch": batch}
                row |= {f"{name}_ms": spread(lap.wall) for name, lap in walls.items()}
                row["compiled_on_device_ms"] = on_device(runs["compiled"], device, rounds)
                rows.append(row | {"target_ms": TARGETS.get((count, keep)) if batch == 1 else None})
    return rows


def models(out: Path | None) -> None:
    """``scope bench speed`` on models of 7B shape: first token, share of the ideal, cache, at several batches."""
    for name, keeps, batches in MODELS:
        for batch in batches:
            command = [
                sys.executable,
                "-m",
                "scope_core",
                "bench",
                "speed",
                "generate",
                "--model",
                name,
                "--keep",
                keeps,
            ]
            command += ["--device", "cuda", "--dtype", "bfloat16", "--batch", str(batch)]
            if out is not None:
                command += ["--out", str(out.with_suffix("")) + f"-{name}-{batch}"]
            print("$", " ".join(command[2:]), flush=True)
            subprocess.run(command, check=False)  # one that runs out of memory says so, and the next is tried


def table(rows: list[dict[str, Any]]) -> str:
    """Medians, as Markdown."""
    lines = ["| dtype | N | K | batch | cosines | whole selection | on the device | loop | target |", "|---" * 9 + "|"]
    for row in rows:
        times = [row.get(f"{name}_ms") for name in ("cosines", "compiled", "compiled_on_device", "loop")]
        cells = [row["dtype"], row["tokens"], row["keep"], row["batch"]]
        cells += ["" if one is None else f"{one['median']:.3f} ms" for one in times]
        cells.append("" if row["target_ms"] is None else f"{row['target_ms']} ms")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Check, count, measure; what was found goes to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", action="store_true", help="time models of 7B shape, too")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write JSON")
    given = parser.parse_args(argv)
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        print(f"no GPU: torch {torch.__version__}, {built}, finds none. Nothing was measured.", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    about = machine(device)
    print(about)
    checked = agreement(device)
    wrong = [row for row in checked if not row["same"]]
    print(
        f"{len(checked) - len(wrong)} of {len(checked)} problems: picks, gains and scores equal the CPU's bit for bit"
    )
    for row in wrong:
        print("  differs:", row)
    counted = {keep: waits(device, keep) for keep in (8, 64, 192)}
    print(f"times that the host waits in one selection, by tokens kept: {counted}")
    profiled = {keep: events(device, keep) for keep in (8, 192)}
    print(f"events that wait, by tokens kept: {profiled}")
    streams = on_streams(device)
    print(f"three streams at once keep {'the same tokens' if streams else 'OTHER TOKENS'}")
    rows = selection(device)
    print(table(rows))
    graph = in_a_graph(device)  # last: a refused capture may leave the context in error
    print(f"as a CUDA graph: {graph}")
    if given.out is not None:
        report = {"machine": about, "agreement": checked, "waits": counted, "selection": rows}
        report |= {"events": profiled, "streams_agree": streams, "graph": graph}
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if given.models:
        models(given.out)
    return int(bool(wrong) or not streams or len(set(counted.values())) > 1)


if __name__ == "__main__":
    sys.exit(main())
