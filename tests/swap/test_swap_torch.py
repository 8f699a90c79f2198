"""Swapped models under what torch does with modules: training, autocast, copies, state_dict, processes."""

import copy
import faulthandler
import io
import os
import pickle
import sys
from contextlib import nullcontext
from datetime import timedelta

import commands
import pytest
import torch
from swap_networks import ResNetV1, randomise
from swap_runs import IMAGES, gradients, networks, output, placed
from torch import nn

from odenets import FieldError, SchemeWarning, parameter_groups, swap_scheme, unswap
from odenets.net.learnable_coefficients import is_added

#: one evaluation, a history, learnable; several stages; stages that are not at the state, and a starting slope
SCHEMES = ["euler", "lm", "ab2", "heun", "alf", "reversible_heun"]


@pytest.mark.parametrize("name", SCHEMES)
def test_copies_and_pickles_run_on_their_own(name):
    for model, args in networks().values():
        swapped = swap_scheme(model, name, example=args).eval()
        expected = output(swapped, args)
        file = io.BytesIO()
        torch.save(swapped, file)
        file.seek(0)
        for other in (
            copy.deepcopy(swapped),
            pickle.loads(pickle.dumps(swapped)),
            torch.load(file, weights_only=False),
        ):
            assert torch.equal(output(other, args), expected)
            with torch.no_grad():
                for parameter in other.parameters():
                    parameter.zero_()
            assert torch.equal(output(swapped, args), expected)
            assert not torch.equal(output(other, args), expected)
            assert unswap(other).state_dict().keys() == model.state_dict().keys()


def test_the_state_dict_keeps_the_originals_keys():
    for model, args in networks().values():
        own = list(model.state_dict())
        for name in ("euler", "ab2"):
            assert list(swap_scheme(model, name, example=args).state_dict()) == own
        learned = list(swap_scheme(model, "lm", example=args).state_dict())
        assert [key for key in learned if key in own] == own
        new = [key for key in learned if key not in own]
        assert new
        assert all(key.rpartition(".")[2] in ("odenets_k_0", "odenets_k_1") for key in new)


def test_checkpoints_go_in_both_directions():
    for (model, args), (trained, _) in zip(networks().values(), networks().values(), strict=True):
        with torch.no_grad():
            for tensor in trained.parameters():
                tensor.add_(0.1)
        trained.eval()
        swapped = swap_scheme(model, "lm", example=args, coefficients=0).eval()
        with pytest.warns(SchemeWarning, match="got none of the .* coefficients of the scheme"):
            swapped.load_state_dict(trained.state_dict())  # strict
        torch.testing.assert_close(output(swapped, args), output(trained, args))
        with torch.no_grad():
            for parameter in placed(swapped):
                parameter.fill_(-0.4)
        other = swap_scheme(model, "lm", example=args, coefficients=0).eval()
        other.load_state_dict(swapped.state_dict())
        assert torch.equal(output(other, args), output(swapped, args))
        model.load_state_dict(unswap(swapped).state_dict())
        torch.testing.assert_close(output(model.eval(), args), output(trained, args))
        first = next(key for key in swapped.state_dict() if is_added(key))
        partial = {key: value for key, value in swapped.state_dict().items() if key != first}
        with pytest.raises(RuntimeError, match=rf"Missing key.*{first}"):
            other.load_state_dict(partial)


@pytest.mark.parametrize("name", ["lm", "heun"])
def test_originals_of_parts_are_loaded_into_the_whole(name):
    model = nn.Sequential(ResNetV1(), ResNetV1())
    parts = nn.Sequential(*[swap_scheme(part, name, example=IMAGES) for part in model])
    with pytest.warns(SchemeWarning) if name == "lm" else nullcontext():
        parts.load_state_dict(nn.Sequential(ResNetV1(), randomise(ResNetV1())).state_dict())  # strict
    own = parts.state_dict()
    first = next(key for key in own if is_added(key) and not key.endswith("tracked"))
    with pytest.raises(RuntimeError, match=rf"Missing key.*{first}"):
        parts.load_state_dict({key: value for key, value in own.items() if key != first})


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_coefficients_have_the_models_dtype(dtype):
    model, args = networks()["deep"]
    args = tuple(a.to(dtype) for a in args)
    swapped = swap_scheme(model.to(dtype), "lm", example=args)
    assert {p.dtype for p in placed(swapped)} == {dtype}
    assert output(swapped, args).dtype == dtype
    assert {p.dtype for p in placed(swapped.float())} == {torch.float32}
    assert output(swapped, tuple(a.float() for a in args)).dtype == torch.float32


@pytest.mark.parametrize("kind", ["resnet", "transformer", "statement"])
def test_autocast(kind):
    model, args = networks()[kind]
    model.eval()
    for name in SCHEMES:
        swapped = swap_scheme(model, name, example=args, coefficients=0.3 if name == "lm" else None)
        exact = output(swapped, args)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, plain = output(swapped, args), output(model, args)
        assert found.dtype == plain.dtype
        # bfloat16 has 8 bits; a few layers lose a few of them
        torch.testing.assert_close(found.float(), exact, rtol=0, atol=0.06 * float(exact.detach().abs().max()))
        assert all(g.isfinite().all() for g in autocast_gradients(swapped, args))
        if name == "euler":
            assert torch.equal(found, plain)


