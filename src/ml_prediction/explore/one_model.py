"""Picks of one model: several models pick the same arrivals, and would count against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import pandas as pd

from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.arrivals import Arrivals

_FEWEST_DIGITS: Final = 6  # of a checksum that stands for a model


class Maker(NamedTuple):
    """Whose picks they are; texts are empty where the file doesn't say."""

    model: str
    weights: str
    weights_sha256: str

    @property
    def id(self) -> str:
        """Architecture and weights, as users write them; else the weights' checksum."""
        named = ":".join(part for part in (self.model, self.weights) if part)
        return named or f"weights_sha256 {self.weights_sha256[:12]}"

    def is_called(self, name: str) -> bool:
        """Whether a user may mean it: ``NAME``, ``NAME:WEIGHTS``, a rule, or the checksum."""
        rule = self.model.partition("(")[0]  # semblance(EQTransformer+PhaseNet)
        by_checksum = len(name) >= _FEWEST_DIGITS and self.weights_sha256.startswith(name)
        return name in {self.id, self.model, rule} or by_checksum


def makers(picks: Arrivals) -> list[Maker]:
    """Models that have made picks; who made the others is not known."""
    columns = (picks.table[name] for name in Maker._fields)
    found = {Maker(*texts) for texts in zip(*columns, strict=True)}
    return sorted(found - {Maker("", "", "")})


def of_one_model(picks: Arrivals, wanted: str | None = None) -> Arrivals:
    """Picks of one model; those of others are counted as not judged.

    Parameters
    ----------
    picks
        Of any number of models.
    wanted
        ``NAME``, ``NAME:WEIGHTS``, the rule of an ensemble, or the beginning of the weights'
        checksum; None: the only one.

    Raises
    ------
    ConfigurationError
        If none has this name, or several have.
    """
    known = makers(picks)
    if wanted is None:
        if len(known) > 1:
            raise ConfigurationError(
                f"{picks.path} has picks of {len(known)} models ({_listed(known)}), which would "
                f"count as false beside each other: choose one with --model {_hint(known)}."
            )
        return picks
    chosen = [maker for maker in known if maker.is_called(wanted.strip())]
    if not chosen:
        has = f"has picks of {_listed(known)}" if known else "doesn't say whose its picks are"
        what = "name one of these" if known else "leave --model out"
        raise ConfigurationError(f"--model {wanted}: {picks.path} {has}; {what}.")
    if len(chosen) > 1:
        raise ConfigurationError(
            f"--model {wanted}: {picks.path} has picks of {_listed(chosen)}; name one of these, "
            "by its weights or their checksum."
        )
    table = picks.table
    mine = pd.Series(True, index=table.index)
    for name, text in chosen[0]._asdict().items():
        mine &= table[name] == text
    skipped = {"of another model": int((~mine).sum())}
    return replace(
        picks,
        table=table[mine].reset_index(drop=True),
        not_judged={**picks.not_judged, **{k: n for k, n in skipped.items() if n}},
    )


def _listed(known: Sequence[Maker]) -> str:
    ids = [maker.id for maker in known]
    return ", ".join(
        f"{maker.id} ({maker.weights_sha256[:12]})" if ids.count(maker.id) > 1 else maker.id
        for maker in known
    )


def _hint(known: Sequence[Maker]) -> str:
    """What may stand after --model for the first, quoted for the shell where it must be."""
    first = known[0]
    same = [maker for maker in known if maker.id == first.id]
    text = first.id if first.model and len(same) == 1 else first.weights_sha256[:12]
    return f"'{text}'" if "(" in text else text
