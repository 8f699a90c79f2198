"""The results: frozen records, plain values for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from odenets import Scheme

from .spectrum_record import Spectrum


@dataclass(frozen=True)
class Amplification:
    """What a scheme does to the eigenvalues of a layer, per step; shares are of the eigenvalues computed.

    Attributes:
        maximum: the largest |zeta|; inf where a stage equation has no solution.
        outside: share for which the root condition fails, |zeta| > 1 or a multiple root of modulus 1: the sum
            of the next two.
        growing: outside with Re(h_eff lambda) > 0: the exact flow exp(h_eff lambda) grows as well.
        unstable: outside with Re(h_eff lambda) <= 0: the scheme grows, the flow does not.
        excess: part of ``growing`` that grows faster than the flow over the effective step,
            |zeta| > exp(Re(h_eff lambda)): the scheme adds to the growth.
        worst_unstable: the largest |zeta| among Re(h_eff lambda) <= 0; 0.0 if there is none.
        damped: share with Re(h_eff lambda) > 0 and |zeta| < 1: the flow grows, the scheme hides it.
        boundary: share on the boundary of the region, |zeta| = 1 to the accuracy of lambda; lambda = 0, where
            every scheme has the root 1, aside.
        double: part of ``outside`` with |zeta| = 1, a multiple root: growth like n (leapfrog at h lambda = ± i).
        undecided: share that rounding may have moved here from where the verdict is another. Such eigenvalues
            are in no other share, and not in ``maximum``, which is NaN where there are no others.

    |zeta| is the largest root; of a partitioned scheme, whose eigenvalues +-lambda share their roots,
    the larger one is that of the eigenvalue with the larger real part. Where the scheme follows no flow
    of first order (lm at k = -1) the shares that compare with it, ``growing`` to ``damped``, are NaN.
    """

    maximum: float
    outside: float
    growing: float
    unstable: float
    excess: float
    worst_unstable: float
    damped: float = math.nan
    boundary: float = 0.0
    double: float = 0.0
    undecided: float = 0.0


@dataclass(frozen=True)
class Alternative:
    """Another scheme on the same eigenvalues: linear stability only, not accuracy.

    Attributes:
        scheme: its name, with the values of its symbols.
        evaluations: function evaluations a step; of an implicit scheme its stages, whatever solving for
            them takes.
        explicit: whether nothing has to be solved for.
        same_step: at the step that covers what the layer does, its effective step (h for most schemes,
            h/(1 + k) for lm); that costs ``evaluations`` times what euler does.
        same_cost: at ``evaluations`` times that step, so that a unit of time costs what euler does;
            ``maximum`` and ``worst_unstable`` are per layer, the root of that order.
        starts: whether it can be the ``start`` of a multistep scheme.
    """

    scheme: str
    evaluations: int
    explicit: bool
    same_step: Amplification
    same_cost: Amplification
    starts: bool = False


@dataclass(frozen=True)
class ModifiedTerm:
    """The leading term h^m f_m, m >= 1, of the modified equation u' = f_0 + h f_1 + h^2 f_2 + ... of a layer.

    Attributes:
        order: m.
        relative: ||h^m f_m|| / ||f_0||, f_0 = f/(1 + k) for lm, mean over the samples; largest: the largest of them.
    """

    order: int
    relative: float
    largest: float


@dataclass(frozen=True)
class Coefficient:
    """A learned coefficient of a layer: its mean over the channels and its range (all equal for a scalar)."""

    symbol: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LayerSequence:
    """The steps of a network from a starting one on: each of ``starts`` once, then ``regular``, ``steps`` in all."""

    starts: tuple[Scheme, ...]
    regular: Scheme
    steps: int


@dataclass(frozen=True)
class BlockDiagnosis:
    """One layer, or one of its functions where they stand for one f together.

    Attributes:
        stage: number of the ODENet, from 0; layer: number of the layer over all stages, from 0.
        function: which of the layer's functions; None where f is the whole right-hand side.
        kind: "regular", "starting" (of a multistep scheme) or "transition" (changes the shape: no
            square Jacobian, nothing below is known).
        scheme: what the step runs, coefficients at their mean; ``name`` is its name.
        h: step size. dimension: N of the state of one sample.
        coefficients: learned, of this layer.
        effective_step: time by which u' = f advances, h/(1 + k) for lm; inf at k = -1, negative below;
            None unknown.
        parasitic_roots: eigenvalues of V other than the principal 1; -k for lm.
        zero_stable: whether the powers of V are bounded, for the coefficients of every channel; None
            where u' = 0 is not kept, or nothing was analysed.
        spectrum: of the Jacobian at the states reached; None where no eigenvalue converged. With it
            all that follows from it is None. amplification: under the layer's scheme.
        amplification_range: for coefficients per channel the smallest and largest of ``maximum`` over
            the corners of their ranges, all channels alike. No bound of the layer.
        channel_maximum: for coefficients per channel the largest |zeta| of the layer itself.
        step_norm: ||M(hJ)||_2, by how much one step may multiply a disturbance of all that it carries;
            None where J was not made as a matrix.
        normal_powers: how far powers of the step would reach with a normal J beyond those of its largest |zeta|,
            max ||M(h lambda)^n||_2 / max(1, |zeta|)^n, n = 1 ... the layers of the stage: 1 for a scheme without
            history.
        pseudospectrum: where eigenvalues are undecided (largest Re(h lambda), largest |zeta|) over the discs of
            what rounding may have made of them.
        quotient_error: how much J v differs, relatively, from a difference quotient of f in a random direction.
        normal_norm: what ``step_norm`` would be if J were normal, max ||M(h lambda)||_2, for coefficients per
            channel over the corners of their ranges.
        modified: None where there is none; ``modified_note`` then says why.
        alternatives: other schemes on the same spectrum.
        piecewise_linear: whether f has kinks and no curvature between them (ReLU).
        sequence_maximum: of a starting step the largest |u_n|/|u_0| over it and the regular steps that follow, if
            they had its f too, over the eigenvalues whose flow does not grow: what it does when it is taken
            once. None for regular steps, and where a coefficient has no value.
        sequence: the schemes of these steps.
    """

    stage: int
    layer: int
    function: int | None
    kind: str
    name: str
    h: float
    dimension: int | None = None
    coefficients: tuple[Coefficient, ...] = ()
    effective_step: float | None = None
    parasitic_roots: tuple[complex, ...] = ()
    spectrum: Spectrum | None = None
    amplification: Amplification | None = None
    amplification_range: tuple[float, float] | None = None
    modified: ModifiedTerm | None = None
    modified_note: str = ""
    alternatives: tuple[Alternative, ...] = ()
    piecewise_linear: bool = False
    zero_stable: bool | None = None
    channel_maximum: float | None = None
    step_norm: float | None = None
    normal_norm: float | None = None
    quotient_error: float | None = None
    normal_powers: float = 1.0
    pseudospectrum: tuple[float, float] | None = None
    sequence_maximum: float | None = None
    sequence: LayerSequence | None = field(default=None, repr=False, metadata={"json": False})
    scheme: Scheme | None = field(default=None, repr=False, metadata={"json": False})

    @property
    def label(self) -> str:
        """Such as "layer 4", or "layer 4, function 1"."""
        return f"layer {self.layer}" + ("" if self.function is None else f", function {self.function}")


@dataclass(frozen=True)
class StageProduct:
    """The product of the steps of a stage as matrices, M_n at the state that layer n has: what its layers do together.

    Attributes:
        largest: max over i <= j of ||M_j ... M_i||_2, by which layers in a row may multiply a disturbance of all that
            a step carries.
        run: (i, j), layers counted over all stages.
        whole: the same of all layers.
        explained: what ``largest`` could be at most if every J were normal, all with the same vectors: the product of
            their largest |zeta|, of those above 1, times the largest ``normal_powers``. For a scheme with history no
            bound: leapfrog's steps at z = 0.9i and -0.9i are stable one by one, and grow in turn.
        exact: whether all products were made; else ``largest`` and ``whole`` were searched for by products with
            vectors, and are lower bounds.
        flow: what the exact flows exp(h_eff J) multiply by at most, one after the other. None where they were not
            made: where not all products were, and where a layer follows no flow or its channels different ones.

    All stages of a step have the J at u_n: the product is the derivative of the network for schemes of one explicit
    stage, and near it for others as far as J changes little within a step.

    Source: Horn & Johnson, Matrix Analysis (2013), 5.6, for norms of products; Golub & Van Loan, Matrix
    Computations (2013), 8.2, for the power method.
    """

    largest: float
    run: tuple[int, int]
    whole: float
    explained: float
    exact: bool
    flow: float | None = None


@dataclass(frozen=True)
class StageDiagnosis:
    """One ODENet.

    Attributes:
        stage, steps: its number, and its layers.
        parasitic_growth: factor by which its layers multiply the parasitic component together where
            f = 0, in the maximum norm: |k_1 k_2 ...| for lm, in the channel where it is largest. None without one.
        parasitic_peak: the largest factor over any run of consecutive layers.
        calls: how often the model runs it; only the first time is analysed.
        given: states that the model's run has in it, more than the samples where the model flattens its
            batch; the first ones are analysed, as many as there are samples.
        product: what the layers do together; None where a layer has functions that are analysed each by itself,
            or stage equations were not solved.
    """

    stage: int
    steps: int
    parasitic_growth: float | None
    parasitic_peak: float | None
    calls: int
    given: int | None = None
    product: StageProduct | None = None


def to_plain(value: Any) -> Any:
    """Records as dicts, tuples as lists, numbers that JSON does not have as None."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value) if f.metadata.get("json", True)}
    if isinstance(value, dict):
        return {key: to_plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(entry) for entry in value]
    if isinstance(value, complex):
        return [to_plain(value.real), to_plain(value.imag)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
