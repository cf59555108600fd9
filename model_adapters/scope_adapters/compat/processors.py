"""What the processors of the installed transformers take."""

from __future__ import annotations

from typing import Any


def takes_sampling(video_processor: Any) -> bool:
    """True if a processor of videos can be told to use the frames that it is given, and their times."""
    known = getattr(getattr(video_processor, "valid_kwargs", None), "__annotations__", {})
    return {"do_sample_frames", "video_metadata"} <= set(known)
