"""Modules put in the place of others: what a network then runs, in training and evaluation, is what it holds."""

import copy
import os
import warnings

import pytest
import torch
from torch import nn

import odenets

MODES = ("direct", "checkpoint")


def block(seed, norm=True, passes=0):
    """A block; ``passes``: how many batches its BatchNorm has seen."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, momentum=0.5) if norm else nn.Identity(), nn.Tanh())
    for _ in range(passes):
        made(3 + 2 * torch.randn(8, 3))
    return made.double()


def data(seed=1):
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(seed)).double()


def heun_by_hand(stages, x):
    """u + (f(u) + f(u + f(u)))/2 with a module for each stage, which share weights and not statistics."""
    for first, second in stages:
        a = first(x)
        x = x + (a + second(x + a)) / 2
    return x


def with_own_statistics(f):
    """The block again: the same weights, statistics of its own, which begin with the block's."""
    other = copy.deepcopy(f)
    for a, b in zip(f.modules(), other.modules(), strict=True):
        b._parameters.update(a._parameters)
    return other


def replace_layer(net, new):
    net.field.layers[0] = new


def replace_norm(net, new):
    net.field.layers[0][0], net.field.layers[0][1] = new[0], new[1]


@pytest.mark.parametrize("how", [replace_layer, replace_norm])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("gradient", MODES)
def test_statistics_of_a_block_that_is_put_in(gradient, before, how):
    """torchdiffeq 87: of a trained block under heun, by hand, in evaluation at once, then in training and after it."""
    net = odenets.ODENet([block(0, norm=before), block(1)], "heun", gradient=gradient)
    net(data())
    kept = net.field.layers[1]
    second = with_own_statistics(kept)
    second[1].load_state_dict({**kept[1].state_dict(), **_statistics(net, "1_0_1")})
    new = block(2, passes=3)
    stages = [(with_own_statistics(new), with_own_statistics(new)), (with_own_statistics(kept), second)]
    how(net, new)
    for training in (False, True, False):
        net.train(training)
        for f in (f for pair in stages for f in pair):
            f.train(training)
        x = data(2)
        torch.testing.assert_close(net(x), heun_by_hand(stages, x), rtol=1e-13, atol=1e-13)
    x = data(3).requires_grad_()
    own, hand = [torch.autograd.grad(y.square().sum(), [x, new[0].weight]) for y in (net(x), heun_by_hand(stages, x))]
    torch.testing.assert_close(own, hand, rtol=1e-12, atol=1e-12)


def _statistics(net, key):
    return dict(net.field.statistics[key].norms[0].named_buffers()) if key in net.field.statistics else {}


def test_state_of_a_network_with_another_block():
    """torchdiffeq 87: what is saved and loaded right after a block was put in has its statistics, and keeps them."""
    x, trained = data(2), odenets.ODENet([block(0, norm=False), block(1)], "rk4")
    replace_layer(trained, block(2))
    for seed in range(3):
        trained(data(seed))
    net = odenets.ODENet([block(0), block(1)], "rk4")
    replace_layer(net, block(3))
    net.load_state_dict(trained.state_dict())
    torch.testing.assert_close(net.eval()(x), trained.eval()(x), rtol=0, atol=0)
    replace_layer(net, block(4, norm=False))
    with pytest.warns(odenets.SchemeWarning, match="0 BatchNorms for 1, and with the others the statistics"):
        net.state_dict()
    assert not [key for key in net.state_dict() if "statistics.0_" in key]
    assert len([key for key in net.state_dict() if "statistics.1_" in key]) == 9
    net.train()(x).sum().backward()


def test_other_scheme_after_a_block_was_put_in():
    """torchdiffeq 87: swap_scheme keeps the statistics of stages that are still there, and makes those of the new."""
    net = odenets.ODENet([block(0), block(1)], "heun")
    net(data())
    new = block(2, passes=2)
    replace_layer(net, new)
    before = _statistics(net, "1_0_1")["running_mean"].clone()
    other = odenets.swap_scheme(net, "rk4")
    assert torch.equal(_statistics(other, "0_0_1")["running_mean"], new[1].running_mean)
    assert torch.equal(_statistics(other, "1_0_1")["running_mean"], before)


