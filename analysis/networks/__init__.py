"""Networks: their learned coefficients, layer by layer, their diagnosis, and the files they are saved in."""
