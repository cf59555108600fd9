"""The tables of docs/reproduce name tasks and metrics that this release of lmms-eval has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).resolve().parents[2] / "docs" / "reproduce"


@pytest.fixture(scope="module")
def metrics():
    with pytest.MonkeyPatch.context() as patch:  # tasks with a judge make its client when they are loaded
        patch.setenv("OPENAI_API_KEY", "none")
        yield metrics_of_tasks()


def metrics_of_tasks():
    from lmms_eval.tasks import TaskManager
    from lmms_eval.utils import load_yaml_config

    manager = TaskManager("ERROR", include_path=str(HOME / "tasks"), model_name="scope_llava_hf")

    def of(task: str) -> set[str]:
        config = load_yaml_config(manager.task_index[task]["yaml_path"], mode="full")
        assert config["output_type"] == "generate_until", task
        return {metric["metric"] for metric in config["metric_list"]}

    return of


@pytest.mark.parametrize("table", sorted((HOME / "tables").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_column_is_a_metric_of_its_task(table: Path, metrics) -> None:
    for name, column in yaml.safe_load(table.read_text("utf-8"))["columns"].items():
        assert set(column["metrics"]) <= metrics(column["task"]), name


def test_textvqa_is_asked_with_ocr_tokens(metrics) -> None:
    """Otherwise as lmms-eval's own task."""
    from lmms_eval.tasks.textvqa.utils import textvqa_doc_to_text
    from lmms_eval.utils import load_yaml_config

    ours = load_yaml_config(str(HOME / "tasks" / "textvqa_val_ocr.yaml"), mode="full")
    doc = {"question": "what is the time?", "ocr_tokens": ["12", "noon"]}
    assert ours["doc_to_text"] is not None
    asked = textvqa_doc_to_text(doc, ours["lmms_eval_specific_kwargs"]["default"])
    assert asked.startswith("What is the time?\nReference OCR token: 12, noon\nAnswer the question")
    assert metrics("textvqa_val_ocr") <= metrics("textvqa_val")
