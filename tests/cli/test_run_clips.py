"""``scope run`` on videos: through a processor's video path, or frame by frame as images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import offers
import pytest
from adapters.video_checkpoints import KINDS, TEMPLATE, saved
from PIL import Image
from test_clips import av, written

from cli.conftest import Ran, run

FAKE = ("--model", "fake-model", "-q", "What?", "--max-new-tokens", "2", "--no-warm-up")
ASK = ("--model", "saved", "-q", "what is this", "--max-new-tokens", "2", "--no-warm-up")
DIVPRUNE = "{recipe: divprune, at: projected, partition: video, budget: {name: ratio, keep_ratio: 0.25, per: video}}"
ZOO = """
from scope_core.adapters import ZooEntry
from scope_core.parts import hookimpl

@hookimpl
def scope_zoo():
    yield ZooEntry("saved", "model", "scope_adapters.zoo.hub:load_model", {folder!r}, "saved", recipe="random@2")
"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds of 12 frames each: 4 frames by default."""
    return written(tmp_path / "clip.mp4", range(24))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(DIVPRUNE)
    return path


@pytest.fixture
def saved_zoo(tmp_path: Path) -> Iterator[Callable[..., Ran]]:
    """Runs the program with a checkpoint of a kind as the model ``saved``."""

    def ask(kind: str, *args: str | Path, template: str = TEMPLATE) -> Ran:
        plugin = tmp_path / "saved_zoo.py"
        plugin.write_text(ZOO.format(folder=str(saved(kind, tmp_path / kind, template=template))))
        return run("--plugin", plugin, "run", *args, *ASK)

    yield ask
    sys.modules.pop("scope_plugin_file_saved_zoo", None)


@offers.saved_models
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_takes_videos(
    kind: str, saved_zoo: Callable[..., Ran], clip: Path, spec: Path, tmp_path: Path
) -> None:
    """Five frames; Qwen merges two of them at a time, the last with itself."""
    out = tmp_path / "kept.png"
    ran = saved_zoo(kind, clip, "--fps", "4", "--end", "1.25", "--spec", spec, "--out", out, "--json")
    assert ran.code == 0, ran.stderr
    facts = ran.json
    assert (facts["as_images"], facts["fps"]) == (False, [4])
    (video,) = facts["receipt"]["images"]
    merged = kind.startswith("qwen")
    assert video["frames"] == (3 if merged else 5)
    (frames,) = facts["frames"]
    assert frames["times"] == ([0, 0.5, 1] if merged else [0, 0.25, 0.5, 0.75, 1])
    assert [sum(counts) for counts in frames["kept"]] == [video["kept"]] == [facts["pruned"]["visual_tokens"]]
    assert facts["baseline"]["visual_tokens"] == video["tokens"]
    assert facts["baseline"]["prompt_tokens"] - facts["pruned"]["prompt_tokens"] == video["tokens"] - video["kept"]
    with Image.open(out) as page:
        assert page.width > 500


@offers.saved_models
def test_frames_as_images_of_a_model_that_takes_videos(
    saved_zoo: Callable[..., Ran], clip: Path, spec: Path, tmp_path: Path
) -> None:
    out = tmp_path / "kept.gif"
    ran = saved_zoo("qwen2_vl", clip, "--as-images", "--spec", spec, "--out", out, "--json")
    assert ran.code == 0, ran.stderr
    assert ran.json["as_images"]
    assert len(ran.json["receipt"]["images"]) == 4
    assert "--as-images: the frames are given as images" in ran.stderr
    with Image.open(out) as page:
        assert page.n_frames == 4


@offers.saved_models
def test_a_template_without_videos(saved_zoo: Callable[..., Ran], clip: Path) -> None:
    ran = saved_zoo("qwen2_vl", clip, template="{% for message in messages %}answer{% endfor %}")
    assert ran.code == 4
    assert "has no place for videos (<|video_pad|>); give the frames as images: --as-images" in ran.stderr


@offers.saved_models
def test_a_processor_without_a_template(saved_zoo: Callable[..., Ran], clip: Path, spec: Path) -> None:
    ran = saved_zoo("llava_onevision", clip, "--spec", spec, "--json", template="")
    assert ran.code == 0, ran.stderr
    assert ran.json["receipt"]["images"][0]["frames"] == 4


