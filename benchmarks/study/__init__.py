"""Depth against accuracy: studies, files that name runs to be trained, resumed and reported."""
