"""Stores of every kind, through the same fixture."""

from store_urls import make_url, postgres, url

__all__ = ["make_url", "postgres", "url"]
