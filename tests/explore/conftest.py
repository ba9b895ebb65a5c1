"""The earthquake that bundles are made of."""

from __future__ import annotations
