"""Who is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from ml_prediction.benchmark.plan import known_names

_HERE: Final = "ml_prediction.benchmark.contenders"


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contender, as it is announced.

    Attributes
    ----------
    key
        Name on the command line.
    title
        For people.
    factory
        ``module:function`` that makes it from a Setup.
    batch
        Windows in a forward pass: a number, the best of a sweep, or its own choice.
    engine
        Of ours.
    reference
        Its picks may be what the others' are compared with.
    essential
        It is measured even where that takes longer than a contender is given.
    by_default
        Whether it is measured if nobody is named.
    """

    key: str
    title: str
    factory: str
    batch: int | Literal["best"] | None = None
    engine: str = "auto"
    reference: bool = False
    essential: bool = False
    by_default: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether it is this package."""
        return self.factory.startswith(f"{_HERE}.ours:")


ANNOTATE: Final = Entrant(
    "seisbench-annotate",
    "SeisBench annotate, best batch",
    f"{_HERE}.seisbench:build_annotate",
    "best",
    reference=True,
)
"""The one that finds the best batch size."""

ENTRANTS: Final = (
    Entrant("ours", "ml_prediction", f"{_HERE}.ours:build", essential=True),
    Entrant(
        "ours-torch", "ml_prediction, torch", f"{_HERE}.ours:build", None, "torch", by_default=False
    ),
    ANNOTATE,
    Entrant(
        "seisbench-classify",
        "SeisBench classify, best batch",
        f"{_HERE}.seisbench:build_classify",
        "best",
        reference=True,
        essential=True,
    ),
    Entrant(
        "seisbench-default",
        "SeisBench classify, as it comes",
        f"{_HERE}.seisbench:build_classify",
        256,
        reference=True,
    ),
    Entrant("slipstream", "RAPID slipstream, float32", f"{_HERE}.slipstream:build", "best"),
    Entrant("loop", "loop over windows", f"{_HERE}.loop:build", 1),
)

FLOOR: Final = Entrant("floor", "matrix products", f"{_HERE}.floor:build")


def select_entrants(keys: Iterable[str]) -> tuple[Entrant, ...]:
    """Contenders by name, in the order of `ENTRANTS`; those by default if none is named.

    Raises
    ------
    ConfigurationError
        If one is not known.
    """
    given = tuple(keys) or tuple(e.key for e in ENTRANTS if e.by_default)
    wanted = known_names(given, [entrant.key for entrant in ENTRANTS], "contender")
    return tuple(entrant for entrant in ENTRANTS if entrant.key in wanted)
