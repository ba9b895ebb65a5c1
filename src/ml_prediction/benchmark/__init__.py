"""Ours and its rivals on the same data, weights and threads, in the same run."""