def autocast_gradients(model, args):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = output(model, args)
    return torch.autograd.grad(y.float().square().sum(), list(model.parameters()))


@pytest.mark.parametrize("name", ["euler", "lm", "heun"])
def test_training_lowers_the_loss_and_moves_every_parameter(name):
    torch.manual_seed(0)
    model = ResNetV1()
    original = copy.deepcopy(model.state_dict())
    swapped = swap_scheme(model, name, example=IMAGES).train()
    optimizer = torch.optim.SGD(parameter_groups(swapped, weight_decay=1e-4), lr=0.05, momentum=0.9)
    before = {key: value.clone() for key, value in swapped.named_parameters()}
    labels, losses = torch.tensor([0, 1, 2, 3]), []
    for _ in range(12):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(swapped(IMAGES), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(not torch.equal(value, before[key]) for key, value in swapped.named_parameters())
    assert all(torch.equal(value, original[key]) for key, value in model.state_dict().items())


def test_euler_trains_as_the_original_to_the_bit():
    torch.manual_seed(0)
    model = ResNetV1().train()
    swapped = swap_scheme(model, "euler", example=IMAGES)
    for _ in range(3):
        for one in (model, swapped):
            one(IMAGES).square().sum().backward()
            with torch.no_grad():
                for parameter in one.parameters():
                    parameter.sub_(1e-3 * parameter.grad)
    own = swapped.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["lm", "heun"])
def test_exported_and_traced_models_are_the_same_function(name):
    model, args = networks()["position"]
    swapped = swap_scheme(model, name, example=args).eval()
    exported = torch.export.export(swapped, args, strict=False).module()
    torch.testing.assert_close(exported(2 * args[0]), swapped(2 * args[0]))
    with pytest.raises(FieldError, match=r"cannot be traced by torch\.fx"):
        torch.fx.symbolic_trace(swapped)


def test_func_transforms():
    model, args = networks()["deep"]
    model = model.double()
    x = args[0].double()
    for name in ("euler", "lm", "heun"):
        swapped = swap_scheme(model, name, example=x)
        each = torch.stack([swapped(row[None])[0] for row in x])
        torch.testing.assert_close(torch.func.vmap(lambda row, net=swapped: net(row[None])[0])(x), each)
        jacobian = torch.func.jacrev(swapped)(x)
        torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(swapped, x))


class PreNorm(nn.Module):
    """Attention of torch, which has a fast path in evaluation that no mode may see."""

    def __init__(self, width=8):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x):
        h = self.norm(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(x)


@pytest.mark.parametrize("name", ["euler", "lm"])
def test_what_has_no_sum_runs_as_it_did(name, monkeypatch):
    torch.manual_seed(0)
    model, x = nn.Sequential(PreNorm(), PreNorm()).eval(), torch.randn(2, 5, 8)
    swapped = swap_scheme(model, name, example=x, coefficients=0 if name == "lm" else None)
    calls, fast = [], torch._native_multi_head_attention

    def counted(*args, **options):
        calls.append(1)
        return fast(*args, **options)

    monkeypatch.setattr(torch, "_native_multi_head_attention", counted)
    with torch.no_grad():
        assert torch.equal(swapped(x), model(x))
    assert len(calls) == 4  # two of the swapped model, two of the original
    assert not any("forward" in vars(module) for module in unswap(swapped).modules())


# ------------------------------------------------------------------------------------------ several processes

DISTRIBUTED = [("resnet", "heun"), ("transformer", "lm")]


def work(rank, path):
    """One of two processes: the gradients of every case into a file."""
    torch.set_num_threads(1)
    # A process that waits for the other for ever says where, and ends.
    faulthandler.dump_traceback_later(100, exit=True)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # or gloo looks up this machine's name
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    found = []
    for kind, name in DISTRIBUTED:
        model, args = networks()[kind]
        swapped = swap_scheme(model, name, example=args, coefficients=0.3 if name == "lm" else None)
        parallel = nn.parallel.DistributedDataParallel(swapped)
        found.append(gradients(parallel, (args[0] * (1 + rank), *args[1:])))
    torch.save(found, f"{path}/{rank}")
    torch.distributed.destroy_process_group()
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.skipif(sys.platform != "linux", reason="the two processes are copies")
def test_distributed_data_parallel_averages(tmp_path):
    code = f"import sys; sys.path[:0] = {sys.path!r}; from {__name__} import work; work(%d, {str(tmp_path)!r})"
    commands.printed([code % rank for rank in range(2)], tmp_path / "log")
    found = [torch.load(tmp_path / str(rank)) for rank in range(2)]
    for i, (kind, name) in enumerate(DISTRIBUTED):
        each = []
        for rank in range(2):
            model, args = networks()[kind]
            swapped = swap_scheme(model, name, example=args, coefficients=0.3 if name == "lm" else None)
            each.append(gradients(swapped, (args[0] * (1 + rank), *args[1:])))
        for a, b, c, d in zip(*each, found[0][i], found[1][i], strict=True):
            torch.testing.assert_close(c, d, rtol=0, atol=0)
            torch.testing.assert_close(c, (a + b) / 2, rtol=1e-4, atol=1e-4 * float((a + b).abs().max()))
