"""What to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...linear.region import TOLERANCE
from .amplification import amplification, points_of
from .layer_lists import layers_of
from .records import Amplification, BlockDiagnosis

#: Parts of the step that are tried.
PARTS = (2, 4, 8, 16, 32)
#: ||J|| beyond so many times the largest |lambda| is called far from normal; ||step|| the same.
FAR = 1.5

Pairs = Sequence[tuple[BlockDiagnosis, Amplification]]


def not_zero_stable(blocks: Sequence[BlockDiagnosis]) -> list[BlockDiagnosis]:
    """Blocks whose V has a root outside the unit circle, or a multiple one on it."""
    return [b for b in blocks if b.zero_stable is False]


def far_from_normal(blocks: Sequence[BlockDiagnosis]) -> list[BlockDiagnosis]:
    """Blocks whose ||J|| is much larger than the largest |lambda|."""
    return [b for b in blocks if b.spectrum is not None and b.spectrum.norm > FAR * b.spectrum.radius]


def transient(blocks: Sequence[BlockDiagnosis]) -> list[BlockDiagnosis]:
    """Blocks of which one step may multiply a disturbance by much more than with a normal J."""
    norms = [(b, b.step_norm, b.normal_norm) for b in blocks]
    return [b for b, norm, normal in norms if norm and normal is not None and norm > FAR * max(normal, 1.0)]


def suggest(pairs: Pairs, tolerance: float) -> str:
    """What to do, with the reason; at least one pair."""
    return " ".join(_suggestions(pairs, tolerance))


def _suggestions(pairs: Pairs, tolerance: float) -> Iterator[str]:
    wrong = not_zero_stable([b for b, _ in pairs])
    sound = [(b, a) for b, a in pairs if b not in wrong]
    unstable = [(b, a) for b, a in sound if a.unstable > 0]
    growing = [(b, a) for b, a in sound if a.growing > 0]
    ranged = [b for b, a in sound if (b.channel_maximum or 0.0) > max(a.maximum, 1.0) + TOLERANCE]
    if wrong:
        yield (
            f"Keep the coefficients of {layers_of(wrong)} where the scheme is zero-stable (-1 < k <= 1 for lm): what "
            "the step carries grows there whatever the weights are."
        )
    if unstable:
        yield _restart(unstable) or _mend(sound, unstable, tolerance)
    if ranged:
        yield (
            f"In {layers_of(ranged)} the coefficients of the channels amplify more than their means do; let the "
            "channels share one, or keep theirs closer together."
        )
    if growing:
        yield (
            f"In {layers_of([b for b, _ in growing])} the scheme is outside its region because of eigenvalues on the "
            "right: growth is in the equation itself, a scheme that follows the flow does not change that. If it is "
            "not wanted, change f: weight decay, spectral normalisation, a field with Re(lambda) <= 0 by construction."
        )
    if not (wrong or unstable or ranged or growing):
        yield _quiet(pairs)


def _quiet(pairs: Pairs) -> str:
    """Nothing outside: whether that is all there is to say."""
    blocks = [b for b, _ in pairs]
    what = "eigenvalue" if all(b.spectrum.complete for b in blocks if b.spectrum) else "computed eigenvalue"
    inside = f"every {what} is in the stability region of its layer"
    if far := transient(blocks):
        most = max(b.step_norm or 0.0 for b in far)
        return (
            f"No other scheme: {inside}. But J is far from normal in {layers_of(far)}, and one step multiplies some "
            f"disturbance by up to {most:.3g} (transient growth). If that is not wanted, change f: spectral "
            "normalisation bounds ||J||."
        )
    if unknown := [b for b in far_from_normal(blocks) if b.step_norm is None]:
        return (
            f"No other scheme: {inside}. But J is far from normal in {layers_of(unknown)}; by how much one step may "
            "multiply a disturbance (transient growth) was not computed: raise dense_limit, if memory allows."
        )
    return f"None is needed: {inside}."


def _restart(unstable: Pairs) -> str | None:
    """Another starter, where only starting steps are unstable and one of the schemes compared mends them."""
    if any(b.kind != "starting" for b, _ in unstable):
        return None
    cost = {_base(a.scheme): (not a.explicit, a.evaluations) for b, _ in unstable for a in b.alternatives if a.starts}
    stable = [name for name in cost if _worst(unstable, name, "same_step") <= 1 + TOLERANCE]
    if not stable:
        return None
    name = min(stable, key=lambda one: cost[one])
    return (
        f"Against the numerical instability in {layers_of([b for b, _ in unstable])}, of starting steps alone: "
        f'start="{name}", which is stable there. The scheme itself needs no change.'
    )


def _mend(pairs: Pairs, unstable: Pairs, tolerance: float) -> str:
    """A scheme or a step without numerical instability, cheapest first; what is least bad if there is none."""
    where = f"Against the numerical instability in {layers_of([b for b, _ in unstable])}:"
    note = (
        "This is linear stability alone; a network under another scheme computes another function and must be trained."
    )
    if stable := _stable_alternatives(pairs, "same_cost"):
        return f"{where} {stable[0]}, stable there at the same cost. {note}"
    kept = all(b.scheme is not None and b.scheme.series.preconsistent for b, _ in pairs)
    part = next((p for p in PARTS if kept and _stable_at(pairs, p, tolerance)), None)
    if other := _stable_alternatives(pairs, "same_step"):
        cost = "at the same cost no explicit scheme compared is stable there"
        smaller = f"or {part} times as many layers of step h/{part}" if part else f"no step down to h/{PARTS[-1]} helps"
        if not kept:
            smaller = "a smaller step was not tried, since its coefficients would have to change with it"
        return f"{where} {other[0]} at the same {_step(pairs)} ({cost}); {smaller}. {note}"
    if part is not None:
        return f"{where} {part} times as many layers of step h/{part}. {note}"
    least = min(_shared_names(pairs), key=lambda name: _worst(pairs, name, "same_step"), default=None)
    tried = "none of the schemes compared removes it" + (", nor does a smaller step" if kept else "")
    if least is None:
        return f"{where} {tried}."
    return f"{where} {tried}; {least} comes nearest, with |zeta| up to {_worst(pairs, least, 'same_step'):.3g}. {note}"


def _shared_names(pairs: Pairs) -> list[str]:
    """Schemes that were compared at every block and are not its own, cheapest first."""
    cost = {_base(a.scheme): a.evaluations for b, _ in pairs for a in b.alternatives}
    own = {b.name for b, _ in pairs}
    everywhere = [name for name in cost if all(any(_base(a.scheme) == name for a in b.alternatives) for b, _ in pairs)]
    return sorted((name for name in everywhere if name not in own), key=lambda name: cost[name])


def _stable_alternatives(pairs: Pairs, cost: str) -> list[str]:
    """Names, explicit ones first; implicit ones only at the same step, since what a solve costs is not known."""
    explicit = {_base(a.scheme): a.explicit for b, _ in pairs for a in b.alternatives}
    stable = [name for name in _shared_names(pairs) if _worst(pairs, name, cost) <= 1 + TOLERANCE]
    implicit = [f"{name} (implicit)" for name in stable if not explicit[name] and cost == "same_step"]
    return [*(name for name in stable if explicit[name]), *implicit]


def _worst(pairs: Pairs, name: str, cost: str) -> float:
    """The largest |zeta| of a scheme where the flow does not grow, over all blocks."""
    return max(getattr(a, cost).worst_unstable for b, _ in pairs for a in b.alternatives if _base(a.scheme) == name)


def _step(pairs: Pairs) -> str:
    """What the steps compared have in common."""
    return "step" if all(b.effective_step == b.h for b, _ in pairs) else "effective step"


def _base(label: str) -> str:
    return label.partition("(")[0]


def _stable_at(pairs: Pairs, part: int, tolerance: float) -> bool:
    """Whether every block's own scheme is stable at h/part where the flow does not grow."""
    for block, _ in pairs:
        assert block.scheme is not None
        assert block.spectrum is not None
        points, margin = points_of(block.spectrum, block.h / part, tolerance)
        if amplification(block.scheme, points, margin).unstable > 0:
            return False
    return True
