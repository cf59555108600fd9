"""The loop: the same replies as plain calls, nothing asked twice, nothing lost, and errors before any work."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import scope_core as scope
from bench import tiny
from scope_bench.accuracy.methods import BLIND, FULL, ORACLE, SHUFFLED, Method, methods_of, runnable
from scope_bench.accuracy.questioner import Questioner, reusable
from scope_bench.accuracy.runner import Run, Settings, bounds, run, scenes_of
from scope_core.tasks import Example, Question, Task

SPECS = ("scope", "top_k_attention", "random")
KEEPS = (5, 2)


def bench(
    specs: Sequence[str] = SPECS,
    keeps: Sequence[int] = KEEPS,
    task: type[Task] = tiny.Squares,
    kind: str = "clip",
    with_bounds: bool = True,
    progress: Any = lambda made, total: None,
    options: Any = None,
    **settings: Any,
) -> Run:
    registry, loaded = tiny.registry(task), tiny.loaded(kind)
    made = registry.build("task", options or tiny.SquareSpec())
    asked = Settings(**{"split": "test", "limit": 4, "batch": 7, **settings})
    scenes = scenes_of(loaded, made, asked)
    methods = methods_of(specs, keeps, registry)
    methods, unfit = runnable(methods, loaded.model)
    methods += bounds(scenes, keeps, registry) if with_bounds else []
    found = run(loaded, made, methods, scenes, asked, registry, progress)
    found.skipped[:0] = unfit
    return found


def replies(found: Run) -> dict[str, list[list[str]]]:
    return {label: [[r["reply"] for r in row["replies"]] for row in rows] for label, rows in found.rows.items()}


def plainly(pruner: scope.Pruner | None, image: Any, question: str) -> str:
    """One prompt, one call, as a user would do it."""
    loaded = tiny.loaded()
    inputs = loaded.inputs([] if image is None else [image], question)
    attached = pruner.attach(loaded.model) if pruner is not None else None
    out = loaded.model.generate(**inputs, max_new_tokens=tiny.Squares.max_new_tokens, do_sample=False)
    if attached is not None:
        attached.detach()
    return loaded.decode(out[0, inputs["input_ids"].shape[1] :])


def test_replies_are_those_of_attach_and_generate() -> None:
    found, examples = bench(), tiny.Squares(tiny.SquareSpec()).examples("test", 4)
    for label, rows in replies(found).items():
        for number, (example, row) in enumerate(zip(examples, rows, strict=True)):
            image: Any = example.image()
            pruner = None
            if label.partition("@")[0] in SPECS:
                pruner = scope.Pruner(label)
            elif label == BLIND:
                image = None
            elif label == SHUFFLED:
                image = examples[(2 * (number // 2) + 2) % 4].image()  # the next one of another pair
            elif label.startswith(ORACLE):
                continue
            assert row == [plainly(pruner, image, question.text) for question in example.questions], (label, number)
    assert len({json.dumps(rows) for rows in replies(found).values()}) > 4, "nothing depends on what is kept"


@pytest.mark.parametrize("batch", [1, 100])
def test_batches_change_nothing(batch: int) -> None:
    assert replies(bench(batch=batch)) == replies(bench())


def test_adapters_that_do_not_reuse_are_asked_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = bench()
    monkeypatch.setattr("scope_bench.accuracy.questioner.reusable", lambda pruner, model: False)
    found = bench()
    assert {k: v for k, v in replies(found).items() if not k.startswith(ORACLE)} == {
        k: v for k, v in replies(wanted).items() if not k.startswith(ORACLE)
    }
    for label in ("scope@5", FULL):
        for one, other in zip(found.rows[label], wanted.rows[label], strict=True):
            assert one["coverage"] == pytest.approx(other["coverage"])


def test_pruners_inside_the_decoder_are_asked_plainly(tmp_path: Path) -> None:
    path = tmp_path / "inside.yaml"
    path.write_text("recipe: uniform_grid\nat: decoder[1]\nbudget: 4\n", encoding="utf-8")
    pruner = scope.Pruner(path)
    assert not reusable(pruner, tiny.loaded().model)
    found, examples = bench((str(path),), (4,)), tiny.Squares(tiny.SquareSpec()).examples("test", 4)
    for example, row in zip(examples, replies(found)["inside@4"], strict=True):
        assert row == [plainly(pruner, example.image(), question.text) for question in example.questions]


def test_mergers_take_part(tmp_path: Path) -> None:
    """Rows that a merger makes reach the model in both ways alike."""
    tried = 0
    for name in scope.default_registry().names("merger"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"recipe: top_k_attention\nmerger: {name}\nbudget: 6\n", encoding="utf-8")
        try:
            pruner = scope.Pruner(path)
            pruner.check(tiny.loaded().model)
        except scope.ScopeError:
            continue  # it wants more than a merger's name, or what this model does not give
        found, example = bench((str(path),), (6,), with_bounds=False), tiny.Squares(tiny.SquareSpec()).example(0, 0)
        assert replies(found)[f"{name}@6"][0] == [
            plainly(pruner, example.image(), question.text) for question in example.questions
        ]
        tried += 1
    assert tried > 1


def test_what_is_measured_beside_the_replies() -> None:
    found = bench()
    for label, rows in found.rows.items():
        keep = {"scope@5": 5, "scope@2": 2, f"{ORACLE}@5": 5, FULL: 16}.get(label)
        if keep is not None:
            assert [row["kept"] for row in rows] == [keep] * 4
    assert all(row["objects"] == [True] for row in found.rows[FULL] + found.rows[f"{ORACLE}@2"])
    assert all(row["coverage"] == [1.0] * 5 for row in found.rows[FULL])
    assert all(row["kept"] is None and row["objects"] is None for row in found.rows[BLIND])
    assert all(row["select_ms"] > 0 and row["first_token_ms"] > 0 for row in found.rows["scope@5"])


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bench()
    asked: list[int] = []
    ask = Questioner.ask

    def counting(self: Questioner, one: Method, scenes: Any, donors: Any) -> Any:
        asked.append(len(scenes))
        return ask(self, one, scenes, donors)

    def interrupt(made: int, total: int) -> None:
        if made >= total // 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Questioner, "ask", counting)
    with pytest.raises(KeyboardInterrupt):
        bench(folder=tmp_path, progress=interrupt)
    before = sum(asked)
    journal = next(file for file in (tmp_path / "bench").glob("*.jsonl") if file.stat().st_size)
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"example": "picture 0", "asked": "cut sho')  # what a killed process leaves behind
    asked.clear()
    resumed = bench(folder=tmp_path)
    assert replies(resumed) == replies(whole)
    assert 0 < sum(asked) == len(whole.methods) * 4 - before
    asked.clear()
    assert replies(bench(folder=tmp_path)) == replies(whole)
    assert asked == []
    bench(folder=tmp_path, fresh=True)
    assert sum(asked) == len(whole.methods) * 4


def test_rows_are_not_used_for_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another model, task, seed, split, budget, or other questions: all is asked anew."""
    asked: list[str] = []
    ask = Questioner.ask

    def noting(self: Questioner, one: Method, scenes: Any, donors: Any) -> Any:
        asked.append(one.label)
        return ask(self, one, scenes, donors)

    monkeypatch.setattr(Questioner, "ask", noting)
    same: dict[str, Any] = {"specs": ("scope",), "keeps": (3,), "with_bounds": False, "folder": tmp_path, "batch": 100}
    bench(**same)
    assert asked.pop() == "scope@3"
    bench(**same)
    assert asked == []
    for change in (
        {"kind": "dinov2"},
        {"seed": 1},
        {"split": "validation"},
        {"keeps": (4,)},
        {"specs": ("top_k_attention",)},
        {"options": tiny.SquareSpec(questions=2)},
    ):
        bench(**{**same, **change})
        assert asked, change
        asked.clear()
    bench(**{**same, "limit": 2})
    assert asked == [], "fewer pictures of the same split are known already"


