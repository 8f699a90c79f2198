"""odenets: residual networks as numerical schemes for differential equations."""

import lazy_loader

# Names are loaded when they are asked for: the command line, and analyses, that need no torch, start without.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
