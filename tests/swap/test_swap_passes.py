"""Several passes and threads through a swapped model, its parts, and what it keeps alive."""

import copy
import gc
import threading
import weakref

import pytest
import torch
from swap_networks import Smooth, Transformer
from test_swap_state import Loop, Remembers, X, lm
from torch import nn

from odenets import FieldError, parameter_groups, swap_report, swap_scheme, unswap

# ------------------------------------------------------------------------------------- several passes at a time


def test_passes_may_interleave():
    torch.manual_seed(0)
    model = Loop("loop").double()
    swapped = swap_scheme(model, "lm", example=X, coefficients=0.5)
    u, v = X, 2 * X
    for block in swapped.blocks:
        u, v = block(u), block(v)
    assert torch.equal(u, swapped(X))
    assert torch.equal(v, swapped(2 * X))
    torch.testing.assert_close(u, lm([b.branch for b in model.blocks], X, 0.5))


class Meets(Smooth):
    """Waits for another thread in the middle of its forward."""

    barrier = None

    def __deepcopy__(self, memo):
        own = Meets()
        own.load_state_dict(self.state_dict())
        return own.double()

    def branch(self, x):
        if self.barrier is not None:
            self.barrier.wait(timeout=20)
        return super().branch(x)


def in_threads(model, inputs):
    found = {}

    def work(i):
        try:
            found[i] = model(inputs[i])
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[i] for i in range(len(inputs))]


def test_threads_do_not_meet(monkeypatch):
    torch.manual_seed(0)
    model, inputs = nn.Sequential(Meets(), Meets(), Meets()).double(), [X, 2 * X]
    swapped = swap_scheme(model, "lm", example=X, coefficients=0.5)
    expected = [swapped(x) for x in inputs]
    monkeypatch.setattr(Meets, "barrier", threading.Barrier(2))
    for a, b in zip(in_threads(swapped, inputs), expected, strict=True):
        assert torch.equal(a, b)


def test_a_second_thread_in_stages_is_refused(monkeypatch):
    swapped = swap_scheme(nn.Sequential(Meets()).double(), "heun", example=X)
    swapped(X)
    held, inside = threading.Barrier(2), threading.Event()

    class Held:
        def wait(self, timeout):
            # The first thread waits in the block until the second has been refused.
            if threading.current_thread() is first[0]:
                inside.set()
                held.wait(timeout)

    first = []
    monkeypatch.setattr(Meets, "barrier", Held())
    thread = threading.Thread(target=lambda: swapped(X))
    first.append(thread)
    thread.start()
    assert inside.wait(20)
    with pytest.raises(FieldError, match="one thread at a time"):
        swapped(X)
    held.wait(20)
    thread.join()
    swapped(X)


@pytest.mark.parametrize("name", ["lm", "heun", "ab2"])
def test_nothing_is_kept_alive_after_a_pass(name):
    model = Transformer(layers=3)
    swapped, tokens = swap_scheme(model, name, example=torch.randn(1, 5, 2)), torch.randn(1, 5, 2)
    alive = []
    for block in swapped.blocks:
        block.mlp.register_forward_hook(lambda module, args, y: alive.append(weakref.ref(y)))
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            with torch.no_grad():
                swapped(tokens)
            swapped(tokens)[0].sum().backward()
        assert len(alive) > 6
        assert not any(ref() is not None for ref in alive)
    finally:
        gc.enable()


def test_replicas_of_data_parallel_are_refused():
    swapped = swap_scheme(nn.Sequential(Smooth()).double(), "euler", example=X)
    with pytest.raises(FieldError, match="use DistributedDataParallel"):
        swapped[0]._replicate_for_data_parallel()
    assert "_replicate_for_data_parallel" not in vars(unswap(swapped)[0])


# --------------------------------------------------------------------------------------------- parts of models


def test_the_example_leaves_no_trace_in_buffers_lists_or_hooks():
    model = nn.Sequential(Remembers(), Remembers()).double().eval()
    seen = []
    model[0].register_forward_hook(lambda module, *_: module.seen.append(1))
    model[1].register_forward_pre_hook(lambda *_: seen.append(1))
    state = copy.deepcopy(model.state_dict())
    swap_scheme(model, "euler", example=X, inplace=True)
    assert not model[0].seen
    assert not model[1].seen
    assert (model[0].calls, hasattr(model[0], "aux")) == (0, False)
    torch.testing.assert_close(model.state_dict(), state)


def test_parts_are_swapped_and_unswapped_by_themselves():
    torch.manual_seed(0)
    model = nn.Sequential(Loop("loop"), Loop("loop")).double()
    model[0] = swap_scheme(model[0], "lm", example=X, coefficients=0.5)
    with pytest.raises(FieldError, match="got no example"):
        swap_scheme(model, "heun")
    expected = lm([b.branch for b in unswap(model)[0].blocks], X, 0.5)
    torch.testing.assert_close(model[0](X), expected)
    whole = swap_scheme(model, "heun", example=X)
    assert [chain.sums for chain in swap_report(whole).chains] == [(1,) * 10]
    assert torch.equal(unswap(whole)(X), unswap(model)(X))
    torch.testing.assert_close(model[0](X), expected)


def test_a_swap_in_place_that_fails_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = Loop("loop").double()
    swap_scheme(model, "lm", example=X, coefficients=0.5, inplace=True)
    expected, keys = model(X), list(model.state_dict())
    with pytest.raises(FieldError, match="got gradient=adjoint"):
        swap_scheme(model, "heun", example=X, gradient="adjoint", inplace=True)
    with pytest.raises(RuntimeError):
        swap_scheme(model, "heun", example=X[:, :3], inplace=True)
    assert torch.equal(model(X), expected)
    assert list(model.state_dict()) == keys


def test_coefficients_are_parameters_of_their_blocks():
    torch.manual_seed(0)
    model = Loop("loop").double()
    swapped = swap_scheme(model, "lm", example=X, coefficients=0.5)
    names = [f"blocks.{i}.odenets_k_0" for i in range(1, 5)]
    own = dict(swapped.named_parameters())
    assert [name for name in own if "odenets" in name] == names
    weights, coefficients = parameter_groups(swapped, 1e-4)
    assert coefficients["params"] == [own[name] for name in names]
    assert len(weights["params"]) == len(list(model.parameters()))
    other = torch.func.functional_call(swapped, {name: torch.tensor(-0.25, dtype=torch.float64) for name in names}, X)
    torch.testing.assert_close(other, lm([b.branch for b in model.blocks], X, -0.25))