def test_one_spec_under_two_names_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: scope\nbudget: 9\n", encoding="utf-8")
    first = bench(("scope",), (3,), with_bounds=False, folder=tmp_path)
    monkeypatch.setattr(Questioner, "ask", lambda *_: pytest.fail("it was asked again"))
    again = bench((str(path),), (3,), with_bounds=False, folder=tmp_path)
    assert replies(again)["mine@3"] == replies(first)["scope@3"]


def test_progress_ends_at_the_total() -> None:
    steps: list[tuple[int, int]] = []
    found = bench(progress=lambda made, total: steps.append((made, total)))
    assert steps[-1] == (len(found.methods) * 4, len(found.methods) * 4)
    assert steps == sorted(steps)


def test_a_budget_beyond_the_tokens_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Questioner, "ask", lambda *_: pytest.fail("it ran"))
    with pytest.raises(scope.BudgetError, match=r"scope@17: .*17"):
        bench(("scope",), keeps=(17,))


def test_a_method_that_fails_is_skipped_and_the_others_are_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, ask = bench(), Questioner.ask

    def failing(self: Questioner, one: Method, scenes: Any, donors: Any) -> Any:
        if one.label == "scope@5" and scenes[0].example.id == "picture 2":
            raise RuntimeError("out of luck")
        return ask(self, one, scenes, donors)

    monkeypatch.setattr(Questioner, "ask", failing)
    found = bench(keeps=(17, *KEEPS), batch=6)
    assert found.skipped[3].why == "scope@5, example picture 2, picture 3: RuntimeError: out of luck"
    assert len(found.skipped) == 4
    assert [one.method.label for one in found.skipped[:3]] == [f"{name}@17" for name in SPECS]
    left = {label: rows for label, rows in replies(wanted).items() if label != "scope@5"}
    assert {label: rows for label, rows in replies(found).items() if label != f"{ORACLE}@17"} == left


