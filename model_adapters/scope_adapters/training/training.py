"""The run: stages in turn, checkpoints, and going on from one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

from scope_adapters.training.settings import Settings
from scope_adapters.training.stages import Data, Draws, Forward, align, answer, rate
from scope_adapters.training.student import Student
from scope_core import ZooError

Tick: TypeAlias = Callable[[str, int, int, float], None]
"""Is told the stage, the steps done, the steps in all, and the loss."""

STAGES = ("align", "lookup", "mixed-1", "mixed-2", "mixed-3")
"""In order. A stage with a number is a round of the stage without: its rate rises again, and in the end the weights of
all rounds are averaged, which answers more of unseen scenes than any of them."""
SLOW = 0.1
"""The projector and the embeddings learn at this share of the decoder's rate once they are aligned."""


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
    """Train, or go on where the last checkpoint in ``folder`` left off; the outcome is the same to the bit.

    Args:
        data: What to train on.
        settings: How.
        vocabulary: Number of words.
        folder: For the checkpoint.
        tick: Called after each step.
        every: Steps between checkpoints.
        stop: Stop after so many steps of this call, as an interruption would.

    Raises:
        ZooError: the checkpoint is of a run with other settings.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        student = Student(settings, vocabulary)
    student.normalise(data.features.values[: min(400, len(data.features)) : 2])
    saved: dict[str, Any] = {"stage": STAGES[0]}
    if path.is_file():
        # Written by this function alone; weights_only would refuse the generators' states.
        saved = torch.load(path, weights_only=False)
    if saved.get("settings", settings) != settings:
        raise ZooError(f"{path} was made with other settings: {saved['settings']}. Name another folder, or delete it")
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
    """Steps of a stage or of a round of it."""
    return int(getattr(settings, f"{stage.partition('-')[0]}_steps"))


def mean(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The average of some outcomes of `Student.state`."""
    first = states[0]
    return {
        name: mean([state[name] for state in states])
        if isinstance(value, dict)
        else sum(state[name] for state in states) / len(states)
        for name, value in first.items()
    }


class Run:
    """One stage under way."""

    def __init__(self, stage: str, student: Student, data: Data, settings: Settings) -> None:
        import torch

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
        """One step; its loss."""
        import torch

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
        """All that the next step depends on, but the student."""
        return {
            "stage": self.stage,
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "python": self.draws.python.getstate(),
            "numpy": self.draws.numpy.bit_generator.state,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Undo `state`."""
        self.step = saved["step"]
        self.optimizer.load_state_dict(saved["optimizer"])
        self.draws.python.setstate(saved["python"])
        self.draws.numpy.bit_generator.state = saved["numpy"]


def _save(path: Path, state: dict[str, Any]) -> None:
    """In one move, so that an interruption leaves the checkpoint before."""
    import torch

    scratch = path.with_suffix(".new")
    torch.save(state, scratch)
    scratch.replace(path)
