"""Installing scope-core beside a host's pins leaves them alone: resolved from metadata, nothing is installed."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import toml_files
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
HOSTS: dict[str, Any] = toml_files.loads(Path(__file__).with_name("hosts.toml").read_text("utf-8"))
UV = next((str(path) for path in (shutil.which("uv"), ROOT / "scripts" / "uv") if path and Path(path).exists()), "")


def ours(*extras: str) -> list[Requirement]:
    """What the installed scope-core asks for, with some of its extras."""
    asked, named = map(Requirement, importlib.metadata.requires("scope-core") or ()), ("", *extras)
    return [one for one in asked if one.marker is None or any(one.marker.evaluate({"extra": name}) for name in named)]


def resolved(host: str) -> subprocess.CompletedProcess[str]:
    """With the extra ``hf``, which asks for more; a clash has to be with what scope-core alone asks for."""
    pins, python = HOSTS[host]["pins"], HOSTS[host]["python"]
    asked = ours() if "clash" in HOSTS[host] else ours("hf")
    wanted = "\n".join([*pins, *(str(one).partition(";")[0] for one in asked)])
    command = [UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python, "-"]
    return subprocess.run(command, input=wanted, cwd=ROOT.parent, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def answers() -> dict[str, subprocess.CompletedProcess[str]]:
    """All at once: an index takes its time to answer."""
    subprocess.run([UV, "--version"], check=True, capture_output=True)  # puts uv there once, not in each thread
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return dict(zip(HOSTS, pool.map(resolved, HOSTS), strict=True))


@pytest.mark.skipif(not UV, reason="neither uv nor scripts/uv is there")
@pytest.mark.parametrize("host", HOSTS)
def test_the_hosts_versions_stay(host: str, answers: Any) -> None:
    row, done = HOSTS[host], answers[host]
    if "clash" in row:
        assert done.returncode != 0
        assert row["clash"] in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert set(row["holds"]) <= set(done.stdout.splitlines())


@pytest.mark.parametrize("host", [host for host in HOSTS if "clash" not in HOSTS[host]])
def test_pip_finds_nothing_to_replace(host: str) -> None:
    """What is installed is left alone where it meets the requirement, so every pin has to meet it."""
    held = {pin.name: next(iter(pin.specifier)).version for pin in map(Requirement, HOSTS[host]["holds"])}
    for one in ours("hf"):
        if one.name in held:
            assert one.specifier.contains(held[one.name]), f"{one} would replace {one.name} {held[one.name]}"


def test_numpy_is_left_to_torch() -> None:
    assert "numpy" not in {one.name for one in ours("hf", "timm")}


def test_no_upper_bound_keeps_a_host_from_the_newest() -> None:
    for one in ours("hf", "timm"):
        assert not [bound for bound in one.specifier if bound.operator not in (">=", ">")], str(one)
