"""Several models as one: what comes out is their traces merged, for any packets."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import (
    EnergyEngine,
    Outcome,
    Pushes,
    arrivals,
    assert_same,
    assert_same_detections,
    assert_same_picks,
    channels_of,
    cut,
    fake_model,
    fake_spec,
    in_time_order,
    joined,
    run,
    three_components,
    with_gaps,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.combining import SEMBLANCE_ORDER
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models import Ensemble, Model, Normalisation, combine
from ml_prediction.models.ensemble import Rule

RULES: tuple[Rule, ...] = ("max", "mean", "semblance")


class Dull(EnergyEngine):
    """Sees the same, later and less."""

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.roll(super().__call__(batch), 7, axis=-1) ** np.float32(1.5)


def dull_model(**changes: Any) -> Model:
    """Longer windows, other strides, no Detection."""
    values: dict[str, Any] = {
        "name": "Dull",
        "in_samples": 300,
        "stride": 140,
        "stacking": "max",
        "blinding": (20, 30),
    }
    spec = fake_spec(**(values | changes))
    return Model(spec, Dull(spec.components))


def without_detections(model: Model) -> Model:
    spec = model.spec
    engine = model.engine

    class Some:
        def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            return np.ascontiguousarray(engine(batch)[:, 1:])

    fewer = {label: spec.thresholds[label] for label in ("P", "S")}
    return Model(replace(spec, labels=("P", "S"), thresholds=fewer), Some())


def members() -> list[Model]:
    return [fake_model(), without_detections(dull_model())]


def gappy(seed: int) -> list[Packet]:
    rng = np.random.default_rng(seed)
    whole = three_components(rng, 60.0)
    return with_gaps(whole, rng) if seed % 3 else whole


def by_hand(
    rule: Rule, members: list[npt.NDArray[np.float64]], half: int
) -> npt.NDArray[np.float64]:
    """The rules on whole traces, shape (sample,) each, sample by sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nobody has a number
        stack = np.array(members)
        if rule == "max":
            return np.asarray(np.nanmax(stack, axis=0))
        if rule == "mean":
            return np.asarray(np.nanmean(stack, axis=0))
        known = ~np.isnan(stack)
        above = np.nansum(stack, axis=0) ** 2
        below = known.sum(axis=0) * np.nansum(stack**2, axis=0)
        kernel = np.ones(2 * half + 1)
        above = np.convolve(above, kernel, mode="same")
        below = np.convolve(below, kernel, mode="same")
        coherence = np.where(below > 1e-30, above / below, 0.0)
        return np.asarray(np.nanmax(stack, axis=0) * coherence**SEMBLANCE_ORDER)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_traces_are_the_members_traces_merged(rule: Rule, seed: int) -> None:
    packets = gappy(seed)
    pushes, options = [packets], {"expected": channels_of(packets)}
    found = run(combine(members(), rule), pushes, **options)
    times, values = joined(found.fragments)["XX.ABC..HH"]
    place = {int(time): number for number, time in enumerate(times)}
    dense = []
    for model in members():
        its_times, its_values = joined(run(model, pushes, **options).fragments)["XX.ABC..HH"]
        full = np.full((3, int(times[-1] - times[0]) // 10_000_000 + 1), np.nan)
        at = (its_times - times[0]) // 10_000_000
        full[3 - len(its_values) :, at] = its_values
        dense.append(full)
    at = (times - times[0]) // 10_000_000
    assert len(place) == len(times)
    for row in range(3):
        having = [full[row] for full in dense if row or full is dense[0]]
        expected = by_hand(rule, having, 25)[at]
        np.testing.assert_allclose(values[row], expected, rtol=0, atol=1e-6, equal_nan=True)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    rule=st.sampled_from(RULES),
    longest=st.sampled_from([30, 300, 3000]),
    horizon=st.booleans(),
)
def test_picks_do_not_depend_on_packets(seed: int, rule: Rule, longest: int, horizon: bool) -> None:
    rng = np.random.default_rng(seed)
    packets = gappy(seed)
    options: dict[str, Any] = {"expected": channels_of(packets)}
    ensemble = combine(members(), rule)
    if horizon:
        options |= {"stride": 50, "horizon": 1.5}
    whole = run(ensemble, [packets], **options)
    pieces = arrivals(cut(packets, rng, longest=longest), rng)
    assert_same(whole, run(ensemble, pieces, **options))
    assert len(whole.picks) > 5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("queue", [None, 1000])
def test_a_snapshot_in_the_midst_changes_nothing(rule: Rule, queue: int | None) -> None:
    packets = gappy(1)
    pushes = in_time_order(packets, 1.0)
    options: dict[str, Any] = {"expected": channels_of(packets)}
    ensemble = combine(members(), rule)
    whole = run(ensemble, pushes, **options)
    pipeline, outcome = Pipeline(ensemble, queue=queue, **options), Outcome()
    for number, push in enumerate(pushes):
        outcome.add(pipeline.push(push))
        outcome.add(pipeline.work())
        if number % 17 == 5:
            other = Pipeline(ensemble, queue=queue, **options)
            other.restore(pipeline.snapshot())
            pipeline = other
    outcome.add(pipeline.flush())
    assert_same(whole, outcome)


def test_picks_name_the_members_that_agree_and_are_those_of_one_model() -> None:
    pushes = [three_components(np.random.default_rng(3), 60.0)]
    deaf = replace(fake_spec(name="Deaf"), thresholds={"P": 0.999, "S": 0.999})
    found = run(combine([fake_model(), Model(deaf, Dull())], "mean"), pushes)
    assert found.picks
    assert {pick.model_id for pick in found.picks} == {"mean(Energy+Deaf):none+none"}
    assert {pick.members for pick in found.picks} == {("Energy:none",)}
    both = run(combine([fake_model(), dull_model()], "mean"), pushes)
    assert ("Energy:none", "Dull:none") in {pick.members for pick in both.picks}


def test_picks_belong_to_the_detections_of_the_combination() -> None:
    pushes = [three_components(np.random.default_rng(4), 60.0)]
    found = run(combine(members(), "mean"), pushes)
    ids = {pick.id for pick in found.picks}
    assert found.detections
    assert {each for d in found.detections for each in d.pick_ids} <= ids
    assert any(d.pick_ids for d in found.detections)


def test_models_that_want_the_same_windows_share_them() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(6), 30.0), 1.0)
    twin = Model(fake_spec(weights="other"), Dull())
    models = [fake_model(), twin, dull_model()]
    pipeline = Pipeline(models)
    assert [len(family.members) for family in pipeline._families] == [2, 1]
    shared, alone = Outcome(), Outcome()
    for push in pushes:
        shared.add(pipeline.push(push))
    shared.add(pipeline.flush())
    for model in models:
        each = run(model, pushes)
        alone.picks += each.picks
        alone.detections += each.detections
    assert_same_picks(shared.picks, alone.picks)
    assert_same_detections(shared.detections, alone.detections)


