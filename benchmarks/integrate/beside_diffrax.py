"""dopri5 of diffrax, where that is installed: the same problems for jax, a solve compiled as one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .problems import heat, vdp


def diffrax_run(f: Any, stop: float) -> Callable[[Tensor, float, bool], Tensor]:
    """Solves to a time by diffrax, as :data:`.equal_error.Run`; the first call compiles.

    The controller is the one that diffrax takes by itself, an integral one.
    """
    import diffrax  # noqa: PLC0415 - nothing else here needs it
    import jax  # noqa: PLC0415

    jax.config.update("jax_enable_x64", True)
    weights = [p.detach().numpy() for p in f.parameters()] if isinstance(f, nn.Module) else []
    term = diffrax.ODETerm(of_jax(f, jax.numpy))

    def end(start: Any, weights: Any, tolerance: Any) -> Any:
        control = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        given: dict[str, Any] = {"args": weights, "stepsize_controller": control, "max_steps": 2**14}
        found = diffrax.diffeqsolve(term, diffrax.Dopri5(), 0.0, stop, None, start, **given)
        return found.ys[-1]

    def total(start: Any, weights: Any, tolerance: Any) -> Any:
        u = end(start, weights, tolerance)
        return u.sum(), u

    forward, backward = jax.jit(end), jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))

    def run(start: Tensor, tolerance: float, gradients: bool) -> Tensor:
        given = start.detach().numpy(), weights, tolerance
        found = jax.block_until_ready(backward(*given) if gradients else forward(*given))
        return torch.from_numpy(jax.device_get(found[1] if gradients else found).copy())

    return run


def of_jax(f: Any, jnp: Any) -> Callable[[Any, Any, Any], Any]:
    """f(t, u, weights) of a problem by jax.numpy, or what has its names: vdp, heat, or :func:`.problems.network`."""
    if f is vdp:
        return lambda t, u, weights: vdp(t, u, jnp.stack)
    if f is heat:
        return lambda t, u, weights: heat(t, u, jnp.pad, ((0, 0), (1, 1)))

    def network(t: Any, u: Any, weights: Any) -> Any:
        *inner, (matrix, bias) = zip(weights[::2], weights[1::2], strict=True)
        for m, b in inner:
            u = jnp.tanh(u @ m.T + b)
        return 3 * (u @ matrix.T + bias)

    return network
