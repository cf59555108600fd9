"""The training run: all stages, with checkpoints from which it can continue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

import torch

from scope_adapters.training.settings import Settings
from scope_adapters.training.stages import Data, Draws, Forward, align, answer, rate
from scope_adapters.training.student import Student
from scope_core import ZooError

Tick: TypeAlias = Callable[[str, int, int, float], None]
"""A function that gets the stage, the steps done, the total steps, and the loss."""

STAGES = ("align", "lookup", "mixed-1", "mixed-2", "mixed-3")
"""The stages in order. Numbers are rounds of one stage: each starts with a high rate again, and at the end the weights
of all rounds are averaged, which is better on unseen scenes than any single round."""
SLOW = 0.1
"""The share of the decoder's rate at which projector and embeddings learn after the first stage."""


def train(
    data: Data,
    settings: Settings,
    vocabulary: int,
    folder: Path,
    *,
    tick: Tick,
    every: int = 200,
    stop: int | None = None,
) -> Student:
    """The trained model; continues from the checkpoint in ``folder``, with bit-identical results.

    Args:
        data: Training data.
        settings: Settings of the run.
        vocabulary: Number of words.
        folder: Folder of the checkpoint.
        tick: Called after each step.
        every: Steps between checkpoints.
        stop: Number of steps after which this call stops, like an interruption.

    Raises:
        ZooError: the checkpoint has other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        student = Student(settings, vocabulary)
    student.normalise(data.features.values[: min(400, len(data.features)) : 2])
    saved: dict[str, Any] = {"stage": STAGES[0]}
    if path.is_file():
        # Only this function writes the file; weights_only would refuse the generators' states.
        saved = torch.load(path, weights_only=False)
    if saved.get("settings", settings) != settings:
        raise ZooError(f"{path} was made with other settings: {saved['settings']}. Give another folder, or delete it")
    if "student" in saved:
        student.load(saved["student"])
    left, ends = stop, saved.get("ends", [])
    for stage in STAGES[STAGES.index(saved["stage"]) :]:
        run = Run(stage, student, data, settings)
        if "step" in saved:
            run.restore(saved)
        while run.step < run.steps and left != 0:
            tick(stage, run.step + 1, run.steps, run.advance())
            left = None if left is None else left - 1
            if run.step == run.steps and "-" in stage:
                ends = [*ends, deepcopy(student.state())]
            if run.step % every == 0 or run.step == run.steps or left == 0:
                _save(path, {"settings": settings, "student": student.state(), "ends": ends, **run.state()})
        saved = {}
    if len(ends) == sum("-" in stage for stage in STAGES):
        student.load(mean(ends))
    return student


def steps_of(stage: str, settings: Settings) -> int:
    """The number of steps of a stage or of one of its rounds."""
    return int(getattr(settings, f"{stage.partition('-')[0]}_steps"))


def mean(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The average of several results of `Student.state`."""
    first = states[0]
    return {
        name: mean([state[name] for state in states])
        if isinstance(value, dict)
        else sum(state[name] for state in states) / len(states)
        for name, value in first.items()
    }


class Run:
    """The run of one stage."""

    def __init__(self, stage: str, student: Student, data: Data, settings: Settings) -> None:
        self.stage, self.student, self.data, self.settings = stage, student, data, settings
        self.steps = steps_of(stage, settings)
        self.step, self.draws = 0, Draws.of(len(STAGES) * settings.seed + STAGES.index(stage))
        self.forward: Forward = student.forward
        if settings.compile and stage != "align":
            self.forward = torch.compile(student.forward, dynamic=True)
        if stage == "align":
            groups = [{"params": student.aligned(), "share": 1.0}]
            self.optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.02)
        else:
            groups = [{"params": student.decoding(), "share": 1.0}, {"params": student.shared(), "share": SLOW}]
            self.optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.05, betas=(0.9, 0.98))

    def advance(self) -> float:
        """Run one step and return its loss."""
        peak, last, warm = getattr(self.settings, f"{self.stage.partition('-')[0]}_rates")
        now = rate(self.step, self.steps, peak=peak, last=last, warm=warm)
        for group in self.optimizer.param_groups:
            group["lr"] = now * group["share"]
        if self.stage == "align":
            loss = align(self.student, self.data, self.draws)
        else:
            loss = answer(self.student, self.data, self.draws, few=self.stage == "lookup", forward=self.forward)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], 1.0)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """The state that the next step depends on, without the student."""
        return {
            "stage": self.stage,
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "python": self.draws.python.getstate(),
            "numpy": self.draws.numpy.bit_generator.state,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore the result of `state`."""
        self.step = saved["step"]
        self.optimizer.load_state_dict(saved["optimizer"])
        self.draws.python.setstate(saved["python"])
        self.draws.numpy.bit_generator.state = saved["numpy"]


def _save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically, so that an interruption leaves the previous one."""
    scratch = path.with_suffix(".new")
    torch.save(state, scratch)
    scratch.replace(path)
