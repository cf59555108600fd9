"""``scope run``: answers of a model with all visual tokens and with the kept ones."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from scope_core.cli.clips import Clip, check_moving, draw_clips, frame_facts, frames_table, open_clips, suffixes
from scope_core.cli.commands.select import END, FPS, IMAGES, KEEP, ORDER, OUT, SPEC, START
from scope_core.cli.methods import Method, amount
from scope_core.cli.output import check_out, loading, note, out, progress, show_json, table, warn, working
from scope_core.cli.panels import picture_of, save
from scope_core.cli.photos import Picture, open_pictures
from scope_core.cli.selections import Judge, Selected, kept_of, scores_of, shown_of, source_of
from scope_core.cli.state import CACHE_DIR, starting_spec, state_of
from scope_core.cli.watched import Watched, kept_of_clip, views_of, watched
from scope_core.drawing.text import percent
from scope_core.errors import AdapterError, ZooError
from scope_core.progress import Tell
from scope_core.structures.receipt import THETAS

if TYPE_CHECKING:
    from scope_core.parts.zoo import LoadedModel
    from scope_core.pruning.pruner import Pruner
    from scope_core.structures.receipt import Receipt

RUNS, SECONDS = 3, 5.0
"""Number of timed answers, unless they take longer in all than this many seconds."""


_LOADING = "How the model is loaded"
DTYPE = typer.Option(metavar="NAME", help="Of the weights: bfloat16, ...", rich_help_panel=_LOADING)
DEVICE_MAP = typer.Option(metavar="WHERE", help="cpu, cuda, auto, ...", rich_help_panel=_LOADING)
ATTENTION = typer.Option(metavar="NAME", help="sdpa, eager, flash_attention_2, ...", rich_help_panel=_LOADING)
QUANTIZATION = typer.Option(
    metavar="NAME", help="bnb-8bit or bnb-4bit; weights that are quantised already need none.", rich_help_panel=_LOADING
)


@dataclass(frozen=True)
class Answer:
    """An answer, its numbers of tokens, and its times (medians of ``runs`` calls of ``generate``)."""

    text: str
    new_tokens: int
    prompt_tokens: int
    visual_tokens: int
    first_token_ms: float
    total_ms: float
    runs: int


class Stopwatch:
    """A streamer that records the time of the first token; generate() calls it with the prompt before that."""

    def __init__(self, made: Callable[[int], None] = lambda count: None) -> None:
        self.made = made
        self.calls: list[float] = []
        self.start = time.perf_counter()

    def put(self, value: Any) -> None:
        """Record a call: with the prompt, then with each new token."""
        self.calls.append(time.perf_counter())
        self.made(len(self.calls) - 1)

    def end(self) -> None:
        """Do nothing after the last token."""

    @property
    def first_ms(self) -> float:
        """Milliseconds until the first new token; NaN without one."""
        return (self.calls[1] - self.start) * 1e3 if len(self.calls) > 1 else float("nan")


def run(
    ctx: typer.Context,
    images: Annotated[list[str], IMAGES],
    question: Annotated[
        str, typer.Option("--question", "-q", metavar="TEXT", help="Question about the images or the video.")
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A zoo model.", show_default="see `scope models`")
    ] = None,
    spec: Annotated[str | None, SPEC] = None,
    keep: Annotated[str | None, KEEP] = None,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum length of the answers.")] = 32,
    warm_up: Annotated[bool, typer.Option(help="Run once untimed before measuring.")] = True,
    out_file: Annotated[Path | None, OUT] = None,
    order: Annotated[bool, ORDER] = False,
    fps: Annotated[float | None, FPS] = None,
    start: Annotated[float, START] = 0.0,
    end: Annotated[float | None, END] = None,
    as_images: Annotated[
        bool,
        typer.Option(
            "--as-images",
            help="Give a video's frames as images of the prompt, as is done for models that take no videos.",
        ),
    ] = False,
    dtype: Annotated[str | None, DTYPE] = None,
    device_map: Annotated[str | None, DEVICE_MAP] = None,
    attention: Annotated[str | None, ATTENTION] = None,
    quantization: Annotated[str | None, QUANTIZATION] = None,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a multimodal model about images or a video, with all visual tokens and with the kept ones, side by side."""
    check_moving(out_file, images)
    check_out(out_file, suffixes(images))
    budget = {} if keep is None else {"budget": amount(keep)}
    state = state_of(ctx, cache_dir=cache_dir)
    clips = open_clips(images, fps=fps, start=start, end=end)
    if as_images and not clips:
        raise ZooError(f"--as-images is an option of videos, and '{images[0]}' is not one")
    pictures = [Picture(clip.name, clip) for clip in clips] or open_pictures(images)
    entry = state.zoo("model", model).item
    with loading(entry):
        from scope_core.pruning.pruner import Pruner

        given = starting_spec(spec, entry)
        pruner = Pruner(given, registry=state.registry, **budget)
        loading_options = {
            "dtype": dtype,
            "device_map": device_map,
            "attn_implementation": attention,
            "quantization": quantization,
        }
        loaded = entry.load(**{name: value for name, value in loading_options.items() if value is not None})
        if clips:
            how: dict[str, Any] = {"new": max_new_tokens, "as_images": as_images, "asked": fps is not None}
            given_clips = watched(loaded, entry.name, clips, question, **how)
        else:
            given_clips = Watched((), loaded.inputs([picture.image for picture in pictures], question), as_images=False)
    for text in given_clips.notes:
        note(text)
    if out_file is not None and len(clips) > 1:
        raise ZooError(f"--out shows one video, but {len(clips)} were given; give one, or omit --out")
    if out_file is not None and (loaded.video_view if clips and not given_clips.as_images else loaded.view) is None:
        raise AdapterError(f"'{entry.name}' does not say how it crops images, so no overlay can be drawn; omit --out")
    if loaded.notes:
        warn(f"{entry.name}: {loaded.notes}")
    baseline, pruned, receipt = _both(loaded, pruner, given_clips.inputs, max_new_tokens, warm_up=warm_up)
    notes = [*given_clips.notes, *([loaded.notes] if loaded.notes else [])]
    found = _watched(receipt, given_clips, pruner, given) if len(clips) == 1 else None
    facts = {
        "model": entry.name,
        "spec": pruner.label,
        "question": question,
        "images": [picture.name for picture in pictures],
        "max_new_tokens": max_new_tokens,
        "baseline": vars(baseline),
        "pruned": vars(pruned),
        "receipt": receipt.to_dict(),
        "notes": notes,
        "out": None if out_file is None else str(out_file),
    }
    if clips:
        facts |= {"as_images": given_clips.as_images, "fps": [clip.fps for clip in given_clips.clips]}
        facts["frames"] = [] if found is None else [frame_facts(found[1], found[0].images[0])]
    if json:
        show_json(facts)
    else:
        _print(entry.name, pruner.label, baseline, pruned, receipt)
        if found is not None:
            out().print(frames_table([found[1]], found[0]))
    heading = f"What {entry.name} keeps"
    if out_file is not None and clips:
        if found is None:
            raise AdapterError(f"'{entry.name}' does not say which frame its tokens are of; omit --out")
        selected, clip = found
        views = views_of(loaded, entry.name, given_clips, clip)
        with working("drawing"):
            draw_clips([clip], [views], selected, out_file, heading=heading, notes=notes, order=order)
    elif out_file is not None and loaded.view is not None and receipt.selection is not None:
        judge, tokens = Judge(pruner.spec.at, THETAS, source_of(pruner)), receipt.selection.tokens
        saliency = None if judge.source is None else scores_of(judge.source, tokens)
        shown = shown_of(tokens, [kept_of(receipt.selection, receipt.select_ms, tokens, THETAS, saliency)])
        selected = Selected([Method(given, pruner.label, pruner)], judge, shown)
        page = picture_of(pictures, loaded.view, selected, heading=heading, viewer="model", notes=notes, order=order)
        save(page, out_file)


