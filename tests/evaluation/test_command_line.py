"""lmms-eval as a user runs it: one process after another, offline, on local tasks."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from commands import Commands, Ran

BOTH = "local_yes_no,local_open"
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "lmms_eval"]
KEEP = 7
PATCHES = 36
EXAMPLES = 6


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("spec") / "scope.yaml"
    file.write_text(f"recipe: scope\nbudget: {KEEP}\n", "utf-8")
    return file


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(commands: Commands, llava: Path, spec_file: Path, home: Path) -> dict[str, Ran]:
    """All runs, two at a time: starting lmms-eval takes longer than answering."""

    def evaluate(name: str, names: str = BOTH, *more: str, model: str = "scope_llava_hf", **options: Any) -> Ran:
        options = {"receipts": home / f"{name}.json", **options} if model == "scope_llava_hf" else options
        return commands.evaluate(model, llava, home / name, names, *more, **options)

    def together(name: str, **options: Any) -> Ran:
        options = {"receipts": home / f"{name}.json", **options}
        out = home / name
        return commands.run(
            [*TWO, *commands.arguments("scope_llava_hf", llava, out, BOTH, "--force_simple", **options)], out
        )

    simple = "--force_simple"
    jobs = {
        "stock": lambda: evaluate("stock", BOTH, simple, model="llava_hf", device_map="cpu"),
        "all": lambda: evaluate("all", BOTH, simple, pruner=f"scope@{PATCHES}"),
        "some": lambda: evaluate("some", BOTH, simple, pruner=f"scope@{KEEP}"),
        "chat": lambda: evaluate("chat", BOTH, pruner=spec_file),
        "two": lambda: together("two", pruner=f"scope@{KEEP}"),
        "two fail": lambda: together("two fail", pruner=f"scope@{PATCHES + 1}"),
    }
    with ThreadPoolExecutor(2) as pool:
        running = {name: pool.submit(job) for name, job in jobs.items()}
        return {name: done.result() for name, done in running.items()}


def receipts(home: Path, name: str) -> dict[str, Any]:
    return json.loads((home / f"{name}.json").read_text("utf-8"))


def told(ran: Ran) -> str:
    return ran.printed[-3000:]


def test_keeping_all_tokens_answers_as_lmms_evals_own_model_does(runs: dict[str, Ran]) -> None:
    stock, everything = runs["stock"], runs["all"]
    assert (stock.status, everything.status) == (0, 0), told(stock) + told(everything)
    assert everything.answers == stock.answers
    assert {name: len(answers) for name, answers in stock.answers.items()} == dict.fromkeys(BOTH.split(","), EXAMPLES)
    assert all(answer for answers in stock.answers.values() for answer in answers)
    assert metrics(everything) == metrics(stock)


def test_pruned_answers_are_those_of_attach(
    runs: dict[str, Ran], llava: Path, attached: Any, pictures: list[Any], home: Path
) -> None:
    some = runs["some"]
    assert some.status == 0, told(some)
    asked = "Is there something {} in the image?"
    assert some.answers["local_open"] == attached(llava, f"scope@{KEEP}", pictures, asked, 6)
    shorter = asked + "\nAnswer with one word."
    assert some.answers["local_yes_no"] == attached(llava, f"scope@{KEEP}", pictures, shorter, 1)
    assert some.answers["local_open"] != runs["stock"].answers["local_open"]
    assert metrics(some) != metrics(runs["stock"])
    found = receipts(home, "some")
    assert (found["spec"], found["calls"], found["images"]) == (f"scope@{KEEP}", 2 * EXAMPLES, 2 * EXAMPLES)
    assert (found["tokens"], found["kept"]) == (2 * EXAMPLES * PATCHES, 2 * EXAMPLES * KEEP)


def test_the_chat_model_takes_a_spec_file(
    runs: dict[str, Ran], home: Path, llava: Path, attached: Any, pictures: list[Any]
) -> None:
    chat = runs["chat"]
    assert chat.status == 0, told(chat)
    wanted = attached(llava, f"scope@{KEEP}", pictures, "Is there something {} in the image?", 6, chat=True)
    assert chat.answers["local_open"] == wanted
    assert receipts(home, "chat")["kept"] == 2 * EXAMPLES * KEEP


def test_two_processes_share_the_work(runs: dict[str, Ran], home: Path) -> None:
    two = runs["two"]
    assert two.status == 0, told(two)
    assert two.answers == runs["some"].answers
    assert metrics(two) == metrics(runs["some"])
    found = [receipts(home, f"two.{rank}") for rank in range(2)]
    assert [it["images"] for it in found] == [EXAMPLES, EXAMPLES]
    assert sum(it["kept"] for it in found) == 2 * EXAMPLES * KEEP


def test_a_failure_ends_all_processes_without_a_score(runs: dict[str, Ran]) -> None:
    ran = runs["two fail"]
    assert ran.status not in (0, None), told(ran)
    assert (
        f"BudgetError: budget 'tokens' keeps {PATCHES + 1} per image, but image 0 has {PATCHES} tokens" in ran.printed
    )
    assert not ran.results
    assert not ran.answers


def metrics(ran: Ran) -> dict[str, dict[str, float]]:
    """What was measured, without standard errors."""
    return {
        task: {name: value for name, value in found.items() if "stderr" not in name and isinstance(value, float)}
        for task, found in ran.results.items()
    }
