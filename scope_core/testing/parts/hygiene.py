"""Properties of parts of any kind."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType, FunctionType
from typing import Any

import torch
from pydantic import BaseModel

from scope_core.structures.tokens import VisualTokens
from scope_core.testing.failures import PropertyViolation
from scope_core.testing.parts.cases import RICH, Case, noisy, places, taken
from scope_core.testing.parts.runs import compare, cut, real, run, scene_of, watched
from scope_core.testing.parts.subject import Subject


def outputs_have_the_promised_form(subject: Subject, case: Case) -> None:
    """Every output has the promised type, shape and device, and numbers of the right kind."""
    run(subject, scene_of(subject, case))


def works_in_lower_precision(subject: Subject, case: Case) -> None:
    """It computes in float32, and in half precision where torch can."""
    run(subject, scene_of(subject, replace(case, dtype=torch.float32)))
    for half in (torch.float16, torch.bfloat16):
        part = subject.part()
        scene = scene_of(subject, replace(case, dtype=half))
        try:
            planes = run(subject, scene, part)
        except PropertyViolation as reason:
            if isinstance(reason.__cause__, RuntimeError | NotImplementedError):
                continue  # not every operation exists in half precision; torch tells the caller
            raise PropertyViolation(f"in {half}: {reason}") from reason.__cause__
        for name, plane in planes.items():
            if bool((plane.values.isnan() & real(plane, scene.tokens.valid)).any()):
                raise PropertyViolation(f"in {half}: {name} is nan, for small finite inputs")


def finite_inputs_give_finite_outputs(subject: Subject, case: Case) -> None:
    """Finite inputs give finite outputs."""
    scene = scene_of(subject, case)
    for name, plane in run(subject, scene).items():
        bad = ~torch.isfinite(plane.values) & real(plane, scene.tokens.valid)
        if bool(bad.any()):
            at = tuple(int(i) for i in bad.nonzero()[0])
            raise PropertyViolation(f"{name} is {plane.values[at].item()} at {list(at)}, for finite inputs")


def inputs_are_not_changed(subject: Subject, case: Case) -> None:
    """No input is changed in place."""
    scene = scene_of(subject, case)
    run(subject, scene)
    for what, tensor, copy in scene.given:
        if tensor.shape != copy.shape or tensor.dtype != copy.dtype or not torch.equal(tensor, copy):
            raise PropertyViolation(f"it changed {what} in place; work on a copy (.clone(), or without a trailing _)")


def gradient_mode_is_respected(subject: Subject, case: Case) -> None:
    """Under `torch.no_grad()` no output requires gradients, and the gradient mode stays as it was."""
    for enabled in (False, True):
        scene, part = scene_of(subject, case), subject.part()
        scene.tokens.features.requires_grad_(not enabled)
        with torch.set_grad_enabled(enabled):
            planes = watched(subject, scene, part)
            left = torch.is_grad_enabled()
        if left is not enabled:
            raise PropertyViolation(
                f"it left torch's gradient mode {'on' if left else 'off'}; use `with torch.no_grad():`"
            )
        for name, plane in planes.items():
            if plane.values.requires_grad:
                raise PropertyViolation(
                    f"{name} requires gradients although no input does, or torch.no_grad() is on; .detach() it"
                )


def two_runs_are_equal(subject: Subject, case: Case) -> None:
    """Two runs of two new parts are equal, bit by bit, whatever the global random state."""
    made = []
    with _kept_random_state():
        for seed in (0, 1):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            made.append(run(subject, scene_of(subject, case)))
    compare(made[1], made[0], "a second run, with other global random seeds", exact=True)


def calls_leave_no_state(subject: Subject, case: Case) -> None:
    """No call changes a later one, and no call leaves anything on the part or its class."""
    wanted = run(subject, scene_of(subject, case))
    part = subject.part()
    before = _state(part)
    others = [replace(RICH[0], seed=case.seed + 7), RICH[3]]
    for other in (case, *others, case):
        got = run(subject, scene_of(subject, other), part)
        after = _state(part)
        for where in sorted(set(before) | set(after)):
            if before.get(where) != after.get(where):
                raise PropertyViolation(
                    f"a call changed {where}; a part may hold nothing of a call: use local variables"
                )
    compare(got, wanted, "after other calls", exact=True)


def threads_do_not_interfere(subject: Subject, case: Case) -> None:
    """A call that another thread's call interrupts, at every line, gives the same as alone."""
    for mine, theirs in ((RICH[0], RICH[1]), (RICH[1], replace(RICH[0], seed=5))):
        wanted, part = run(subject, scene_of(subject, mine)), subject.part()
        disturb = _Disturber(subject, part, theirs)
        result: Future[Any] = Future()

        def call(mine: Case = mine, part: Any = part, disturb: _Disturber = disturb, out: Future[Any] = result) -> None:
            scene = scene_of(subject, mine)
            sys.settrace(disturb)
            try:
                out.set_result(run(subject, scene, part))
            except Exception as error:
                out.set_exception(error)
            finally:
                sys.settrace(None)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        disturb.close()
        try:
            got = result.result()
        except PropertyViolation as reason:
            raise PropertyViolation(f"interrupted by a call of another thread, {reason}") from reason.__cause__
        compare(got, wanted, "interrupted by a call of another thread", exact=True)


