"""Measure the table of a paper with lmms-eval, cell by cell, and write measured numbers beside the published ones.

    python docs/reproduce/run.py docs/reproduce/tables/llava-1.5-7b.yaml --dry-run
    python docs/reproduce/run.py docs/reproduce/tables/llava-1.5-7b.yaml
    python docs/reproduce/run.py docs/reproduce/tables/llava-1.5-7b.yaml --strategies full,scope,random --columns POPE

Needs scope-core[lmms], the weights, the benchmarks and a GPU. A cell that has a result is not measured again, so an
interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from papers import FULL, Cell, Table, TableError, metrics_of

HERE = Path(__file__).resolve().parent
TASKS = HERE / "tasks"
PACKAGES = ("scope-core", "lmms-eval", "transformers", "torch")


def command(table: Table, cell: Cell, given: argparse.Namespace, out: Path) -> list[str]:
    """lmms-eval's command line for one cell."""
    spec = table.spec(cell)
    options = {
        "pretrained": given.pretrained or table.text["pretrained"],
        **table.text.get("model_args", {}),
        **dict(pair.split("=", 1) for pair in given.model_args),
        "pruner": spec if isinstance(spec, str) else json.dumps(spec, separators=(",", ":")),
        "receipts": out / "receipts.json",
    }
    return [
        *(shlex.split(given.launcher) if given.launcher else [sys.executable, "-m"]),
        *("lmms_eval", "--model", "scope_llava_hf", "--tasks", cell.task, "--batch_size", "1", "--log_samples"),
        *("--model_args", ",".join(f"{name}={value}" for name, value in options.items())),
        *("--output_path", str(out), "--include_path", str(given.include_path or TASKS)),
        *(["--device", given.device] if given.device else []),
        *(["--limit", str(given.limit)] if given.limit is not None else []),
        *table.text.get("arguments", []),
    ]


def facts(table: Table, cell: Cell, given: argparse.Namespace) -> dict[str, Any]:
    """Everything that a result depends on; if it differs, the cell is measured again."""
    return {
        "pretrained": given.pretrained or table.text["pretrained"],
        "model_args": {**table.text.get("model_args", {}), **dict(pair.split("=", 1) for pair in given.model_args)},
        "arguments": table.text.get("arguments", []),
        "spec": table.spec(cell),
        "limit": given.limit,
    }


def place(out: Path, table: Table, cell: Cell) -> Path:
    """The result file of a cell."""
    return out / table.name / cell.row / f"{cell.task}.json"


def known(path: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The result in a file, if it was measured with these facts; else None."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found if found["facts"] == json.loads(json.dumps(wanted)) else None


def receipts_of(folder: Path, spec: Any) -> list[dict[str, Any]]:
    """The checked receipts of all processes.

    Raises:
        TableError: nothing was pruned although it should have been.
    """
    found = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("receipts*.json"))]
    images, tokens, kept = (sum(receipt[name] for receipt in found) for name in ("images", "tokens", "kept"))
    if not found or images == 0 or (spec != "none" and (tokens == 0 or kept > tokens)):
        raise TableError(f"the run says that {kept} of {tokens} tokens of {images} images were kept; see {folder}")
    return found


