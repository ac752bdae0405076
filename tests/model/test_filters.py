"""The definition of learned filters: potentials, operators with symmetric extension, bounds of their eigenvalues."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import correlate, correlate1d

from support.banks import random_bank, with_parities
from tvdenoise.model.filters import (
    FilterBank,
    FilterObjective,
    FilterPrior,
    Potentials,
    cosine_atoms,
    filter_operators,
    parity_part,
)  # fmt: skip

#: Images of odd shapes, some with sides smaller than a filter.
SHAPES = [(1, 1), (1, 6), (2, 3), (5, 5), (9, 11), (3, 17)]


def _prior(channels=1, side=7, level=0.3):
    return FilterPrior(random_bank(5, channels, side, members=2), level)


@pytest.fixture
def potentials():
    rng = np.random.default_rng(0)
    inner = rng.uniform(0.02, 0.5, 40)
    return Potentials(
        rng.uniform(0.1, 2, 40), inner, rng.uniform(0, 1, 40), inner * rng.uniform(1.01, 40, 40)
    )


def test_slope_and_bend_are_the_derivatives_of_a_potential(potentials):
    t, h = np.random.default_rng(1).normal(size=(40, 50)), 1e-5
    slope = (potentials.value(t + h) - potentials.value(t - h)) / (2 * h)
    assert np.allclose(t * potentials.ratio(t), slope, rtol=1e-6, atol=1e-8)
    ratio_slope = (potentials.ratio(t + h) - potentials.ratio(t - h)) / (2 * h)
    assert np.allclose(t * potentials.ratio_slope(t), ratio_slope, rtol=1e-4, atol=1e-5)
    ahead, behind = ((t + s) * potentials.ratio(t + s) for s in (h, -h))
    bend = (ahead - behind) / (2 * h)
    assert np.allclose(potentials.bend(t), bend, rtol=1e-4, atol=1e-5)


def test_a_potential_is_zero_at_zero_and_grows(potentials):
    t = np.tile(np.linspace(0, 100, 2001), (40, 1))
    assert (potentials.value(t)[:, 0] == 0).all()
    assert (np.diff(potentials.value(t)) > 0).all()


def test_curvature_and_concavity_are_the_extremes_of_the_second_derivative(potentials):
    t = np.concatenate([[0], np.geomspace(1e-4, 1e3, 20000)])
    bends = potentials.bend(np.tile(t, (40, 1)))
    assert np.allclose(potentials.curvature, bends.max(axis=1), rtol=1e-12)
    least = np.maximum(-bends.min(axis=1), 0)
    assert (potentials.concavity >= least).all()
    assert np.allclose(potentials.concavity, least, rtol=1e-5, atol=1e-12)
    assert (potentials.concavity < potentials.scale * potentials.share / potentials.outer).all()


def test_convex_potentials_have_no_concavity():
    convex = Potentials(*(np.array([value]) for value in (1.0, 0.1, 0.0, 2.0)))
    nearly = replace(convex, share=np.array([0.1**2 / 2.0**2]))
    assert convex.concavity == nearly.concavity == 0
    assert replace(convex, share=np.array([0.01])).concavity > 0


@pytest.mark.parametrize(
    "wrong", [{"share": 1.0}, {"share": -0.1}, {"outer": 0.1}, {"inner": 0.0}, {"scale": np.inf}]
)
def test_potentials_out_of_range_are_refused(wrong):
    values = {"scale": 1.0, "inner": 0.1, "share": 0.5, "outer": 1.0} | wrong
    with pytest.raises(ValueError, match=r"potentials|share"):
        Potentials(**{name: np.array([value]) for name, value in values.items()})


@pytest.mark.parametrize("shape", [(4, 5), (9, 8)])
def test_an_operator_correlates_the_symmetrically_extended_image(shape):
    filters = with_parities(np.random.default_rng(0).standard_normal((3, 1, 1, 7, 7)))[:, 0, 0]
    x = np.random.default_rng(1).random(shape)
    for operator, one in zip(filter_operators(filters, shape), filters, strict=True):
        expected = correlate(x, one, mode="reflect")
        assert np.allclose((operator @ x.ravel()).reshape(shape), expected, rtol=0, atol=1e-13)


def test_constant_images_have_no_responses():
    prior = _prior(channels=3)
    x = np.multiply.outer([0.2, -1.0, 7.0], np.ones((6, 9)))
    assert prior.value(x) < 1e-12
    assert np.abs(prior.gradient(x)).max() < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_and_the_hessian_are_derivatives(shape):
    rng = np.random.default_rng(1)
    objective = FilterObjective(rng.random((2, *shape)), _prior(channels=2, side=5))
    x, d, h = rng.random((2, *shape)), rng.standard_normal((2, *shape)), 1e-6
    value = (objective.value(x + h * d) - objective.value(x - h * d)) / (2 * h)
    assert np.vdot(objective.gradient(x), d) == pytest.approx(value, rel=1e-6, abs=1e-8)
    gradient = (objective.gradient(x + h * d) - objective.gradient(x - h * d)) / (2 * h)
    product = objective.hessian_product(x, d)
    assert np.linalg.norm(product - gradient) <= 1e-6 * np.linalg.norm(product)


def test_the_hessian_is_symmetric_and_at_least_one_less_rho():
    rng = np.random.default_rng(2)
    objective = FilterObjective(rng.random((1, 5, 7)), _prior())
    hessian = np.stack(
        [objective.hessian_product(objective.noisy, unit.reshape(1, 5, 7)).ravel() for unit in np.eye(35)]
    )
    assert np.allclose(hessian, hessian.T, rtol=0, atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert objective.convexity <= eigenvalues[0]
    assert eigenvalues[-1] <= objective.lipschitz


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("count", "side", "coarse"),
    [(5, 7, False), (1, 5, False), (4, 3, False), (3, 9, False), (3, 5, True), (2, 3, True)],
)
def test_the_bound_of_the_eigenvalue_holds_on_every_shape_and_is_close(channels, count, side, coarse):
    bank = random_bank(count, channels, side, coarse=coarse, members=2)
    weights = np.random.default_rng(side).random(count)
    bound = bank.largest_eigenvalue(weights)
    ratios = []
    for shape in SHAPES:
        for channel in range(channels):
            operators = filter_operators(np.concatenate(bank.on_image[:, :, channel]), shape)
            total = sum(
                weight * (operator.T @ operator)
                for weight, operator in zip(np.repeat(weights, 2), operators, strict=True)
            )
            ratios.append(np.linalg.eigvalsh(total.toarray())[-1] / bound)
    assert 0.5 < max(ratios) <= 1


def test_the_maximum_of_a_symbol_between_frequencies_is_found():
    """A cosine whose frequency lies between those of the grid."""
    frequency = 2 * np.pi * 40.5 / 256
    row = np.cos(frequency * np.arange(-3, 4))
    one = np.tile(row, (7, 1)) * np.cos(np.pi * np.arange(-3, 4))[:, None]
    one -= one.mean()
    potentials = Potentials(*(np.array([value]) for value in (1.0, 0.1, 0.5, 2.0)))
    bank = FilterBank(one[None, None, None], potentials)
    true = np.abs(np.fft.rfft2(one, s=(4096, 4096))).max() ** 2
    assert true <= bank.largest_eigenvalue(np.ones(1)) <= 1.01 * true


def test_derivatives_of_the_bound_are_differences():
    rng = np.random.default_rng(3)
    for channels, coarse in ((1, False), (3, False), (1, True)):
        bank = random_bank(6, channels, coarse=coarse, members=2)
        weights, h = rng.random(6), 1e-6
        value, by_weight, by_filters = bank.eigenvalue_slopes(weights)
        assert value == pytest.approx(bank.largest_eigenvalue(weights), rel=1e-12)
        d = rng.standard_normal(6)
        difference = bank.largest_eigenvalue(weights + h * d) - bank.largest_eigenvalue(weights - h * d)
        assert by_weight @ d == pytest.approx(difference / (2 * h), rel=1e-5)
        change = with_parities(rng.standard_normal(bank.filters.shape))
        ahead, behind = (replace(bank, filters=bank.filters + s * change) for s in (h, -h))
        difference = ahead.largest_eigenvalue(weights) - behind.largest_eigenvalue(weights)
        assert np.vdot(by_filters, change) == pytest.approx(difference / (2 * h), rel=1e-5)


def test_a_filter_of_scale_2_sees_every_second_pixel_of_the_smoothed_image():
    bank = random_bank(2, coarse=True)
    x = np.random.default_rng(1).random((20, 24))
    smooth = correlate1d(
        correlate1d(x, [0.25, 0.5, 0.25], axis=0, mode="reflect"), [0.25, 0.5, 0.25], mode="reflect"
    )
    dilated = np.zeros((13, 13))
    dilated[::2, ::2] = bank.filters[1, 0, 0]
    response = filter_operators(bank.on_image[:, 0, 0], (20, 24))[1] @ x.ravel()
    assert np.allclose(
        response.reshape(x.shape), correlate(smooth, dilated, mode="reflect"), rtol=0, atol=1e-12
    )
    fine = filter_operators(bank.on_image[:, 0, 0], (20, 24))[0] @ x.ravel()
    assert np.allclose(
        fine.reshape(x.shape), correlate(x, bank.filters[0, 0, 0], mode="reflect"), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("channels", "coarse"), [(1, False), (2, True), (3, False)])
def test_the_real_symbols_are_the_transforms_but_for_their_phase(channels, coarse):
    bank = random_bank(5, channels, coarse=coarse, members=2)
    transforms = np.fft.fft2(bank.on_image, s=(256, 256))[..., :129, :129]
    assert np.allclose(bank.symbols**2, np.abs(transforms) ** 2, rtol=0, atol=1e-10)


def test_filters_that_do_not_sum_to_zero_or_have_no_parity_are_refused():
    bank = random_bank(2)
    with pytest.raises(ValueError, match="sum to zero"):
        replace(bank, filters=bank.filters + 0.01)
    with pytest.raises(ValueError, match="neither even nor odd"):
        replace(bank, filters=bank.filters + np.roll(bank.filters, 1, axis=-1))
    with pytest.raises(ValueError, match="one potential"):
        replace(bank, filters=bank.filters[:0])
    with pytest.raises(ValueError, match="side odd"):
        FilterBank(np.zeros((2, 1, 1, 4, 4)), bank.potentials)
    with pytest.raises(ValueError, match="not finite"):
        replace(bank, filters=bank.filters * np.nan)


def test_the_cosine_atoms_are_orthonormal_sum_to_zero_and_have_the_parity_of_their_indices():
    atoms = cosine_atoms(5, 7)
    flat = atoms.reshape(24, 49)
    assert np.allclose(flat @ flat.T, np.eye(24), atol=1e-12)
    assert np.abs(flat.sum(axis=1)).max() < 1e-12
    for k, atom in enumerate(atoms, start=1):
        u, v = divmod(k, 5)
        parity = (-1) ** u, (-1) ** v
        assert np.allclose(parity_part(atom, parity), atom, atol=1e-12)


def test_the_level_scales_the_problem():
    bank, x = random_bank(4), np.random.default_rng(4).random((1, 8, 9))
    one, other = FilterPrior(bank, 1.0), FilterPrior(bank, 0.1)
    assert other.value(0.1 * x) == pytest.approx(0.01 * one.value(x))
    assert np.allclose(other.gradient(0.1 * x), 0.1 * one.gradient(x), rtol=1e-12)
    assert (one.lipschitz, one.concavity) == (other.lipschitz, other.concavity)
