"""`scope_llava_hf` from Python: other families, other recipes, wrong options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import pytest

PAPER = '{"recipe":"scope","partition":"tile","budget":{"name":"tokens","keep":40,"tiles":"floor"},' \
        '"adapter":{"name":"llava_next","layout":"paper2880","padding":"competes"}}'  # fmt: skip


@pytest.fixture(scope="module")
def evaluate(tasks: Path, llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Answers to a task, by lmms-eval's Python entry."""
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    manager = TaskManager("ERROR", include_path=str(tasks), include_defaults=False, model_name="scope_llava_hf")

    def run(checkpoint: Path, options: str, task: str = "local_open") -> list[str]:
        found = simple_evaluate(
            model="scope_llava_hf",
            model_args=f"pretrained={checkpoint},dtype=float32{options}",
            tasks=[task],
            batch_size=1,
            device="cpu",
            task_manager=manager,
            force_simple=True,
            bootstrap_iters=0,
        )
        rows = sorted(found["samples"][task], key=lambda row: row["doc_id"])
        return [row["filtered_resps"][0].strip() for row in rows]

    return run


@pytest.mark.parametrize("spec", ["scope@20", PAPER], ids=["faithful", "as papers count"])
def test_llava_next_answers_as_attach_does(
    evaluate: Callable[..., list[str]], llava_next: Path, attached: Any, pictures: list[Any], spec: str
) -> None:
    from scope_adapters.evaluation.models import spec_of

    asked = "Is there something {} in the image?"
    wanted = attached(llava_next, spec_of(spec), pictures, asked, 6)
    assert evaluate(llava_next, f",pruner={spec}") == wanted
    assert wanted != attached(llava_next, None, pictures, asked, 6)


def test_llava_onevision_answers_as_attach_does(
    evaluate: Callable[..., list[str]], attached: Any, pictures: list[Any], tmp_path: Path
) -> None:
    checkpoint = checkpoints.llava_onevision(tmp_path)
    wanted = attached(checkpoint, "scope@no_cls@20", pictures, "Is there something {} in the image?", 6)
    assert evaluate(checkpoint, ",pruner=scope@no_cls@20") == wanted


@pytest.mark.parametrize("spec", ["visionzip@9", "downsample@9", "fastv@9", "mmtok@9", "prumerge@9"])
def test_other_recipes_pass_the_checks(
    evaluate: Callable[..., list[str]], llava: Path, attached: Any, pictures: list[Any], spec: str
) -> None:
    wanted = attached(llava, spec, pictures, "Is there something {} in the image?", 6)
    assert evaluate(llava, f",pruner={spec}") == wanted


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (",pruner=scop@7", "starting: SpecError: .*did you mean 'scope'"),
        (",prunner=scope@7", "there is no model argument 'prunner'; choose from .*pruner"),
        (",pruner=scope(keep=7)", "starting: SpecError"),
        (',pruner={"recipe":"scope","budget":{"keep":"many"}}', "starting: SpecError: .*budget"),
        (",pruner=7", "SpecError: pruner=7: give a spec such as scope@64"),
        (",pruner=cdpruner@9", "starting: SignalError: .*clip.text_similarity"),
        (",pruner=scope@99", "answering prompt 1: BudgetError"),
    ],
)
def test_wrong_options_end_the_run_with_a_message(
    evaluate: Callable[..., list[str]], llava: Path, options: str, said: str
) -> None:
    with pytest.raises(SystemExit, match=said):
        evaluate(llava, options)


@pytest.mark.parametrize("pruner", ["scope@7", "none"])
@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("local_no_image", "prompt 4: AttachError: the same input_ids came a second time"),
        ("local_likelihood", "local_likelihood uses loglikelihood, which is not supported"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    evaluate: Callable[..., list[str]], llava: Path, pruner: str, task: str, said: str
) -> None:
    with pytest.raises(SystemExit, match=said):
        evaluate(llava, f",pruner={pruner}", task)


def test_a_checkpoint_that_is_not_there_ends_the_run(evaluate: Callable[..., list[str]], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"starting: OSError: .*nothing"):
        evaluate(tmp_path / "nothing", ",pruner=scope@7")


def test_larger_batches_are_refused(llava: Path) -> None:
    from lmms_eval.models import get_model

    for simple in (True, False):
        model = get_model("scope_llava_hf", simple)
        assert (model.__name__, model.is_simple) == ("ScopeLlavaHf" if simple else "ScopeLlavaHfChat", simple)
        with pytest.raises(SystemExit, match=r"--batch_size 4: .* one prompt at a time"):
            model(pretrained=str(llava), batch_size=4, device="cpu")


def test_what_goes_wrong_in_the_middle_ends_the_run(
    evaluate: Callable[..., list[str]], llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lmms-eval's own model would log this, score an empty answer and go on."""
    from scope_core import Pruner

    inner, calls = Pruner.prune, []

    def third_fails(self: Any, *args: Any) -> Any:
        calls.append(self)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return inner(self, *args)

    monkeypatch.setattr(Pruner, "prune", third_fails)
    with pytest.raises(SystemExit, match="answering prompt 3: RuntimeError: out of memory"):
        evaluate(llava, ",pruner=scope@7")
