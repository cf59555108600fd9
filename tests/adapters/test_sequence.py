"""Shortening a prompt, against plain python lists."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_adapters.hosts.huggingface.prompt import FILLS, compact_positions, owners, shorten
from scope_core import AttachError

PLACE = 7
PAD = 0
DROPPED = object()


@dataclass(frozen=True)
class Case:
    """Rows of (id, padding, kept), padded on one side to one length."""

    rows: list[list[tuple[int, bool, bool]]]
    side: str
    masked: bool

    @property
    def ids(self) -> torch.Tensor:
        return torch.tensor([[token for token, _, _ in row] for row in self.rows])

    @property
    def mask(self) -> torch.Tensor | None:
        return torch.tensor([[int(not pad) for _, pad, _ in row] for row in self.rows]) if self.masked else None

    @property
    def keep(self) -> torch.Tensor:
        return torch.tensor([kept for row in self.rows for token, _, kept in row if token == PLACE], dtype=torch.bool)


@st.composite
def cases(draw: st.DrawFn, *, keep_all: bool = False) -> Case:
    kept = st.just(True) if keep_all else st.booleans()
    text = st.tuples(st.integers(1, 5), st.just(False), st.just(True))
    place = st.tuples(st.just(PLACE), st.just(False), kept)
    bodies = draw(st.lists(st.lists(text | place, min_size=1, max_size=12), min_size=1, max_size=4))
    side, masked = draw(st.sampled_from(["left", "right"])), draw(st.booleans())
    longest = max(map(len, bodies)) + (draw(st.integers(0, 3)) if masked else 0)
    rows = []
    for body in bodies:
        missing = longest - len(body)
        pads = [(PAD, True, True)] * missing if masked else [(1, False, True)] * missing
        rows.append(pads + body if side == "left" else body + pads)
    return Case(rows, side, masked)


def expected(case: Case) -> list[list[int | object]]:
    """Positions of the full prompt, row by row; DROPPED fills up rows that are too short."""
    right = case.masked and case.side == "right" and any(row[-1][1] for row in case.rows)
    contents, paddings = [], []
    for row in case.rows:
        contents.append([at for at, (_, pad, kept) in enumerate(row) if kept and not (pad and case.masked)])
        paddings.append([at for at, (_, pad, _) in enumerate(row) if pad and case.masked])
    length = max(map(len, contents)) + min(map(len, paddings))
    made: list[list[int | object]] = []
    for content, padding in zip(contents, paddings, strict=True):
        spare = length - len(content)
        used = padding[:spare] if right else padding[len(padding) - min(spare, len(padding)) :]
        fill: list[int | object] = [DROPPED] * (spare - len(used))
        made.append(content + used + fill if right else fill + used + content)
    return made


@settings(deadline=None, max_examples=300)
@given(cases())
def test_shorten_is_what_lists_say(case: Case) -> None:
    short = shorten(case.ids, case.mask, PLACE, case.keep)
    wanted = expected(case)
    got = [
        [at if kept else DROPPED for at, kept in zip(row, flags, strict=True)]
        for row, flags in zip(short.index.tolist(), short.kept.tolist(), strict=True)
    ]
    assert got == wanted
    ids = [[99 if at is DROPPED else case.rows[row][at][0] for at in line] for row, line in enumerate(wanted)]
    assert short.take(case.ids, 99).tolist() == ids
    assert short.dropped.tolist() == [[not kept for _, _, kept in row] for row in case.rows]
    places = [kept for row in case.rows for token, _, kept in row if token == PLACE]
    assert int((short.take(case.ids, -1) == PLACE).sum()) == sum(places)


@settings(deadline=None, max_examples=100)
@given(cases(keep_all=True))
def test_keeping_everything_is_the_identity(case: Case) -> None:
    short = shorten(case.ids, case.mask, PLACE, case.keep)
    assert torch.equal(short.index, torch.arange(case.ids.shape[1]).expand_as(case.ids))
    assert bool(short.kept.all())
    positions = torch.randint(0, 9, case.ids.shape)
    assert torch.equal(compact_positions(positions, short), positions)


@settings(deadline=None, max_examples=300)
@given(cases(), st.data())
def test_compact_positions_close_the_gaps_of_each_sequence(case: Case, data: st.DataObject) -> None:
    """Rows may hold several prompts, each numbered from its own start."""
    full, wanted = [], []
    for row in case.rows:
        numbers: list[int] = []
        closed: list[int] = []
        following = compact = 0
        for at, (_, _, kept) in enumerate(row):
            if at == 0 or data.draw(st.integers(0, 5)) == 0:
                top = 3 if at == 0 else numbers[-1]
                following = compact = data.draw(st.integers(0, top))
            numbers.append(following)
            closed.append(compact)
            following += 1
            compact += kept
        full.append(numbers)
        wanted.append(closed)
    short = shorten(case.ids, case.mask, PLACE, case.keep)
    got = compact_positions(torch.tensor(full), short)
    for row, line in enumerate(got.tolist()):
        for at, kept, number in zip(short.index[row].tolist(), short.kept[row].tolist(), line, strict=True):
            assert number == (wanted[row][at] if kept else 0)


def test_a_masked_placeholder_at_the_edge_is_no_padding() -> None:
    """Its features are still handed to the model, so it must not go the way of padding."""
    ids = torch.tensor([[0, PLACE, PLACE, 1], [2, PLACE, PLACE, 4]])
    mask = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 1]])
    short = shorten(ids, mask, PLACE, torch.tensor([True, True, False, False]))
    assert short.take(ids, 0).tolist() == [[PLACE, PLACE, 1], [0, 2, 4]]


def test_holes_in_the_mask_stay() -> None:
    ids, mask = torch.tensor([[1, PLACE, 2, 3]]), torch.tensor([[1, 1, 0, 1]])
    short = shorten(ids, mask, PLACE, torch.tensor([False]))
    assert short.take(ids, 0).tolist() == [[1, 2, 3]]
    assert short.take(mask, 0).tolist() == [[1, 0, 1]]


def test_boolean_masks_do() -> None:
    ids, mask = torch.tensor([[0, 1, PLACE], [1, PLACE, PLACE]]), torch.tensor([[False, True, True], [True] * 3])
    short = shorten(ids, mask, PLACE, torch.tensor([True, False, False]))
    assert short.take(mask, 0).tolist() == [[True, True], [False, True]]
    assert short.take(mask, 0).dtype == torch.bool


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=4))
def test_owners_follow_the_placeholders(sizes: list[list[int]]) -> None:
    longest = max(sum(row) for row in sizes)
    ids = torch.tensor([[PLACE] * sum(row) + [1] * (longest - sum(row) + 1) for row in sizes])
    flat = [size for row in sizes for size in row]
    assert owners(ids, PLACE, flat) == [number for number, row in enumerate(sizes) for _ in row]
    with pytest.raises(AttachError, match=r"images were given, but the prompts have placeholders"):
        owners(ids, PLACE, [*flat, 3])
    if flat:
        with pytest.raises(AttachError):
            owners(ids, PLACE, flat[:-1])


def test_owners_refuse_an_image_that_would_straddle_two_prompts() -> None:
    """The total is right, so the host would let it pass, with half of image 0 in the wrong prompt."""
    ids = torch.tensor([[PLACE, PLACE, 1, 1], [PLACE, PLACE, PLACE, PLACE]])
    with pytest.raises(AttachError, match=r"prompt 0 has 2 image placeholders left for image 0, which has 3 tokens"):
        owners(ids, PLACE, [3, 3])


def test_fills() -> None:
    """Labels are ignored where rows are filled up; loss functions know -100."""
    assert FILLS["labels"] == -100
    assert all(value == 0 for name, value in FILLS.items() if name != "labels")
