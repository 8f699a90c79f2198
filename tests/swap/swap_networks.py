"""Small networks as people write them, with residual blocks of every kind, for the tests of swap_scheme."""

import torch
from torch import nn


class V1(nn.Module):
    """ResNet v1: the sum in place, an activation after it; a projection on the shortcut where the shape changes."""

    def __init__(self, inside, outside=None, norm=nn.BatchNorm2d):
        super().__init__()
        outside = outside or inside
        self.conv = nn.Conv2d(inside, outside, 3, padding=1, stride=1 if inside == outside else 2, bias=False)
        self.norm = norm(outside)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, stride=2)
        self.act = nn.ReLU(inplace=True)

    def branch(self, x):
        return self.norm(self.conv(x))

    def forward(self, x):
        identity = self.shortcut(x)
        out = self.branch(x)
        out += identity
        return self.act(out)


class ResNetV1(nn.Module):
    def __init__(self, width=4, layers=3):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.layer1 = nn.Sequential(*[V1(width) for _ in range(layers)])
        self.layer2 = nn.Sequential(V1(width, 2 * width), *[V1(2 * width) for _ in range(layers)])
        self.head = nn.Linear(2 * width, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(torch.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


class V2(nn.Module):
    """ResNet v2, pre-activation: nothing after the sum."""

    def __init__(self, width, p=0.0):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, width)
        self.drop = nn.Dropout(p)

    def branch(self, x):
        return self.drop(self.linear(torch.tanh(self.norm(x))))

    def forward(self, x):
        return torch.add(input=x, other=self.branch(x))


class Smooth(nn.Module):
    """x + tanh(W x), in a Sequential the plainest chain there is."""

    def __init__(self, width=6):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def branch(self, x):
        return torch.tanh(self.linear(x))

    def forward(self, x):
        return x + self.branch(x)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, mask=None):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        weights = (scores if mask is None else scores + mask).softmax(-1)
        return self.out(weights @ v), weights


class PreLN(nn.Module):
    """A transformer block of two sums; a mask as a keyword, a tuple as its output."""

    def __init__(self, width, tell=False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.tell = tell

    def first(self, x, mask=None):
        return self.attention(self.norm1(x), mask)[0]

    def second(self, x):
        return self.mlp(self.norm2(x))

    def forward(self, hidden, *, mask=None):
        residual = hidden
        hidden, weights = self.attention(self.norm1(hidden), mask=mask)
        hidden = hidden + residual
        hidden = hidden + self.mlp(self.norm2(hidden))
        return (hidden, weights if self.tell else None)


class Transformer(nn.Module):
    """A loop over blocks, as the libraries write it."""

    def __init__(self, width=6, layers=3, tell=False):
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.blocks = nn.ModuleList(PreLN(width, tell) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x, mask=None):
        x, seen = self.embed(x), []
        for block in self.blocks:
            x, weights = block(hidden=x, mask=mask)
            seen.append(weights)
        return self.norm(x), seen


class PostLN(nn.Module):
    """As in BERT: parameters after the sum."""

    def __init__(self, width=6):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x):
        return self.norm(x + torch.tanh(self.linear(x)))


class Add(nn.Module):
    """The sum in a module of its own, which is no block: its first argument is the branch."""

    def __init__(self, width=6):
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, hidden, residual):
        return self.dense(hidden) + residual


class Deep(nn.Module):
    """The block is the module whose input the sum takes, though the sum is made in one inside it."""

    def __init__(self, width=6):
        super().__init__()
        self.linear, self.add = nn.Linear(width, width), Add(width)

    def branch(self, x):
        return self.add.dense(torch.tanh(self.linear(x)))

    def forward(self, x):
        return self.add(torch.tanh(self.linear(x)), x)


class Statement(nn.Module):
    """A sum in place whose value nobody takes."""

    def __init__(self, width=6):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def branch(self, x):
        return self.linear(torch.tanh(x))

    def forward(self, x):
        out = self.branch(x)
        out.add_(x)
        return out


class Position(nn.Module):
    """Additions to the input that are no sums of the block, before the one that is: x + bias, x + 1, x + g(x)."""

    def __init__(self, width=6):
        super().__init__()
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.ones(width))

    def branch(self, x):
        return self.two(torch.tanh(x + self.one(torch.sin(x + self.bias + (x + 1)))))

    def forward(self, x):
        return x + self.branch(x)


class Outer(nn.Module):
    """A block around blocks."""

    def __init__(self, width=6):
        super().__init__()
        self.inner = nn.Sequential(Smooth(width), Smooth(width))
        self.scale = nn.Linear(width, width)

    def forward(self, x):
        return x + self.scale(self.inner(x))


def smooth_network(layers=5, width=6, dtype=torch.float64, block=Smooth, seed=0):
    """Linear, blocks, linear, smooth and in float64."""
    torch.manual_seed(seed)
    blocks = nn.Sequential(*[block(width) for _ in range(layers)])
    return nn.Sequential(nn.Linear(3, width), blocks, nn.Linear(width, 2)).to(dtype)


def randomise(model, seed=0):
    """Weights and BatchNorm statistics as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or name.endswith("norm.weight"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("running_mean") or name.endswith("norm.bias"):
            tensor.normal_(0, 0.2, generator=generator)
    return model
