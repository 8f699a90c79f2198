"""What a network says of itself, and warns of: starting steps alone, blocks that add their input themselves."""

import re
import warnings

import pytest
import torch
from helpers import residuals
from torch import nn

import odenets
from odenets import FieldError, ODENet, SchemeWarning, TimeField, analysis


@pytest.mark.parametrize(("scheme", "layers"), [("ab4", 2), ("ab4", 3), ("lm", 1), ("leapfrog", 1)])
def test_a_network_of_starting_steps_alone(scheme, layers):
    with pytest.warns(SchemeWarning, match=f"{scheme}: got {layers} layers, all of them starting steps"):
        net = ODENet(residuals(layers), scheme)
    x = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(net(x), ODENet(net.field.layers, "euler")(x))


@pytest.mark.parametrize(("scheme", "layers"), [("ab4", 4), ("lm", 2), ("rk4", 1), ("momentum", 1)])
def test_no_warning_where_the_scheme_acts(scheme, layers):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ODENet(residuals(layers), scheme)


def test_a_function_of_time_in_too_few_steps():
    with pytest.warns(SchemeWarning, match="ab3: got 2 layers"):
        ODENet(TimeField(lambda t, x: -x, 0, 1, 2), "ab3")


class BasicBlock(nn.Module):
    """As in torchvision."""

    def __init__(self, channels, shortcut="downsample"):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        setattr(self, shortcut, None)

    def forward(self, x):
        return torch.relu(x + self.conv1(x))


@pytest.mark.parametrize("name", ["downsample", "shortcut"])
def test_blocks_with_a_skip_connection(name):
    with pytest.warns(SchemeWarning, match=r"BasicBlock, which seems to add its input itself.*swap_scheme"):
        ODENet([BasicBlock(3, name), nn.Conv2d(3, 3, 1)], "euler")


def test_diagnose_of_a_plain_network_names_swap_scheme():
    with pytest.raises(FieldError, match="swap_scheme"):
        analysis.diagnose(nn.Sequential(BasicBlock(3)), torch.randn(1, 3, 4, 4))


def test_the_repr_shows_starting_steps_and_coefficients():
    net = ODENet(residuals(5), "lm")
    with torch.no_grad():
        for value, parameter in zip((-0.5, 0.25, 0.125, 0.0), net.coefficients.parameters(), strict=True):
            parameter.fill_(value)
    assert net.extra_repr() == "scheme=lm, steps=5, h=1, start=1 x 'lm started by euler', k in [-0.5, 0.25]"
    assert ODENet(residuals(5), "ab4").extra_repr().endswith("start=3 x 'ab4 started by euler'")
    assert ODENet(residuals(2), "rk4").extra_repr() == "scheme=rk4, steps=2, h=1"
    channels = odenets.models.cifar_resnet(14, "lm", per_channel=True)
    assert re.search(r"k in \[-0\.\d+, -0\.\d+\]", repr(channels.stage1))
