"""Options: the one record of how to denoise.

Each field is defined once, with its kind (type and range), its default and its help. Everything else follows from
these fields: the options of the command line and their help, the checks of the Python functions, printed commands, the
record in written files, the columns of reports, and the messages to workers. To add an option, add a field and the
code that uses it.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import operator
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from typing import Self
_GREY_LEVELS = 255
_DIGITS = 6  # significant digits of a number of grey levels in a printed command


@dataclass(frozen=True)
class Number:
    """A positive finite number from ``least`` to ``largest``.

    is_intensity: a fraction of the data range. asked_at_most: the largest value that the command line accepts, to
    catch 5 typed for 5/255. may_be_zero: 0 is also allowed.
    """

    least: float
    largest: float
    is_intensity: bool = False
    asked_at_most: float | None = None
    may_be_zero: bool = False

    def check(self, name: str, value: Any, shown: object = None) -> float:
        """The value as a float; shown: the value as messages quote it. Raises ValueError and TypeError."""
        shown = value if shown is None else shown
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if self.may_be_zero and number == 0:
            return 0.0
        if not (math.isfinite(number) and number > 0):
            least = "at least 0" if self.may_be_zero else "positive"
            raise ValueError(f"{name} must be {least} and finite, not {shown}")
        if not self.least <= number <= self.largest:
            raise ValueError(
                f"{name} must be at least {self.least:g} and at most {self.largest:g}, not {shown}"
            )
        return number

    def text(self, value: float) -> str:
        """The exact value as a word of the command line."""
        plain = repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
        levels = f"{value * _GREY_LEVELS:.{_DIGITS}g}"
        is_shorter = len(plain) > len(levels) + len(f"/{_GREY_LEVELS}")
        if self.is_intensity and is_shorter and float(levels) / _GREY_LEVELS == value:
            return f"{levels}/{_GREY_LEVELS}"
        return plain


@dataclass(frozen=True)
class Level:
    """A stored value: any finite number, negative ones too; may_be_special: also NaN and infinities."""

    may_be_special: bool = False

    def check(self, name: str, value: Any) -> float:
        """The value as a float. Raises ValueError and TypeError."""
        what = "a number, nan or inf" if self.may_be_special else "a finite number"
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise ValueError(f"{name} must be {what}, not {value!r}") from None
        if not (self.may_be_special or math.isfinite(number)):
            raise ValueError(f"{name} must be {what}, not {value!r}")
        return number

    def text(self, value: float) -> str:
        """The exact value as a word of the command line."""
        is_whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15
        return repr(int(value)) if is_whole else repr(value)


@dataclass(frozen=True)
class Count:
    """A whole number from 1 to ``largest``."""

    largest: int | None = None

    def check(self, name: str, value: Any) -> int:
        """The value as an int. Raises ValueError and TypeError."""
        count = operator.index(value)
        if count < 1:
            raise ValueError(f"{name} must be at least 1, not {value!r}")
        if self.largest is not None and count > self.largest:
            raise ValueError(f"{name} must be at most {self.largest}, not {value!r}")
        return count

    def text(self, value: int) -> str:
        return str(value)


@dataclass(frozen=True)
class Choice:
    """One of several names.

    other_names: aliases, and the name that each stands for. takes_model: in Python, a noise model is also accepted.
    """

    names: tuple[str, ...]
    other_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    takes_model: bool = False

    def check(self, name: str, value: Any) -> Any:
        """The name. Raises ValueError."""
        if self.takes_model and not isinstance(value, str) and hasattr(value, "channels"):
            return value
        value = self.other_names.get(value, value) if isinstance(value, str) else value
        if not (isinstance(value, str) and value in self.names):
            raise ValueError(f"{name} must be one of {', '.join(self.names)}, not {value!r}")
        return value

    def text(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class Prior:
    """Total variation, "tv"; filters of this package, "learned" or "gated"; those of a named file; or a prior."""

    def check(self, name: str, value: Any) -> Any:
        """The name, or the prior. Raises ValueError."""
        if isinstance(value, str) and value:
            return value
        if hasattr(value, "bank"):
            return value
        raise ValueError(f"{name} must be tv, learned, gated, or a prior file, not {value!r}")

    def text(self, value: Any) -> str:
        """A word for the command line: how the prior was named."""
        return value if isinstance(value, str) else str(value.name)

    def recorded(self, value: Any) -> str:
        """A word for records and reports: it names learned filters themselves, by a digest."""
        return value if isinstance(value, str) else f"learned-{value.digest}"


@dataclass(frozen=True)
class Flag:
    """On or off."""

    def check(self, _name: str, value: Any) -> bool:
        return bool(value)

    def text(self, value: bool) -> str:
        """A word for records and reports; on the command line a flag takes no value."""
        return "true" if value else "false"


@dataclass(frozen=True)
class Distances:
    """The distances of planes, rows and columns."""

    least: float
    largest: float

    def check(self, name: str, value: Any) -> tuple[float, ...]:
        """The distances as floats. Raises ValueError and TypeError."""
        number = Number(self.least, self.largest)
        return tuple(number.check(name, each) for each in value)

    def text(self, value: tuple[float, ...]) -> str:
        number = Number(self.least, self.largest)
        return ",".join(map(number.text, value))


@dataclass(frozen=True)
class Size:
    """A number of bytes from ``least`` to ``largest``."""

    least: int
    largest: int

    def check(self, name: str, value: Any) -> int:
        """The value as an int. Raises ValueError and TypeError."""
        size = operator.index(value)
        if not self.least <= size <= self.largest:
            raise ValueError(f"{name} must be at least {self.least} and at most {self.largest}, not {value}")
        return size

    def text(self, value: int) -> str:
        return str(value)


@dataclass(frozen=True)
class Name:
    """The name of a file."""

    def check(self, _name: str, value: Any) -> str:
        return str(value)

    def text(self, value: str) -> str:
        return value


Kind = Number | Level | Count | Choice | Prior | Flag | Distances | Size | Name


@dataclass(frozen=True)
class Spec:
    """The description of an option: everything but its name and its default.

    help: one or two lines. metavar: the placeholder for the value in the help. panel: the panel of the help.
    flag: its name on the command line, if it differs from the field's name. serves_to_choose: it only matters if μ is
    chosen automatically. shapes_result: with μ and ε it determines the minimiser, so written files record it.
    slider: the factor that a slider covers to either side. colour_only: it only affects RGB images.
    """

    kind: Kind
    help: str
    metavar: str | None
    panel: str
    flag: str | None = None
    serves_to_choose: bool = False
    shapes_result: bool = False
    slider: float | None = None
    colour_only: bool = False


#: The options that only total variation has, those that only learned filters have, and those that these do not
#: support.
_OF_TOTAL_VARIATION = ("mu", "epsilon", "tv", "penalty", "chroma")
_OF_FILTERS = ("level",)
_WITHOUT_FILTERS = ("chroma_only", "volume")
STRENGTH_PANEL, ADVANCED_PANEL, FILES_PANEL, VOLUMES_PANEL = (
    "Strength and accuracy",
    "Advanced",
    "Files",
    "Volumes",
)


def _option(
    default: Any,
    kind: Kind,
    text: str,
    metavar: str | None = None,
    *,
    panel: str = STRENGTH_PANEL,
    **traits: Any,
) -> Any:
    """A field of an options record; traits: the other fields of `Spec`."""
    return dataclasses.field(default=default, metadata={"spec": Spec(kind, text, metavar, panel, **traits)})


class ContradictionError(ValueError):
    """Two options contradict each other.

    reason: a sentence with the options' names in braces; remedy: what to do, likewise.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}".format_map(_Plain()))
        self.reason = reason
        self.remedy = remedy


