"""SmolVLM (1 and 2) on Hugging Face: the layout of Idefics3 in smaller models."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.idefics3 import Crops, Idefics3Spec
from scope_adapters.adapters.labelled_frames import LabelledFrames


class SmolVLMSpec(Idefics3Spec):
    """SmolVLM on Hugging Face; crops and images as in Idefics3.

    Its processor gives the frames of a video as images, each behind a line with its time.
    """

    name: Literal["smolvlm"] = "smolvlm"  # type: ignore[assignment]
    frames: Literal["images", "videos"] = "images"
    """What images of one tile are that follow one another, with a label before each that is the same but for a number
    or time: images of their own, or frames of one video. Other text between them starts the next video."""


class SmolVLM(LabelledFrames[SmolVLMSpec], Crops[SmolVLMSpec]):
    """SmolVLM on Hugging Face."""

    starts_over = False  # two frames of one second have the same time

    model_type = "smolvlm"
    processor = "SmolVLMImageProcessor"
