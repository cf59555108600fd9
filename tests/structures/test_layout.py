"""Layouts, plans and exact division. Everything here is arithmetic on shapes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_core import BudgetError, Layout, Plan, TokensError
from scope_core.parts import ImageLayout, Span, apportion, fill, units
from scope_core.structures.units import UNITS, cells

SIZES = st.lists(st.integers(0, 700), min_size=1, max_size=8)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Images in tiles beside videos, whose frames are one tile or two."""
    items: list[ImageLayout] = []
    for tiles in draw(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=4), min_size=1, max_size=4)):
        ones = (1,) * len(tiles)
        frames = draw(st.sampled_from([(), ones, (len(tiles),), (*ones[2:], 2) if len(tiles) > 1 else ones]))
        items.append(ImageLayout(tuple(tiles), draw(st.integers(0, 2)), frames=frames))
    return Layout(tuple(items))


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Layout, list[tuple[Span, ...]]]:
    """A layout and any partition of its tokens: every image cut at random, the pieces dealt to random groups."""
    layout = draw(layouts())
    groups: list[list[Span]] = [[] for _ in range(draw(st.integers(1, 5)))]
    for number, image in enumerate(layout.images):
        cuts = sorted(draw(st.sets(st.integers(0, image.tokens), max_size=4)) | {0, image.tokens})
        for start, stop in itertools.pairwise(cuts):
            groups[draw(st.integers(0, len(groups) - 1))].append(Span(number, start, stop))
    return layout, [tuple(group) for group in groups if group]


class TestApportion:
    def test_known(self) -> None:
        assert apportion(640, [576, 576, 576]) == [214, 213, 213]
        assert apportion(0, [3, 4]) == [0, 0]
        assert apportion(7, [3, 4]) == [3, 4]
        assert apportion(0, []) == []
        assert apportion(0, [0, 0]) == [0, 0]

    @given(SIZES, st.data())
    def test_exact_within_sizes_and_as_the_oracle(self, sizes: list[int], data: st.DataObject) -> None:
        total = data.draw(st.integers(0, sum(sizes)))
        shares = apportion(total, sizes)
        assert sum(shares) == total
        assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
        assert shares == oracles.apportion(total, sizes)

    @given(st.integers(1, 9), st.integers(1, 50), st.data())
    def test_ties_go_to_the_lowest_index(self, count: int, size: int, data: st.DataObject) -> None:
        shares = apportion(data.draw(st.integers(0, count * size)), [size] * count)
        assert shares == sorted(shares, reverse=True)
        assert shares[0] - shares[-1] <= 1

    @pytest.mark.parametrize("total", [-1, 8])
    def test_impossible(self, total: int) -> None:
        with pytest.raises(BudgetError, match=f"cannot keep {total} of 7 tokens"):
            apportion(total, [3, 4])


class TestUnitsAndFill:
    @given(grouped())
    def test_pieces_hold_every_token_once(self, case: tuple[Layout, list[tuple[Span, ...]]]) -> None:
        layout, groups = case
        pieces = cells(layout, groups)
        for number, image in enumerate(layout.images):
            for tile, size in enumerate(image.tiles):
                assert sum(p[3] for p in pieces if p[1:3] == (number, tile)) == size
        for number, group in enumerate(groups):
            assert sum(p[3] for p in pieces if p[0] == number) == sum(span.tokens for span in group)

    @given(grouped(), st.sampled_from(UNITS), st.data())
    def test_counts_per_unit_stay_exact(
        self, case: tuple[Layout, list[tuple[Span, ...]]], per: str, data: st.DataObject
    ) -> None:
        layout, groups = case
        labelled = units(layout, groups, per)
        assert sum(size for _, size in labelled) == sum(image.tokens for image in layout.images)
        wanted = [data.draw(st.integers(0, size)) for _, size in labelled]
        kept = fill(layout, groups, per, wanted)
        assert len(kept) == len(groups)
        assert sum(kept) == sum(wanted)
        assert all(0 <= count <= sum(s.tokens for s in group) for count, group in zip(kept, groups, strict=True))

    def test_labels_name_image_and_tile(self) -> None:
        layout = Layout.of([[2, 3], 4])
        groups = [(Span(0, 0, 5),), (Span(1, 0, 4),)]
        assert units(layout, groups, "tile") == [("image 0, tile 0", 2), ("image 0, tile 1", 3), ("image 1, tile 0", 4)]
        assert units(layout, groups, "image") == [("image 0", 5), ("image 1", 4)]
        assert units(layout, groups, "total") == [("all images together", 9)]

    def test_an_image_split_over_groups_shares_its_count_in_proportion(self) -> None:
        layout = Layout.of([[576, 576, 576]])
        tiles = [(Span(0, 0, 576),), (Span(0, 576, 1152),), (Span(0, 1152, 1728),)]
        assert fill(layout, tiles, "image", [640]) == (214, 213, 213)
        assert fill(layout, [(Span(0, 0, 1728),)], "tile", [10, 20, 30]) == (60,)


