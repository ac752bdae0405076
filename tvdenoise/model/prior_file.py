"""Learned priors in files: the bank, what it was learned from, and the checks of what a file claims.

A prior file is JSON text. Numbers are written so that they are read back bit for bit. Nothing in a file is trusted: its
size, its shapes and ranges are checked before anything is computed, and ρ is computed from the filters and potentials.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.errors import PriorError
from tvdenoise.model.colour import RGB_CHANNELS
from tvdenoise.model.filters import FilterBank, FilterPrior, Potentials
from tvdenoise.model.gates import ByGate, Gate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


#: What the entries "format" and "version" say.
FORMAT, VERSION = "tvdenoise prior", 3
#: A file is refused if it is larger than so many bytes, or its bank larger than that.
MOST_BYTES = 1 << 23
_MOST_FILTERS, _MOST_CHANNELS, _MOST_SIDE = 512, 4, 15
_MOST_SOURCES = 100_000
#: ψ'' is a difference. Its rounding changes ρ by less than 32 u times the largest eigenvalue of Σ a/ε₁ KᵀK, so within
#: these limits 1 − ρ is right to 1e-5. What ``tvdenoise learn`` writes has ρ ≤ 0.99 and eigenvalues of about 1000.
_LARGEST_RHO, _LARGEST_CURVATURE = 0.999, 1e6
_REMEDY = "give a file written by tvdenoise learn"


@dataclass(frozen=True, eq=False)
class LearnedPrior:
    """A bank and its origin.

    levels: the least and the largest noise level it was learned for, in the unit of the clean images' range.
    learned_from: the names of the clean images. steps, seed: those of the course. name: by which it was asked for.
    in_colour: the prior that takes its place for images with red, green and blue, if there is one.
    """

    bank: FilterBank
    levels: tuple[float, float]
    learned_from: tuple[str, ...]
    steps: int
    seed: int
    name: str = ""
    in_colour: LearnedPrior | None = None

    def suiting(self, channels: int) -> LearnedPrior:
        """The prior for images of so many channels: itself, or the one in colour."""
        return self.in_colour if channels == RGB_CHANNELS and self.in_colour is not None else self

    def gate_values(self, channels: int) -> int:
        """The values per pixel that gates, and what they are made of, take in an image of so many channels."""
        bank = self.suiting(channels).bank
        return bank.gates_in(channels) + bank.gated_groups

    def __eq__(self, other: object) -> bool:
        """Priors are equal if they denoise alike."""
        return isinstance(other, LearnedPrior) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def rho(self) -> float:
        """The bound of the concavity, computed from the bank."""
        return FilterPrior(self.bank, 1.0).concavity

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name the banks: equal for priors that denoise alike."""
        bank = self.bank
        scales = np.array([bank.scale_of(k) for k in range(len(bank.filters))], float)
        parts = (bank.filters, scales, *_potentials(bank.potentials).values())
        if bank.gate is not None:
            parts += bank.gate.arrays
        digest = hashlib.sha256()
        for part in parts:
            digest.update(repr(part.shape).encode() + np.ascontiguousarray(part, "<f8").tobytes())
        if self.in_colour is not None:
            digest.update(self.in_colour.digest.encode())
        return digest.hexdigest()[:12]

    def to_bytes(self) -> bytes:
        """Return the content of its file."""
        bank = self.bank
        content = {
            "format": FORMAT,
            "version": VERSION,
            "rho": self.rho,
            "levels": list(self.levels),
            "steps": self.steps,
            "seed": self.seed,
            "learned_from": list(self.learned_from),
            "shape": [bank.members, bank.channels, 2 * bank.radius + 1],
            "scales": [bank.scale_of(k) for k in range(len(bank.filters))],
            "potentials": {name: one.tolist() for name, one in _potentials(bank.potentials).items()},
            "filters": bank.filters.tolist(),
            "gate": None
            if bank.gate is None
            else {name: one.tolist() for name, one in bank.gate.arrays._asdict().items()},
        }
        entries = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())
        return ("{\n" + ",\n".join(entries) + "\n}\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> LearnedPrior:
        """Read the content of a file. Raises PriorError unless it is a prior with ρ at most 0.999."""
        if len(content) > MOST_BYTES:
            raise PriorError(f"the prior has more than {MOST_BYTES >> 20} MiB", _REMEDY)
        try:
            entries = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise PriorError("the file is not a prior", _REMEDY) from error
        if not isinstance(entries, dict) or entries.get("format") != FORMAT:
            raise PriorError("the file is not a prior", _REMEDY)
        if entries.get("version") != VERSION:
            raise PriorError(
                f"the prior has the version {str(entries.get('version'))[:20]}, not {VERSION}",
                "use the version of tvdenoise that wrote it",
            )
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused
                return cls._of(entries)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise PriorError(f"the prior is damaged: {reason[:200]}", _REMEDY) from error

    @classmethod
    def _of(cls, entries: Mapping[str, Any]) -> LearnedPrior:
        """Raises ValueError, KeyError, TypeError and OverflowError."""
        members, channels, side = (_whole(one, "a shape") for one in entries["shape"])
        if not (1 <= channels <= _MOST_CHANNELS and 1 < side <= _MOST_SIDE):
            raise ValueError(f"filters of {channels} channels and side {side}")
        filters = _numbers(entries["filters"], 5)
        if filters.shape[1:] != (members, channels, side, side):
            raise ValueError("the filters do not have the shape that it names")
        if not 0 < members * len(filters) <= _MOST_FILTERS:
            raise ValueError(f"{len(filters)} groups of {members} filters")
        potentials = Potentials(**{name: _numbers(entries["potentials"][name], 1) for name in _FIELDS})
        scales = tuple(_whole(one, "a scale") for one in entries["scales"])
        prior = cls(
            FilterBank(filters, potentials, scales, _gate(entries["gate"])),
            _levels(entries["levels"]),
            _names(entries["learned_from"]),
            _whole(entries["steps"], "the number of steps"),
            _whole(entries["seed"], "the seed"),
        )
        if not prior.rho <= _LARGEST_RHO:
            raise ValueError(
                f"ρ is {prior.rho:.4g} and must be at most {_LARGEST_RHO}, for a single minimiser"
            )
        curvature = prior.bank.largest_eigenvalue(potentials.scale / potentials.inner)
        if not 0 < curvature <= _LARGEST_CURVATURE:
            raise ValueError(
                f"the hyperbolae have the curvature {curvature:.3g}, not up to {_LARGEST_CURVATURE:g}"
            )
        return prior


def read_prior(path: str | Path) -> LearnedPrior:
    """Read a file that ``tvdenoise learn`` wrote. Raises PriorError unless it is a prior with ρ at most 0.999."""
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PriorError(f"{path}: it cannot be read: {error.strerror or error}", _REMEDY) from error
    try:
        return replace(LearnedPrior.from_bytes(content), name=str(path))
    except PriorError as error:
        raise PriorError(f"{path}: {error.reason}", error.remedy) from error


#: The name of the filters whose gates know white noise only.
FOR_WHITE_NOISE = "gated"
#: The filters that come with the package, by their name: files for grey and for colour images.
SHIPPED = {
    "learned": ("photographs.prior", "colour_photographs.prior"),
    FOR_WHITE_NOISE: ("gated_photographs.prior", "gated_colour_photographs.prior"),
}


def prior_named(name: str) -> LearnedPrior:
    """Return a prior that comes with the package, or that of a file; raises as `read_prior`."""
    if name in SHIPPED:
        return _shipped(name)
    path = Path(name)
    try:
        status = path.stat()
    except OSError:
        return read_prior(path)  # which raises the error
    return _read_once(path, name, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=len(SHIPPED))
def _shipped(name: str) -> LearnedPrior:
    """Read filters that come with the package, for grey and for colour."""
    paths = (Path(__file__).with_name(file) for file in SHIPPED[name])
    grey, colour = (replace(read_prior(path), name=name) for path in paths)
    return replace(grey, in_colour=colour)


@lru_cache(maxsize=8)
def _read_once(path: Path, name: str, *_status: int) -> LearnedPrior:
    """Read a file that has this status, for all images of a stack or a folder."""
    return replace(read_prior(path), name=name)


_FIELDS = ("scale", "inner", "share", "outer")


def _potentials(potentials: Potentials) -> dict[str, NDArray[np.float64]]:
    return {name: getattr(potentials, name) for name in _FIELDS}


def _numbers(entry: Any, dimensions: int) -> NDArray[np.float64]:
    """Return nested lists of numbers as an array. Raises ValueError, TypeError and OverflowError."""
    if not isinstance(entry, list):
        raise TypeError("a list of numbers is missing")
    found = np.array(entry)  # ragged lists raise ValueError
    if found.dtype.kind not in "fiu" or found.ndim != dimensions:
        raise ValueError("a list of numbers has another shape or holds something else")
    return found.astype(np.float64)


def _gate(entry: Any) -> Gate | None:
    """Return the gate of a file, if it has one. Raises ValueError, KeyError, TypeError and OverflowError."""
    if entry is None:
        return None
    return Gate(**{name: _numbers(entry[name], 1 if name.endswith("bias") else 2) for name in ByGate._fields})


def _whole(entry: Any, name: str) -> int:
    if not isinstance(entry, int) or isinstance(entry, bool) or not 0 <= entry < 1 << 63:
        raise ValueError(f"{name} is not a whole number")
    return entry


def _levels(entry: Any) -> tuple[float, float]:
    low, high = (float(one) for one in entry)
    if not (0 < low <= high and math.isfinite(high)):
        raise ValueError("the noise levels are no range")
    return low, high


def _names(entry: Any) -> tuple[str, ...]:
    if (
        not isinstance(entry, list)
        or len(entry) > _MOST_SOURCES
        or not all(isinstance(e, str) for e in entry)
    ):
        raise ValueError("the names of the images are no list of names")
    return tuple(entry)
