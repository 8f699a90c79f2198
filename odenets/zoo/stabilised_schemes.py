"""Stabilised explicit schemes for mildly stiff problems, one of each family; :data:`odenets.rk_families` has all."""

from ..scheme.rk_families import rkc2, rock4

SCHEMES = [rkc2(6), rock4(8)]