def measure(table: Table, cell: Cell, given: argparse.Namespace) -> dict[str, Any]:
    """Run one cell and keep its result.

    Raises:
        TableError: lmms-eval failed or wrote nothing; says where its log is.
    """
    path = place(given.out, table, cell)
    folder = path.with_suffix("") / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    line, start, log = command(table, cell, given, folder), time.monotonic(), folder / "log.txt"
    with log.open("w", encoding="utf-8") as file:
        status = subprocess.run(line, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    try:
        if status:
            raise TableError(f"lmms-eval ended with status {status}")
        metrics, receipts = metrics_of(folder, cell.task), receipts_of(folder, table.spec(cell))
    except TableError as error:
        tail = "\n".join(log.read_text("utf-8", errors="replace").strip().splitlines()[-15:])
        raise TableError(f"{cell}: {error}\n{tail}\nlog: {log}\ncommand: {shlex.join(line)}") from error
    result = {
        "facts": facts(table, cell, given),
        "metrics": metrics,
        "receipts": receipts,
        "seconds": round(time.monotonic() - start, 1),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "command": line,
    }
    written = path.with_suffix(".tmp")
    written.write_text(json.dumps(result, indent=1), encoding="utf-8")
    written.replace(path)
    return result


def check_weights(pretrained: str) -> None:
    """Check that the checkpoint can be loaded, before the first evaluation.

    Raises:
        TableError: it cannot; says what to do.
    """
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(pretrained)
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TableError(
            f"the weights of {pretrained} were not found: {first}\nDownload them (`hf download {pretrained}`), copy a "
            f"hub cache, or name a folder: --pretrained FOLDER. --dry-run shows the commands without weights."
        ) from error


def chosen(table: Table, given: argparse.Namespace) -> list[Cell]:
    """The requested cells.

    Raises:
        TableError: a name is in no table.
    """
    columns = {column.name: column for column in table.columns}
    wanted = {"strategies": set(table.text["strategies"]), "columns": set(columns), "keep": set(table.text["budgets"])}
    for option, names in wanted.items():
        if unknown := set(getattr(given, option) or ()) - names:
            raise TableError(f"--{option}: {sorted(unknown)} not in {table.name}; there are {sorted(names)}")
    tasks = {columns[name].task for name in given.columns} if given.columns else None
    return [
        cell
        for cell in table.cells(given.judge)
        if (not given.strategies or cell.strategy in given.strategies)
        and (not given.keep or cell.keep is None or cell.keep in given.keep)
        and (tasks is None or cell.task in tasks)
    ]


def main() -> None:
    """Measure what is missing, and write the table."""
    given = arguments()
    table = Table.read(given.table)
    cells = chosen(table, given)
    every = dict.fromkeys([*table.cells(True), *cells])  # the table shows all results, whatever is run now
    done = {cell: found for cell in every if (found := known(place(given.out, table, cell), facts(table, cell, given)))}
    due = [] if given.report else [cell for cell in cells if cell not in done]
    if given.dry_run:
        for cell in due:
            print(f"# {cell}\n{shlex.join(command(table, cell, given, place(given.out, table, cell).with_suffix('')))}")
        print(f"# {len(due)} of {len(cells)} evaluations to run, {len(cells) - len(due)} are there")
        return
    if due:
        check_weights(given.pretrained or table.text["pretrained"])
    for number, cell in enumerate(due, 1):
        print(f"{number} of {len(due)}: {cell}", flush=True)
        done[cell] = measure(table, cell, given)
    report = table.report({cell: result["metrics"] for cell, result in done.items()})
    (given.out / table.name).mkdir(parents=True, exist_ok=True)
    (given.out / table.name / "table.md").write_text(report, encoding="utf-8")
    print(report)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a file of docs/reproduce/tables, or one like it")
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder of the results")
    parser.add_argument("--dry-run", action="store_true", help="show the commands and run nothing")
    parser.add_argument("--report", action="store_true", help="run nothing; write the table of existing results")
    names = {"type": lambda text: text.split(","), "metavar": "A,B"}
    parser.add_argument("--strategies", **names, help=f"only these methods; '{FULL}' is the unpruned model")
    parser.add_argument("--columns", **names, help="only these columns")
    parser.add_argument("--keep", type=lambda text: [int(n) for n in text.split(",")], help="only these budgets")
    parser.add_argument("--judge", action="store_true", help="also tasks that a judge model scores through a paid API")
    parser.add_argument("--limit", type=int, help="examples at most, for a trial")
    parser.add_argument("--pretrained", help="another checkpoint or folder")
    parser.add_argument(
        "--model-args", nargs="*", default=[], metavar="NAME=VALUE", help="more of lmms-eval's model_args"
    )
    parser.add_argument("--device", help="lmms-eval's --device")
    parser.add_argument("--include-path", type=Path, help="folder of task files, in place of docs/reproduce/tasks")
    parser.add_argument("--launcher", help="e.g. 'accelerate launch --num_processes 4 -m'; default: python -m")
    return parser.parse_args()


if __name__ == "__main__":
    main()