def test_ensembles_and_models_side_by_side_are_each_what_they_are_alone() -> None:
    packets = gappy(1)
    pushes = in_time_order(packets, 1.0)
    options: dict[str, Any] = {"expected": channels_of(packets)}
    everything: list[Model | Ensemble] = [
        dull_model(),
        combine([fake_model(), dull_model()], "mean"),
        combine([dull_model(), fake_model()], "semblance"),
    ]
    together = run(everything, pushes, **options)
    alone = [pick for each in everything for pick in run(each, pushes, **options).picks]
    assert_same_picks(together.picks, alone)


def test_long_gaps_cost_no_memory_and_are_passed_over() -> None:
    first = three_components(np.random.default_rng(7), 30.0)
    later = [replace(p, start_ns=p.start_ns + 400 * 86_400 * 10**9) for p in first]
    pushes: Pushes = [first, later]
    found = run(combine(members(), "semblance"), pushes)
    assert sum(fragment.values.shape[1] for fragment in found.fragments) < 20_000
    half = len(found.picks) // 2
    assert half
    assert [p.phase for p in found.picks[:half]] == [p.phase for p in found.picks[half:]]


def test_nothing_grows_with_time() -> None:
    pipeline = Pipeline(combine(members(), "semblance"), stride=50, horizon=1.5)
    sizes = []
    for push in in_time_order(three_components(np.random.default_rng(8), 200.0), 1.0):
        pipeline.push(push)
        (finder,) = pipeline._finders
        assert finder.combiner is not None
        for track in finder.combiner._tracks.values():
            sizes.append(sum(chunk.values.size for each in track.chunks for chunk in each))
    assert max(sizes[100:]) <= max(sizes[:100])


