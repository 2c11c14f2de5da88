"""System call numbers, one module for each entry into the kernel."""
