"""Selection on processors and settings that are not this one's: the compiled way is the loop's to the last bit on each.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NO_AVX = {"ATEN_CPU_CAPABILITY": "default", "NUMBA_CPU_NAME": "generic", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
PROGRAM = """
import json, sys
import torch
import scope_core as scope

threads, flush = json.loads(sys.argv[1])
torch.set_num_threads(threads)
torch.set_flush_denormal(flush)
found = [torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else ""]
for count, keep in ((1, 1), (2, 1), (3, 3), (17, 5), (130, 130), (257, 85), (600, 64)):
    for scale in (1.0, 1e-20, 1e-39):  # products of 1e-20 leave float32's range, and 1e-39 is denormal itself
        x = torch.randn(2, count, 24, generator=torch.Generator().manual_seed(count)) * scale
        saliency = torch.rand(2, count, generator=torch.Generator().manual_seed(1))
        ways = []
        for path in ("auto", "loop"):
            spec = {"recipe": "scope", "budget": keep, "optimizer": {"name": "greedy", "path": path}}
            ways.append(scope.select(x, spec=spec, saliency=saliency))
        one, other = ways
        assert torch.equal(one.picks, other.picks), (count, keep, scale)
        assert torch.equal(one.gains, other.gains) and torch.equal(one.scores, other.scores), (count, keep, scale)
        alone = [scope.select(x[i], spec=f"scope@{keep}", saliency=saliency[i]).picks[0] for i in range(2)]
        assert torch.equal(one.picks, torch.stack(alone)), (count, keep, scale)
        # the formula, in float64 and without any of our code
        unit = torch.nn.functional.normalize(x[0].double() * (1e39 if scale == 1e-39 else 1), dim=-1)
        similarity, best, kept = unit @ unit.T, torch.zeros(count, dtype=torch.float64), []
        for pick in one.picks[0].tolist():
            score = (similarity - best[:, None]).clamp(min=0).sum(0) * saliency[0].double()
            score[kept] = -torch.inf
            assert float(score.max() - score[pick]) <= 1e-4 * count, (count, keep, scale, pick)
            best, kept = best.maximum(similarity[:, pick]), [*kept, pick]
        found.append(one.picks.tolist())
print(json.dumps(found))
"""


def selections(tmp_path: Path, threads: int = 1, flush: bool = False, **settings: str) -> list:
    """What the program found on a processor with these settings: its instructions, and picks."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([threads, flush])],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize(
    ("threads", "flush", "settings"),
    [
        (1, False, NO_AVX),
        (4, True, {"OPENBLAS_CORETYPE": "Nehalem", "MKL_NUM_THREADS": "4"}),
    ],
    ids=["no AVX", "four threads, another core type, denormals flushed"],
)
def test_every_way_picks_the_same(tmp_path: Path, threads: int, flush: bool, settings: dict[str, str]) -> None:
    name, *picks = selections(tmp_path, threads, flush, **settings)
    assert len(picks) == 21
    if settings is NO_AVX:
        assert name in ("", "DEFAULT", "NO AVX")