class _Plain(dict[str, str]):
    """Field names, each by itself."""

    def __missing__(self, name: str) -> str:
        return name


class UnknownOptionError(ValueError):
    """This version does not have such an option."""


@dataclass(frozen=True)
class Options:
    """How to denoise an image. Intensities, such as epsilon, are fractions of the data range.

    mu: weight of the fidelity, > 0, in 1/data range; larger stays closer to the input. None chooses the value with the
        least estimated risk for the noise of the image.
    sigma: choose μ for white noise of this standard deviation, > 0.
    noise: "auto" estimates the noise's growth with intensity and its correlation, "white" only its level; or a model
        returned by `tvdenoise.estimate_noise` for this image or a similar one.
    strength: divides the chosen μ, > 0; larger is smoother.
    epsilon: smoothing of the penalty, > 0; None chooses 0.14/μ (0.28/μ for RGB, 0.04 c²/μ for ``chroma_only`` with
        ``chroma`` c), at most a sixth of the span of the intensities.
    tolerance: stop as soon as the rms distance to the exact minimiser is certified to be at most this, ≥ 0. None
        chooses 0.03/μ, or with learned filters a twentieth of the level: at most 3 % of the span of the intensities,
        and never less than the precision can certify.
    max_iterations: the largest number of evaluations of the objective gradient.
    chroma: weight of the image gradient of the colour differences, > 0; for RGB images.
    chroma_only: denoise only the colour differences of an RGB image, and keep R + G + B at every pixel. J is then that
        of the two opponents alone, and mu is chosen for their noise.
    threads: number of threads; None uses all processors. The result is byte-identical for any number.
    tv: "isotropic", one root for all differences of a pixel, or "anisotropic" (also "componentwise"), one for each.
    penalty: "hyperbolic" √(z² + ε²), or "huber" z²/(2ε) up to ε, |z| − ε/2 beyond.
    step: "bb" for Barzilai–Borwein step lengths, "fixed" for 1/L.
    engine: "fused" for the fast kernel, "sparse" for scipy's sparse operators in double precision.
    data_range: the stored intensity that counts as 1 in parameters, bounds and results of integers, such as 4095 for
        12 bits in 16. None chooses the largest value of an integer type, 1 for floats. It is a unit only.
    nan: "refuse" raises an error for NaN; "fill" treats float pixels with NaN in any channel as missing; "keep" as
        absent.
    nodata: the stored value of absent pixels, in any channel; it may be NaN. Absent pixels lie outside the domain:
        differences to them are zero, they are no unknowns, neither the noise nor μ depends on them, and they are
        returned unchanged.
    impulses: "off" keeps, and "on" removes, pixels that no neighbour supports; "auto" only clear impulses.
    prior: "tv" for total variation; "learned" for the filters that come with the package, or "gated" for those with
        gates, which are better on white noise and worse on other noise; the name of a file that
        ``tvdenoise learn`` wrote, or what `tvdenoise.read_prior` returns. With learned filters J(x) = R(x) +
        ½ ‖x − f‖², and level takes the place of mu and epsilon.
    level: the level s of learned filters, > 0, about the standard deviation of the noise: larger is smoother. None
        chooses it for the noise of the image.

    Raises ValueError and TypeError for values outside their range, and ContradictionError (a ValueError) for
    options that contradict each other.
    """

    mu: float | None = _option(
        None,
        Number(1e-60, 1e60),
        "Weight of the fidelity: a larger value keeps more detail and more noise. "
        "By default the value with the least estimated error for the noise of the image.",
        "NUMBER|auto",
        slider=10,
    )
    sigma: float | None = _option(
        None,
        Number(1e-60, 1e60, is_intensity=True, asked_at_most=1.0),
        "Assume white noise of this standard deviation. By default the noise is estimated.",
        "INTENSITY",
        serves_to_choose=True,
    )
    noise: Any = _option(  # noqa: RUF009  # as every other field
        "auto",
        Choice(("auto", "white"), takes_model=True),
        "Estimate the level, the growth with intensity and the correlation of the noise (auto), or assume white "
        "noise and estimate only its level (white).",
        serves_to_choose=True,
    )
    strength: float = _option(
        1.0,
        Number(1e-6, 1e6),
        "Divide the automatic mu by this, or multiply the level of learned filters: 2 is smoother, 0.5 gentler.",
        "NUMBER",
        serves_to_choose=True,
    )
    epsilon: float | None = _option(
        None,
        Number(1e-60, 1e60, is_intensity=True, asked_at_most=1.0),
        "Smoothing of the penalty: smaller differences are smoothed as noise, larger ones are kept as edges. "
        "By default 0.14 / mu (0.28 / mu in colour).",
        "INTENSITY|auto",
        slider=30,
    )
    tolerance: float | None = _option(
        None,
        Number(0.0, math.inf, is_intensity=True, asked_at_most=1.0, may_be_zero=True),
        "Stop when the result is certified to be this close (rms) to the exact minimiser. By default 0.03 / mu, or "
        "level / 20 with learned filters.",
        "INTENSITY",
    )
    max_iterations: int = _option(
        2000, Count(), "Stop after this many evaluations of the objective gradient.", "NUMBER"
    )
    chroma: float = _option(
        3.0,
        Number(1e-3, 1e3),
        "Smooth colour differences this many times as much as brightness.",
        "NUMBER",
        shapes_result=True,
        slider=10,
        colour_only=True,
    )
    chroma_only: bool = _option(
        False,
        Flag(),
        "Remove only the colour noise of RGB images. The brightness (R + G + B) of each pixel is kept.",
        shapes_result=True,
    )
    threads: int | None = _option(
        None,
        Count(),
        "Number of threads. By default one per processor. Output is byte-identical for any number.",
        "NUMBER",
    )
    tv: str = _option(
        "isotropic",
        Choice(("isotropic", "anisotropic"), {"componentwise": "anisotropic"}),
        "Form of the total variation: one root for all differences of a pixel (isotropic), or one for each "
        "(anisotropic).",
        panel=ADVANCED_PANEL,
        shapes_result=True,
    )
    penalty: str = _option(
        "hyperbolic",
        Choice(("hyperbolic", "huber")),
        "Penalty on the image gradient.",
        panel=ADVANCED_PANEL,
        shapes_result=True,
    )
    step: str = _option(
        "bb",
        Choice(("bb", "fixed")),
        "Step rule: Barzilai–Borwein steps, with learned filters quasi-Newton ones (bb), or always 1/L (fixed).",
        panel=ADVANCED_PANEL,
    )
    engine: str = _option(
        "fused",
        Choice(("fused", "sparse")),
        "Engine: the fast kernel (fused), or the sparse operators that define it, in double precision (sparse).",
        panel=ADVANCED_PANEL,
    )
    data_range: float | None = _option(
        None,
        Number(1e-60, 1e60),
        "Intensity that counts as 1 in options and results: 4095 for 12 bits in a 16-bit file. By default the largest "
        "value of an integer type, and 1 in float files.",
        "NUMBER",
        panel=FILES_PANEL,
    )
    nan: str = _option(
        "refuse",
        Choice(("refuse", "fill", "keep")),
        "Refuse float files that contain NaN, fill these pixels from their neighbours, or keep them as pixels without "
        "data.",
        panel=FILES_PANEL,
    )
    nodata: float | None = _option(
        None,
        Level(may_be_special=True),
        "Value of pixels without data, such as 0 in depth maps: they have no influence and are kept as they are. By "
        "default the value that a GeoTIFF declares.",
        "VALUE",
        panel=FILES_PANEL,
    )
    impulses: str = _option(
        "off",
        Choice(("off", "auto", "on")),
        "Remove pixels that no neighbour supports, such as salt and pepper or hot pixels: off, on, or only where they "
        "are clearly impulses (auto).",
        shapes_result=True,
    )

    prior: Any = _option(  # noqa: RUF009  # as every other field
        "tv",
        Prior(),
        "Prior of the image: total variation (tv), the learned filters that come with tvdenoise (learned; gated is "
        "better for white noise, and worse for other noise), or those of a file written by tvdenoise learn.",
        "tv|learned|gated|FILE",
        shapes_result=True,
    )
    level: float | None = _option(
        None,
        Number(1e-60, 1e60, is_intensity=True, asked_at_most=1.0),
        "With learned filters: smooth noise of about this standard deviation. By default the level is chosen for the "
        "noise of the image.",
        "INTENSITY|auto",
        slider=10,
    )

    def __post_init__(self) -> None:
        for name, spec in specs(type(self)).items():
            value = getattr(self, name)
            if value is not None or _default(type(self), name) is not None:
                object.__setattr__(self, name, spec.kind.check(name, value))
        self._check_prior()
        if self.mu is not None and self.sigma is not None:
            raise ContradictionError(
                "{sigma} only serves to choose {mu}, which is also given", "give only one of them"
            )
        if self.mu is not None and self.strength != 1:
            raise ContradictionError(
                "{strength} scales the automatic {mu}, which is given", "give only one of them"
            )
        if self.chroma_only and self.impulses != "off":
            raise ContradictionError(
                "{chroma_only} keeps the brightness, and {impulses} changes that of the impulses",
                "leave out one of them",
            )
        if self.chroma_only and self.nan == "fill":
            raise ContradictionError(
                "{chroma_only} keeps the brightness, which the missing pixels of {nan} do not have",
                "leave out one of them",
            )

    def _check_prior(self) -> None:
        """Raise ContradictionError for options that do not go with the prior."""
        if not self.is_learned:
            if self.level is not None:
                raise ContradictionError(
                    "{level} is that of learned filters, and {prior} is tv",
                    "give {prior} learned, or leave out {level}",
                )
            return
        for name in _OF_TOTAL_VARIATION:
            if getattr(self, name) != _default(type(self), name):
                remedy = "set {level} instead" if name == "mu" else "leave out one of them"
                raise ContradictionError(
                    f"{{{name}}} belongs to total variation, and {{prior}} is not tv", remedy
                )
        for name in _WITHOUT_FILTERS:
            if name in specs(type(self)) and getattr(self, name) != _default(type(self), name):
                raise ContradictionError(
                    f"learned filters denoise whole images, so {{prior}} cannot be combined with {{{name}}}",
                    "leave out one of them",
                )
        if self.level is not None and (self.sigma is not None or self.strength != 1):
            other = "{strength}" if self.sigma is None else "{sigma}"
            raise ContradictionError(
                f"{other} only serves to choose {{level}}, which is given", "give only one of them"
            )

    @property
    def is_learned(self) -> bool:
        """True if learned filters take the place of total variation."""
        return bool(self.prior != "tv")

    @property
    def given_mu(self) -> float | None:
        """μ, or the reciprocal of the level, which takes its place with learned filters; None if it is to be chosen."""
        return 1 / self.level if self.level is not None else self.mu

    @property
    def sliders(self) -> dict[str, Spec]:
        """The options with a slider on the live page that the prior has."""
        others = _OF_TOTAL_VARIATION if self.is_learned else _OF_FILTERS
        return {name: spec for name, spec in SLIDERS.items() if name not in others}

    @classmethod
    def of(cls, options: Options | None, given: Mapping[str, Any]) -> Options:
        """Options from a record, keywords, or both. Raises TypeError for a field in both, or an unknown keyword."""
        for name in given:
            if name not in specs(Options):
                raise TypeError(f"got an unexpected keyword argument {name!r}")
        if options is None:
            return Options(**given)
        common = options.common()
        for name in given:
            if getattr(common, name) != _default(Options, name):
                raise TypeError(f"{name} is given twice, as a keyword and in options")
        return replace(common, **given)

    def common(self) -> Options:
        """The fields of `Options` itself, without those of a subclass."""
        return Options(**{name: getattr(self, name) for name in specs(Options)})

    def with_choice(self, mu: float, epsilon: float | None = None) -> Self:
        """These options with a chosen μ, and perhaps ε, and without the fields that only serve to choose μ.

        With learned filters, mu is the reciprocal of the level.
        """
        chosen = {"mu": mu} if epsilon is None else {"mu": mu, "epsilon": epsilon}
        return self.with_given({"level": 1 / mu} if self.is_learned else chosen)

    def with_given(self, parameters: Mapping[str, float]) -> Self:
        """These options with parameters by name, and without the fields that only serve to choose them."""
        dropped = {
            name: _default(type(self), name)
            for name, spec in specs(type(self)).items()
            if spec.serves_to_choose
        }
        return replace(self, **(dropped | dict(parameters)))

    @property
    def estimates_noise(self) -> bool:
        """True if μ is chosen for noise that is estimated from the image."""
        return self.given_mu is None and self.sigma is None and isinstance(self.noise, str)

    def changed(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        cls = type(self)
        return {name: value for name in specs(cls) if (value := getattr(self, name)) != _default(cls, name)}

    def words(self) -> list[str]:
        """These options as words of the command line, without defaults."""
        found = []
        for name, value in self.changed().items():
            spec = specs(type(self))[name]
            found.append(flag_of(name, spec))
            if not isinstance(spec.kind, Flag):
                found.append(spec.kind.text(value))
        return found

    def shape(self, *, only_changed: bool = True) -> dict[str, str]:
        """The fields that determine the minimiser, with μ and ε; all, or only those that differ from the defaults."""
        changed = self.changed()
        return {
            name: _recorded(specs(Options)[name].kind, getattr(self, name))
            for name in SHAPING
            if name in changed or not only_changed
        }

    def __reduce__(self) -> tuple[Callable[..., Options], tuple[type[Options], dict[str, Any]]]:
        """Pickle the fields by name, so that the receiving process checks them (see `from_mapping`)."""
        return _restored, (type(self), self.as_mapping())

    def as_mapping(self) -> dict[str, Any]:
        """The fields by name, for a message to another process."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """The options in a message. Raises UnknownOptionError for a field unknown to this version."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(mapping) - known):
            names = ", ".join(unknown)
            raise UnknownOptionError(f"unknown options {names}: another version of tvdenoise sent them")
        return cls(**mapping)


@dataclass(frozen=True)
class FileOptions(Options):
    """How to denoise and write files: `Options`, and the options that only apply to files.

    shared_mu: pairs of a number of channels and the μ chosen for all images of a set with this number.
    """

    mask: str | None = _option(
        None,
        Name(),
        "Denoise only where this image is not zero (white, or a label), and keep pixels unchanged where it is zero. "
        "It has the same size as the input; each is first rotated by its orientation.",
        "FILE",
        panel=FILES_PANEL,
    )
    mask_above: float | None = _option(
        None,
        Level(),
        "With --mask: denoise where the mask is above this value, for masks in shades of grey, lossy files and floats.",
        "VALUE",
        panel=FILES_PANEL,
    )
    volume: bool = _option(
        False,
        Flag(),
        "Denoise the planes of a file together, as one volume per channel and time point. A time series or an "
        "animation is also one volume, and so are the slices in a folder: files that hold one image each.",
        panel=VOLUMES_PANEL,
    )
    spacing: tuple[float, ...] | None = _option(
        None,
        Distances(1e-12, 1e12),
        "With --volume: distances of planes, rows and columns in any unit, or only that of planes, in pixels. "
        "By default the distances stated in the file, and 1 in time. Neighbours that are further apart may differ "
        "more.",
        "Z,Y,X",
        panel=VOLUMES_PANEL,
    )
    per_plane: bool = _option(
        False,
        Flag(),
        "Choose mu for each image of a stack or an animation. By default once per file, and once per channel of a "
        "microscope.",
    )
    couple_bands: bool = _option(
        False,
        Flag(),
        "Denoise the bands of a TIFF together, with one mu and edges in common. By default each band by itself, with "
        "the mu for its own noise. It only matters for more bands than grey, RGB or CMYK have.",
        panel=FILES_PANEL,
    )
    first_frame: bool = _option(
        False, Flag(), "Use only the first image of files that hold several.", panel=FILES_PANEL
    )
    quality: int | None = _option(
        None,
        Count(100),
        "Quality of JPEG, WebP, AVIF, HEIC and JPEG 2000. By default 95, and lossless if the input is.",
        "1–100",
        panel=FILES_PANEL,
    )
    max_megapixels: float = _option(
        500.0,
        Number(0.0, math.inf),
        "Refuse larger images.",
        "MEGAPIXELS",
        panel=FILES_PANEL,
        flag="--max-pixels",
    )
    memory: int | None = _option(
        None,
        Size(300_000_000, 1_000_000_000_000_000),
        "Memory limit for all files processed at the same time, such as 1GB or 800MB. A TIFF that needs more is "
        "denoised in parts. By default the free memory.",
        "SIZE",
        panel=FILES_PANEL,
    )
    strip_metadata: bool = _option(
        False, Flag(), "Keep only the colour profile and the orientation.", panel=FILES_PANEL
    )
    preserve_times: bool = _option(
        False, Flag(), "Copy the time stamps of inputs to outputs.", panel=FILES_PANEL
    )
    shared_mu: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spacing is not None and not self.volume:
            raise ContradictionError("{spacing} requires {volume}", "give both, or leave it out")
        if self.mask_above is not None and self.mask is None:
            raise ContradictionError("{mask_above} requires {mask}", "give both, or leave it out")
        if self.per_plane and self.given_mu is not None:
            given = "{level}" if self.is_learned else "{mu}"
            raise ContradictionError(
                f"{{per_plane}} chooses {given}, which is given", "give only one of them"
            )
        for name in ("per_plane", "first_frame"):
            if self.volume and getattr(self, name):
                raise ContradictionError(
                    f"{{volume}} and {{{name}}} contradict each other", "give only one of them"
                )

    @property
    def fills_missing(self) -> bool:
        """True if NaN marks missing pixels."""
        return self.nan == "fill"

    @property
    def not_finite(self) -> tuple[float, ...]:
        """The values to accept that are not finite: they mark pixels without a measurement."""
        nan = () if self.nan == "refuse" else (math.nan,)
        return nan if self.nodata is None or math.isfinite(self.nodata) else (*nan, self.nodata)

    def nodata_of(self, declared: float | None) -> float | None:
        """The value of pixels without data in a file that declares one, or None."""
        return declared if self.nodata is None else self.nodata

    @property
    def has_weights(self) -> bool:
        """True if pixels may have different weights in the fidelity, or no data."""
        return self.mask is not None or self.nan != "refuse" or self.nodata is not None

    def for_image(
        self, *, channels: int, is_float: bool, mu: float | None = None, nodata: float | None = None
    ) -> Options:
        """The options for one image of a file.

        mu: the value chosen for all images of the file. nodata: the value that the file declares.
        NaN only matters for float images.
        """
        common = self.common()
        if not is_float:
            common = replace(common, nan=_default(Options, "nan"))
        common = replace(common, nodata=self.nodata_of(nodata))
        shared = dict(self.shared_mu).get(channels) if mu is None else mu
        return common if shared is None else common.with_choice(shared)


def _recorded(kind: Kind, value: Any) -> str:
    return kind.recorded(value) if isinstance(kind, Prior) else kind.text(value)


def _restored(cls: type[Options], mapping: Mapping[str, Any]) -> Options:
    return cls.from_mapping(mapping)


def specs(cls: type[Options]) -> dict[str, Spec]:
    """The specs of a record's options, by field name and in order."""
    return {field.name: field.metadata["spec"] for field in fields(cls) if "spec" in field.metadata}


def flag_of(name: str, spec: Spec) -> str:
    """The command-line name of a field."""
    return spec.flag or "--" + name.replace("_", "-")


def default_of(name: str) -> Any:
    """The default of a field."""
    return _default(FileOptions, name)


def checked(name: str, value: Any) -> Any:
    """The value of a field, checked and converted; None stays None. Raises ValueError and TypeError."""
    return None if value is None else specs(FileOptions)[name].kind.check(name, value)


def _default(cls: type[Options], name: str) -> Any:
    return cls.__dataclass_fields__[name].default


#: The options that determine the minimiser, with μ and ε.
SHAPING = tuple(name for name, spec in specs(Options).items() if spec.shapes_result)
#: The options with a slider on the live page; which of them a prior has, `Options.sliders` says.
SLIDERS = {name: spec for name, spec in specs(Options).items() if spec.slider is not None}
#: The options that only affect RGB images.
COLOUR_ONLY = tuple(name for name, spec in specs(Options).items() if spec.colour_only)


def command_line(source: str, options: Options, further: Iterable[str] = ()) -> str:
    """The command that denoises a file with these options, quoted for the shell."""
    operand = f"./{source}" if source.startswith("-") else source
    return shlex.join(["tvdenoise", "run", operand, *options.words(), *further])


_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def with_option_keywords(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Show the fields of `Options` as keywords in the signature of a function that takes them as ``**fields``."""
    signature = inspect.signature(function)
    shown = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    named = {each.name for each in shown}
    further = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
        )
        for field in fields(Options)
        if field.name not in named
    ]
    function.__signature__ = signature.replace(parameters=[*shown, *further])  # type: ignore[attr-defined]
    return function
