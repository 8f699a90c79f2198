"""solve(..., per_sample=True): the steps of a sample are those that it takes alone, to the bit; gradients, failures."""

import math
import pickle

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from odenets import (
    FieldError,
    IntegrationError,
    IntegrationWarning,
    SchemeError,
    StepControl,
    schemes,
    solve,
)
from odenets.integrate.method import runs_as_method
from odenets.integrate.samples import row_norms

ADAPTIVE = [s.name for s in schemes.values() if s.embedded is not None and runs_as_method(s) and s.carried == 1]
#: a diagonally implicit scheme, one whose stages are solved for together, a Rosenbrock scheme
STIFF = ["kvaerno5", "radau_iia3", "rodas5p"]
MU = torch.logspace(0, 2, 13, dtype=torch.float64)[:, None]
TIMES = torch.tensor([0.0, 0.2, 0.21, 0.7, 0.9, 1.0], dtype=torch.float64)


def van_der_pol(mu):
    """u'' = mu (1 - u^2) u' - u, of any number of samples that mu broadcasts to."""

    def f(t, s):
        u, v = s.unbind(1)
        return torch.stack([v, mu.reshape(-1) * (1 - u * u) * v - u + 0 * t.reshape(-1)], 1)

    return f


def starts(n, **options):
    generator = torch.Generator().manual_seed(1)
    return torch.tensor([2.0, 0.0], **options) + 0.3 * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def counts(solution, i):
    found = solution.stats
    columns = found.accepted, found.rejected, found.evaluations, found.smallest_step, found.largest_step
    return [x[i].item() for x in columns]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", [*ADAPTIVE, *STIFF])
def test_each_sample_is_solved_as_if_alone(name, backwards):
    # With -mu, it is the same backwards in time.
    mu, t = (-MU, -TIMES) if backwards else (MU, TIMES)
    u, tolerance = starts(len(mu)), 1e-4 if schemes[name].order < 4 else 1e-7
    options = {"rtol": tolerance, "atol": tolerance, "per_sample": True}
    found = solve(van_der_pol(mu), u, t, name, **options)
    assert found.status == ["success"] * len(mu)
    for i in range(0, len(mu), 3):
        alone = solve(van_der_pol(mu[i : i + 1]), u[i : i + 1], t, name, **options)
        assert torch.equal(found.y[:, i], alone.y[:, 0])
        assert counts(found, i) == counts(alone, 0)
    assert found.stats.accepted.max() > (3 if schemes[name].explicit else 1.5) * found.stats.accepted.min()


