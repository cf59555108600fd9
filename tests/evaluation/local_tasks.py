"""Tasks for lmms-eval whose images lie in a local parquet file: yes/no questions scored as POPE's, and open ones.

python tests/evaluation/local_tasks.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from PIL import Image, ImageDraw

SIDES = ((84, 84), (120, 70), (64, 110), (200, 90))
COLOURS = ("red", "green", "blue", "yellow", "white", "purple")
SHAPES = ("ellipse", "rectangle")
EXAMPLES = 6

COMMON = {
    "dataset_path": "parquet",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_target": "answer",
    "metadata": [{"version": 0.0}],
}
YES_NO = """
doc_to_visual: !function lmms_eval.tasks.pope.utils.pope_doc_to_visual
doc_to_text: !function lmms_eval.tasks.pope.utils.pope_doc_to_text
process_results: !function local_utils.yes_no_results
metric_list:
  - metric: pope_accuracy
    aggregation: !function lmms_eval.tasks.pope.utils.pope_aggregate_accuracy
    higher_is_better: true
  - metric: pope_f1_score
    aggregation: !function lmms_eval.tasks.pope.utils.pope_aggregate_f1_score
    higher_is_better: true
lmms_eval_specific_kwargs:
  default: {pre_prompt: "", post_prompt: "\\nAnswer with one word."}
generation_kwargs: {max_new_tokens: 1, temperature: 0, top_p: 1.0, num_beams: 1, do_sample: false}
"""
OPEN = """
doc_to_visual: !function local_utils.visual
doc_to_text: !function local_utils.text
process_results: !function local_utils.open_results
metric_list:
  - {metric: begins_early, aggregation: mean, higher_is_better: true}
generation_kwargs: {max_new_tokens: 6, temperature: 0, top_p: 1.0, num_beams: 1, do_sample: false}
"""
UTILS = '''"""What the tiny models say are made-up words: those of the first half of the alphabet count as yes."""

from lmms_eval.tasks.pope.utils import pope_process_results


def yes_no_results(doc, results):
    first = results[0].strip()[:1]
    return pope_process_results(doc, ["yes" if "a" <= first < "l" else "no" if first else ""])


def visual(doc):
    return [doc["image"].convert("RGB")]


def no_visual(doc):
    return [] if doc["question_id"] == 2 else visual(doc)


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]


def open_results(doc, results):
    return {"begins_early": float("a" <= results[0].strip()[:1] < "l")}
'''


def scene(number: int) -> Image.Image:
    """A few shapes on a plain ground, different for every number."""
    width, height = SIDES[number % len(SIDES)]
    picture = Image.new("RGB", (width, height), COLOURS[number % len(COLOURS)])
    draw = ImageDraw.Draw(picture)
    for k in range(3 + number % 3):
        left, top = (37 * (number + 1) * (k + 1)) % (width - 24), (53 * (number + 2) * (k + 1)) % (height - 24)
        shape = getattr(draw, SHAPES[(number + k) % 2])
        shape((left, top, left + 12 + 5 * k, top + 10 + 6 * k), fill=COLOURS[(number + k + 1) % len(COLOURS)])
    return picture


def write(folder: Path) -> Path:
    """Parquet file, helper module and task files."""
    import datasets

    columns = {
        "question_id": list(range(EXAMPLES)),
        "question": [f"Is there something {COLOURS[k % len(COLOURS)]} in the image?" for k in range(EXAMPLES)],
        "answer": ["yes", "no"] * (EXAMPLES // 2),
        "category": ["random"] * EXAMPLES,
        "image": [scene(k) for k in range(EXAMPLES)],
    }
    features = datasets.Features(
        {
            "question_id": datasets.Value("int64"),
            **dict.fromkeys(("question", "answer", "category"), datasets.Value("string")),
            "image": datasets.Image(),
        }
    )
    data = folder / "scenes.parquet"
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(data))
    (folder / "local_utils.py").write_text(UTILS, "utf-8")
    kinds = {
        "local_yes_no": YES_NO,
        "local_open": OPEN,
        "local_no_image": OPEN.replace("local_utils.visual", "local_utils.no_visual"),
        "local_likelihood": OPEN.replace("metric: begins_early", "metric: acc"),
    }
    for name, text in kinds.items():
        common = {**COMMON, "task": name, "dataset_kwargs": {"data_files": {"test": str(data)}}}
        if name == "local_likelihood":
            common.update(output_type="multiple_choice", doc_to_choice=["yes", "no"])
            text = text.replace("process_results: !function local_utils.open_results\n", "")
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(common) + text, "utf-8")
    return folder


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
