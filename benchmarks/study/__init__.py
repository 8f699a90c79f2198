"""Depth against accuracy: grids of depth x scheme x seed, trained, resumed and reported."""