@pytest.mark.parametrize("name", STIFF)
def test_stiff_samples_take_steps_of_their_own(name):
    # Robertson's rates 0.04, 1e4 and 3e7, times 1 to 1e-3, to t = 100
    factor = torch.logspace(-3, 0, 5, dtype=torch.float64)[:, None]

    def f(t, u):
        a, b, c = u.unbind(1)
        slow, fast = -0.04 * a + 1e4 * b * c, 3e7 * b * b
        return torch.stack([slow, -slow - fast, fast], 1) * factor

    start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(5, 3)
    found = solve(f, start, (0, 100), name, rtol=1e-6, atol=1e-10, per_sample=True)
    assert found.stats.accepted[0] < found.stats.accepted[-1] < 100
    for i, k in enumerate(factor[:, 0].tolist()):

        def plain(t, u, k=k):
            slow, fast = -0.04 * u[0] + 1e4 * u[1] * u[2], 3e7 * u[1] ** 2
            return [k * slow, k * (-slow - fast), k * fast]

        exact = solve_ivp(plain, (0, 100), start[i].numpy(), method="Radau", rtol=1e-11, atol=1e-15).y[:, -1]
        np.testing.assert_allclose(found.y[-1, i], exact, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
@pytest.mark.parametrize("shape", [(), (3,), (5, 7)])
def test_shapes_and_dtypes(shape, dtype):
    # u' = i w u, or -w u, with w = 1 ... 9: exp(i w t)
    u = torch.rand(9, *shape, dtype=dtype) + 1
    w = torch.arange(1.0, 10.0).reshape(-1, *[1] * len(shape)).to(dtype) * (1j if dtype.is_complex else -1)

    def f(t, u):
        assert t.shape == (u.shape[0], *[1] * len(shape))
        return w[-u.shape[0] :] * u if u.shape[0] == 9 else u * torch.nan if len(u) == 0 else _rows(w, u)

    def _rows(w, u):
        raise IndexError("a row of w for each sample")

    found = solve(f, u, (0, 0.5, 1), per_sample=True, rtol=1e-6, atol=1e-6)
    exact = torch.stack([u, u * torch.exp(0.5 * w), u * torch.exp(w)])
    torch.testing.assert_close(found.y, exact, rtol=1e-4, atol=1e-4)
    assert found.y.dtype == dtype


def test_the_control_is_that_of_shared_steps():
    # Of one sample the steps are the shared ones, but for rounding.
    for control in (StepControl(), StepControl(exponents=[0.6, -0.2, 0.1]), StepControl(first_step=0.1, max_step=0.15)):
        own, shared = (
            solve(van_der_pol(MU[3:4]), starts(1), TIMES, control=control, per_sample=each) for each in (True, False)
        )
        assert counts(own, 0)[:3] == [shared.stats.accepted, shared.stats.rejected, shared.stats.evaluations]
        assert counts(own, 0)[3:] == pytest.approx([shared.stats.smallest_step, shared.stats.largest_step], rel=1e-6)
        torch.testing.assert_close(own.y, shared.y, rtol=1e-9, atol=1e-9)
    forced = solve(
        lambda t, u: -u,
        torch.ones(2, 1),
        (0, 1),
        control=StepControl(min_step=0.5),
        rtol=1e-12,
        atol=1e-12,
        per_sample=True,
    )
    assert (forced.stats.accepted.tolist(), forced.stats.rejected.tolist()) == ([2, 2], [0, 0])


def test_solutions_are_scipys():
    u = starts(len(MU))
    found = solve(van_der_pol(MU), u, TIMES, "dop853", rtol=1e-9, atol=1e-9, per_sample=True)
    for i in range(0, len(MU), 4):
        mu = MU[i].item()
        plain = lambda t, s, mu=mu: np.array([s[1], mu * (1 - s[0] ** 2) * s[1] - s[0]])  # noqa: E731
        exact = solve_ivp(plain, (0, 2), u[i].numpy(), method="DOP853", rtol=1e-12, atol=1e-13, t_eval=TIMES.numpy())
        np.testing.assert_allclose(found.y[:, i], exact.y.T, rtol=0, atol=1e-4)


def test_who_is_done_leaves_the_batch():
    sizes = []

    def f(t, s):
        sizes.append(len(s["u"]))
        return {"u": s["v"], "v": s["mu"] * (1 - s["u"] ** 2) * s["v"] - s["u"], "mu": torch.zeros_like(s["mu"])}

    y0 = {"u": starts(len(MU))[:, :1], "v": torch.zeros_like(MU), "mu": MU}
    found = solve(f, y0, (0, 1), per_sample=True)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) > 3
    assert sum(sizes) < 0.7 * len(MU) * len(sizes)
    # Each evaluation is one of each sample that is still there.
    assert found.stats.evaluations.sum() == sum(sizes)
    assert found.y["u"].shape == (2, *MU.shape)


def test_an_f_with_a_row_for_each_sample_is_given_all_of_them():
    sizes = set()

    def f(t, s):
        value = van_der_pol(MU)(t, s)  # fails where s has fewer rows than MU
        sizes.add(len(s))
        return value

    solve(f, starts(len(MU)), (0, 1), per_sample=True)
    assert sizes == {len(MU)}

    def broken(t, s):
        return s if len(s) == len(MU) and (t < 0.5).all() else s @ s

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        solve(broken, starts(len(MU)), (0, 1), per_sample=True)


class Reads(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_reads_of_the_device(monkeypatch):
    reads = []
    plain = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(1) or plain(self))
    with Reads() as counted:
        found = solve(van_der_pol(MU), starts(len(MU)), 0.2 * TIMES, per_sample=True)
    steps = (found.stats.accepted + found.stats.rejected).max().item()
    # One of each step, and what became of the samples; their statuses are given to y as a tensor.
    assert len(reads) <= steps + 3
    assert counted.count == 0


def test_row_norms_are_those_of_a_row_alone():
    for dtype in (torch.float32, torch.float64, torch.complex64):
        for width in (1, 2, 3, 16, 37, 1000, 2**15 + 3):
            x = torch.randn(5 if width > 1000 else 33, width, dtype=dtype)
            found = row_norms(x)
            assert torch.equal(found, torch.cat([row_norms(row[None].clone()) for row in x]))
            torch.testing.assert_close(found, x.abs().pow(2).mean(1).sqrt())


