"""Linear multistep schemes and predictor-corrector pairs, generated from their definition."""

from __future__ import annotations

from ..scheme.families import adams_bashforth, adams_moulton, bdf, milne_simpson, nystrom, pece

SCHEMES = [
    *map(adams_bashforth, range(1, 7)),
    *map(adams_moulton, range(2, 7)),
    *map(bdf, range(1, 7)),
    *map(nystrom, range(2, 6)),
    milne_simpson(),
    *map(pece, range(1, 5)),
]
