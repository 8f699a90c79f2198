"""B-series: the equation a scheme really solves, as a sum over rooted trees."""