class TestLayout:
    def test_of_counts_and_tiles(self) -> None:
        layout = Layout.of([576, [100, 200]], prompts=[0, 1])
        assert [image.tokens for image in layout.images] == [576, 300]
        assert [image.prompt for image in layout.images] == [0, 1]
        assert Layout.of(np.array([576, 4])) == Layout.of([576, 4])
        assert Layout.of([]).images == ()

    @pytest.mark.parametrize(
        ("tokens", "text"),
        [
            (576, "give a list with the tokens of each image, e.g. [576, 576], not 576"),
            ("576", "not '576'"),
            ([576, -5], "image 1: -5 is not a token count"),
            ([[3, 2.0]], "image 0: 2.0 is not a token count"),
            (["a"], "image 0: 'a' is not a token count"),
        ],
    )
    def test_of_refuses_what_is_no_count(self, tokens: object, text: str) -> None:
        with pytest.raises(TokensError) as caught:
            Layout.of(tokens)  # type: ignore[arg-type]
        assert text in str(caught.value)

    def test_of_needs_a_prompt_for_each_image(self) -> None:
        with pytest.raises(TokensError, match="1 prompts were given for 2 images"):
            Layout.of([3, 4], prompts=[0])


class TestPlan:
    def test_counts_per_image(self) -> None:
        layout = Layout.of([[4, 4], 6])
        plan = Plan(layout, ((Span(0, 0, 4),), (Span(0, 4, 8),), (Span(1, 0, 6),)), (1, 2, 3))
        assert plan.images == (3, 3)
        assert plan.total == 6

    def test_images_that_compete_have_no_count_of_their_own(self) -> None:
        layout = Layout((ImageLayout((4,)), ImageLayout((6,))))
        plan = Plan(layout, ((Span(0, 0, 4), Span(1, 0, 6)),), (5,))
        assert plan.total == 5
        with pytest.raises(BudgetError, match="images 0, 1 share one budget of 5 tokens"):
            _ = plan.images


class TestVideos:
    LAYOUT = Layout.of([9, [4, 5, 4], 6], prompts=[0, 0, 1], videos=[1])

    def test_a_video_is_an_item_of_frames(self) -> None:
        video = self.LAYOUT.images[1]
        assert (video.frames, video.frame_tokens, video.tokens) == ((1, 1, 1), (4, 5, 4), 13)
        assert self.LAYOUT.images[0].frame_tokens == (9,)
        assert repr(self.LAYOUT) == "Layout.of([9, [4, 5, 4], 6], prompts=[0, 0, 1], videos=[1])"
        in_tiles = ImageLayout((2, 2, 3), frames=(2, 1))
        assert (in_tiles.frame_of_tile, in_tiles.frame_tokens) == ((0, 0, 1), (4, 3))

    def test_units_by_hand(self) -> None:
        whole = [(Span(number, 0, image.tokens),) for number, image in enumerate(self.LAYOUT.images)]
        frames = [("image 0", 9), ("video 1, frame 0", 4), ("video 1, frame 1", 5), ("video 1, frame 2", 4)]
        assert units(self.LAYOUT, whole, "frame") == [*frames, ("image 2", 6)]
        videos = [("images of prompt 0", 9), ("video 1", 13), ("images of prompt 1", 6)]
        assert units(self.LAYOUT, whole, "video") == videos
        assert units(self.LAYOUT, whole, "image") == [("image 0", 9), ("video 1", 13), ("image 2", 6)]
        assert fill(self.LAYOUT, whole, "frame", [1, 2, 2, 2, 3]) == (1, 6, 3)

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: Layout.of([4, []], videos=[1]), "video 1 has no frames"),
            (lambda: Layout.of([4, [2, 2]], videos=[2]), "there is no item 2 to be a video; the layout has 2 items"),
            (lambda: ImageLayout((4, 4, 4), frames=(1, 1)), r"3 tiles cannot have frames of \[1, 1\] tiles"),
            (lambda: ImageLayout((4, 4), frames=(2, 0)), r"frames of \[2, 0\] tiles; each frame has at least one"),
            (lambda: ImageLayout((4, 4), frames=(1, 1), times=(0.5,)), "1 times were given for 2 frames"),
            (lambda: units(Layout.of([4]), [(Span(0, 0, 4),)], "clip"), "'clip' is not a unit of a budget"),
        ],
    )
    def test_what_is_no_video_is_refused(self, make: Callable[[], object], says: str) -> None:
        with pytest.raises((TokensError, BudgetError), match=says):
            make()

    def test_a_later_stage_does_not_guess_frames(self) -> None:
        """Which frames the tokens left are of is known only after selection; one frame would be a guess."""
        with pytest.raises(BudgetError, match="a later stage cannot count the tokens of a video's frames"):
            _ = self.LAYOUT.after([3, 5, 2]).images[1].frame_tokens
        assert self.LAYOUT.after([3, 5, 2]).images[2].frame_tokens == (2,)
