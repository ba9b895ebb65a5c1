"""Loops over samples, compiled by Numba: NumPy needs a call, and a pass over memory, for each step.

Each module stands alone: Numba's cache on disk does not notice a change in another one's functions.
"""
