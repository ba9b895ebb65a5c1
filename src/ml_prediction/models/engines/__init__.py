"""Inference engines: torch, the reference for any model, and OpenVINO, compiled, for some."""
