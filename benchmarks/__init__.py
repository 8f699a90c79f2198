"""Benchmarks: depth against accuracy, and our own speed and memory. Each has a claim and prints what it measured."""