class _Disturber:
    """A trace function that lets another thread call the part at lines of the part's code."""

    def __init__(self, subject: Subject, part: Any, case: Case, most: int = 25) -> None:
        self.subject, self.part, self.case, self.left = subject, part, case, most
        self.files = _files(part)
        self.pool = ThreadPoolExecutor(1)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self.files:
            return None
        if event == "line" and self.left > 0:
            self.left -= 1
            other = self.pool.submit(lambda: run(self.subject, scene_of(self.subject, self.case), self.part))
            try:
                other.exception(timeout=2)
            except TimeoutError:  # the part holds a lock, as it may: the other call goes on later
                self.left = 0
        return self

    def close(self) -> None:
        self.pool.shutdown(wait=True)


def groups_do_not_affect_each_other(subject: Subject, case: Case) -> None:
    """A group gives the same alone as beside others."""
    tokens = subject.tokens(case)
    together = run(subject, scene_of(subject, case, tokens))
    for group in range(len(case.groups)):
        mine = places(tokens, group)
        alone = run(subject, scene_of(subject, case, taken(tokens, [mine])))
        count = list(range(len(mine)))
        sizes = {name: plane.values.shape[-1 if plane.axes in ("B", "BE") else 1] for name, plane in alone.items()}
        part = cut(together, group, count, sizes)
        if set(part) != set(alone):
            continue  # rows that only other groups have
        compare(part, alone, f"group {group} of {len(case.groups)}, beside the others")


def padding_changes_nothing(subject: Subject, case: Case) -> None:
    """More padding, or other numbers in it, change nothing."""
    tokens = subject.tokens(case)
    rows = [places(tokens, group) for group in range(len(case.groups))]
    wanted = run(subject, scene_of(subject, case, noisy(tokens, 0.0)))
    most = max(map(len, rows))
    for value, more in ((1e4, 0), (-50.0, 2)):
        wide = noisy(taken(tokens, [row + [-1] * (most + more - len(row)) for row in rows]), value)
        planes = run(subject, scene_of(subject, case, wide))
        for group, row in enumerate(rows):
            count = list(range(len(row)))
            what = f"padding that holds {value:g}" + (f", {more} more of it" if more else "")
            compare(cut(planes, group, count), cut(wanted, group, count), f"group {group}, with {what}")


def outputs_follow_the_token_order(subject: Subject, case: Case) -> None:
    """Tokens in another order give the same numbers in that order."""
    tokens = subject.tokens(case)
    rows = [places(tokens, group) for group in range(len(case.groups))]
    straight = run(subject, scene_of(subject, case, tokens))
    for change in (_backwards, _rotated):
        moved = [change(list(range(len(row)))) for row in rows]
        other = taken(tokens, [[row[i] for i in line] for row, line in zip(rows, moved, strict=True)])
        planes = run(subject, scene_of(subject, case, _same_noise(other)))
        for group, line in enumerate(moved):
            compare(
                cut(planes, group, list(range(len(line)))),
                cut(straight, group, line),
                f"group {group} with its tokens in the order {line}",
            )


def _same_noise(tokens: VisualTokens) -> VisualTokens:
    return noisy(tokens, 3.0)


def _backwards(places: list[int]) -> list[int]:
    return places[::-1]


def _rotated(places: list[int]) -> list[int]:
    return places[1:] + places[:1]


@contextmanager
def _kept_random_state() -> Iterator[None]:
    before, mine = torch.default_generator.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
        random.setstate(mine)


def _files(part: Any) -> set[str]:
    """Source files of the methods of a part and of those inside it."""
    found = set()
    for one in part.walk():
        for cls in type(one).__mro__:
            if not cls.__module__.startswith(("scope_core.parts.", "builtins", "abc", "typing")):
                members = [m.fget if isinstance(m, property) else m for m in vars(cls).values()]
                found |= {m.__code__.co_filename for m in members if isinstance(m, FunctionType)}
    return found


def _state(part: Any) -> dict[str, Any]:
    """The attributes of a part and its class, to be compared."""
    found: dict[str, Any] = {}
    for one in part.walk():
        name = type(one).__name__
        found |= {f"self.{key} of {name}": _print(value) for key, value in vars(one).items()}
        for cls in type(one).__mro__:
            if not cls.__module__.startswith(("scope_core.", "abc", "builtins", "typing")):
                found |= {f"{cls.__name__}.{key}": _print(value) for key, value in vars(cls).items() if key[:2] != "__"}
    return found


def _print(value: Any, depth: int = 2) -> Any:
    """A value to compare: equal as long as ``value`` does not change."""
    if isinstance(value, torch.Tensor):
        return id(value), value._version
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, BaseModel):
        return repr(value)
    if depth and isinstance(value, Mapping):
        return [(repr(key), _print(inner, depth - 1)) for key, inner in value.items()]
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_print(inner, depth - 1) for inner in value]
    if depth and hasattr(value, "__dict__") and not isinstance(value, type):
        return id(value), _print(vars(value), depth - 1)
    return type(value).__name__ if isinstance(value, Mapping | list | tuple | set | frozenset) else id(value)
