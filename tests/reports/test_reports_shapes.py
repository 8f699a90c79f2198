"""Batches without samples, what follows a network and writes in place, parameters without a dimension."""

import pytest
import torch
import torch.distributed
from torch import nn

import odenets

WAYS = [
    ("rk4", "checkpoint"),
    ("leapfrog", "reversible"),
    ("lm", "reversible"),
    ("implicit_midpoint", "direct"),
    ("radau_iia2", "checkpoint"),
]


def network(scheme, gradient, width=3, more=()):
    torch.manual_seed(0)
    fs = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(4)]
    return nn.Sequential(odenets.ODENet(fs, scheme, h=0.3, gradient=gradient), *more)


@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (0, 2, 3), (2, 0, 3), (3,)])
def test_batches_of_few_samples(scheme, gradient, shape):
    """pytorch 71629 and 130187: batches of none, of one, of samples of no elements. Right is what the layers give."""
    net, x = network(scheme, gradient), torch.ones(shape, requires_grad=True)
    found = torch.autograd.grad(net(x).sum(), [x, *net.parameters()], allow_unused=True)
    assert net(x).shape == shape
    assert [None if g is None else g.shape for g in found] == [p.shape for p in [x, *net.parameters()]]
    if not x.numel():
        assert not any(g.any() for g in found)


def test_adjoint_of_an_empty_batch():
    """Pytorch 71629: gradient="adjoint"."""
    f = nn.Linear(3, 3)

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = f

        def forward(self, t, x):
            return self.f(x)

    net = odenets.ODENet(odenets.TimeField(Field(), 0.0, 1.0, 4), "rk4", gradient="adjoint")
    x = torch.ones(0, 3, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.shape == (0, 3)
    assert torch.equal(f.weight.grad, torch.zeros(3, 3))


class Product(nn.Module):
    def forward(self, x):
        return x.mul_(2)


AFTER = {
    "relu": lambda: nn.ReLU(inplace=True),
    "dropout": lambda: nn.Dropout(0.0, inplace=True),
    "product": Product,
}


@pytest.mark.parametrize(("scheme", "gradient"), [*WAYS, ("pece2", "direct"), ("momentum", "reversible")])
@pytest.mark.parametrize("after", AFTER)
def test_operation_in_place_after_a_network(scheme, gradient, after):
    """torchdiffeq 72, memcnn 70: nn.ReLU(inplace=True) right after a network. Right: what a copy before it gives."""
    found = []
    for before in ((), (nn.Identity(),)):
        net, x = network(scheme, gradient, more=[AFTER[after]()]), torch.ones(2, 3, requires_grad=True)
        y = net(x) if not before else net[1](net[0](x).clone())
        found.append(torch.autograd.grad(y.square().sum(), [x, *net.parameters()]))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_coefficients_with_a_dimension():
    """Pytorch 132934: FSDP takes no parameter without a dimension; coefficient_shape=(1,) has one, for every state."""
    torch.manual_seed(0)
    fs = [nn.Linear(3, 3) for _ in range(3)]
    old = odenets.ODENet(fs, "lm")
    new = odenets.ODENet([nn.Linear(3, 3) for _ in range(3)], "lm", coefficient_shape=(1,))
    assert {tuple(p.shape) for name, p in new.named_parameters() if "coefficients" in name} == {(1,)}
    new.load_state_dict(old.state_dict())
    for shape in [(2, 3), (3,), (2, 4, 3)]:
        assert torch.equal(new(torch.ones(shape)), old(torch.ones(shape)))
    saved = new.state_dict()
    with torch.no_grad():
        old.coefficients.k_1.zero_()
    old.load_state_dict(saved)
    assert torch.equal(old.coefficients.k_1, new.coefficients.k_1.reshape(()))


def test_fully_sharded(tmp_path):
    """Pytorch 132934: fully_shard of a network with learnable coefficients."""
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard") or not torch.distributed.is_available():
        pytest.skip("this torch has no fully_shard")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        shapes = (), (1,)
        nets = [odenets.ODENet([nn.Linear(3, 3) for _ in range(3)], "lm", coefficient_shape=s) for s in shapes]
        nets[1].load_state_dict(nets[0].state_dict())
        fsdp.fully_shard(nets[1], mesh=mesh)
        for net in nets:
            net(torch.ones(2, 3)).sum().backward()
        right, found = (net.coefficients.k_1.grad for net in nets)
        torch.testing.assert_close(found.full_tensor().reshape(()), right)
        for options in ({"scheme": "rk4", "gradient": "checkpoint"}, {"scheme": "implicit_midpoint"}):
            net = odenets.ODENet([nn.Linear(3, 3), nn.Linear(3, 3)], **options)
            for part in (*net.field.layers, net):
                fsdp.fully_shard(part, mesh=mesh)
            with pytest.raises(odenets.OdenetsError, match="fully_shard the network as a whole"):
                net(torch.ones(2, 3))
    finally:
        torch.distributed.destroy_process_group()
