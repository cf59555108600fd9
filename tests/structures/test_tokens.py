"""`VisualTokens`: shapes are checked with the field's name, and nothing is changed in place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import scope_core as scope
from scope_core import TokensError, VisualTokens

FEATURES = torch.arange(2 * 6 * 3, dtype=torch.float32).reshape(2, 6, 3) + 1


class TestOf:
    def test_left_out_fields_are_filled_in(self) -> None:
        tokens = VisualTokens.of(FEATURES, grid=(2, 3))
        assert tokens.shape == (2, 6, 3)
        assert tokens.valid.all()
        assert not tokens.required.any()
        assert tokens.row.tolist() == [[0, 0, 0, 1, 1, 1]] * 2
        assert tokens.col.tolist() == [[0, 1, 2, 0, 1, 2]] * 2
        assert tokens.tile.tolist() == [[0] * 6] * 2
        assert tokens.image.tolist() == [[0] * 6, [1] * 6]

    def test_without_a_grid_positions_are_unknown(self) -> None:
        tokens = VisualTokens.of(FEATURES)
        assert tokens.row.unique().tolist() == tokens.col.unique().tolist() == [-1]

    def test_a_single_group_needs_no_batch_axis(self) -> None:
        tokens = VisualTokens.of(
            FEATURES[0],
            saliency=torch.ones(6),
            valid=torch.ones(6, dtype=torch.bool),
            signals={"vision.cls_attention[-2]": torch.rand(4, 6), "vision.keys[-2]": torch.rand(1, 4, 6, 2)},
        )
        assert tokens.shape == (1, 6, 3)
        assert tokens.signal("vision.cls_attention[-2]").shape == (1, 4, 6)
        assert tokens.signal("vision.keys[-2]").shape == (1, 4, 6, 2)

    def test_a_signal_of_one_head_gets_its_batch_axis_too(self) -> None:
        tokens = VisualTokens.of(FEATURES[0], signals={"vision.cls_attention[-2]": torch.rand(1, 6)})
        assert tokens.signal("vision.cls_attention[-2]").shape == (1, 1, 6)

    @pytest.mark.parametrize(
        ("features", "options", "text"),
        [
            (FEATURES.numpy(), {}, "features must be a (B, N, D) or (N, D) tensor, not ndarray"),
            (FEATURES[None], {}, "not (1, 2, 6, 3)"),
            (FEATURES.long(), {}, "features must be floating point, not torch.int64; convert with .float()"),
            (FEATURES[:, :0], {}, "features of shape (2, 0, 3) are empty"),
            (FEATURES, {"saliency": torch.ones(2, 5)}, "saliency has shape (2, 5); expected (B, N) = (2, 6)"),
            (FEATURES, {"saliency": torch.ones(2, 6).numpy()}, "saliency must be a tensor, not ndarray"),
            (FEATURES, {"saliency": torch.ones(2, 6).long()}, "saliency must be floating point, not torch.int64"),
            (FEATURES, {"valid": [[True] * 6] * 2}, "valid must be a tensor, not list"),
            (FEATURES, {"valid": torch.ones(6, dtype=torch.bool)}, "valid has shape (6,)"),
            (FEATURES, {"required": torch.ones(2, 6, device="meta")}, "required is on meta, features on cpu"),
            (FEATURES, {"grid": (2, 4)}, "grid (2, 4) does not hold N = 6 tokens; give (rows, columns)"),
            (FEATURES, {"grid": 6}, "grid 6 does not hold N = 6 tokens"),
            (FEATURES, {"signals": [1]}, "signals must be a mapping from name to tensor, not list"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, features: object, options: dict, text: str) -> None:
        with pytest.raises(TokensError) as caught:
            VisualTokens.of(features, **options)  # type: ignore[arg-type]
        assert text in str(caught.value)


class TestSignal:
    def test_missing_signal_names_the_nearest_one(self) -> None:
        tokens = VisualTokens.of(FEATURES, signals={"vision.cls_attention[-1]": torch.rand(2, 4, 6)})
        with pytest.raises(scope.SignalError, match=r"did you mean 'vision.cls_attention\[-1\]'"):
            tokens.signal("vision.cls_attention[-2]")

    @pytest.mark.parametrize(
        ("signal", "text"),
        [
            (torch.rand(2, 4, 7), "has shape (2, 4, 7); expected (B, H, N) with B=2, N=6"),
            (torch.ones(2, 4, 6, dtype=torch.int64), "must be floating point, not torch.int64"),
            ([[1.0]], "must be a tensor, not list"),
        ],
    )
    def test_wrong_signal_is_refused_by_name(self, signal: object, text: str) -> None:
        tokens = VisualTokens.of(FEATURES, signals={"vision.cls_attention[-2]": signal})  # type: ignore[dict-item]
        with pytest.raises(TokensError) as caught:
            tokens.signal("vision.cls_attention[-2]")
        assert "vision.cls_attention[-2]" in str(caught.value)
        assert text in str(caught.value)


class TestUnit:
    @pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
    def test_length_one_at_any_scale(self, size: float) -> None:
        torch.testing.assert_close(VisualTokens.of(FEATURES * size).unit(), VisualTokens.of(FEATURES).unit())

    def test_half_precision_does_not_overflow(self) -> None:
        large = VisualTokens.of(torch.full((1, 2, 64), 6e4, dtype=torch.float16)).unit()
        torch.testing.assert_close(large, torch.full_like(large, 0.125))

    def test_zero_stays_zero(self) -> None:
        features = FEATURES.clone()
        features[1, 3] = 0
        unit = VisualTokens.of(features).unit()
        assert not unit[1, 3].any()
        assert torch.isfinite(unit).all()


class TestDerived:
    def test_to_dtype_casts_and_detaches_but_leaves_the_original(self) -> None:
        features = FEATURES.clone().requires_grad_()
        given = VisualTokens.of(features, saliency=torch.ones(2, 6), signals={"projected": FEATURES})
        cast = given.to_dtype(torch.float64)
        assert cast.features.dtype == cast.saliency.dtype == cast.signal("projected").dtype == torch.float64
        assert not cast.features.requires_grad
        assert given.features is features
        assert given.to_dtype(None).features.dtype == torch.float32

    def test_without_and_require(self) -> None:
        mask = torch.zeros(2, 6, dtype=torch.bool)
        mask[0, 1] = True
        tokens = VisualTokens.of(FEATURES)
        assert tokens.require(mask).required.equal(mask)
        assert tokens.require(mask).without(mask).valid.equal(~mask)
        assert not tokens.require(mask).without(mask).required.any()
        assert not tokens.without(mask).require(mask).required.any()
        assert tokens.valid.all()

    def test_regroup_moves_every_field_and_signal(self) -> None:
        tokens = VisualTokens.of(
            FEATURES,
            grid=(2, 3),
            saliency=FEATURES[..., 0],
            signals={
                "vision.cls_attention[-2]": FEATURES.transpose(1, 2),
                "vision.keys[-2]": FEATURES[:, None],
                "text.embeddings": torch.stack([torch.zeros(5, 2), torch.ones(5, 2)]),
                "acme.depth": FEATURES[..., 0],
            },
        )
        index = torch.tensor([[6, 7, -1], [2, 0, 11]])
        moved = tokens.regroup(index)
        flat = FEATURES.reshape(12, 3)
        assert moved.valid.tolist() == [[True, True, False], [True, True, True]]
        assert moved.features[1].equal(flat[[2, 0, 11]])
        assert moved.saliency[0, :2].equal(flat[[6, 7], 0])
        assert moved.image.tolist() == [[1, 1, -1], [0, 0, 1]]
        assert moved.row.tolist() == [[0, 0, -1], [0, 0, 1]]
        assert moved.col.tolist() == [[0, 1, -1], [2, 0, 2]]
        assert moved.signal("vision.cls_attention[-2]")[1].equal(flat[[2, 0, 11]].T)
        assert moved.signal("vision.keys[-2]")[1, 0].equal(flat[[2, 0, 11]])
        assert moved.signal("acme.depth")[1].equal(flat[[2, 0, 11], 0])
        assert moved.signal("text.embeddings")[:, 0, 0].tolist() == [1, 0]
        for shape in ((1, 12), (2, 6), (4, 3)):  # all tokens in their order are not copied
            index = torch.arange(12).view(shape)
            moved, copied = tokens.regroup(index), tokens.regroup(torch.nn.functional.pad(index, (0, 1), value=-1))
            assert moved.features.data_ptr() == FEATURES.data_ptr()
            for name in ("features", "valid", "required", "row", "col", "tile", "image", "saliency"):
                assert getattr(moved, name).equal(getattr(copied, name)[:, :-1]), name
            for name in tokens.signals:
                assert moved.signal(name).shape[0] == shape[0], name
            assert moved.signal("vision.keys[-2]").equal(copied.signal("vision.keys[-2]")[:, :, :-1])
            assert moved.signal("text.embeddings").equal(copied.signal("text.embeddings"))


class TestCheckFinite:
    def test_names_image_tile_and_token(self) -> None:
        features = FEATURES.clone()
        features[1, 4, 2] = float("inf")
        tokens = VisualTokens.of(features, tile=torch.tensor([[0, 0, 0, 1, 1, 1]] * 2))
        with pytest.raises(TokensError, match=r"features of image 1, tile 1, token 4 is inf \(1 such tokens\)"):
            tokens.check_finite("features", tokens.features)

    def test_padding_may_hold_anything(self) -> None:
        features = FEATURES.clone()
        features[0, 5] = float("nan")
        valid = torch.ones(2, 6, dtype=torch.bool)
        valid[0, 5] = False
        tokens = VisualTokens.of(features, valid=valid)
        tokens.check_finite("features", tokens.features)
        with pytest.raises(TokensError, match="saliency of image 0, token 0 is nan"):
            tokens.check_finite("saliency", torch.full((2, 6), float("nan")))


def test_tokens_of_each_group_are_counted() -> None:
    valid = torch.tensor([[True] * 6, [True, True, False, True, False, False]])
    tokens = VisualTokens.of(FEATURES, valid=valid, required=torch.tensor([[False] * 6, [True, False, True] * 2]))
    assert tokens.n_valid == (6, 3)
    assert tokens.n_required == (0, 2)  # what is not valid is not kept
    assert tokens.padded
    assert not VisualTokens.of(FEATURES).padded
    assert tokens.without(tokens.required).n_valid == (6, 1)


def test_frames_are_numbered_by_image_and_frame_in_any_order() -> None:
    image = torch.tensor([[0, 0, 0, 0, 1, 1], [5, 2, 2, 5, 2, 0]])
    frame = torch.tensor([[0, 2, 2, 7, 0, 1], [1, 4, 0, 1, 4, 9]])
    valid = torch.tensor([[True] * 6, [True] * 5 + [False]])
    tokens = VisualTokens.of(FEATURES, image=image, frame=frame, valid=valid)
    assert tokens.frames().tolist() == [[0, 1, 1, 2, 3, 4], [2, 1, 0, 2, 1, -1]]


class TestKnown:
    """What follows from fields that stay the same is not counted again, and never stale."""

    def whole(self) -> VisualTokens:
        return VisualTokens.of(FEATURES, grid=(2, 3))

    def test_fields_left_out_need_no_count(self) -> None:
        assert {"n_valid": (6, 6), "n_required": (0, 0), "moving": False}.items() <= vars(self.whole()).items()

    @pytest.mark.parametrize(
        "change",
        [
            lambda tokens: tokens.changed(tile=tokens.tile + 1),
            lambda tokens: tokens.changed(valid=tokens.row == 0),
            lambda tokens: tokens.changed(frame=tokens.row),
            lambda tokens: tokens.without(tokens.col == 1),
            lambda tokens: tokens.require(tokens.col == 1),
            lambda tokens: tokens.require(tokens.col == 1).without(tokens.row == 0),
            lambda tokens: tokens.to_dtype(torch.float64),
            lambda tokens: tokens.regroup(torch.arange(12).view(3, 4)),
            lambda tokens: tokens.regroup(torch.arange(12).flip(0).view(1, 12)),
            lambda tokens: tokens.regroup(torch.tensor([[0, 5, 3], [7, 1, -1]])),
            lambda tokens: tokens.require(tokens.col == 1).regroup(torch.tensor([[0, 1, 2], [7, 1, -1]])),
            lambda tokens: tokens.changed(frame=tokens.row).regroup(torch.arange(12).view(1, 12)),
            lambda tokens: tokens.only(0, 6, 2),
            lambda tokens: tokens.only(1, 4),
        ],
    )
    @pytest.mark.parametrize("read", [False, True])
    def test_counts_are_those_of_the_planes(self, change: Callable[[VisualTokens], VisualTokens], read: bool) -> None:
        given = VisualTokens.of(FEATURES, grid=(2, 3), valid=torch.arange(6).expand(2, 6) < 5, frame=self.whole().frame)
        for tokens in (self.whole(), given):
            if read:
                _ = tokens.n_valid, tokens.n_required, tokens.moving
            found = change(tokens)
            assert found.n_valid == tuple(found.valid.sum(1).tolist())
            assert found.n_required == tuple((found.required & found.valid).sum(1).tolist())
            assert found.moving == bool((found.frame > 0).any())
            assert found.padded == (not bool(found.valid.all()))

    def test_groups_of_all_tokens_in_any_order_hold_the_same(self) -> None:
        index = torch.tensor([[3, 9, 1, 0, 2, 4], [5, 6, 7, 8, 10, 11]])
        found, tokens = self.whole().regroup(index), self.whole()
        for name in ("features", "valid", "required", "row", "col", "tile", "image", "frame"):
            plane = getattr(tokens, name)
            assert torch.equal(getattr(found, name), plane.flatten(0, 1)[index]), name
