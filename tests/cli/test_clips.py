"""``scope select`` and ``scope compare`` on videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from test_clips import av, written

from cli.conftest import Ran

TOWER = ("--tower", "fake-tower", "--at", "vision")
TOKENS = 144
"""Tokens of a frame."""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds: 4 frames by default, and 20 at 10 a second, more than go through a tower at once."""
    return written(tmp_path / "clip.mp4", range(24))


def test_select_counts_frames_and_draws_every_kind_of_page(
    fake: Callable[..., Ran], clip: Path, tmp_path: Path
) -> None:
    specs = ("--spec", "vidcom2@10%", "--compare", "scope@by_frame,uniform_frames")
    for ending, pages in ((".png", 1), (".gif", 20), (".mp4", 20)):
        out = tmp_path / f"kept{ending}"
        ran = fake("select", clip, *TOWER, *specs, "--fps", "10", "--out", out, "--json")
        assert ran.code == 0, ran.stderr
        if ending == ".mp4":
            with av.open(str(out)) as container:
                assert len(list(container.decode(video=0))) == pages
        else:
            with Image.open(out) as page:
                assert getattr(page, "n_frames", 1) == pages
    (facts,) = ran.json["frames"]
    assert facts["fps"] == 10
    assert facts["times"][:3] == pytest.approx([0, 0.1, 0.2])
    assert [sum(counts) for counts in facts["kept"]] == [20 * TOKENS // 10] * 3
    assert set(facts["kept"][1]) == {14, 15}
    assert [number for number, count in enumerate(facts["kept"][2]) if count] == [5, 15]
    kept = ran.json["images"][0]["selections"][2]["kept"]
    assert {token // TOKENS for token in kept} == {5, 15}


def test_the_table_shows_a_column_for_each_frame(fake: Callable[..., Ran], clip: Path) -> None:
    ran = fake("select", clip, *TOWER, "--spec", "scope@video@25%", "--compare", "uniform_frames")
    assert "4 frames, 0 s to 1.5 s" in ran.stderr
    assert "kept tokens of each frame" in ran.stdout
    assert "█" in ran.stdout


def test_the_table_of_several_videos_names_each(fake: Callable[..., Ran], clip: Path, tmp_path: Path) -> None:
    both = [tmp_path / name for name in ("first.mp4", "second.mp4")]
    for path in both:
        path.write_bytes(clip.read_bytes())
    ran = fake("select", *both, *TOWER, "--spec", "uniform_frames@25%", "--end", "0.1")
    assert "1 frame," in ran.stderr
    table = ran.stdout[ran.stdout.index("fewest") :]
    assert table.index("first.mp4") < table.index("  uniform_frames@25%") < table.index("second.mp4")
    assert table.count("  uniform_frames@25%") == 2


def test_compare(fake: Callable[..., Ran], clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared.png"
    ran = fake("compare", clip, *TOWER, "--specs", "evs@40%,nth_frame@40%", "--end", "1.5", "--out", out, "--json")
    (video,) = ran.json["photographs"]
    assert (video["times"], video["tokens"]) == ([0, 0.5, 1], 3 * TOKENS)
    assert [sum(row["per_frame"]) for row in video["methods"]] == [
        round(0.4 * 3 * TOKENS - 0.5),
        round(0.4 * 3 * TOKENS),
    ]
    assert video["methods"][0]["per_frame"][0] == TOKENS
    ran = fake("compare", clip, *TOWER, "--specs", "dycoke,random", "--keep", "10%", "--json")
    assert any("the budgets of some keep whole frames" in note for note in ran.json["notes"])
    with Image.open(out) as page:
        assert page.width > 500


def test_what_does_not_go_together_is_refused(
    fake: Callable[..., Ran], clip: Path, photo: Path, tmp_path: Path
) -> None:
    cases: list[tuple[tuple[object, ...], str]] = [
        ((clip, photo), "is a video and"),
        ((photo, "--fps", "3"), "--fps, --start and --end are options of videos"),
        ((photo, "--out", tmp_path / "kept.mp4"), f"'{photo}' is an image; write .png, .jpg or .webp"),
        ((clip, photo, "--out", tmp_path / "kept.gif"), f"'{photo}' is an image; leave it out"),
        ((photo, "--out", tmp_path / "kept.txt"), "must end in one of .png, .jpg, .jpeg, .webp"),
        ((clip, clip, "--out", tmp_path / "kept.gif"), "shows one video, but 2 were given"),
        ((clip, "--start", "7"), "lasts 2 s"),
        ((tmp_path / "none.mp4",), "there is no file"),
    ]
    for arguments, why in cases:
        ran = fake("select", *arguments, *TOWER, "--spec", "evs")  # type: ignore[arg-type]
        assert ran.code != 0
        assert why in ran.stderr
