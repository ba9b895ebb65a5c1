"""What a message is, and who sent it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Logo(NamedTuple):
    """Message type, module and installation, each 0 to 255; 0 stands for any of them."""

    type: int
    module: int
    installation: int

    def matches(self, wanted: Logo) -> bool:
        """Whether this is one of those that are wanted."""
        return all(want in (0, have) for have, want in zip(self, wanted, strict=True))

    def matches_any(self, wanted: Iterable[Logo]) -> bool:
        """Whether this is one of those that are wanted by any of several."""
        return any(self.matches(each) for each in wanted)


EVERYTHING = Logo(0, 0, 0)
