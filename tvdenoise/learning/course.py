"""The steps of learning: Adam, the schedule, validation, and the state to continue from."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np

from tvdenoise.learning.patch_error import PatchError, engine_for, minimise, patch_error
from tvdenoise.learning.weights import Terms, Weights
from tvdenoise.model.filter_engine import Kernels
from tvdenoise.model.filters import ByBank, FilterObjective, FilterPrior

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from tvdenoise.learning.patches import Patches, Sampler
    from tvdenoise.model.filters import FilterBank


_T = TypeVar("_T")

_FORMAT = "tvdenoise course 2"

#: Adam's factors for the averages of the slopes and of their squares, and the least size of a slope.
_MEAN, _SQUARE, _LEAST = 0.9, 0.99, 1e-12


@dataclass(frozen=True)
class Schedule:
    """How to learn.

    steps: the length of the schedule. patches: in a batch. rate, filter_rate, gate_rate: Adam's step length at first,
    for the potentials, the filters and the gate. warm_up: the steps over which it rises.
    tolerance: rms(∇J) of the solves. accuracy: relative residual of the conjugate gradients.
    """

    steps: int
    patches: int = 8
    rate: float = 0.02
    filter_rate: float = 0.01
    gate_rate: float = 0.01
    warm_up: int = 30
    tolerance: float = 0.006
    accuracy: float = 0.05

    def rate_of(self, name: str) -> float:
        """The full step length of some of the `Weights`."""
        if name == "filters":
            return self.filter_rate
        return self.gate_rate if name.startswith("gate") else self.rate

    def part(self, step: int) -> float:
        """The part of the full step length at a step: a short rise, then half a cosine down to a hundredth."""
        fall = 0.01 + 0.99 * (1 + np.cos(np.pi * step / self.steps)) / 2
        return float(min(1.0, (step + 1) / self.warm_up) * fall)


@dataclass
class StepReport:
    """The mean squared error of a step's patches over the variance of the noise, and the mean number of evaluations."""

    error: float
    evaluations: float


class CourseState(NamedTuple):
    """What learning continues from: the number of steps taken, the weights, Adam's means of slopes and squares."""

    step: int
    weights: Weights
    mean: Weights
    square: Weights

    @classmethod
    def start(cls, weights: Weights) -> CourseState:
        """Return the state before the first step."""
        zero = Weights(*(np.zeros_like(one) for one in weights))
        return cls(0, weights, zero, zero)

    def to_bytes(self, key: str) -> bytes:
        """Return the content of its file, from which it is read back bit for bit. key: names the course."""
        content: dict[str, Any] = {"format": _FORMAT, "key": key, "step": self.step}
        for kind, weights in zip(self._fields[1:], self[1:], strict=True):
            content[kind] = {name: array.tolist() for name, array in weights._asdict().items()}
        return json.dumps(content).encode()

    @classmethod
    def from_bytes(cls, content: bytes, key: str, like: Weights) -> CourseState:
        """Read the content of a file. Raises ValueError unless it is a state of this course with such weights."""
        try:
            entries = json.loads(content)
            if entries["format"] != _FORMAT or entries["key"] != key or type(entries["step"]) is not int:
                raise ValueError("it is the state of another course")
            if entries["step"] < 0:
                raise ValueError("it is damaged")
            weights, mean, square = (
                Weights(**{name: np.array(entries[kind][name], float) for name in Weights._fields})
                for kind in cls._fields[1:]
            )
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError("it is damaged") from error
        for found in (weights, mean, square):
            for one, other in zip(found, like, strict=True):
                if one.size != other.size or not np.isfinite(one).all():
                    raise ValueError("it is damaged")
        shaped = (
            Weights(*(one.reshape(other.shape) for one, other in zip(found, like, strict=True)))
            for found in (weights, mean, square)
        )
        return cls(entries["step"], *shaped)


@dataclass(eq=False)
class Course:
    """A state, and the steps that change it. Batches and noise follow from the sampler's seed and the step."""

    terms: Terms
    schedule: Schedule
    sampler: Sampler
    state: CourseState
    threads: int = 1

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    @property
    def bank(self) -> FilterBank:
        """The bank as it is now."""
        return self.terms.bank(self.state.weights)

    def advance(self) -> StepReport:
        """Take one step of Adam (Kingma and Ba, ICLR 2015)."""
        step, weights, *averages = self.state
        slope, report = self.slope(self.sampler.draw(step, self.schedule.patches))
        part = self.schedule.part(step)
        step += 1
        moved, means, squares = [], [], []
        for name, one, mean, square, by_one in zip(weights._fields, weights, *averages, slope, strict=True):
            means.append(_MEAN * mean + (1 - _MEAN) * by_one)
            squares.append(_SQUARE * square + (1 - _SQUARE) * by_one**2)
            size = np.sqrt(squares[-1] / (1 - _SQUARE**step)) + _LEAST
            rate = part * self.schedule.rate_of(name)
            moved.append(one - rate * means[-1] / (1 - _MEAN**step) / size)
        self.state = CourseState(step, Weights(*moved), Weights(*means), Weights(*squares))
        return report

    def slope(self, patches: Patches) -> tuple[Weights, StepReport]:
        """Return the derivative of the error of a batch by the weights.

        The error is the mean of the squared errors over the noise level, not over the variance, which gives each level
        about the same weight in decibels.
        """
        objectives, kernels = self._objectives(patches)
        weights = patches.levels / patches.levels.sum()

        def error(index: int) -> PatchError:
            objective, clean = objectives[index], patches.clean[index]
            return patch_error(objective, clean, kernels, self.schedule.tolerance, self.schedule.accuracy)

        errors = list(self._map(error, range(len(weights))))
        parts = (one.by_bank.times(weight) for weight, one in zip(weights.tolist(), errors, strict=True))
        by_bank = reduce(ByBank.plus, parts)
        report = StepReport(
            float(weights @ [one.error for one in errors]),
            float(np.mean([one.evaluations for one in errors])),
        )
        return self.terms.by_weights(self.state.weights, by_bank), report

    def errors(self, patches: Patches, tolerance: float) -> NDArray[np.float64]:
        """Return the mean squared error of each patch, in units of the noise's variance."""
        objectives, kernels = self._objectives(patches)

        def error(index: int) -> float:
            with engine_for(objectives[index], kernels) as engine:
                minimise(engine, tolerance)
                return float(np.mean((engine.iterate - patches.clean[index]).astype(float) ** 2))

        return np.array(list(self._map(error, range(len(objectives)))))

    def _objectives(self, patches: Patches) -> tuple[list[FilterObjective], Kernels]:
        """Return the objective of each patch, and the kernels that they share."""
        prior = FilterPrior(self.bank, 1.0)
        _ = prior.lipschitz, prior.concavity, prior.bank.convolutions  # once, before threads ask for them
        kernels = Kernels(prior.bank, 1.0, patches.noisy.dtype)
        return [FilterObjective(noisy, prior) for noisy in patches.noisy], kernels

    def _map(self, function: Callable[[int], _T], indices: Iterable[int]) -> Iterable[_T]:
        return map(function, indices) if self._pool is None else self._pool.map(function, indices)
