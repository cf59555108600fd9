"""Requests per second of a running server, with and without pruning, on the same engine.

Start the server so that it keeps everything and lets requests ask for less; then measure:

    scope serve MODEL --spec scope@100% --per-request -- --port 8000
    python docs/serving/throughput.py --url http://127.0.0.1:8000 --budgets all,192,64 --concurrency 1,4,16

Every request has a new image, so that no cache answers, and the same question. Budgets take turns within a round, so
that other load on the machine affects all of them; the best round is shown, with the worst in brackets. ``--pid`` also
measures the server's processor time per request, which varies less on a shared machine; on a GPU it says little.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import os
import platform
import random
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

SEEDS = itertools.count(int(time.time()))


def main() -> None:
    """Measure, print a table, write JSON."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--url", default="http://127.0.0.1:8000")
    words.add_argument("--model", default="", help="name of the model; by default the server's first")
    words.add_argument("--budgets", default="all,192,64", help="numbers of tokens per image, or specs; all: no pruning")
    words.add_argument("--concurrency", default="1,4,16")
    words.add_argument("--requests", type=int, default=16, help="per measurement, at least the concurrency")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--tokens", type=int, default=16, help="length of each answer in tokens")
    words.add_argument("--size", default="336x336", help="width x height of the images")
    words.add_argument("--pid", type=int, default=0, help="process id of the server, to measure its processor time")
    words.add_argument("--out", type=Path, help="a file for the results as JSON")
    given = words.parse_args()
    given.model = given.model or json.load(urllib.request.urlopen(f"{given.url}/v1/models"))["data"][0]["id"]
    budgets = [word if word == "all" else int(word) if word.isdigit() else word for word in given.budgets.split(",")]
    for budget in budgets:
        run(given, budget, 2, 2)  # warm up
    rows = []
    for clients in map(int, given.concurrency.split(",")):
        requests = max(given.requests, clients)
        seen = {budget: [] for budget in budgets}
        for _ in range(given.rounds):
            for budget in budgets:
                seen[budget].append(run(given, budget, requests, clients))
        rows += [row(clients, budget, seen[budget], seen[budgets[0]]) for budget in budgets]
        print(table(rows[-len(budgets) :], head=len(rows) == len(budgets)), flush=True)
    if given.out:
        about = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
        settings = {key: value for key, value in vars(given).items() if key not in ("url", "pid", "out", "model")}
        facts = {"machine": about, "settings": settings, "rows": rows}
        given.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def run(given: argparse.Namespace, budget: str | int, requests: int, clients: int) -> dict[str, float]:
    """One measurement: requests per second, processor seconds per request, length of the prompt."""
    width, height = map(int, given.size.split("x"))
    bodies = [body(given, budget, (width, height)) for _ in range(requests)]
    before, start = processor_seconds(given.pid), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        lengths = list(pool.map(lambda one: ask(given.url, one), bodies))
    seconds = time.perf_counter() - start
    spent = processor_seconds(given.pid) - before
    return {"rate": requests / seconds, "processor": spent / requests, "prompt": sum(lengths) / requests}


def body(given: argparse.Namespace, budget: str | int, size: tuple[int, int]) -> bytes:
    """A request with a new image."""
    noise = Image.frombytes("RGB", (12, 12), random.Random(next(SEEDS)).randbytes(432)).resize(size)
    buffer = io.BytesIO()
    noise.save(buffer, format="JPEG")
    url = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is in the image?"}]
    asked = {
        "model": given.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": given.tokens,
        "min_tokens": given.tokens,
        "temperature": 0,
    }
    if budget != "all":
        asked["mm_processor_kwargs"] = {"visual_pruner": budget}
    return json.dumps(asked).encode()


def ask(url: str, asked: bytes) -> int:
    """Length of the prompt in tokens, as the server answers."""
    request = urllib.request.Request(f"{url}/v1/chat/completions", asked, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)["usage"]["prompt_tokens"]


def processor_seconds(pid: int) -> float:
    """Processor time of a process and its children; 0 without a process id."""
    if not pid:
        return 0.0
    import psutil

    top = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:2]) for process in [top, *top.children(recursive=True)])


def row(clients: int, budget: str | int, runs: list[dict], unpruned: list[dict]) -> dict[str, float | str | int]:
    """A row of the table: one concurrency and budget."""
    best, rates = max(run["rate"] for run in runs), sorted(run["rate"] for run in runs)
    base = max(run["rate"] for run in unpruned)
    spent, spent_base = min(run["processor"] for run in runs), min(run["processor"] for run in unpruned)
    return {
        "concurrency": clients,
        "budget": budget,
        "prompt": round(runs[0]["prompt"]),
        "requests per s": best,
        "lowest": rates[0],
        "times": best / base,
        "processor ms per request": 1000 * spent,
        "processor times": spent_base / spent if spent else float("nan"),
    }


def table(rows: list[dict], *, head: bool) -> str:
    """Rows of a table in Markdown."""
    lines = (
        [
            "| clients | budget | prompt | requests per s (worst) | x requests | processor ms | x processor |",
            "|---|---|---|---|---|---|---|",
        ]
        if head
        else []
    )
    for one in rows:
        cells = (
            one["concurrency"],
            one["budget"],
            one["prompt"],
            f"{one['requests per s']:.2f} ({one['lowest']:.2f})",
            f"{one['times']:.2f}",
            f"{one['processor ms per request']:.0f}" if one["processor ms per request"] else "-",
            f"{one['processor times']:.2f}" if one["processor ms per request"] else "-",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def processor() -> str:
    """The name of the processor, if known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
