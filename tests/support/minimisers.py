"""Minimisers of J found by an independent method."""

import numpy as np
from scipy.optimize import minimize


def independent_minimiser(objective):
    """Minimise J with scipy's L-BFGS in double precision; return the minimiser and a bound of its rms error."""
    shape = objective.noisy.shape

    def value_and_gradient(flat):
        x = flat.reshape(shape)
        return objective.value(x), objective.gradient(x).ravel()

    flat = objective.noisy.ravel()
    for _ in range(50):
        flat = minimize(
            value_and_gradient, flat, jac=True, method="L-BFGS-B",
            options={"ftol": 0, "gtol": 0, "maxiter": 2000, "maxfun": 4000, "maxcor": 30},
        ).x  # fmt: skip
        gradient = objective.gradient(flat.reshape(shape))
        bound = objective.distance_bound(np.vdot(gradient, gradient))
        if bound < 1e-6:
            return flat.reshape(shape), bound
    raise AssertionError(f"L-BFGS stopped at {bound}")