class TestAModelOfImages:
    """The fake LLaVA takes images alone."""

    def test_is_given_the_frames(self, fake: Callable[..., Ran], clip: Path, tmp_path: Path) -> None:
        out = tmp_path / "kept.mp4"
        ran = fake("run", clip, *FAKE, "--spec", "vidcom2@25%", "--out", out, "--json")
        assert ran.code == 0, ran.stderr
        assert "fake-model takes no videos: the frames are given as images, in order" in ran.stderr
        facts = ran.json
        assert facts["as_images"]
        assert facts["notes"][0].startswith("fake-model takes no videos")
        (frames,) = facts["frames"]
        assert frames["times"] == [0, 0.5, 1, 1.5]
        assert [sum(counts) for counts in frames["kept"]] == [16]
        assert frames["kept"][0] == [image["kept"] for image in facts["receipt"]["images"]]
        with av.open(str(out)) as container:
            assert len(list(container.decode(video=0))) == 4

    def test_gets_a_few_of_many_frames(self, fake: Callable[..., Ran], clip: Path) -> None:
        ran = fake("run", written(clip, range(120)), *FAKE)
        assert ran.code == 0, ran.stderr
        assert "8 of the 20 frames are given as images" in ran.stderr
        assert "kept tokens of each frame" in ran.stdout
        asked = fake("run", clip, *FAKE, "--fps", "1", "--json").json
        assert len(asked["receipt"]["images"]) == 10

    def test_gets_no_more_than_its_prompt_holds(self, fake: Callable[..., Ran], clip: Path) -> None:
        ran = fake("run", clip, *FAKE, "--model", "fake-short", "--json")
        assert ran.code == 0, ran.stderr
        assert "2 of the 4 frames are given as images" in ran.stderr
        assert len(ran.json["receipt"]["images"]) == 2
        ran = fake("run", clip, *FAKE, "--model", "fake-short", "--fps", "2")
        assert ran.code == 4
        assert "a prompt of fake-short holds 2 of them and the answer (40 tokens); use --fps 1," in ran.stderr
        assert fake("run", clip, *FAKE, "--model", "fake-short", "--fps", "1").code == 0


def test_what_does_not_go_together_is_refused(
    fake: Callable[..., Ran], clip: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a video" * 99)
    cases: list[tuple[tuple[object, ...], str]] = [
        ((clip, photo), "is a video and"),
        ((photo, "--fps", "3"), "--fps, --start and --end are options of videos"),
        ((photo, "--as-images"), "--as-images is an option of videos"),
        ((photo, "--out", tmp_path / "kept.mp4"), f"'{photo}' is an image; write .png, .jpg or .webp"),
        ((clip, clip), "cannot tell 2 videos apart; give one video, or a model that takes videos (`scope models`)"),
        ((clip, "--start", "7"), "lasts 2 s"),
        ((clip, "--start", "1", "--end", "1"), "cannot be read from 1 s to 1 s"),
        ((tmp_path / "none.mp4",), "there is no file"),
        ((tmp_path / "broken.mp4",), "is not a video that PyAV can read"),
        ((clip, "--model", "fake-blind", "--out", tmp_path / "kept.png"), "omit --out"),
    ]
    for arguments, why in cases:
        ran = fake("run", *arguments[:1], *FAKE, *arguments[1:])  # type: ignore[arg-type]
        assert ran.code != 0
        assert why in ran.stderr


def test_commands_for_images_say_what_to_do_with_videos(fake: Callable[..., Ran], clip: Path, tmp_path: Path) -> None:
    ran = fake("calibrate", clip, "--tower", "fake-tower", "--out", tmp_path / "prior.json")
    assert ran.code == 4
    assert "is a video, and images are read here; write its frames as images (ffmpeg -i" in ran.stderr
    ran = fake("calibrate", tmp_path, "--tower", "fake-tower", "--out", tmp_path / "prior.json")
    assert "holds no image; videos in it are not read" in ran.stderr
