"""What runs that were measured say about others: few and unlike ones little, many and alike ones much."""

import math
import random

import numpy as np
import pytest

from llmspec.catalog.calibration import Prior, priors
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.likeness import NORMAL_80, Evidence, Features, Learned, distance
from llmspec.estimate.memory import corrected
from tests.accuracy.__main__ import frozen
from tests.accuracy.calibration import TOLERANCE, _learned, _posterior, catalog_text, clusters, outcomes, overall, repeated
from tests.accuracy.rows import read_rows

PRIOR = Prior(cluster=0.1, similar=0.7, own=0.2, length=4.0, repeat=0.02)


def run(doublings: float, *, kind: float = 0.0) -> Features:
    return Features((doublings, 3.0), (kind,), ("torch",))


def test_the_shares_of_the_catalog_are_shares() -> None:
    for prior in priors()[:3]:
        assert isinstance(prior, Prior)
        assert prior.cluster + prior.similar + prior.own == pytest.approx(1.0)
        assert min(prior) > 0


def test_nothing_seen_changes_nothing() -> None:
    found = Learned(PRIOR, []).posterior(SCALARS, run(0.0), 0.1)
    assert (found.mean, found.spread) == (0, 1.0)


def test_the_same_run_again_is_taken_at_its_word_and_others_the_less_the_more_they_differ() -> None:
    learned = Learned(PRIOR, [Evidence(run(0.0), 1.0, 0.1)])
    same, near, far, other_kind = (learned.posterior(SCALARS, one, 0.1) for one in (run(0.0), run(1.0), run(6.0), run(0.0, kind=1.0)))
    assert same.mean == pytest.approx(1.0 / 1.01) and same.spread == pytest.approx(math.sqrt(1 - 1 / 1.01 + 0.01))
    assert same.mean > near.mean == other_kind.mean > far.mean > 0
    assert same.spread < near.spread == other_kind.spread < far.spread < 1
    assert far.mean > PRIOR.cluster / 1.01  # what all of a cluster share is left however unlike they are


def test_noise_moves_less_and_leaves_a_wider_interval() -> None:
    sure, unsure = (Learned(PRIOR, [Evidence(run(0.0), 1.0, noise)]).posterior(SCALARS, run(0.0), 0.1) for noise in (0.1, 1.0))
    assert unsure.mean == pytest.approx(0.5) and sure.mean > unsure.mean and sure.spread < unsure.spread


def test_more_runs_narrow_and_repeated_ones_hardly() -> None:
    spreads = [
        Learned(PRIOR, [Evidence(run(2.0 * n), 0.5, 0.1) for n in range(1, count + 1)]).posterior(SCALARS, run(0.0), 0.1).spread
        for count in (1, 2, 4, 8)
    ]
    assert spreads == sorted(spreads, reverse=True) and len(set(spreads)) == 4
    repeated_runs = Learned(PRIOR, [Evidence(run(2.0), 0.5, 0.1)] * 8).posterior(SCALARS, run(0.0), 0.1)
    assert spreads[1] < repeated_runs.spread < spreads[0]


def test_runs_of_one_configuration_that_disagree_are_less_certain() -> None:
    agree, differ = (Learned(PRIOR, [Evidence(run(0.0), e, 0.1) for e in errors]) for errors in ((0.5, 0.5), (0.0, 1.0)))
    assert agree.evidence[0].noise == pytest.approx(0.1 / math.sqrt(2)) and differ.evidence[0].noise == pytest.approx(0.5)
    assert differ.posterior(SCALARS, run(0.0), 0.1).spread > agree.posterior(SCALARS, run(0.0), 0.1).spread


def test_an_outlier_moves_others_less_than_in_proportion() -> None:
    usual, outlier = (Learned(PRIOR, [Evidence(run(0.0), error, 0.1)]).posterior(SCALARS, run(1.0), 0.1) for error in (1.0, 10.0))
    assert outlier.mean < 3 * usual.mean
    itself = Learned(PRIOR, [Evidence(run(0.0), 10.0, 0.1)]).posterior(SCALARS, run(0.0), 0.1)
    assert itself.mean == pytest.approx(10.0, rel=0.01)


