"""Memory and time of the ways to a gradient."""
