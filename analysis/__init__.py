"""odenets.analysis: what a scheme, or a trained network, does. Free functions; drawing is in odenets.analysis.plot."""

if __name__ == "analysis":
    raise ImportError("analysis: got the folder of a checkout as a package, expected: from odenets import analysis")

import lazy_loader

# Loaded when asked for: what the names need (torch, scipy, matplotlib) is large, or not always installed.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
