"""Stores of every kind, through the same fixture."""

from store_urls import make_url, url

__all__ = ["make_url", "url"]
