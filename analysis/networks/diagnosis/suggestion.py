"""What to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...linear.region import TOLERANCE
from .amplification import amplification, does_not_grow, points_of
from .layer_lists import layers_of
from .layer_products import largest_of_sequence
from .records import Amplification, BlockDiagnosis, StageDiagnosis
from .spectrum_record import FAR

#: Parts of the step that are tried.
PARTS = (2, 4, 8, 16, 32)

Pairs = Sequence[tuple[BlockDiagnosis, Amplification]]


def not_zero_stable(blocks: Sequence[BlockDiagnosis]) -> list[BlockDiagnosis]:
    """Blocks whose V has a root outside the unit circle, or a multiple one on it."""
    return [b for b in blocks if b.zero_stable is False]


def taken_once(block: BlockDiagnosis) -> bool:
    """Whether it is a starting step, which the regular ones follow: its region says nothing."""
    return block.sequence_maximum is not None


def far_from_normal(blocks: Sequence[BlockDiagnosis]) -> list[BlockDiagnosis]:
    """Blocks whose ||J|| is much larger than the largest |lambda|."""
    return [b for b in blocks if b.spectrum is not None and b.spectrum.norm > FAR * b.spectrum.radius]


def transient(blocks: Sequence[BlockDiagnosis]) -> list[BlockDiagnosis]:
    """Blocks of which one step may multiply a disturbance by much more than with a normal J."""
    norms = [(b, b.step_norm, b.normal_norm) for b in blocks]
    return [b for b, norm, normal in norms if norm and normal is not None and norm > FAR * max(normal, 1.0)]


def grows_together(stage: StageDiagnosis) -> bool:
    """Whether its layers, one after the other, multiply a disturbance by much more than their eigenvalues explain."""
    return stage.product is not None and stage.product.largest > FAR * max(stage.product.explained, 1.0)


def suggest(pairs: Pairs, stages: Sequence[StageDiagnosis], tolerance: float) -> str:
    """What to do, with the reason; at least one pair."""
    return " ".join(_suggestions(pairs, stages, tolerance))


def _suggestions(pairs: Pairs, stages: Sequence[StageDiagnosis], tolerance: float) -> Iterator[str]:
    wrong = not_zero_stable([b for b, _ in pairs])
    sound = [(b, a) for b, a in pairs if b not in wrong]
    unstable = [(b, a) for b, a in sound if a.unstable > 0 and not taken_once(b)]
    growing = [(b, a) for b, a in sound if a.growing > 0]
    ranged = [b for b, a in sound if (b.channel_maximum or 0.0) > max(a.maximum, 1.0) + TOLERANCE]
    if wrong:
        yield (
            f"Keep the coefficients of {layers_of(wrong)} where the scheme is zero-stable (-1 < k <= 1 for lm): what "
            "the step carries grows there whatever the weights are."
        )
    if unstable:
        yield _mend(sound, unstable, tolerance)
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
    if unsure := [b for b, a in sound if a.undecided > 0]:
        yield _unsure(unsure, stages)
    if not (wrong or unstable or ranged or growing or unsure):
        yield _quiet(pairs, stages)


def _unsure(blocks: Sequence[BlockDiagnosis], stages: Sequence[StageDiagnosis]) -> str:
    """What to go by where eigenvalues decide nothing."""
    said = _product([stage for stage in stages if stage.stage in {b.stage for b in blocks}])
    return (
        f"No verdict by eigenvalues in {layers_of(blocks)}: J is so far from normal that rounding moves them across "
        f"the boundary, and {said}. If such growth is not wanted, change f: spectral normalisation bounds ||J||."
    )


def _product(stages: Sequence[StageDiagnosis]) -> str:
    """The largest product of steps, in words."""
    if any(stage.product is None for stage in stages):
        return "what the steps do one after the other was not computed"
    most = max((stage.product for stage in stages if stage.product), key=lambda product: product.largest)
    by = "up to" if most.exact else "at least"
    return f"the product of the steps of a stage multiplies some disturbance by {by} {most.largest:.3g}"


def _quiet(pairs: Pairs, stages: Sequence[StageDiagnosis]) -> str:
    """Nothing outside: whether that is all there is to say."""
    blocks = [b for b, _ in pairs]
    partial = [b.spectrum for b in blocks if b.spectrum and not b.spectrum.complete]
    what = "computed eigenvalue" if partial else "eigenvalue"
    if partial and all(spectrum.factor is not None for spectrum in partial):
        what += ", those a step multiplies most among them,"
    inside = f"every {what} is in the stability region of its layer"
    if any(a.boundary > 0 for _, a in pairs):
        inside += " or on its boundary, where nothing decays"
    mend = "If that is not wanted, change f: spectral normalisation bounds ||J||."
    together = [stage for stage in stages if grows_together(stage)]
    if far := transient(blocks):
        most = max(b.step_norm or 0.0 for b in far)
        also = f", and {_product(together)}" if together else ""
        return (
            f"No other scheme: {inside}. But J is far from normal in {layers_of(far)}, and one step multiplies some "
            f"disturbance by up to {most:.3g} (transient growth){also}. {mend}"
        )
    if together:
        return _together(together, inside, mend)
    if any(stage.product is None for stage in stages):
        return f"No other scheme: {inside}. But {_product(stages)}: growth of several layers together is not ruled out."
    once = [(b, a) for b, a in pairs if a.unstable > 0]
    need = "None is needed"
    if any(stage.product is not None and not stage.product.exact for stage in stages):
        need += " as far as was searched"
    at = ""
    if any(b.scheme is not None and not (b.scheme.explicit and b.scheme.stages == 1) for b in blocks):
        at = ", all stages linearised at u_n"
    return f"{need}: {inside}{f', {_restart(once)}' if once else ''}, and {_product(stages)}{at}."


def _together(stages: Sequence[StageDiagnosis], inside: str, mend: str) -> str:
    """Steps that are stable one by one and grow one after the other: whether that is the scheme's doing, or f's."""
    most = max((stage.product for stage in stages if stage.product), key=lambda product: product.largest)
    said = f"{_product(stages)} (transient growth)"
    if most.flow is None:
        return (
            f"Step by step no other scheme: {inside}. But {said}; whether the exact flow of these layers grows as much "
            "was not computed."
        )
    if most.largest > FAR * max(most.flow, 1.0):
        return (
            f"A smaller step, or a scheme of higher order: {inside}, but {said}, and the exact flow of these layers by "
            f"at most {most.flow:.3g}: what grows is the error of the scheme."
        )
    return f"No other scheme: {inside}. But {said}, the exact flow by up to {most.flow:.3g}. {mend}"


def _restart(starts: Pairs) -> str:
    """Only starting steps are outside: what of it, and another starter, if one of the schemes compared is stable."""
    most = max(b.sequence_maximum or 0.0 for b, _ in starts)
    said = (
        f"but for starting steps (in {layers_of([b for b, _ in starts])}), each of which is taken once: with those "
        f"that follow |u_n| reaches {most:.3g} |u_0| where the flow does not grow"
    )
    cost = {_base(a.scheme): (not a.explicit, a.evaluations) for b, _ in starts for a in b.alternatives if a.starts}
    stable = [name for name in cost if _is_stable(starts, name, "same_step")]
    return f'{said}; start="{min(stable, key=lambda one: cost[one])}" would be stable there' if stable else said


def _mend(pairs: Pairs, unstable: Pairs, tolerance: float) -> str:
    """A scheme or a step without numerical instability, cheapest first; what is least bad if there is none."""
    where = f"Against the numerical instability in {layers_of([b for b, _ in unstable])}:"
    note = (
        "This is linear stability alone; a network under another scheme computes another function and must be trained."
    )
    if stable := _stable_alternatives(pairs, "same_cost"):
        return f"{where} {stable[0]}, stable there at the same cost. {note}"
    kept = all(b.scheme is not None and b.scheme.series.preconsistent for b, _ in pairs)
    part = next((p for p in PARTS if kept and all(a.unstable == 0 for a in _at_part(pairs, p, tolerance))), None)
    if other := _stable_alternatives(pairs, "same_step"):
        cost = "at the same cost no explicit scheme compared is stable there"
        if not kept:
            smaller = "a smaller step was not tried, since its coefficients would have to change with it"
        else:
            smaller = f"or {_split(pairs, part, tolerance)}" if part else _smaller(pairs, tolerance)
        return f"{where} {other[0]} at the same {_step(pairs)} ({cost}); {smaller}. {note}"
    if part is not None:
        return f"{where} {_split(pairs, part, tolerance)}. {note}"
    least = min(_shared_names(pairs), key=lambda name: _worst(pairs, name, "same_step"), default=None)
    tried = "none of the schemes compared removes it" + (f"; {_smaller(pairs, tolerance)}" if kept else "")
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
    stable = [name for name in _shared_names(pairs) if _is_stable(pairs, name, cost)]
    implicit = [f"{name} (implicit)" for name in stable if not explicit[name] and cost == "same_step"]
    return [*(name for name in stable if explicit[name]), *implicit]


def _worst(pairs: Pairs, name: str, cost: str) -> float:
    """The largest |zeta| of a scheme where the flow does not grow, over all blocks."""
    return max(getattr(a, cost).worst_unstable for b, _ in pairs for a in b.alternatives if _base(a.scheme) == name)


def _is_stable(pairs: Pairs, name: str, cost: str) -> bool:
    """Whether a scheme meets the root condition where the flow does not grow, in all blocks."""
    found = [a for b, _ in pairs for a in b.alternatives if _base(a.scheme) == name]
    return all(getattr(a, cost).unstable == 0 for a in found)


def _step(pairs: Pairs) -> str:
    """What the steps compared have in common."""
    return "step" if all(b.effective_step == b.h for b, _ in pairs) else "effective step"


def _base(label: str) -> str:
    return label.partition("(")[0]


def _at_part(pairs: Pairs, part: int, tolerance: float) -> list[Amplification]:
    """What every block's own scheme does at h/part.

    Of a starting step cut into parts only the first is one: the scheme that follows decides.
    """
    found = []
    for block, _ in pairs:
        scheme = block.scheme if block.sequence is None else block.sequence.regular
        assert scheme is not None
        assert block.spectrum is not None
        points, margin = points_of(block.spectrum, block.h / part, tolerance)
        found.append(amplification(scheme, points, margin))
    return found


def _smaller(pairs: Pairs, tolerance: float) -> str:
    """What smaller steps do where none of those tried is stable: growth may go to 0 with h all the same."""
    parts = (1, *PARTS)
    worst = {part: max(a.worst_unstable for a in _at_part(pairs, part, tolerance)) for part in parts}
    with np.errstate(over="ignore"):  # Python's own power raises where numpy's is inf
        excess = {part: max(float(np.float64(size) ** part) - 1, 0.0) for part, size in worst.items()}
    if excess[PARTS[-1]] > excess[1] / 4:
        return f"no step down to h/{PARTS[-1]} helps (|zeta|^{PARTS[-1]} - 1 is {excess[PARTS[-1]]:.2g} there)"
    listed = ", ".join(f"{excess[part]:.2g} at h/{part}" for part in PARTS)
    return (
        f"smaller steps are not stable there either, but their growth goes to 0 with h: |zeta|^n - 1 of the n steps "
        f"that one becomes is {excess[1]:.2g} at h, {listed}"
    )


def _split(pairs: Pairs, part: int, tolerance: float) -> str:
    """Smaller steps in words, with what they make of a starting step."""
    said = f"{part} times as many layers of step h/{part}"
    starts = [(b, b.sequence, b.spectrum) for b, _ in pairs if taken_once(b)]
    sizes = []
    for block, sequence, spectrum in starts:
        assert sequence is not None
        assert spectrum is not None
        at, margin = points_of(spectrum, block.h, tolerance)
        sizes.append(largest_of_sequence(sequence, at[does_not_grow(sequence.regular, at, margin)], part))
    return f"{said} (|u_n| up to {max(sizes):.3g} |u_0| from the starting step on)" if sizes else said
