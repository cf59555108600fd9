"""lmms-eval's command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT_S = 600


@dataclass(frozen=True)
class Ran:
    """What came of a command: exit status, all it printed, and what it wrote."""

    status: int
    printed: str
    results: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Commands:
    """Where tasks lie, and a folder for all that libraries want to write."""

    tasks: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """No network, one thread, caches of this run alone."""
        return {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(self.home / "hf"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.tasks), os.environ.get("PYTHONPATH", "")])),
        }

    def arguments(self, model: str, checkpoint: Path, out: Path, names: str, *more: str, **options: Any) -> list[str]:
        """Arguments after ``lmms-eval``; ``options`` are the model's."""
        given = {"pretrained": checkpoint, "dtype": "float32", **options}
        model_args = ",".join(f"{name}={value}" for name, value in given.items())
        return [
            *("--model", model, "--model_args", model_args, "--tasks", names, "--include_path", str(self.tasks)),
            *("--batch_size", "1", "--device", "cpu", "--output_path", str(out), "--log_samples", *more),
        ]

    def evaluate(self, model: str, checkpoint: Path, out: Path, names: str, *more: str, **options: Any) -> Ran:
        """Run it, and read what it wrote into ``out``."""
        command = [sys.executable, "-m", "lmms_eval", *self.arguments(model, checkpoint, out, names, *more, **options)]
        return self.run(command, out)

    def run(self, command: list[str], out: Path) -> Ran:
        """Any command that evaluates into ``out``."""
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, cwd=self.home, timeout=LIMIT_S
        )
        return Ran(done.returncode, done.stdout + done.stderr, *read(out))


def read(out: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Metrics by task, and answers by task in order of the examples."""
    results, answers = {}, {}
    for file in sorted(out.rglob("*_results.json")):
        results.update(json.loads(file.read_text("utf-8"))["results"])
    for file in sorted(out.rglob("*_samples_*.jsonl")):
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        name = file.stem.split("_samples_")[1]
        answers[name] = [said(row["filtered_resps"]) for row in sorted(rows, key=lambda row: row["doc_id"])]
    return results, answers


def said(reply: str | list[str]) -> str:
    """One example's answer."""
    return reply if isinstance(reply, str) else reply[0]
