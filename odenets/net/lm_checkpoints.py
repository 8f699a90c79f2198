"""Checkpoints of codes that store 1 - k_n, as the authors of LM-ResNet do (Lu et al. 2018), for our k_n."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ..fields import FieldError

#: names of LM's coefficient in our networks and in those of swap_scheme
LEARNED_K = re.compile(r"(.*\.)?(coefficients\.|odenets_)k_\d+")


def from_one_minus_k(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """A state_dict that stores 1 - k_n as one of our networks: names by a mapping, and k_n = 1 - value.

    Args:
        state: of the other code: u_{n+1} = kappa_n u_n + (1 - kappa_n) u_{n-1} + f(u_n), kappa_n = 1 - k_n.
        names: their key -> ours, e.g. ``{"ks.0": "stage1.coefficients.k_1"}``, for the coefficients at least; what is
            not named keeps its key. Print the keys of both, and see which is which.

    Returns:
        A new dict for ``load_state_dict``; ``state`` and its tensors are left as they are.

    Raises:
        FieldError: a name that is not there, two that become one, or none that is a k_n of ours.
    """
    if missing := sorted(set(names) - set(state)):
        raise FieldError(f"names: got {missing}, expected keys of the state_dict, such as {list(state)[:3]}")
    keys = [names.get(key, key) for key in state]
    if doubled := sorted({key for key in keys if keys.count(key) > 1}):
        raise FieldError(f"names: got several keys that become {doubled}, expected different ones")
    if not any(LEARNED_K.fullmatch(key) for key in keys):
        raise FieldError("names: got no key that becomes a learned k, expected some such as 'stage1.coefficients.k_1'")
    values = zip(keys, state.values(), strict=True)
    return {key: 1 - value if LEARNED_K.fullmatch(key) else value for key, value in values}
