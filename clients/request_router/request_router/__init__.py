"""Routes a POS terminal's requests to mobile servers by the configuration that a Booster gives."""
