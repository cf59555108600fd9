"""The Triton kernels without a GPU: run in Triton's interpreter, and compiled for GPUs that are not there.

They were never run on a GPU here. The interpreter shows that the arithmetic is right and, with one process for each
program, that programs which wait for each other agree; compiling shows that what is launched is a program for the GPU.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import offers
import pytest
import torch

from scope_plugins.coverage._fast import on_triton

CASES = Path(__file__).with_name("triton_cases.py")


@offers.triton_without_gpu
def test_in_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].startswith("13 passed")
    assert "skipped" not in done.stdout


class Device:
    """What Triton asks of a driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.capability  # kernels are kept by device

    def get_current_stream(self, device: int) -> int:
        return 0


class Compiled:
    """A kernel that is compiled for the launch that is asked for, and not launched."""

    def __init__(self, kernel: Any, into: list[Any]) -> None:
        self.kernel, self.into = kernel, into

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            self.into.append(self.kernel.run(*arguments, grid=grid, warmup=True, **options))

        return launch


def used_by(binary: bytes, folder: Path) -> str:
    """What a program for a GPU takes of it, as NVIDIA's tool, which Triton brings, says."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    (folder / "program").write_bytes(binary)
    asked = [str(tool), "-res-usage", str(folder / "program")]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


@offers.triton_without_gpu
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    "plan",
    [None, on_triton.Plan(256, 5, True, 2048), on_triton.Plan(1024, 2, False, 2048)],
    ids=["one", "several", "step by step"],
)
def test_compiles_for_a_gpu(capability: int, plan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from triton.runtime.driver import driver

    from scope_plugins.coverage._fast import triton_kernel as kernels

    made: list[Any] = []
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))  # compiled now, and not another day
    monkeypatch.setattr(driver, "_active", Device(capability))
    monkeypatch.setattr(kernels, "first_gains", Compiled(kernels.first_gains, made))
    monkeypatch.setattr(kernels, "greedy", Compiled(kernels.greedy, made))
    count = 576 if plan is None else 1200
    level, ones = torch.ones(1, count, dtype=torch.int8), torch.ones(1, count, dtype=torch.float64)
    on_triton.run(torch.ones(1, count, count), level, ones, ones, [3], plan)
    assert len(made) == (5 if plan and not plan.together else 2)  # the gains, a beginning and each pick; or both in one
    for kernel in made:
        assert kernel.asm["cubin"]
        assert f".target sm_{capability}" in kernel.asm["ptx"]
        assert "fma.rn.f64" not in kernel.asm["ptx"], "gain * scale + offset would round once, and elsewhere twice"
        assert " STACK:0 " in used_by(kernel.asm["cubin"], tmp_path), "registers are spilled to memory"
    waits = bool(plan and plan.together)
    last = made[-1]
    assert last.metadata.launch_cooperative_grid is waits
    assert [f".global.gpu.{order}" in last.asm["ptx"] for order in ("release", "acquire")] == [waits, waits]


def test_programs_do_not_wait_for_each_other_unless_asked_to() -> None:
    assert on_triton.plan(1, 1024, 132) == on_triton.Plan(1024, 1, True)
    assert not on_triton.plan(1, 2880, 132).together
    assert on_triton.plan(1, 2880, 132, meet=True).together
    assert not on_triton.plan(32, 2880, 40, meet=True).together  # more programs than processors
