"""Depth against accuracy: trains grids of depth x scheme x seed and reports them."""
