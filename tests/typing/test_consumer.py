"""Code that uses the public API passes mypy's strict mode, against the package as it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs.pages import ROOT
from docs.test_example_plugin import install

HERE = Path(__file__).parent
WRONG = {
    'scope.select("features", spec="scope@64")': "arg-type",
    'scope.Pruner("scope@64").plann([576])': "attr-defined",
    'scope.select(torch.rand(2, 4), spec="scope@64").counts + "x"': "operator",
    'scope.parts.Entry(scope.Pruner, scope.Pruner, "no part")': "arg-type",
    "scope.no_such_name": "attr-defined",
}
"""Mistakes, each with the code of the error it has to be."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """mypy's lines about consumer.py and wrong.py, which lie outside the project, beside an installed scope-core."""
    source, site, here = (tmp_path_factory.mktemp(name) for name in ("source", "site", "user"))
    for folder in ("scope_core", "plugins", "model_adapters"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    install(source, target=site)
    shutil.copy(HERE / "consumer.py", here)
    (here / "wrong.py").write_text("import torch\nimport scope_core as scope\n" + "".join(f"{w}\n" for w in WRONG))
    (here / "mypy.ini").write_text("[mypy]\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "consumer.py", "wrong.py"],
        cwd=here, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_a_consumer_has_no_errors(said: list[str]) -> None:
    assert [line for line in said if "error:" in line and not line.startswith("wrong.py")] == []


def test_nothing_public_is_any(said: list[str]) -> None:
    revealed = [match[1] for line in said if (match := re.search(r'Revealed type is "(.*)"', line))]
    assert len(revealed) == (HERE / "consumer.py").read_text("utf-8").count(" reveal_type(")
    assert [text for text in revealed if re.search(r"\bAny\b", text)] == []


@pytest.mark.parametrize("line", WRONG)
def test_wrong_uses_are_errors(said: list[str], line: str) -> None:
    number = list(WRONG).index(line) + 3
    assert [text for text in said if text.startswith(f"wrong.py:{number}:") and f"[{WRONG[line]}]" in text], said
