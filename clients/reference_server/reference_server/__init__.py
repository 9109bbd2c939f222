"""A small mobile server to try terminals, agents and routing against."""
