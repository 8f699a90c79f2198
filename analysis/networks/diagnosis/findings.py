"""What the numbers say, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ...linear.region import TOLERANCE
from .layer_lists import factor, layers_of, percent
from .records import Amplification, BlockDiagnosis, StageDiagnosis
from .spectrum_record import FAR
from .suggestion import grows_together, not_zero_stable, suggest, taken_once, transient

#: A leading modified term beyond this part of f: the layers are no small steps.
LARGE = 0.5

Pairs = Sequence[tuple[BlockDiagnosis, Amplification]]


def conclude(
    blocks: Sequence[BlockDiagnosis], stages: Sequence[StageDiagnosis], tolerance: float, after: Sequence[str] = ()
) -> tuple[list[str], str]:
    """(findings, suggestion); ``after``: names of what is applied to what the scheme has combined."""
    pairs = [(b, b.amplification) for b in blocks if b.amplification is not None]
    if not pairs:
        return ["No layer has a spectrum: there is nothing to analyse."], "None: nothing was analysed."
    findings = [
        *_coefficients(blocks),
        *_stability(pairs),
        *_undecided(pairs),
        *_at_once(blocks),
        *_together(stages),
        *_parasites(stages),
        *_modified(blocks),
    ]
    if not after:
        return findings, suggest(pairs, stages, tolerance)
    before = f"Before {', '.join(after)}, applied to what each step combines"
    return [
        f"{before}: {findings[0]}",
        *findings[1:],
    ], f"{before}, which may undo it: {suggest(pairs, stages, tolerance)}"


def _coefficients(blocks: Sequence[BlockDiagnosis]) -> Iterator[str]:
    """What is wrong whatever f is."""
    if bad := not_zero_stable(blocks):
        yield f"Not zero-stable: {layers_of(bad)}. {_why(max(bad, key=_parasite))}"
    flowless = [b for b in blocks if b.amplification and math.isnan(b.amplification.growing)]
    if flowless:
        yield (
            f"{layers_of(flowless, start=True)}: no flow of first order is followed (lm at k = -1 solves an equation "
            "of second order), so growth of the equation and of the scheme cannot be told apart there."
        )
    if backwards := [b for b in blocks if b.effective_step is not None and b.effective_step * b.h < 0]:
        yield (
            f"{layers_of(backwards, start=True)}: the effective step is negative. The principal solution runs "
            "backwards in time, and grows where Re(lambda) < 0."
        )


def _parasite(block: BlockDiagnosis) -> float:
    return max(map(abs, block.parasitic_roots), default=0.0)


def _why(block: BlockDiagnosis) -> str:
    size = _parasite(block)
    k = [c for c in block.coefficients if c.symbol == "k"]
    is_lm = block.name == "lm" and len(k) == 1
    if size > 1 + TOLERANCE:
        what = f"k = {k[0].mean:.3g}, so the parasitic root -k" if is_lm else "a parasitic root of V"
        return f"In {block.label} {what} has modulus {size:.3g}: it grows whatever f is."
    if any(c.low < c.high for c in block.coefficients):
        ranges = ", ".join(f"{c.symbol} from {c.low:.3g} to {c.high:.3g}" for c in block.coefficients)
        return f"In {block.label} ({ranges}) some channels are not, though their mean is: they grow whatever f is."
    what = f"k = {k[0].mean:.3g}, so 1 is a double root" if is_lm else "a root of V of modulus 1 is not simple"
    return f"In {block.label} {what}: the difference of the carried values adds up over the layers whatever f is."


def _stability(pairs: Pairs) -> Iterator[str]:
    whole = all(b.spectrum.complete for b, _ in pairs if b.spectrum)
    what = "eigenvalues" if whole else "computed eigenvalues"
    if inside := [b for b, a in pairs if a.outside == a.undecided == 0 and not _amplifies(b, a)]:
        yield f"All {what} of {layers_of(inside)} lie in the stability region."
    if growing := [(b, a) for b, a in pairs if a.growing > 0]:
        worst = max(growing, key=lambda pair: pair[1].maximum)
        yield (
            f"Growth in the equation: in {_named(growing)} {_range([a.growing for _, a in growing])} of the {what} are "
            "outside with Re(h_eff lambda) > 0. The exact flow grows there too. The largest |zeta| of a layer with "
            f"such eigenvalues is {factor(worst[1].maximum)} ({worst[0].label})."
        )
    if excess := [(b, a) for b, a in growing if a.excess > 0]:
        yield (
            f"In {_named(excess)} {_range([a.excess for _, a in excess])} of the {what} have Re(h_eff lambda) > 0 and "
            "grow faster than the flow over the effective step: that part of the growth is the scheme's."
        )
    if unstable := [(b, a) for b, a in pairs if a.unstable > 0 and not taken_once(b)]:
        worst = max(unstable, key=lambda pair: pair[1].worst_unstable)
        size = worst[1].worst_unstable
        why = f"|zeta| > 1, up to {factor(size)}" if size > 1 + TOLERANCE else "a multiple root zeta of modulus 1"
        yield (
            f"Numerical instability: in {_named(unstable)} {_range([a.unstable for _, a in unstable])} of the {what} "
            f"have Re(h_eff lambda) <= 0 and {why} ({worst[0].label}). The flow does not grow there, the network does."
        )
    yield from _once([(b, a) for b, a in pairs if a.unstable > 0 and taken_once(b)])
    yield from _boundary([(b, a) for b, a in pairs if a.boundary > 0], what)
    if damped := [(b, a) for b, a in pairs if a.damped > 0]:
        yield (
            f"Damped growth: in {_named(damped)} {_range([a.damped for _, a in damped])} of the {what} have "
            "Re(h_eff lambda) > 0 and |zeta| < 1. The flow grows there and the network does not, as implicit schemes "
            "do at large steps (backward Euler: |zeta| = 1/|1 - z|): what is stable need not be right."
        )


def _amplifies(block: BlockDiagnosis, found: Amplification) -> bool:
    """Whether coefficients per channel make more of a step than their means do."""
    return (block.channel_maximum or 0.0) > max(found.maximum, 1.0) + TOLERANCE


def _once(starts: Pairs) -> Iterator[str]:
    """Starting steps outside their region, and what becomes of that."""
    if starts:
        worst = max(starts, key=lambda pair: pair[1].worst_unstable)
        most = max(b.sequence_maximum or 0.0 for b, _ in starts)
        yield (
            f"Starting steps: in {_named(starts)} |zeta| reaches {factor(worst[1].worst_unstable)} where the flow does "
            "not grow. Such a step is taken once, so that no power of it counts: with the regular steps that follow, "
            f"of the same f, |u_n| reaches {most:.4g} |u_0|."
        )


def _boundary(pairs: Pairs, what: str) -> Iterator[str]:
    if pairs:
        yield (
            f"On the boundary: in {_named(pairs)} {_range([a.boundary for _, a in pairs])} of the {what} have |zeta| = "
            "1, to the accuracy of lambda: a single root there neither grows nor decays."
        )
    if double := [(b, a) for b, a in pairs if a.double > 0]:
        yield (
            f"Of these {_range([a.double for _, a in double])} in {_named(double)} have a multiple root of modulus 1: "
            "the powers of the step grow in proportion to their number."
        )


def _undecided(pairs: Pairs) -> Iterator[str]:
    """Where eigenvalues say nothing, and what does."""
    rough = [(b, a) for b, a in pairs if a.undecided > 0 and b.pseudospectrum]
    if not rough:
        return
    block, _ = max(rough, key=lambda pair: pair[0].spectrum.condition if pair[0].spectrum else 0.0)
    s, reached = block.spectrum, block.pseudospectrum
    assert s is not None
    assert reached is not None
    yield (
        f"Not decided by eigenvalues: in {_named(rough)} {_range([a.undecided for _, a in rough])} of them may have "
        f"been moved across the boundary by rounding. In {block.label} their condition numbers reach "
        f"{s.condition:.2g}; over the pseudospectrum, to first order, Re(h lambda) is at most {reached[0]:.3g} and "
        f"|zeta| at most {reached[1]:.3g}; the numerical range has Re(lambda) from {s.bounds[0]:.3g} to "
        f"{s.bounds[1]:.3g} and |Im(lambda)| up to {max(s.turning):.3g}. What holds is the product of the steps."
    )


def _at_once(blocks: Sequence[BlockDiagnosis]) -> Iterator[str]:
    """What one step does where eigenvalues do not say it."""
    if far := transient(blocks):
        worst = max(far, key=lambda b: b.step_norm or 0.0)
        yield (
            f"Transient growth: in {layers_of(far)} one step multiplies some disturbance by more than {FAR:g} times "
            f"what the eigenvalues say, up to {worst.step_norm:.4g} ({worst.label}; {worst.normal_norm:.4g} if J were "
            "normal)."
        )
    if own := [b for b in blocks if b.channel_maximum is not None]:
        rows = [(b, b.channel_maximum, b.amplification.maximum) for b in own if b.channel_maximum and b.amplification]
        text = ", ".join(f"{factor(true)} in {b.label} ({factor(mean)})" for b, true, mean in rows)
        yield f"With the coefficients of every channel (at their means) the largest |zeta| of a step is {text}."


def _together(stages: Sequence[StageDiagnosis]) -> Iterator[str]:
    """What the steps of a stage do one after the other."""
    for stage in stages:
        if stage.product is not None:
            p, (i, j) = stage.product, stage.product.run
            least = "" if p.exact else "at least "
            where = f"layer {i}" if i == j else f"layers {i}-{j}"
            growth = "Transient growth in stage" if grows_together(stage) else "Stage"
            yield (
                f"{growth} {stage.stage}: the product of its steps, each at its own state, multiplies some disturbance "
                f"by {least}{p.largest:.4g} over {where}, by {least}{p.whole:.4g} over all layers. Eigenvalues of the "
                f"layers, one by one, explain up to {p.explained:.4g}."
            )


def _parasites(stages: Sequence[StageDiagnosis]) -> Iterator[str]:
    grown = [s for s in stages if s.parasitic_growth is not None and s.parasitic_peak is not None]
    if grown and any(s.parasitic_growth for s in grown):
        text = ", ".join(f"{s.parasitic_growth:.2g} in stage {s.stage} ({s.parasitic_peak:.2g})" for s in grown)
        yield (
            "Where f = 0 the parasitic component is multiplied over a whole stage, and at most over any layers in a "
            f"row, by {text}."
        )


def _modified(blocks: Sequence[BlockDiagnosis]) -> Iterator[str]:
    known = [(b, b.modified) for b in blocks if b.modified is not None]
    if not known:
        return
    worst, term = max(known, key=lambda pair: pair[1].relative)
    yield (
        f"The leading modified term is {_span([t.relative for _, t in known])} times ||f_0|| (largest in "
        f"{worst.label}, of h^{term.order})."
    )
    if large := [b for b, t in known if t.relative > LARGE]:
        yield (
            f"In {layers_of(large)} it is more than {LARGE:g} ||f_0||: the layers are no small steps of a flow, and "
            "the expansion in h says how large the difference is, not more."
        )


def _named(pairs: Pairs) -> str:
    return layers_of([b for b, _ in pairs])


def _range(shares: Sequence[float]) -> str:
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def _span(numbers: Sequence[float]) -> str:
    low, high = f"{min(numbers):.2g}", f"{max(numbers):.2g}"
    return low if low == high else f"{low} to {high}"
