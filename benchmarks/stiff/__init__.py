"""Adaptive implicit steps beside scipy's Radau and BDF: ``odenets bench stiff``."""
