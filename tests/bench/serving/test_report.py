"""``scope bench serve``: the table, its meaning in words, the client's options, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scope_bench.serving import report
from scope_bench.serving.engine import Engine
from scope_bench.serving.load import Load, words
from scope_core.cli import app

SPEC = "a_recipe_of_a_long_name+alpha=0.5@64"


def measured(rate: float, selection: float = 0.1, encoder: float = 2.0, wall: float = 20.0) -> dict[str, float]:
    return {
        "clients": 1, "requests_per_s": rate, "ttft_ms_median": 12345.6, "ttft_ms_p95": 65432.1,
        "tpot_ms_median": 1234.5, "kv_peak": 1.0, "encoder_s": encoder, "selection_s": selection, "images": 4,
        "tokens_in": 2304, "tokens_kept": 256, "wall_s": wall,
    }  # fmt: skip


def test_medians_table_and_words() -> None:
    rounds: dict[str, dict[int, list[dict[str, float]]]] = {
        "all": {n: [measured(2), measured(4), measured(100)] for n in (1, 4, 16, 32)},
        SPEC: {
            1: [measured(1), measured(3, selection=1.0), measured(3, selection=1.0)],
            4: [measured(4)],
            16: [measured(6)],
            32: [measured(3.5)],
        },
    }
    rows = report.summarized(rounds)
    assert [(row["clients"], row["engine"]) for row in rows] == [(n, e) for n in (1, 4, 16, 32) for e in ("all", SPEC)]
    assert [row["times"] for row in rows if row["engine"] == SPEC] == [0.75, 1, 1.5, 0.875]
    assert all(len(line) <= 80 for line in report.table(rows).splitlines())
    slow, same, fast, other = report.verdict(rows)
    assert slow.startswith("Pruning does not pay with 1 client: 0.75 times the requests per second.")
    assert "Selection takes 50% of the encoder's time" in slow
    assert same == "Pruning makes no difference with 4 clients: 1.00 times the requests per second."
    assert fast == "Pruning pays with 16 clients: 1.50 times the requests per second."
    assert "does not pay" in other
    assert "longer answers gain little" in other


def test_a_slow_encoder_is_named(tmp_path: Path) -> None:
    rows = report.summarized({"all": {2: [measured(2, encoder=15)]}, SPEC: {2: [measured(1, encoder=15)]}})
    (said,) = report.verdict(rows)
    assert "encoder, which reads every patch in any case" in said
    pytest.importorskip("matplotlib")
    report.draw(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_clients_options() -> None:
    load = Load("folder", 8, [(336, 336), (480, 640)], (16, 48), 4, warmups=1, patience=9)
    given = dict(word.removeprefix("--").partition("=")[::2] for word in words(Engine("u"), load, 2, 7, Path("d")))
    assert given["random-mm-bucket-config"] == "{(336, 336, 1): 0.5, (480, 640, 1): 0.5}"
    assert float(given["random-range-ratio"]) * int(given["random-input-len"]) == 16  # 32 less and more 16
    assert (given["max-concurrency"], given["num-prompts"], given["seed"]) == ("2", "8", "7")
    assert json.loads(given["random-mm-limit-mm-per-prompt"]) == {"image": 1, "video": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "336"], "is not a size; write WIDTHxHEIGHT"),
        (["--sizes", "0x5"], "is not a size"),
        (["--prompt", "9-3"], "is not a range of tokens"),
        (["--concurrency", "0"], "give e.g."),
        (["--requests", "0"], "--requests"),
        (["--answer", "1"], "--answer"),
        (["--spec", "scop@64"], "scope"),
        (["--", "--port", "80"], "is set by this command, which serves on 127.0.0.1 only"),
        (["--", "--served_model_name=x"], "is set by this command"),
    ],
)
def test_what_is_refused(options: list[str], message: str) -> None:
    first: list[Any] = [] if "--spec" in options else ["--spec", "scope@64"]
    ran = CliRunner().invoke(app, ["bench", "serve", "some/model", *first, *options])
    assert ran.exit_code != 0
    assert message in " ".join(str(ran.output).replace("│", " ").split()) + str(ran.exception)
