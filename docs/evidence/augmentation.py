"""Does the ranking of methods come from the patterns of dropped tokens that training used?

    python docs/evidence/augmentation.py --work FOLDER --sprites emoji --photographs photos

goes on from the shipped weights several times, each time with another pattern alone (or none: all tokens in every
step), and lets each outcome answer the test scenes with the tokens that the methods keep. FOLDER holds features as
``python -m scope_adapters.training --work FOLDER`` leaves them, for the same scenes, sprites and photographs. Finished
variants are not trained again. Writes docs/evidence/augmentation.json; ``docs/evidence/run.py --write`` puts it on the
page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "augmentation.json"
VARIANTS: dict[str, tuple[str, ...]] = {
    "all four, as shipped": ("blocks", "clusters", "projection", "uniform"),
    "uniform alone": ("uniform",),
    "rectangles and discs": ("blocks", "clusters"),
    "objects alone": ("objects",),
    "none: all tokens": (),
}
STRATEGIES = ("scope", "top_k_attention", "coverage_only", "divprune", "random", "uniform_grid")
KEEPS = (64, 16)
RATE, WARM = 5e-4, 10


def start() -> Any:
    """A student with the shipped weights; they have the features' normalisation folded in."""
    from safetensors.torch import load_file

    from scope_adapters.training.settings import Settings
    from scope_adapters.training.student import Student
    from scope_adapters.zoo.scenes_llava.loading import FOLDER

    weights = {name: tensor.float() for name, tensor in load_file(FOLDER / "model.safetensors").items()}
    student = Student(Settings(compile=False), len(weights["lm_head.weight"]))
    language = {name.removeprefix("model.language_"): value for name, value in weights.items() if "language" in name}
    student.decoder.load_state_dict({**language, "lm_head.weight": weights["lm_head.weight"]})
    for part, name in ((student.first, "linear_1"), (student.second, "linear_2")):
        prefix = f"model.multi_modal_projector.{name}"
        part.load_state_dict({key: weights[f"{prefix}.{key}"] for key in ("weight", "bias")})
    return student


def trained(data: Any, patterns: tuple[str, ...], steps: int) -> Any:
    """The shipped student after some more steps of the last stage."""
    import torch
    from rich.progress import track

    from scope_adapters.training.stages import Draws, answer, rate

    student, draws = start(), Draws.of(1)
    groups = [{"params": student.decoding(), "share": 1.0}, {"params": student.shared(), "share": 0.1}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=0.05, betas=(0.9, 0.98))
    forward = torch.compile(student.forward, dynamic=True)
    for step in track(range(steps), description=", ".join(patterns) or "all tokens"):
        now = rate(step, steps, peak=RATE, last=1e-5, warm=WARM)
        for group in optimizer.param_groups:
            group["lr"] = now * group["share"]
        loss = answer(student, data, draws, few=False, forward=forward, patterns=patterns)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
        optimizer.step()
    return student


def scored(folder: Path, limit: int | None) -> dict[str, Any]:
    """Accuracy of each method at each budget, on the test split; the features are cached between variants."""
    from dataclasses import replace

    from scope_adapters.zoo.scenes_llava.loading import assemble, load
    from scope_adapters.zoo.towers import dinov2_small
    from scope_bench.accuracy import methods
    from scope_bench.accuracy.report import results_of
    from scope_bench.accuracy.runner import Settings, bounds, run, scenes_of
    from scope_bench.accuracy.task_choice import read_task
    from scope_core import default_registry

    registry, whole = default_registry(), load("")
    task = read_task("scenes", registry)
    loaded = replace(whole, model=assemble(folder, dinov2_small("").module)[0])
    entered = methods.enter(STRATEGIES, KEEPS, registry, loaded.model)
    settings = Settings("test", limit=limit)
    scenes = scenes_of(loaded, task, settings)
    entered += bounds(scenes, KEEPS, registry)
    found = results_of(run(loaded, task, entered, scenes, settings, registry, lambda made, total: None))
    runs = {(one["name"], one["keep"]): one["accuracy"] for one in found["runs"]}
    return {
        "all": runs["all tokens", None],
        **{str(keep): {name: runs[name, keep] for name in STRATEGIES} for keep in KEEPS},
        "ranking": found["ranking"],
        "examples": found["examples"],
        "questions": found["questions"],
    }


def main() -> None:
    """Train what is missing, score, write."""
    from transformers import AutoTokenizer

    from scope_adapters.training.data import WORDINGS, gather, task
    from scope_adapters.training.export import export
    from scope_adapters.training.features import encode
    from scope_adapters.zoo.scenes_llava.loading import FOLDER
    from scope_adapters.zoo.towers import dinov2_small

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sprites", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--limit", type=int, help="test scenes at most")
    given = parser.parse_args()
    folders = {"sprites": given.sprites, "photographs": given.photographs}
    tasks = [task(wording=wording, scenes=given.scenes, **folders) for wording in WORDINGS]
    asked = [made.examples("train", seed=0) for made in tasks]
    key = f"{given.scenes} scenes from seed 0, sprites {given.sprites}, photographs {given.photographs}"
    features = encode(asked[0], given.work / "features", key=key)
    questions = [[q for made in asked for q in made[n].questions] for n in range(given.scenes)]
    data, words = gather(features, questions, AutoTokenizer.from_pretrained(FOLDER))
    made: dict[str, Any] = {"steps": given.steps, "scenes": given.scenes, "variants": {}}
    for name, patterns in VARIANTS.items():
        folder = given.work / f"augmentation-{'-'.join(patterns) or 'none'}-{given.steps}"
        if not (folder / "model.safetensors").is_file():
            export(trained(data, patterns, given.steps), words, dinov2_small("").module.config, folder)
        made["variants"][name] = score = scored(folder, given.limit)
        made |= {fact: score.pop(fact) for fact in ("examples", "questions")}
        RESULTS.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
