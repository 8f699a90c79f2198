"""What all benchmarks share: errors, files that are whole or absent, the machine they ran on."""
