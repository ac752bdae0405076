"""Each option is defined once: what the command line, the functions and other processes know follows from its field."""

import inspect
import pickle
import shlex
from dataclasses import fields

import numpy as np
import pytest

from tvdenoise import choose_parameters, denoise, denoise_tiled
from tvdenoise.commands.typer_options import Asked, parsed
from tvdenoise.errors import UsageError
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.noise.model import NoiseModel
from tvdenoise.options import (
    Choice,
    ContradictionError,
    FileOptions,
    Flag,
    Number,
    Options,
    UnknownOptionError,
    command_line,
    default_of,
    flag_of,
    specs,
)

NOISY = np.random.default_rng(0).random((12, 17))


@pytest.mark.parametrize("function", [denoise, choose_parameters, denoise_tiled])
def test_every_option_is_a_keyword(function):
    parameters = inspect.signature(function).parameters
    assert "fields" not in parameters
    for name in specs(Options):
        assert parameters[name].default == default_of(name)


def test_every_field_but_what_was_chosen_is_an_option():
    assert [field.name for field in fields(FileOptions) if field.name not in specs(FileOptions)] == [
        "shared_mu"
    ]
    for name, spec in specs(FileOptions).items():
        assert spec.help.endswith("."), name
        assert flag_of(name, spec).startswith("--")
        assert isinstance(spec.kind, Flag | Choice) or spec.metavar, name


def test_the_names_of_penalties_are_those_that_the_model_knows():
    kind = specs(Options)["penalty"].kind
    assert isinstance(kind, Choice)
    assert set(kind.names) == set(PENALTIES)


def test_a_record_gives_what_the_same_keywords_give():
    by_keywords = denoise(NOISY, 9.0, penalty="huber", tv="componentwise", max_iterations=5)
    for options in (Options(mu=9.0, penalty="huber", tv="anisotropic", max_iterations=5), None):
        given = {} if options else {"mu": 9.0, "penalty": "huber", "tv": "anisotropic", "max_iterations": 5}
        solution = denoise(NOISY, options=options, **given)
        assert np.array_equal(solution.image, by_keywords.image)
        assert solution.iterations == by_keywords.iterations


def test_fields_may_be_split_between_record_and_keywords_but_not_given_twice():
    split = denoise(NOISY, mu=9.0, options=Options(penalty="huber"))
    assert np.array_equal(split.image, denoise(NOISY, 9.0, penalty="huber").image)
    with pytest.raises(TypeError, match="mu is given twice"):
        denoise(NOISY, mu=9.0, options=Options(mu=8.0))
    with pytest.raises(TypeError, match="penalty is given twice"):
        denoise(NOISY, penalty="huber", options=Options(mu=8.0, penalty="huber"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'lam'"):
        denoise(NOISY, lam=1)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"mu": -1}, "mu must be positive"), ({"mu": "nine"}, "nine"), ({"penalty": "l0"}, "one of hyperbolic, huber"),
        ({"max_iterations": 0}, "at least 1"), ({"strength": None}, "NoneType"), ({"tolerance": -1}, "at least 0"),
        ({"mu": 1, "sigma": 0.1}, "sigma only serves to choose mu"), ({"mu": 1, "strength": 2}, "strength scales"),
    ],
)  # fmt: skip
def test_values_are_checked_where_the_record_is_made(given, error):
    with pytest.raises((ValueError, TypeError), match=error):
        Options(**given)


def test_a_contradiction_names_the_options_as_they_were_written():
    with pytest.raises(ContradictionError, match="sigma only serves to choose mu, which is also given"):
        Options(mu=1, sigma=0.1)
    with pytest.raises(UsageError, match="--sigma only serves to choose --mu"):
        Asked({"mu": "1", "sigma": "0.1"}).options()
    with pytest.raises(UsageError, match="--per-plane chooses --mu"):
        Asked({"mu": "1", "per_plane": True}).options()


