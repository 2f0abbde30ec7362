"""lexlip_kernels: the compute kernels of LexLIP inference, each with a slow, obvious reference.

Importing this package costs numpy and nothing else; torch and Triton are loaded by the ops that need them,
when they run. Only what every op shares is re-exported here; an op is imported from its own folder, for
example `from lexlip_kernels.impact_dot import ImpactIndex`.
"""

from lexlip_kernels.backends import available_backends
from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["ImpactMatrix", "available_backends"]
