"""A pre-activation ResNet for small images (He et al. 2016b), as users write it: plain modules with x + f(x)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """relu, convolution and batch norm twice; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inside), nn.BatchNorm2d(outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        change = stride > 1 or inside != outside
        self.shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False) if change else None

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        y = functional.relu(self.norm1(x))
        f = self.conv2(functional.relu(self.norm2(self.conv1(y))))
        return x + f if self.shortcut is None else self.shortcut(y) + f


class PlainResNet(nn.Module):
    """Three stages of ``(depth - 2)/6`` blocks each, at full, half and quarter resolution."""

    def __init__(self, depth: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, WIDTHS[0], 3, 1, 1, bias=False)
        blocks: list[nn.Module] = []
        inside = WIDTHS[0]
        for stage, outside in enumerate(WIDTHS):
            for n in range((depth - 2) // 6):
                blocks.append(Block(inside, outside, 2 if stage and not n else 1))
                inside = outside
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.head = nn.BatchNorm2d(inside), nn.Linear(inside, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> (B, classes)."""
        x = functional.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(x.mean((2, 3)))


def resnet20(num_classes: int = 10, in_channels: int = 3, depth: int = 20) -> PlainResNet:
    """ResNet-20, or of another depth 6n + 2."""
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth: got {depth}, expected 6n + 2, 8 or more")
    return PlainResNet(depth, num_classes, in_channels)
