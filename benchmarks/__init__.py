"""Benchmarks: depth against accuracy, and our own speed and memory. Each has a claim and prints what it measured."""

if __name__ == "benchmarks":
    raise ImportError("benchmarks: got the folder of a checkout as a package, expected: from odenets import benchmarks")
