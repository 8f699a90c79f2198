"""Test errors on CIFAR that others have published, to stand beside a study's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..config import RunConfig
from .cells import Cell

#: Epochs of the paper's recipe (its section 3): on CIFAR-10, on CIFAR-100, and with stochastic depth.
EPOCHS = {"cifar10": 160, "cifar100": 300}
STOCHASTIC_EPOCHS = 500
PAPER = "paper"
REPRODUCTION = "reproduction"
SOURCES = {
    PAPER: "Y. Lu, A. Zhong, Q. Li, B. Dong, Beyond Finite Layer Neural Networks, ICML 2018 (arXiv 1710.10121)",
    REPRODUCTION: "an independent reproduction of LM-ResNet, 1 seed, from its logs",
}


@dataclass(frozen=True)
class Published:
    """One number that somebody has published.

    Attributes:
        source: a key of SOURCES.
        config: the run that it would be here, of seed 0.
        error: test error in %; of the last epoch in the reproduction, of an epoch unknown to us in the paper.
        best: of the best epoch, where it is told.
        parameters: of the network, where they are told.
        checked: whether it was compared with the publication; else it is as quoted by others.
    """

    source: str
    config: RunConfig
    error: float
    best: float | None = None
    parameters: int | None = None
    checked: bool = True

    @property
    def origin(self) -> str:
        """The source, and whether the number was checked."""
        return self.source + ("" if self.checked else " (second hand)")


def _run(data: str, depth: int, scheme: str, network: str = "cifar_resnet", survival: float = 1.0) -> RunConfig:
    epochs = EPOCHS[data] if survival == 1 else STOCHASTIC_EPOCHS
    return RunConfig(data, depth, scheme, 0, epochs, network=network, survival=survival)


#: Depth, survival of the last layer -> error of ResNet (not checked) and of LM-ResNet in the paper; of the reproduction
#: of LM-ResNet after the last and at the best epoch, and its parameters.
CIFAR10 = {
    (20, 1.0): (8.75, 8.33, 8.00, 8.00, 273_475),
    (32, 1.0): (7.51, 7.18, 7.96, 7.76, 467_913),
    (44, 1.0): (7.17, 6.66, 7.21, 7.10, 662_351),
    (56, 1.0): (6.97, 6.31, 6.85, 6.74, 856_789),
    (110, 1.0): (6.61, 6.16, 6.43, 6.27, 1_731_760),
    (164, 1.0): (5.46, 5.27, 5.61, 5.50, 1_703_760),
    (56, 0.8): (5.66, 5.14, 5.60, 5.27, 856_789),
    (110, 0.5): (5.25, 4.80, 4.88, 4.80, 1_731_760),
}
#: Depth, network -> error of the network under euler and under lm; none of them checked.
CIFAR100 = {
    (110, "cifar_resnet"): (27.76, 25.87),
    (164, "cifar_resnet"): (24.33, 22.90),
    (29, "cifar_resnext_8x64d"): (17.77, 17.49),
    (29, "cifar_resnext_16x64d"): (17.31, 16.79),
}


def _all() -> Iterable[Published]:
    for (depth, survival), (resnet, lm, last, best, parameters) in CIFAR10.items():
        euler_run, lm_run = (_run("cifar10", depth, scheme, survival=survival) for scheme in ("euler", "lm"))
        yield Published(PAPER, euler_run, resnet, checked=False)
        yield Published(PAPER, lm_run, lm)
        yield Published(REPRODUCTION, lm_run, last, best, parameters)
    for (depth, network), errors in CIFAR100.items():
        for scheme, error in zip(("euler", "lm"), errors, strict=True):
            yield Published(PAPER, _run("cifar100", depth, scheme, network), error, checked=False)


def beside(table: Iterable[Cell]) -> list[Published]:
    """What is published of the networks in a table: of equal data, network, depth and survival."""
    own = {_network(cell.config) for cell in table}
    return [one for one in _all() if _network(one.config) in own]


def _network(config: RunConfig) -> tuple[object, ...]:
    return config.data, config.network, config.depth, config.survival
