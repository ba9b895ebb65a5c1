"""Earthworm: its rings, its messages, and running as one of its modules."""
