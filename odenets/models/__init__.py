"""Networks assembled from residual functions and schemes."""

from .blocks import Antisymmetric, GatedRK2, Symmetric
from .cifar import cifar_resnet, cifar_resnext, hamiltonian_net, shake_shake
from .imagenet import imagenet_resnet

__all__ = [
    "Antisymmetric",
    "GatedRK2",
    "Symmetric",
    "cifar_resnet",
    "cifar_resnext",
    "hamiltonian_net",
    "imagenet_resnet",
    "shake_shake",
]
