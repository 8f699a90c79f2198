"""Networks: their learned coefficients, layer by layer, and their diagnosis."""
