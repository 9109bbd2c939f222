"""The Booster Agent: starts and supervises a mobile server, reports its state and keeps it up to date."""

VERSION = "0.1.0"
