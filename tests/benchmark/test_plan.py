"""The amounts of data fit whole windows of models as they are."""

from __future__ import annotations

import pytest

from ml_prediction.benchmark.plan import (
    MODELS,
    QUICK,
    WORKLOADS,
    ModelPlan,
    Workload,
    select_models,
    select_workloads,
    whole_windows,
    windows_in,
)
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model


def test_lengths_are_whole_windows() -> None:
    assert whole_windows(60_000, 6000, 3000) == 60_000
    assert whole_windows(60_000, 3001, 1500) == 58_501
    assert whole_windows(5999, 6000, 3000) == 0
    assert windows_in(60_000, 6000, 3000) == 19
    assert windows_in(6000, 6000, 3000) == 1
    assert windows_in(5999, 6000, 3000) == 0


@pytest.mark.parametrize("model", MODELS, ids=lambda plan: str(plan.name))
def test_a_lone_window_has_no_neighbours_that_ours_would_use(model: ModelPlan) -> None:
    overlap = model.window - model.lone_stride
    assert 0 <= overlap < 0.2 * model.window
    assert model.lone_stride <= model.window - sum(model.blinding)
    assert windows_in(model.window, model.window, model.lone_stride) == 1


@pytest.mark.parametrize("workload", [*WORKLOADS, *QUICK], ids=lambda item: str(item.key))
@pytest.mark.parametrize("model", MODELS, ids=lambda plan: str(plan.name))
def test_workloads_end_with_a_window(model: ModelPlan, workload: Workload) -> None:
    samples = 0 if workload.is_real else workload.samples_for(model)
    assert workload.is_real or (samples - model.window) % workload.stride_for(model) == 0
    assert workload.is_real or samples >= model.window


def check_plan(model: Model) -> None:
    (plan,) = select_models([model.spec.name])
    spec = model.spec
    assert (plan.window, plan.stride) == (spec.in_samples, spec.stride)
    assert (plan.stacking, plan.blinding) == (spec.stacking, spec.blinding)
    assert dict(plan.thresholds) == {phase: spec.thresholds[phase] for phase in ("P", "S")}


def test_the_plan_is_that_of_eqtransformer(eqt: Model) -> None:
    check_plan(eqt)


def test_the_plan_is_that_of_phasenet(phasenet: Model) -> None:
    check_plan(phasenet)


def test_names_are_checked() -> None:
    assert select_models([]) == MODELS
    assert [item.key for item in select_workloads(["day", "small"], quick=False)] == [
        "small",
        "day",
    ]
    assert select_workloads(["day"], quick=True)[0].seconds < 3600
    with pytest.raises(ConfigurationError, match=r"Unknown model Tea; known are: EQTransformer"):
        select_models(["Tea"])
    with pytest.raises(ConfigurationError, match="Unknown workload year; known are: small"):
        select_workloads(["year"], quick=False)
