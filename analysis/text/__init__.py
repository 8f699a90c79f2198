"""Numbers, polynomials and tables as text."""
