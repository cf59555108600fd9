"""docs/speed/gpu.py, which needs a GPU to say anything: what of it can run does, on the CPU."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from scope_plugins.coverage._fast.facility_location import FacilityLocationKernel

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "speed" / "gpu.py"
    spec = importlib.util.spec_from_file_location("gpu_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "Nothing was measured" in capsys.readouterr().err


def test_agreement(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu.agreement(CPU, (1, 24))
    assert len(found) == 2 * 4 * 2
    assert all(row["same"] for row in found)

    inner, calls = FacilityLocationKernel.picks, []

    def every_second_one_is_off(self: FacilityLocationKernel, *given: Any) -> Any:
        made = inner(self, *given)
        calls.append(made)
        return made if len(calls) % 2 or made is None else replace(made, gains=made.gains * (1 + 1e-15))

    monkeypatch.setattr(FacilityLocationKernel, "picks", every_second_one_is_off)
    assert not any(row["same"] for row in gpu.agreement(CPU, (24,)))


def test_without_a_compiled_way_there_is_nothing_to_compare(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FacilityLocationKernel, "why_not", lambda self, coverage, device: "numba is not installed")
    with pytest.raises(SystemExit, match="no compiled way to compare: numba is not installed"):
        gpu.agreement(CPU, (4,))


def test_events_streams_and_graphs(gpu: ModuleType) -> None:
    few, many = (gpu.events(CPU, keep) for keep in (8, 64))
    assert few == many
    assert 0 < few["aten::_local_scalar_dense"] < 40
    assert gpu.on_streams(CPU)
    assert gpu.in_a_graph(CPU) == "no CUDA graphs on this device"


def test_times_and_their_table(gpu: ModuleType) -> None:
    rows = gpu.selection(CPU, ((40, 5),), (1, 2), rounds=2)
    assert [(row["dtype"], row["batch"]) for row in rows] == [(d, b) for d in ("float32", "bfloat16") for b in (1, 2)]
    for row in rows:
        assert 0 < row["compiled_ms"]["best"] <= row["compiled_ms"]["median"]
        assert ("loop_ms" in row) is (row["batch"] == 1)
    rows[0]["target_ms"] = 1.0
    lines = gpu.table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert {line.count("|") for line in lines} == {10}
    assert lines[2].startswith("| float32 | 40 | 5 | 1 | ")
    assert lines[2].endswith(" | 1.0 ms |")