def test_conversion_of_a_whole_network():
    """torchdiffeq 87: SyncBatchNorm in place of each BatchNorm, as torch converts them, has the statistics of each."""
    x, net = data(2), odenets.ODENet([block(0), nn.BatchNorm1d(3).double()], "heun")
    for seed in range(3):
        net(data(seed))
    before = net.eval()(x)
    statistics = {key: value.clone() for key, value in net.state_dict().items()}
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    # As a model is moved after it: other tensors, the same modules.
    converted = copy.deepcopy(converted.float()).double()
    assert sum(isinstance(m, nn.SyncBatchNorm) for m in converted.modules()) == 4
    torch.testing.assert_close(converted(x), before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(converted.state_dict(), statistics, rtol=1e-6, atol=1e-6)
    assert len(converted.field.statistics) == 2


@pytest.mark.parametrize("order", [["replace", "convert"], ["convert", "replace"], ["replace", "move", "convert"]])
def test_conversion_of_a_network_with_another_block(order):
    """torchdiffeq 87: both at once, with no pass in between: statistics of the block that is there, not of the last."""
    x, new, net = data(2), block(2, passes=3), odenets.ODENet([block(0), block(1)], "heun")
    for seed in range(3):
        net(data(seed))
    expected = odenets.ODENet([copy.deepcopy(new), copy.deepcopy(net.field.layers[1])], "heun").eval()
    expected.field.statistics["1_0_1"].load_state_dict(net.field.statistics["1_0_1"].state_dict())
    for what in order:
        if what == "replace":
            net.field.layers[0] = new
        elif what == "convert":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        else:
            net = copy.deepcopy(net)
    torch.testing.assert_close(net.eval()(x), expected(x), rtol=1e-13, atol=1e-13)


def test_copies_of_a_network_with_another_block():
    """torchdiffeq 87: an averaged model has a buffer for each of the network's, those of the new block among them."""
    x, net = data(2), odenets.ODENet([block(0, norm=False), block(1)], "heun")
    replace_layer(net, block(2, passes=3))
    average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    average.update_parameters(net)
    torch.testing.assert_close(average.eval()(x), net.eval()(x), rtol=1e-13, atol=1e-13)
    # A first pass in inference mode makes statistics that can be trained.
    replace_layer(net, block(3))
    with torch.inference_mode():
        net(x)
    net.train()(x).sum().backward()


def test_scripted_blocks_have_no_statistics_of_stages():
    """torchdiffeq 87: a scripted BatchNorm is none of torch's classes; later stages used the first one's statistics."""
    with warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.script(block(0))
    with pytest.raises(odenets.FieldError, match="scripted BatchNorm"):
        odenets.ODENet([scripted], "heun")
    net, x = odenets.ODENet([scripted], "euler"), data()
    torch.testing.assert_close(net.eval()(x), x + scripted(x))


@pytest.mark.parametrize("scheme", ["euler", "lm", "heun"])
def test_replicas_of_data_parallel(scheme):
    """torchdiffeq 87: made as torch.nn.parallel.replicate makes them, which puts copies in the places of all parts."""
    net = odenets.ODENet([block(0), block(1)], scheme)
    net(data())
    net.eval()
    modules = list(net.modules())
    for _ in range(2):
        copies = {module: module._replicate_for_data_parallel() for module in modules}
        for module, replica in copies.items():
            for name, child in module._modules.items():
                setattr(replica, name, copies[child])
            for name, value in [*module._parameters.items(), *module._buffers.items()]:
                setattr(replica, name, None if value is None else value.clone())
        assert torch.equal(copies[net](data(2)), net(data(2)))


def test_blocks_wrapped_for_several_machines():
    """torchdiffeq 87: FullyShardedDataParallel around each block, which it puts in the block's place; no other part."""
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    os.environ.setdefault("MASTER_ADDR", "localhost")
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        x, net = data(2), odenets.ODENet([block(0), block(1)], "heun")
        net(data())
        before = net.eval()(x)
        whole = fsdp.FullyShardedDataParallel(
            net,
            auto_wrap_policy=ModuleWrapPolicy({nn.Sequential}),
            sharding_strategy=fsdp.ShardingStrategy.NO_SHARD,  # all that there is for one process
            device_id=torch.device("cpu"),
        )
        assert torch.equal(whole(x), before)
        assert isinstance(net.field.layers[0], fsdp.FullyShardedDataParallel)
        with pytest.raises(odenets.FieldError, match="may wrap blocks, by their type, or the network"):
            fsdp.FullyShardedDataParallel(
                odenets.ODENet([block(0), block(1)], "euler"),
                auto_wrap_policy=ModuleWrapPolicy({type(net.field)}),
                sharding_strategy=fsdp.ShardingStrategy.NO_SHARD,
                device_id=torch.device("cpu"),
            )
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("scheme", "gradient"),
    [("rk4", "checkpoint"), ("leapfrog", "reversible"), ("implicit_midpoint", "direct"), ("gauss2", "checkpoint")],
)
def test_block_that_is_put_in_between_the_passes(scheme, gradient):
    """torchdiffeq 166: the gradient is that of the block which the forward pass has called."""
    net, x = odenets.ODENet([block(n, norm=False) for n in range(3)], scheme, h=0.3, gradient=gradient), data()
    x.requires_grad_()
    (expected,) = torch.autograd.grad(net(x).square().sum(), x)
    loss, new = net(x).square().sum(), block(7, norm=False)
    net.field.layers[1] = new
    (found,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert net.field.layers[1] is new