@pytest.mark.parametrize(
    ("models", "options", "told"),
    [
        ([fake_model()], {}, "two models or more"),
        ([fake_model(), fake_model()], {}, "Energy:none is a member twice"),
        ([fake_model(), dull_model(sampling_rate=50.0)], {}, "at 50 and 100 Hz"),
        ([fake_model(), dull_model()], {"shares": (1.0, 2.0, 3.0)}, "3 shares for 2 models"),
        ([fake_model(), dull_model()], {"shares": (1.0, -2.0)}, "above 0"),
        ([fake_model(), dull_model()], {"rule": "max", "shares": (1.0, 2.0)}, "not for max"),
        ([fake_model(), dull_model()], {"rule": "median"}, "known are max, mean, semblance"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    models: list[Model], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        combine(models, **{"rule": "mean", **options})


def test_shares_weigh_the_mean() -> None:
    pushes = [three_components(np.random.default_rng(9), 30.0)]
    one = joined(run(fake_model(), pushes).fragments)["XX.ABC..HH"][1]
    other = joined(run(dull_model(blinding=(0, 0)), pushes).fragments)["XX.ABC..HH"][1]
    models = [fake_model(), dull_model(blinding=(0, 0))]
    found = joined(run(combine(models, "mean", shares=(3.0, 1.0)), pushes).fragments)["XX.ABC..HH"]
    np.testing.assert_allclose(found[1], 0.75 * one + 0.25 * other, rtol=0, atol=1e-6)


def test_the_spec_of_an_ensemble_says_what_is_in_it() -> None:
    models = [fake_model(), dull_model(normalisation=Normalisation("peak"))]
    specs = [combine(models, rule).spec for rule in RULES]
    assert [spec.id for spec in specs] == [f"{rule}(Energy+Dull):none+none" for rule in RULES]
    assert specs[0].labels == ("Detection", "P", "S")
    hashes = {spec.weights_sha256 for spec in (*specs, *(model.spec for model in models))}
    assert len(hashes) == 4  # the fake models have the same one


def test_shares_are_part_of_what_an_ensemble_is() -> None:
    models = [fake_model(), dull_model()]
    plain, equal, uneven, doubled, other = (
        combine(models, "mean", shares=shares).spec.weights_sha256
        for shares in (None, (3.0, 3.0), (2.0, 1.0), (4.0, 2.0), (1.0, 2.0))
    )
    assert plain == equal
    assert uneven == doubled
    assert len({plain, uneven, other}) == 3


def test_a_snapshot_of_another_rule_or_of_other_shares_is_a_data_error() -> None:
    models = [fake_model(), dull_model()]
    ensembles = [combine(models, rule) for rule in RULES]
    ensembles.append(combine(models, "mean", shares=(2.0, 1.0)))
    for one in ensembles:
        snapshot = Pipeline(one).snapshot()
        Pipeline(one).restore(snapshot)
        for other in ensembles:
            if other is not one:
                with pytest.raises(DataError, match="other settings or weights"):
                    Pipeline(other).restore(snapshot)
