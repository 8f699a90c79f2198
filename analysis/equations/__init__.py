"""The equation a scheme really solves: B-series, modified equations and Hamiltonians, orbits, orders observed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["problems"])
