"""Networks assembled from residual functions and schemes."""

from .cifar import cifar_resnet

__all__ = ["cifar_resnet"]
