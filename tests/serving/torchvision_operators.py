"""Lets a torchvision whose C library cannot be loaded be imported: copied into the environment of the serving tests.

The package index has torchvision only as a CUDA build, whose operators do not load on a CPU build of torch; importing
it then ends in ``operator torchvision::nms does not exist``. vLLM imports torchvision and needs none of its operators,
so their schemas are declared, without an implementation, just before torchvision is first imported. A ``.pth`` file
runs `install` in every process of that environment, spawned workers included; no installed file is changed.
"""

import sys
from importlib.abc import MetaPathFinder

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
KEPT = []
"""The library object: its schemas vanish with it."""


class BeforeTorchvision(MetaPathFinder):
    """Finds nothing; declares the operators when torchvision is asked for."""

    def find_spec(self, name, path=None, target=None):
        """Declare, step aside, and let the real finders go on."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "FRAGMENT")
            for schema in SCHEMAS:
                library.define(schema)
            KEPT.append(library)
        return None


def install() -> None:
    """Called by the ``.pth`` file when Python starts; twice, where lib64 is a link to lib."""
    if not any(isinstance(finder, BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, BeforeTorchvision())