def test_a_bound_that_fails_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Questioner.ask
    monkeypatch.setattr(
        Questioner, "ask", lambda self, one, *rest: ask(self, one, *rest) if one.name != FULL else 1 // 0
    )
    with pytest.raises(ZeroDivisionError):
        bench()


def test_a_spec_that_cannot_run_on_the_model_is_named() -> None:
    why = r"top_k_attention: .*but top_k_attention@no_cls does: saliency.*no CLS token"
    (one, other) = bench(("random", "top_k_attention"), kind="siglip").skipped
    assert (one.method.label, other.method.label) == ("top_k_attention@5", "top_k_attention@2")
    assert re.search(why, one.why)
    with pytest.raises(scope.SignalError, match=why):
        bench(("top_k_attention",), kind="siglip")
    with pytest.raises(scope.SpecError, match=r"'scpoe': .*did you mean 'scope'"):
        bench(specs=("scpoe",))


def test_two_specs_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "scope.yaml").write_text("recipe: scope\nsaliency: uniform\nbudget: 4\n", encoding="utf-8")
    with pytest.raises(scope.TaskError, match="would both be called 'scope'; rename one file"):
        bench(specs=("scope", str(tmp_path / "scope.yaml")))


def odd(**changes: Any) -> type[Task]:
    """The task with its first example changed."""

    class Odd(tiny.Squares):
        def examples(self, split: str, limit: int | None = None, seed: int = 0) -> list[Example]:
            from dataclasses import replace

            first, *rest = super().examples(split, limit, seed)
            return [replace(first, **changes), *rest]

    return Odd


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (50, 20), 90),
        Image.new("RGBA", (28, 28), (255, 0, 0, 40)),
        Image.new("I;16", (30, 30), 40_000),
        Image.new("1", (9, 9)),
        Image.new("P", (200, 300)),
        Image.new("CMYK", (28, 28)),
        Image.new("RGB", (3000, 2000), "blue"),
        Image.new("RGB", (1, 1)),
    ],
    ids=lambda image: f"{image.mode} {image.size}",
)
def test_pictures_of_any_mode_and_size(image: Image.Image) -> None:
    found = bench(("scope",), (4,), odd(image=lambda: image, objects=()))
    assert [len(row["replies"]) for row in found.rows["scope@4"]] == [3] * 4


def test_a_picture_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    tiny.picture(0, 0).save(path)
    path.write_bytes(path.read_bytes()[:60])

    def opened() -> Image.Image:
        with Image.open(path) as image:
            return image.convert("RGB")

    with pytest.raises(scope.TaskError, match=r"image of example 'picture 0' cannot be opened"):
        bench(("scope",), (4,), odd(image=opened))
    with pytest.raises(scope.ZooError, match=r"cut\.png' cannot be read"):
        bench(("scope",), (4,), odd(image=lambda: path))
    with pytest.raises(scope.ZooError, match=r"the image of example 'picture 0' has values that are not finite"):
        bench(("scope",), (4,), odd(image=lambda: Image.new("F", (20, 20), float("nan"))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questions": ()}, r"'picture 0' of task .* has no question"),
        ({"id": "picture 1"}, "two examples .* have the id 'picture 1'"),
        ({"questions": (Question("1-0", "?", "x"),)}, "two questions .* have the id '1-0'"),
    ],
)
def test_tasks_that_are_not_right(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(scope.TaskError, match=message):
        bench(task=odd(**changes))


def test_no_examples_and_no_such_split() -> None:
    with pytest.raises(scope.TaskError, match="has no examples"):
        bench(limit=0)
    with pytest.raises(scope.TaskError, match="did you mean 'validation'"):
        bench(split="valdation")


def test_bounds_that_cannot_be_had_are_left_out() -> None:
    loaded, registry = tiny.loaded(), tiny.registry(odd())
    task = registry.build("task", tiny.SquareSpec())
    one = scenes_of(loaded, task, Settings("test", limit=1))
    assert [b.label for b in bounds(one, (4, 2), registry)] == [FULL, f"{ORACLE}@4", f"{ORACLE}@2", BLIND]
    unknown = scenes_of(loaded, registry.build("task", tiny.SquareSpec()), Settings("test", limit=3))
    from dataclasses import replace

    bare = [replace(scene, example=replace(scene.example, objects=())) for scene in unknown]
    assert [b.label for b in bounds(bare, (4, 2), registry)] == [FULL, SHUFFLED, BLIND]
