"""Counters for Prometheus, on the server's own ``/metrics``.

vLLM encodes images in other processes than the one that serves ``/metrics``. Each of them keeps its sums in its own
file, in a folder that the engine's config names (`KEY`; `scope serve` sets it); the server adds them up on request.
Without the folder nothing is counted. Images that vLLM takes from its cache are not encoded and not counted.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scope_adapters.serving import pace

KEY = "visual_pruner_metrics"
"""The key of the folder in ``hf_overrides``."""

COUNTERS = (
    ("scope_images", "Images and videos whose visual tokens were selected"),
    ("scope_visual_tokens_in", "Visual tokens of these before selection"),
    ("scope_visual_tokens_kept", "Visual tokens of these that the language model reads"),
    ("scope_selection_seconds", "Time spent on selection, without the vision tower"),
    ("scope_encoder_seconds", "Time spent on encoding: vision tower, selection and projector"),
)
"""(name, meaning) of the counters with the label ``spec``; Prometheus appends ``_total`` to each name."""

FALLBACKS = ("scope_fallbacks", "Images and videos that a part failed on, which keep evenly spaced tokens")
"""(name, meaning) of the counter with the labels `FALLBACK_LABELS`."""

FALLBACK_LABELS = ("part", "distribution", "reason")

INFO = ("scope_serving", "What this server prunes: the engine's spec and budget, the model, versions")
"""(name, meaning) of the metric whose labels are facts; Prometheus appends ``_info`` to the name."""

BY_REQUEST = "request"
"""The value of the label ``spec`` for all specs of requests: clients must not be able to make labels."""

_SUFFIXES = (".counts", ".fresh", ".failed")

log = logging.getLogger(f"vllm.{__package__}")

_sums: dict[Path, Counts] = {}
"""The sums of this process, by the file that they are written to."""


@dataclass
class Counts:
    """Sums of some calls of the encoder.

    Attributes:
        specs: The numbers of `COUNTERS` for each spec in short.
        fallbacks: Number of fallbacks by the values of `FALLBACK_LABELS`.
    """

    specs: dict[str, list[float]] = field(default_factory=dict)
    fallbacks: dict[tuple[str, ...], int] = field(default_factory=dict)

    def add(self, other: Counts, rename: Mapping[str, str] | None = None) -> None:
        """Add the sums of ``other``, its specs under the names that ``rename`` gives them."""
        for spec, numbers in other.specs.items():
            name = spec if rename is None else rename.get(spec, BY_REQUEST)
            sums = self.specs.get(name, [0.0] * len(COUNTERS))
            self.specs[name] = [old + new for old, new in zip(sums, numbers, strict=True)]
        for labels, number in other.fallbacks.items():
            self.fallbacks[labels] = self.fallbacks.get(labels, 0) + number

    def add_fallback(self, *labels: str) -> None:
        """Add one fallback."""
        self.fallbacks[labels] = self.fallbacks.get(labels, 0) + 1


def record(folder: str, counts: Counts) -> None:
    """Add sums to those of this process, and write them; does nothing for an empty ``folder``.

    Never raises, since a full disk must not end the engine: logs a warning, and writes the sums the next time.
    """
    if not folder or not (counts.specs or counts.fallbacks):
        return
    path = Path(folder) / f"{os.getpid()}.counts"
    sums = _sums.setdefault(path, Counts())
    sums.add(counts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(json.dumps({"specs": sums.specs, "fallbacks": list(sums.fallbacks.items())}))
        fresh.replace(path)  # atomic: a reader gets the old sums or the new ones
    except OSError as error:
        if pace.due(path) is not None:
            log.warning("the counters in %s could not be updated, so /metrics shows old ones: %s", folder, error)


def own_folder(folder: str) -> str:
    """A folder below ``folder`` for this server alone; ``folder`` itself in a worker, or if it is empty.

    One command may start several servers. Files that an ended server with the same process number left are removed.
    """
    if not folder or multiprocessing.parent_process() is not None or Path(folder).name == str(os.getpid()):
        return folder
    own = Path(folder) / str(os.getpid())
    _remove(own)
    return str(own)


def expose(folder: str, facts: Mapping[str, str]) -> None:
    """Show ``facts``, and the sums of all processes that write into ``folder``, on this process's ``/metrics``.

    Calling it again changes nothing. When the server ends, the files are removed, and the folder if nothing else is in
    it. An empty folder shows the facts only.
    """
    collector, is_server = _collector(), multiprocessing.parent_process() is None
    if is_server and collector.facts != facts:
        log.info("scope-core prunes: %s", ", ".join(f"{name} {fact}" for name, fact in facts.items() if fact))
    collector.facts = dict(facts)
    if folder and Path(folder) not in collector.folders:
        collector.folders.append(Path(folder))
        if is_server:
            atexit.register(_remove, Path(folder))


def _remove(folder: Path) -> None:
    for path in [path for path in _sums if path.parent == folder]:
        del _sums[path]
    with contextlib.suppress(OSError):  # other files, or no folder
        for path in [path for suffix in _SUFFIXES for path in folder.glob(f"*{suffix}")]:
            path.unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def totals(folders: Iterable[Path]) -> Counts:
    """The sums over all processes; files that cannot be read are left out, with a warning in the log."""
    sums = Counts()
    for path in [path for folder in folders for path in folder.glob("*.counts")]:
        try:
            sums.add(_read(path))
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            if pace.due(path) is not None:
                log.warning("the counters in %s cannot be read: %s", path, error)
    return sums


class Collector:
    """The collector that reads the files when Prometheus asks."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self.facts: dict[str, str] = {}

    def describe(self) -> list[Any]:
        """Nothing: metrics are described by `collect`."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics as they are now."""
        from prometheus_client.core import CounterMetricFamily, InfoMetricFamily

        yield InfoMetricFamily(*INFO, value=self.facts)
        sums = totals(self.folders)
        for number, (name, about) in enumerate(COUNTERS):
            family = CounterMetricFamily(name, about, labels=["spec"])
            for spec, numbers in sums.specs.items():
                family.add_metric([spec], numbers[number])
            yield family
        family = CounterMetricFamily(*FALLBACKS, labels=FALLBACK_LABELS)
        for labels, count in sums.fallbacks.items():
            family.add_metric(labels, count)
        yield family


@functools.cache
def _collector() -> Collector:
    from prometheus_client import REGISTRY

    collector = Collector()
    REGISTRY.register(collector)
    return collector


def _read(path: Path) -> Counts:
    """The sums in a file."""
    table = json.loads(path.read_text())
    return Counts(table["specs"], {tuple(labels): count for labels, count in table["fallbacks"]})
