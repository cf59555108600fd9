"""Videos through the processor of a checkpoint: prompts, and frames as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scope_adapters.compat.processors import takes_sampling
from scope_core import ZooError

if TYPE_CHECKING:
    from PIL.Image import Image


def takes_videos(processor: Any) -> bool:
    """True if a processor prepares videos."""
    return getattr(processor, "video_processor", None) is not None


def video_batch(processor: Any, clips: Sequence[Any], question: str, source: str) -> Any:
    """What a processor makes of videos and a question; all frames are used, at the times that they have.

    Raises:
        ZooError: the chat template has no place for videos.
    """
    place = getattr(processor, "video_token", None)
    if getattr(processor, "chat_template", None) is None:
        text = f"{place or ''}" * len(clips) + question
    else:
        content = [*({"type": "video"} for _ in clips), {"type": "text", "text": question}]
        messages = [{"role": "user", "content": content}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    if place is not None and text.count(place) != len(clips):
        raise ZooError(
            f"the chat template of '{source}' has no place for videos ({place}); give the frames as images: --as-images"
        )
    videos = [pixels_of(clip.frames) for clip in clips]
    options: dict[str, Any] = {}
    if takes_sampling(processor.video_processor):
        options = {"do_sample_frames": False, "video_metadata": [_times(clip) for clip in clips]}
    return processor(text=[text], videos=videos, return_tensors="pt", **options)


def pixels_of(frames: Sequence[Image]) -> Any:
    """(frames, height, width, 3) uint8 of RGB frames of one size."""
    import numpy as np

    return np.stack([np.asarray(frame) for frame in frames])


def _times(clip: Any) -> dict[str, Any]:
    """The frames' times in the words of the library, which counts frames at an even rate."""
    first = round(clip.times[0] * clip.fps)
    count = len(clip.frames)
    return {
        "total_num_frames": count,
        "fps": clip.fps,
        "duration": count / clip.fps,
        "frames_indices": list(range(first, first + count)),
    }
