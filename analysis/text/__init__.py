"""What is printed: numbers, polynomials and tables as text, and the terminal that they go to."""