def test_the_words_of_a_command_give_the_same_options():
    options = FileOptions(
        mu=0.1 + 0.2, epsilon=2.5 / 255, tolerance=0.0, chroma=2, tv="componentwise", step="fixed", threads=3,
        data_range=4095, nan="fill", mask="/white here.png", volume=True, spacing=(4.0, 1.0, 0.123456789), quality=80,
        max_megapixels=900.5, memory=2 * 10**9, strip_metadata=True,
    )  # fmt: skip
    words = shlex.split(command_line("-a.png", options))
    assert words[:3] == ["tvdenoise", "run", "./-a.png"]
    assert "2.5/255" in words
    names = {flag_of(name, spec): name for name, spec in specs(FileOptions).items()}
    typed: dict[str, str | bool] = {}
    rest = iter(words[3:])
    for word in rest:
        name = names[word]
        typed[name] = True if isinstance(specs(FileOptions)[name].kind, Flag) else next(rest)
    assert Asked(typed).options() == options
    assert command_line("a.png", FileOptions()) == "tvdenoise run a.png"


@pytest.mark.parametrize("value", [1e-15, 0.1, 1 / 255, 20 / 255, 0.3333333333333333, 1.0, 123456.789])
def test_numbers_are_written_exactly(value):
    for is_intensity in (True, False):
        text = Number(0, 1e9, is_intensity).text(value)
        numerator, _, denominator = text.partition("/")
        assert float(numerator) / float(denominator or 1) == value


def test_numbers_are_written_as_short_as_they_can_be():
    intensity = Number(0, 1e9, is_intensity=True)
    found = [intensity.text(value) for value in (1.0, 0.01, 2.5 / 255, 1e-15)]
    assert found == ["1", "0.01", "2.5/255", "1e-15"]
    assert Number(0, 1e9).text(1e9) == "1000000000"


def test_auto_stands_for_what_is_chosen_where_it_can_be():
    assert parsed("mu", "auto") is None
    with pytest.raises(UsageError, match="--chroma must be a number"):
        parsed("chroma", "auto")


def test_options_of_another_version_are_one_clear_error():
    options = FileOptions(mu=9.0, mask="m.png")
    assert pickle.loads(pickle.dumps(options)) == options
    assert FileOptions.from_mapping(options.as_mapping()) == options
    with pytest.raises(UnknownOptionError, match="unknown options relaxation: another version"):
        FileOptions.from_mapping(options.as_mapping() | {"relaxation": 1.5})


def test_what_has_served_to_choose_mu_is_dropped_with_the_choice():
    options = FileOptions(sigma=0.1, strength=2.0, noise="white", penalty="huber")
    assert options.with_choice(7.0) == FileOptions(mu=7.0, penalty="huber")
    assert options.with_choice(7.0, 0.01) == FileOptions(mu=7.0, epsilon=0.01, penalty="huber")


def test_a_model_of_the_noise_stands_in_the_place_of_a_name():
    model = NoiseModel.white(0.1, 1)
    assert Options(noise=model).noise is model
    assert not Options(noise=model).estimates_noise
    assert denoise(NOISY, options=Options(noise=model)).sigma == pytest.approx(0.1)


def test_nan_only_reaches_float_images_and_a_declared_value_yields_to_a_given_one():
    options = FileOptions(data_range=4095, nan="fill", shared_mu=((3, 5.0),), strength=2.0)
    assert options.for_image(channels=1, is_float=True) == Options(data_range=4095, nan="fill", strength=2.0)
    assert options.for_image(channels=1, is_float=False) == Options(data_range=4095, strength=2.0)
    assert options.for_image(channels=3, is_float=False) == Options(data_range=4095, mu=5.0)
    assert options.for_image(channels=3, is_float=False, mu=6.0) == Options(data_range=4095, mu=6.0)
    assert FileOptions().for_image(channels=1, is_float=False, nodata=-1.0) == Options(nodata=-1.0)
    given = FileOptions(nodata=0.0)
    assert given.for_image(channels=1, is_float=False, nodata=-1.0) == Options(nodata=0.0)
