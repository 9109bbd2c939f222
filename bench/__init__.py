"""Measurements: how loading and compiling grow with the chain, and what the edge costs."""