def _watched(receipt: Receipt, given: Watched, pruner: Pruner, spec: Any) -> tuple[Selected, Clip] | None:
    """What is kept of a video, which gets a frame for each frame of its tokens; None if these do not tell frames."""
    read = kept_of_clip(receipt, given.clips[0])
    if read is None:
        return None
    selection, clip = read
    judge, tokens = Judge(pruner.spec.at, THETAS, source_of(pruner)), selection.tokens
    saliency = None if judge.source is None else scores_of(judge.source, tokens)
    shown = shown_of(tokens, [kept_of(selection, receipt.select_ms, tokens, THETAS, saliency)])
    return Selected([Method(spec, pruner.label, pruner)], judge, shown), clip


def _both(
    loaded: LoadedModel, pruner: Pruner, inputs: dict[str, Any], length: int, *, warm_up: bool
) -> tuple[Answer, Answer, Receipt]:
    """The answer with all tokens, the answer with the kept ones, and the receipt."""
    with pruner.attach(loaded.model):
        pass  # fails before anything slow if the spec does not fit
    with progress("answering with all visual tokens") as tell:
        before = _generate(loaded, inputs, length, warm_up=warm_up, tell=tell)
    with progress(f"answering with {pruner.label}") as tell, pruner.attach(loaded.model) as pruning:
        after = _generate(loaded, inputs, length, warm_up=warm_up, tell=tell)
        receipt = pruning.receipt
    prompt = inputs["input_ids"].shape[1]
    dropped = receipt.tokens - receipt.kept
    return (
        _answer(loaded, *before, prompt=prompt, shown=prompt, visual=receipt.tokens),
        _answer(loaded, *after, prompt=prompt, shown=prompt - dropped, visual=receipt.kept),
        receipt,
    )