# ---------------------------------------------------------------------------------------------------------- gradients

W = 0.5 * torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def smooth(weight):
    return lambda t, u: torch.tanh(u @ weight) * torch.cos(3 * t) + 0.1 * t * u


def learned(*tensors):
    return [x.clone().requires_grad_() for x in tensors]


@pytest.mark.parametrize("name", ["dopri5", "cash_karp"])
def test_first_and_second_derivatives(name):
    def solution(u, weight):
        return solve(smooth(weight), u, (0, 0.1, 0.3), name, rtol=1e-9, atol=1e-9, per_sample=True).y

    u = starts(2) - 2
    assert gradcheck(solution, learned(u, W), atol=1e-6)
    assert gradgradcheck(solution, learned(u, W), atol=1e-5)
    (ours, shared) = (
        torch.autograd.grad(y[1:].sum(), [u, w])
        for u, w in [learned(u, W)]
        for y in (solution(u, w), solve(smooth(w), u, (0, 0.1, 0.3), name, rtol=1e-10, atol=1e-10).y)
    )
    for a, b in zip(ours, shared, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", STIFF)
def test_first_derivatives_of_stiff_schemes(name):
    # u' = -w u^2, u = u0 / (1 + w u0 t), differentiated by hand
    u, w = learned(torch.tensor([[1.0], [2.0], [0.5]], dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64))
    y = solve(lambda t, u: -w * u * u, u, (0, 0.7, 2), name, rtol=1e-7, atol=1e-7, per_sample=True).y
    for k, t in enumerate((0.7, 2)):
        to_u, to_w = torch.autograd.grad(y[k + 1].sum(), [u, w], retain_graph=True)
        below = (1 + w * u * t).detach() ** 2
        torch.testing.assert_close(to_u, 1 / below, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(to_w, (-(u.detach() ** 2) * t / below).sum(), rtol=1e-4, atol=1e-6)
    with pytest.raises(FieldError, match="first derivatives alone"):
        torch.autograd.grad(y.sum(), w, create_graph=True)
    with pytest.raises(FieldError, match=r"torch\.func\.grad around adaptive steps of"):
        torch.func.grad(lambda u: solve(lambda t, u: -u, u, (0, 1), name, per_sample=True).y.sum())(u.detach())


def test_gradients_of_stiff_samples_where_f_has_a_row_for_each():
    # The backward pass calls f again, with the samples of that step: by then others have left the batch.
    (w,) = learned(torch.tensor([[0.2], [30.0], [3.0]], dtype=torch.float64))
    u = torch.ones(3, 1, dtype=torch.float64)
    y = solve(lambda t, u: -w * u * u, u, (0, 1), "kvaerno5", rtol=1e-7, atol=1e-7, per_sample=True).y[-1]
    (slope,) = torch.autograd.grad(y.sum(), w)
    torch.testing.assert_close(slope, -1 / (1 + w.detach()) ** 2, rtol=1e-4, atol=1e-6)


def test_gradients_of_a_sample_are_its_own():
    weights = []
    for rows in (slice(0, 7), slice(2, 3)):
        u, mu = learned(starts(7)[rows], MU[:7][rows])
        y = solve(van_der_pol(mu), u, (0, 0.4, 2), per_sample=True).y
        found = torch.autograd.grad(y.cos().sum(), [u, mu])
        weights.append([g[2:3] if len(g) > 1 else g for g in found])
    for a, b in zip(*weights, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_rejected_step_leaves_no_nan():
    # sqrt of a negative number in the first step, which is too long, and a derivative that is infinite there.
    (u,) = learned(torch.tensor([[1.0], [0.04]], dtype=torch.float64))
    control = StepControl(first_step=0.35)
    found = solve(lambda t, u: -torch.sqrt(u), u, (0, 0.3), control=control, per_sample=True, rtol=1e-9, atol=1e-9)
    assert found.stats.rejected[1] > 0
    # u = (sqrt(u0) - t/2)^2
    exact = (u.detach().sqrt() - 0.15) ** 2
    torch.testing.assert_close(found.y[-1].detach(), exact, rtol=1e-7, atol=1e-7)
    (slope,) = torch.autograd.grad(found.y[-1].sum(), u)
    torch.testing.assert_close(slope, (u.detach().sqrt() - 0.15) / u.detach().sqrt(), rtol=1e-6, atol=1e-6)


def test_gradients_that_begin_in_the_middle():
    (rate,) = learned(torch.tensor(0.7, dtype=torch.float64))
    late = lambda t, u: torch.where(t < 1, -u.detach(), -rate * u) if (t > 1).any() else -u  # noqa: E731
    control = StepControl(max_step=0.1)
    y = solve(late, torch.ones(2, 1, dtype=torch.float64), (0, 2), control=control, per_sample=True).y[-1]
    (slope,) = torch.autograd.grad(y.sum(), rate)
    # e^-1 e^-rate (2 samples)
    assert slope.item() == pytest.approx(-2 * math.exp(-1.7), rel=1e-3)


def test_modules_and_transformations():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    f = lambda t, u: net(u) * torch.cos(t)  # noqa: E731 - t in float64, of shape (n, 1)
    u = starts(4).float()
    own = solve(f, u, (0, 1), per_sample=True).y[-1]
    torch.testing.assert_close(own, solve(f, u, (0, 1)).y[-1], rtol=1e-5, atol=1e-5)
    joined = lambda t, u: net(torch.cat([u[:, :1], t.expand(-1, 1).to(u) * u[:, 1:]], 1))  # noqa: E731
    assert solve(joined, u, (0, 1), per_sample=True).y.dtype == torch.float32
    # f that fails with times in float64 is given others
    assert solve(lambda t, u: net(u * t), u, (0, 1), per_sample=True).status == ["success"] * 4
    u = starts(2) - 2
    solution = lambda u: solve(smooth(W), u, (0, 1), per_sample=True).y[-1]  # noqa: E731
    jacobian = torch.func.jacrev(solution)(u)
    tangent = torch.func.jvp(solution, (u,), (u,))[1]
    torch.testing.assert_close(tangent, torch.einsum("abcd,cd->ab", jacobian, u))
    with pytest.raises(FieldError, match=r"got torch.func.vmap .* per_sample=True"):
        torch.func.vmap(lambda u: solve(smooth(W), u, (0, 1)).y)(u[:, None])


# -------------------------------------------------------------------------------------------------- what goes wrong

ONES = torch.ones(4, 1, dtype=torch.float64)


def troubles(t, u):
    """1 is fine, 2 blows up at t = 1/2, 3 is NaN after 1, 4 is stiff."""
    kind = u[:, 1:]
    slopes = [-u[:, :1], u[:, :1] ** 2, torch.where(t > 1, torch.nan, u[:, :1]), -5000 * (u[:, :1] - torch.cos(t))]
    value = sum(torch.where(kind == i + 1, slope, 0.0) for i, slope in enumerate(slopes))
    return torch.cat([value, torch.zeros_like(kind)], 1)


def test_samples_fail_by_themselves():
    u = torch.tensor([[1.0, 1], [2.0, 2], [1.0, 3], [1.0, 4]], dtype=torch.float64)
    options = {"per_sample": True, "max_steps": 400}
    with pytest.raises(
        IntegrationError,
        match=r"gave up on 3 of 4 samples \(1 step too small, 1 not finite, 1 too many"
        r" steps\): sample 1 at t = 0\.[45].*; sample 2 at t = .*; sample 3 at",
    ) as caught:
        solve(troubles, u, (0, 0.4, 2), **options)
    assert [x.sample for x in caught.value.failures] == [1, 2, 3]
    assert [x.reason for x in caught.value.failures] == ["step too small", "not finite", "too many steps"]
    assert caught.value.failures[0].t == pytest.approx(0.5, abs=1e-5)
    assert caught.value.failures[1].t == pytest.approx(1, abs=1e-5)
    assert caught.value.failures[1].state[0].item() == pytest.approx(math.e, rel=1e-4)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.failures[2].reason == "too many steps"
    with pytest.warns(IntegrationWarning, match="of the others to the end, is returned"):
        found = solve(troubles, u, (0, 0.4, 2), on_failure="flag", **options)
    assert found.status == ["success", "step too small", "not finite", "too many steps"]
    assert found.y[-1, 0, 0].item() == pytest.approx(math.exp(-2), rel=1e-5)
    assert found.y[1, 1:3, 0].tolist() == pytest.approx([1 / 0.1, math.exp(0.4)], rel=1e-4)
    assert found.y[-1, 1:].isnan().all()
    assert (found.stats.accepted + found.stats.rejected)[3] == 400
    assert repr(found).startswith(
        "Solution(4 samples, 1 success, 1 step too small, 1 not finite, 1 too many steps: t ="
    )


def test_stages_that_are_not_found():
    # At 0 f is finite and its derivative is not.
    u = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    with pytest.warns(IntegrationWarning, match=r"1 of 2 samples \(1 stages not found\): sample 0 at t = 0.*Newton's"):
        found = solve(lambda t, u: 1 - torch.sqrt(u), u, (0, 1), "kvaerno3", per_sample=True, on_failure="flag")
    assert found.status == ["stages not found", "success"]
    assert found.y[-1, 1, 0].item() == 1.0


def test_samples_that_f_couples_are_refused_by_schemes_with_a_jacobian():
    with pytest.raises(FieldError, match=r"per_sample: got an f of which .* depends on other samples.*leave out"):
        solve(lambda t, u: -u * u.mean(), ONES, (0, 1), "kvaerno5", per_sample=True)
    with pytest.raises(FieldError, match=r"per_sample: got samples of 2000 numbers, 2 of them"):
        solve(lambda t, u: -u, torch.ones(2, 2000), (0, 1), "rodas4", per_sample=True)
    with pytest.raises(SchemeError, match="ark436: got an additive scheme with per_sample"):
        solve((lambda t, u: -u, lambda t, u: -u), ONES, (0, 1), "ark436", per_sample=True)


def test_a_start_that_is_not_finite():
    u = ONES.clone()
    u[1] = torch.nan
    with pytest.raises(IntegrationError, match=r"1 of 4 samples.*sample 1 at t = 0") as caught:
        solve(lambda t, u: -u, u, (0, 1), per_sample=True)
    assert caught.value.failure.reason == "not finite"


@pytest.mark.parametrize("name", ["dopri5", "kvaerno5", "rodas5p"])
def test_what_is_not_finite_right_after_the_start_is_so_told(name):
    f = lambda t, u: torch.sqrt(1e-9 - t) + 0 * u  # noqa: E731
    with pytest.raises(IntegrationError, match=r"sample 0 at t = 0, h = 0") as caught:
        solve(f, ONES, (0, 1), name, per_sample=True)
    assert {x.reason for x in caught.value.failures} == {"not finite"}
    # A first step that time's rounding swallows is what it is.
    with pytest.raises(IntegrationError) as caught:
        solve(lambda t, u: -u, ONES, (1, 2), name, per_sample=True, control=StepControl(first_step=1e-20))
    assert caught.value.failure.reason == "step too small"
    assert int(caught.value.solution.stats.accepted.max()) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"y0": torch.tensor(1.0)},
            r"per_sample: got a state of shapes \[\(\)\], expected a first dimension of samples",
        ),
        ({"y0": torch.ones(0, 2)}, r"got a state of shapes \[\(0, 2\)\]"),
        ({"y0": (torch.ones(2), torch.ones(3))}, r"got a state of shapes \[\(2,\), \(3,\)\]"),
        ({"y0": (torch.ones(2), torch.ones(2, 1))}, r"as many dimensions in each.*unsqueeze"),
        ({"steps": 10}, "per_sample: got steps with it"),
        ({"step": 0.1, "dense": True}, "per_sample: got step, dense with it, expected none; leave out"),
        ({"progress": True}, "got progress with it"),
        ({"scheme": "rk4"}, "rk4: got a scheme that has no step size control"),
        ({"t": (0, torch.ones((), requires_grad=True))}, "got times that require a gradient"),
        ({"control": StepControl(jump_t=[0.5])}, "got a StepControl with jump_t"),
        ({"rtol": torch.full((4, 1), 1e-3)}, r"got a tolerance of shape \(4, 1\) for a state of shape \(4, 1\)"),
    ],
)
def test_what_is_refused(options, message):
    given = {"y0": ONES, "t": (0, 1), "per_sample": True, **options}
    with pytest.raises((FieldError, SchemeError), match=message):
        solve(lambda t, u: -u, **given)


def test_tolerances_of_each_component():
    tight = torch.tensor([1e-3, 1e-10], dtype=torch.float64)
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    found = solve(lambda t, u: -u * (1 + torch.sin(20 * t)), u, (0, 1), rtol=tight, atol=tight, per_sample=True)
    assert found.stats.accepted[1] > 2 * found.stats.accepted[0]


def test_statistics_are_told():
    found = solve(van_der_pol(MU), starts(len(MU)), (0, 1), per_sample=True)
    low, high = found.stats.accepted.min().item(), found.stats.accepted.max().item()
    assert f"Solution(13 samples, success: t = 0 ... 1, 2 times; {low} to {high} steps, " in repr(found)
