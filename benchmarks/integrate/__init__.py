"""Adaptive steps beside torchdiffeq's and scipy's: ``odenets bench integrate``."""
