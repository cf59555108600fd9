"""`scope_qwen2_vl`, `scope_qwen2_5_vl` and `scope_qwen3_vl`: lmms-eval's own answers with a pruner, also in batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qwen_checkpoints

from scope_core import Pruner

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
SPEC = "scope@no_cls@25%"


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    patch = 16 if kind == "qwen3_vl" else 14  # as lmms-eval resizes for them
    return qwen_checkpoints.qwen(tmp_path_factory.mktemp("checkpoint") / kind, kind, patch)


@pytest.fixture(scope="module")
def evaluate(tasks: Path) -> Callable[..., list[str]]:
    """Answers of a model of lmms-eval to a task, in the order of its samples."""
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    manager = TaskManager("ERROR", include_path=str(tasks), include_defaults=False, model_name="scope_qwen2_5_vl")

    def run(model: Any, task: str = "local_open") -> list[str]:
        found = simple_evaluate(
            model=model, tasks=[task], batch_size=1, device="cpu", task_manager=manager, bootstrap_iters=0
        )
        rows = sorted(found["samples"][task], key=lambda row: row["doc_id"])
        return [row["filtered_resps"][0].strip() for row in rows]

    return run


def model(name: str, checkpoint: Path, *, simple: bool = True, **options: Any) -> Any:
    from lmms_eval.models import get_model

    return get_model(name, simple)(pretrained=str(checkpoint), device="cpu", device_map="cpu", **options)


@pytest.mark.parametrize("batch", [1, 3])
def test_answers_are_those_of_the_attached_model(
    evaluate: Callable[..., list[str]], kind: str, checkpoint: Path, tmp_path: Path, batch: int
) -> None:
    unpruned = evaluate(model(kind, checkpoint, batch_size=batch))
    plain = model(kind, checkpoint, batch_size=batch)  # another: lmms-eval takes the weights away after a run
    with Pruner(SPEC).attach(plain.model):
        wanted = evaluate(plain)
    receipts = tmp_path / "receipts.json"
    pruned = model(f"scope_{kind}", checkpoint, batch_size=batch, pruner=SPEC, receipts=str(receipts))
    assert evaluate(pruned) == wanted != unpruned
    facts = json.loads(receipts.read_text())
    assert facts["images"] == len(wanted)
    assert facts["calls"] == -(-len(wanted) // batch)
    assert facts["kept"] == facts["tokens"] // 4
    assert evaluate(model(f"scope_{kind}", checkpoint, batch_size=batch)) == unpruned


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)  # lmms-eval has no chat model of Qwen2-VL
def test_the_chat_model_is_pruned_as_well(
    evaluate: Callable[..., list[str]], kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    plain = model(kind, checkpoint, simple=False, batch_size=2)
    with Pruner(SPEC).attach(plain.model):
        wanted = evaluate(plain)
    receipts = tmp_path / "receipts.json"
    pruned = model(f"scope_{kind}", checkpoint, simple=False, batch_size=2, pruner=SPEC, receipts=str(receipts))
    assert evaluate(pruned) == wanted
    assert json.loads(receipts.read_text())["kept"] > 0


def test_what_does_not_fit_ends_the_run(kind: str, checkpoint: Path) -> None:
    for options, said in (
        ({"pruner": "scope@64"}, "starting: SignalError: .*scope@no_cls"),
        ({"pruner": SPEC, "batch_size": "auto"}, "--batch_size auto: give a whole number"),
        ({"prunner": SPEC}, "no model argument 'prunner'"),
    ):
        with pytest.raises(SystemExit, match=said):
            model(f"scope_{kind}", checkpoint, **options)
