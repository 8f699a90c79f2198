"""What the numbers say, in sentences, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..region import TOLERANCE
from .amplify import amplification, points_of
from .records import Amplification, BlockDiagnosis, StageDiagnosis
from .words import layers_of, percent

#: A leading modified term beyond this part of f: the layers are no small steps.
LARGE = 0.5
#: Parts of the step that are tried.
PARTS = (2, 4, 8, 16, 32)

Pairs = Sequence[tuple[BlockDiagnosis, Amplification]]


def conclude(
    blocks: Sequence[BlockDiagnosis], stages: Sequence[StageDiagnosis], tolerance: float
) -> tuple[list[str], str]:
    """(findings, suggestion)."""
    pairs = [(b, b.amplification) for b in blocks if b.amplification is not None]
    if not pairs:
        return ["No layer has a spectrum: there is nothing to analyse."], "None: nothing was analysed."
    findings = [*_stability(pairs), *_parasites(blocks, stages), *_modified(blocks)]
    return findings, " ".join(_suggestions(pairs, blocks, tolerance))


# ------------------------------------------------------------------ findings


def _stability(pairs: Pairs) -> Iterator[str]:
    whole = all(b.spectrum.complete for b, _ in pairs if b.spectrum)
    what = "eigenvalues" if whole else "computed eigenvalues"
    if inside := [b for b, a in pairs if a.outside == 0]:
        yield f"All {what} of {layers_of(inside)} lie in the stability region."
    if growing := [(b, a) for b, a in pairs if a.growing > 0]:
        worst = max(growing, key=lambda pair: pair[1].maximum)
        yield (
            f"Growth in the equation: in {_named(growing)} {_range([a.growing for _, a in growing])} of the {what} are "
            f"outside with Re(lambda) > 0. The exact flow grows there too. The largest |zeta| of a layer with such "
            f"eigenvalues is {worst[1].maximum:.4g} ({worst[0].label})."
        )
    if excess := [(b, a) for b, a in growing if a.excess > 0]:
        yield (
            f"In {_named(excess)} {_range([a.excess for _, a in excess])} of the {what} have Re(lambda) > 0 and grow "
            "faster than the flow over the effective step: that part of the growth is the scheme's."
        )
    if unstable := [(b, a) for b, a in pairs if a.unstable > 0]:
        worst = max(unstable, key=lambda pair: pair[1].worst_unstable)
        yield (
            f"Numerical instability: in {_named(unstable)} {_range([a.unstable for _, a in unstable])} of the {what} "
            f"have Re(lambda) <= 0 and |zeta| > 1, up to {worst[1].worst_unstable:.4g} ({worst[0].label}). The flow "
            "decays there, the network grows."
        )


def _parasites(blocks: Sequence[BlockDiagnosis], stages: Sequence[StageDiagnosis]) -> Iterator[str]:
    if bad := growing_parasites(blocks):
        worst = max(bad, key=lambda b: abs(b.parasitic_roots[0]))
        k = [c.mean for c in worst.coefficients if c.symbol == "k"]
        is_lm = worst.name == "lm" and len(k) == 1
        what = f"k = {k[0]:.3g}, so the parasitic root -k" if is_lm else "a parasitic root of V"
        size = abs(worst.parasitic_roots[0])
        yield (
            f"Not zero-stable: {layers_of(bad)}. In {worst.label} {what} has modulus {size:.3g}: "
            "it grows whatever f is."
        )
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
        f"The leading modified term is {_span([t.relative for _, t in known])} times ||f|| (largest in {worst.label}, "
        f"of h^{term.order})."
    )
    if large := [b for b, t in known if t.relative > LARGE]:
        yield (
            f"In {layers_of(large)} it is more than {LARGE:g} ||f||: the layers are no small steps of a flow, and the "
            "expansion in h says how large the difference is, not more."
        )


def growing_parasites(blocks: Sequence[BlockDiagnosis]) -> list[BlockDiagnosis]:
    """Blocks whose scheme is not zero-stable: a parasitic root outside the unit circle."""
    return [b for b in blocks if b.parasitic_roots and abs(b.parasitic_roots[0]) > 1 + TOLERANCE]


def _named(pairs: Pairs) -> str:
    return layers_of([b for b, _ in pairs])


def _range(shares: Sequence[float]) -> str:
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def _span(numbers: Sequence[float]) -> str:
    low, high = f"{min(numbers):.2g}", f"{max(numbers):.2g}"
    return low if low == high else f"{low} to {high}"


# ---------------------------------------------------------------- suggestion


def _suggestions(pairs: Pairs, blocks: Sequence[BlockDiagnosis], tolerance: float) -> Iterator[str]:
    parasites = growing_parasites(blocks)
    unstable = [(b, a) for b, a in pairs if a.unstable > 0]
    growing = [(b, a) for b, a in pairs if a.growing > 0]
    if parasites:
        yield (
            f"Keep the coefficients of {layers_of(parasites)} where the scheme is zero-stable (-1 < k <= 1 for lm): "
            "the parasitic root grows there whatever the weights are."
        )
    mendable = [(b, a) for b, a in unstable if b not in parasites]
    if mendable:
        yield _mend(pairs, mendable, tolerance)
    if growing:
        yield (
            f"In {_named(growing)} the scheme is outside its region because of eigenvalues on the right: growth is in "
            "the equation itself, no scheme changes that. If it is not wanted, change f: weight decay, spectral "
            "normalisation, or a field with Re(lambda) <= 0 by construction."
        )
    if not (parasites or mendable or growing):
        what = "eigenvalue" if all(b.spectrum.complete for b, _ in pairs if b.spectrum) else "computed eigenvalue"
        yield f"None is needed: every {what} is in the stability region of its layer."


def _mend(pairs: Pairs, unstable: Pairs, tolerance: float) -> str:
    """A scheme or a step without numerical instability, cheapest first; what is least bad if there is none."""
    where = f"Against the numerical instability in {_named(unstable)}:"
    note = (
        "This is linear stability alone; a network under another scheme computes another function and must be trained."
    )
    if stable := _stable_alternatives(pairs, "same_cost"):
        return f"{where} {stable[0]}, stable there at the same cost. {note}"
    part = next((p for p in PARTS if _stable_at(pairs, p, tolerance)), None)
    if other := _stable_alternatives(pairs, "same_step"):
        cost = "at the same cost no explicit scheme compared is stable there"
        smaller = f"or {part} times as many layers of step h/{part}" if part else f"no step down to h/{PARTS[-1]} helps"
        return f"{where} {other[0]} at the same step ({cost}); {smaller}. {note}"
    if part is not None:
        return f"{where} {part} times as many layers of step h/{part}. {note}"
    least = min(_shared_names(pairs), key=lambda name: _worst(pairs, name, "same_step"), default=None)
    tried = "none of the schemes compared and no smaller step removes it"
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
    """The largest |zeta| of a scheme where Re(lambda) <= 0, over all blocks."""
    return max(getattr(a, cost).worst_unstable for b, _ in pairs for a in b.alternatives if _base(a.scheme) == name)


def _base(label: str) -> str:
    return label.partition("(")[0]


def _stable_at(pairs: Pairs, part: int, tolerance: float) -> bool:
    """Whether every block's own scheme is stable at h/part where Re(lambda) <= 0."""
    for block, _ in pairs:
        assert block.scheme is not None
        assert block.spectrum is not None
        points, margin = points_of(block.spectrum, block.h / part, tolerance)
        if amplification(block.scheme, points, margin).unstable > 0:
            return False
    return True
