"""Let timm and transformers import beside a CPU build of torch.

timm needs torchvision, whose wheel on PyPI is built for CUDA. With a CPU torch its compiled operators do not load,
and the Python half then fails to import because it registers meta kernels for `torchvision::nms` and `qnms`, whose
schemas nobody declared; transformers' model imports fail with it. Declaring the two schemas first cures both.
Nothing here uses the operators. Call `declare_operators` before any import of timm or transformers.
"""

from __future__ import annotations

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # a schema lives as long as the library object that declared it


def declare_operators() -> None:
    """Declare the operator schemas, unless a working torchvision or an earlier call already has."""
    if torch.version.cuda is not None or _libraries:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    for schema in _SCHEMAS.values():
        library.define(schema)  # type: ignore[no-untyped-call]
