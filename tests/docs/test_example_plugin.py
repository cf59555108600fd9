"""The example distribution and the tutorial's package: built, installed beside ours, listed, used."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import ROOT, blocks, save

EXAMPLE = ROOT / "docs" / "examples" / "scope-example-plugin"
PROBE = """
import json, sys, torch
import scope_core as scope

names, spec = json.loads(sys.argv[1])
registry = scope.default_registry()
features = torch.randn(1, 576, 32, generator=torch.Generator().manual_seed(0))
saliency = torch.rand(1, 576, generator=torch.Generator().manual_seed(1))
picks = {k: scope.select(features, saliency=saliency, grid=(24, 24), spec=s).picks[0].tolist() for k, s in
         {"theirs": spec, "scope": "scope@64"}.items()}
print(json.dumps({
    "failures": [str(failure) for failure in registry.failures],
    "origins": [str(registry.get(kind, name).origin) for kind, name in names],
    "picks": picks,
}))
"""


def install(*sources: Path, target: Path) -> None:
    """Build wheels of ``sources`` and put them into ``target``, from the setuptools at hand if it is new enough."""
    try:
        here = tuple(int(n) for n in importlib.metadata.version("setuptools").split(".")[:2]) >= (70, 1)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        here = False
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [*(["--no-build-isolation"] if here else []), "--target", str(target), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def python(*arguments: str, site: Path, cwd: Path) -> str:
    """Run Python with ``site`` on its path, as if what is in it were installed; its output."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example distribution is installed; built from a copy, so that nothing is left in the source."""
    source = tmp_path_factory.mktemp("example") / EXAMPLE.name
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    site = tmp_path_factory.mktemp("site")
    install(source, target=site)
    return site


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tutorial's files as its reader has them in the end, and where they are installed."""
    folder = tmp_path_factory.mktemp("acme")
    for block in blocks((ROOT / "docs" / "write-a-plugin.md").read_text("utf-8")):
        if block.file:
            save(block, folder)
    site = tmp_path_factory.mktemp("site")
    install(folder, target=site)
    return folder, site


def test_example_is_listed_and_picks_by_its_own_parts(example: Path, tmp_path: Path) -> None:
    spec = {
        "recipe": "scope",
        "saliency": "example.local_contrast",
        "coverage": {"name": "example.saturated", "cap": 0.5},
    }
    names = [("saliency", "example.local_contrast"), ("coverage", "example.saturated")]
    seen = json.loads(python("-c", PROBE, json.dumps([names, spec]), site=example, cwd=tmp_path))
    assert seen["failures"] == []
    assert seen["origins"] == ["scope-example-plugin 0.1.0"] * 2
    assert len(set(seen["picks"]["theirs"])) == 64
    assert set(seen["picks"]["theirs"]) != set(seen["picks"]["scope"])


def test_example_passes_its_own_tests(example: Path, tmp_path: Path) -> None:
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"), site=example, cwd=tmp_path)


def test_example_is_a_screen_a_part() -> None:
    for part in ("local_contrast.py", "saturated.py"):
        assert len((EXAMPLE / "src" / "scope_example" / part).read_text("utf-8").splitlines()) <= 50, part


def test_tutorial_package_is_listed_and_picks_by_its_own_part(tutorial: tuple[Path, Path], tmp_path: Path) -> None:
    folder, site = tutorial
    probe = json.dumps([[("saliency", "acme.peak")], str(folder / "peak.yaml")])
    seen = json.loads(python("-c", PROBE, probe, site=site, cwd=tmp_path))
    assert seen["failures"] == []
    assert seen["origins"] == ["scope-acme 0.1.0"]
    assert seen["picks"]["theirs"] != seen["picks"]["scope"]


def test_tutorial_tests_pass_as_written(tutorial: tuple[Path, Path], tmp_path: Path) -> None:
    folder, site = tutorial
    shutil.copy(folder / "test_acme.py", tmp_path)
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py", site=site, cwd=tmp_path)


def test_tutorial_begins_with_a_dozen_lines() -> None:
    first = next(
        b for b in blocks((ROOT / "docs" / "write-a-plugin.md").read_text("utf-8")) if b.file == "acme_pruning.py"
    )
    assert sum(bool(line.strip()) for line in first.body.splitlines()) <= 12