def _generate(
    loaded: LoadedModel, inputs: dict[str, Any], length: int, *, warm_up: bool, tell: Tell
) -> tuple[Any, list[tuple[float, float]]]:
    """The result of ``generate``, and milliseconds to the (first, last) token of up to `RUNS` calls."""
    steps = warm_up + RUNS * length  # as many as there may be; each is a token
    tell(0, steps)
    if warm_up:
        loaded.model.generate(**inputs, max_new_tokens=1, do_sample=False)
    times: list[tuple[float, float]] = []
    output = None
    while not times or (len(times) < RUNS and sum(total for _, total in times) < SECONDS * 1e3):
        done = warm_up + len(times) * length
        watch = Stopwatch(partial(_tell, tell, done, steps))
        output = loaded.model.generate(**inputs, max_new_tokens=length, do_sample=False, streamer=watch)
        times.append((watch.first_ms, (time.perf_counter() - watch.start) * 1e3))
    return output, times


def _tell(tell: Tell, before: int, total: int, count: int) -> None:
    tell(before + count, total)


def _answer(
    loaded: LoadedModel, output: Any, times: list[tuple[float, float]], *, prompt: int, shown: int, visual: int
) -> Answer:
    ids = output[0, prompt:]
    first, total = (statistics.median(column) for column in zip(*times, strict=True))
    return Answer(loaded.decode(ids), len(ids), shown, visual, first, total, len(times))


def _print(model: str, label: str, baseline: Answer, pruned: Answer, receipt: Receipt) -> None:
    right: dict[str, Any] = {"justify": "right"}
    rows = [
        (name, f"{before:,.{digits}f}", f"{after:,.{digits}f}", percent(after / before if before else None))
        for name, before, after, digits in (
            ("visual tokens", baseline.visual_tokens, pruned.visual_tokens, 0),
            ("prompt tokens", baseline.prompt_tokens, pruned.prompt_tokens, 0),
            ("first token, ms", baseline.first_token_ms, pruned.first_token_ms, 1),
            ("whole answer, ms", baseline.total_ms, pruned.total_ms, 1),
        )
    ]
    numbers = table(["", ("baseline", right), (label, right), ("of baseline", right)], rows)
    answers = table([("baseline", {"ratio": 1}), (label, {"ratio": 1})], [(baseline.text, pruned.text)], expand=True)
    times = Text(
        f"times: median of {baseline.runs} and {pruned.runs} runs, vision tower and selection included", style="dim"
    )
    out().print(Group(Text(model, style="bold cyan"), answers, numbers, times, Text(str(receipt), style="dim")))
    if baseline.text == pruned.text:
        note("the answers are the same")