def test_interval_holds_what_it_promises_when_the_prior_is_true() -> None:
    """Errors drawn from the prior itself: 80% of the held-out ones lie inside the posterior's interval, and the mean helps."""
    generator, draw = random.Random(5), np.random.default_rng(5)
    inside, plain, left = 0, 0.0, 0.0
    for _ in range(400):
        features = [run(generator.uniform(0, 6)) for _ in range(4)]
        apart = np.array([[float(distance(a, b)) for b in features] for a in features])
        covariance = PRIOR.cluster + PRIOR.similar * np.exp(-apart / PRIOR.length) + np.eye(4) * (PRIOR.own + 0.01)
        errors = draw.multivariate_normal(np.zeros(4), covariance)
        found = Learned(PRIOR, [Evidence(f, float(e), 0.1) for f, e in zip(features[:3], errors[:3], strict=True)])
        said = found.posterior(SCALARS, features[3], 0.1)
        inside += abs(errors[3] - said.mean) <= NORMAL_80 * said.spread
        plain, left = plain + errors[3] ** 2, left + (errors[3] - said.mean) ** 2
    assert 0.74 < inside / 400 < 0.86
    assert left < 0.8 * plain


def test_numbers_and_columns_give_the_same() -> None:
    learned = Learned(PRIOR, [Evidence(run(0.0), 0.7, 0.1), Evidence(run(3.0, kind=1.0), -0.4, 0.3)])
    doublings, kinds = np.array([0.0, 1.0, 3.0, 5.0]), np.array([0.0, 0.0, 1.0, 0.0])
    column = learned.posterior(np, Features((doublings, 3.0), (kinds,), ("torch",)), 0.1)
    for index, (size, kind) in enumerate(zip(doublings, kinds, strict=True)):
        alone = learned.posterior(SCALARS, run(float(size), kind=float(kind)), 0.1)
        assert (alone.mean, alone.spread) == pytest.approx((column.mean[index], column.spread[index]))


def test_memory_that_is_counted_exactly_stays() -> None:
    parts = {"parameters": 400, "optimizer": 200, "activations": 300, "framework": 80, "fragmentation": 20}
    process = corrected(parts, 1.1, whole=True)
    assert sum(process.values()) == 1100 and (process["parameters"], process["optimizer"]) == (400, 200)
    allocated = corrected(parts, 0.9, whole=False)
    assert allocated == parts | {"activations": 210}
    assert corrected(parts, 0.1, whole=False)["activations"] == 30


# The measured rows ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured_clusters():
    rows = [row for row in read_rows() if row.excluded is None and row.seconds]
    return clusters(rows, np.array([row.seconds for row in rows]), *frozen(rows))


def test_the_score_computes_what_llmspec_does(measured_clusters) -> None:
    for cluster in measured_clusters[::4]:
        order = np.random.default_rng(2).permutation(len(cluster.rows))
        learned, asked = order[: len(order) // 2][:25], order[len(order) // 2 :][:25]
        for mine, theirs in zip(_posterior(cluster, PRIOR, learned, asked), _learned(cluster, PRIOR, learned, asked), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-9), cluster.name


def test_calibration_helps_and_harms_no_held_out_half(measured_clusters) -> None:
    """With the catalog's constants, which have seen these rows; `make accuracy CALIBRATION=1` does it without that (a slow test too)."""
    lines, _ = outcomes(measured_clusters, priors().step)
    mean = overall(lines)
    assert len(lines) >= 20
    assert mean.error > mean.errors[0] > mean.errors[1] > mean.errors[2] > mean.errors[3] and mean.errors[3] < 0.75 * mean.error
    for line in lines:
        assert line.harm <= TOLERANCE, line.name
    assert all(0.75 < inside < 0.95 for inside in mean.insides)


def test_the_catalog_is_as_the_score_writes_it(measured_clusters) -> None:
    text = catalog_text(priors().step, measured_clusters, priors().memory, measured_clusters[:1])
    import yaml

    written = yaml.safe_load(text)
    assert [Prior(**written[name]) for name in ("step", "memory", "goodput")] == list(priors()[:3])
    assert 0.005 <= repeated(measured_clusters) < 0.05


@pytest.mark.slow
def test_calibration_helps_sources_that_nothing_has_seen() -> None:
    """Constants, interval and prior by fits to the other sources; half of a minute and more."""
    from tests.accuracy.__main__ import leave_one_out
    from tests.accuracy.memory import leave_one_out_memory

    everything = [row for row in read_rows() if row.excluded is None]
    rows, held = [row for row in everything if row.seconds], [row for row in everything if row.memory_gib]
    steps, _ = outcomes(clusters(rows, np.array([row.seconds for row in rows]), *leave_one_out(rows)))
    memories, _ = outcomes(clusters(held, *leave_one_out_memory(held)))
    for lines in (steps, memories):
        mean = overall(lines)
        assert mean.errors[0] < mean.error and mean.errors[-1] < 0.8 * mean.error
        for line in lines:
            assert line.harm <= TOLERANCE, line.name
