"""The equation a scheme really solves: B-series, modified equations and Hamiltonians, orbits, orders observed."""
