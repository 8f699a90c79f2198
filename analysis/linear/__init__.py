"""Linear stability and accuracy: what a scheme does to u' = lambda u, and what follows from its polynomials."""
