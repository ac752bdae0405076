"""Prior files are read back bit for bit, and whatever else stands in one is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from support.banks import random_bank
from tvdenoise.errors import PriorError
from tvdenoise.model.filters import FilterPrior
from tvdenoise.model.gates import ByGate
from tvdenoise.model.prior_file import MOST_BYTES, SHIPPED, LearnedPrior, prior_named


def _prior(count=5, channels=1, coarse=False, hidden=3):
    bank = random_bank(count, channels, coarse=coarse, members=2, hidden=hidden)
    factor = 0.9 / FilterPrior(bank, 1.0).concavity
    bank = replace(bank, potentials=replace(bank.potentials, scale=factor * bank.potentials.scale))
    return LearnedPrior(bank, (5.0, 60.0), ("a.png", "ä\n.tif"), 3000, 1)


@pytest.mark.parametrize(("count", "channels"), [(5, 1), (4, 3), (1, 1)])
@pytest.mark.parametrize(("coarse", "hidden"), [(False, 3), (True, 0)])
def test_a_prior_is_read_back_bit_for_bit(count, channels, coarse, hidden):
    prior = _prior(count, channels, coarse, hidden)
    same = LearnedPrior.from_bytes(prior.to_bytes())
    assert np.array_equal(same.bank.filters, prior.bank.filters)
    for name in ("scale", "inner", "share", "outer"):
        assert np.array_equal(getattr(same.bank.potentials, name), getattr(prior.bank.potentials, name))
    assert (same.bank.gate is None) == (hidden == 0)
    for name in ByGate._fields if hidden else ():
        assert np.array_equal(getattr(same.bank.gate, name), getattr(prior.bank.gate, name))
    assert (same.levels, same.learned_from, same.steps, same.seed) == ((5, 60), ("a.png", "ä\n.tif"), 3000, 1)
    assert same.rho == prior.rho == pytest.approx(0.9)
    assert same.to_bytes() == prior.to_bytes()


def test_the_digest_names_the_bank_alone():
    prior = _prior()
    assert replace(prior, learned_from=(), steps=7).digest == prior.digest
    p = prior.bank.potentials
    other = replace(prior.bank, potentials=replace(p, scale=p.scale * (1 + 1e-15)))
    assert replace(prior, bank=other).digest != prior.digest
    gate = prior.bank.gate
    other = replace(prior.bank, gate=replace(gate, outer_bias=gate.outer_bias + 1e-15))
    assert replace(prior, bank=other).digest != prior.digest


def _changed(change):
    entries = json.loads(_prior().to_bytes())
    change(entries)
    return json.dumps(entries).encode()


def _scaled(entries):
    entries["potentials"]["scale"] = [1.2 * one for one in entries["potentials"]["scale"]]


def _bend(entries, scale, inner):
    """Give all potentials a scale and an inner smoothing; they are convex."""
    count = len(entries["scales"])
    values = {"scale": scale, "inner": inner, "share": 0.0, "outer": 2 * inner}
    entries["potentials"].update({name: [value] * count for name, value in values.items()})


def _cancelling(entries):
    """Hyperbolae that nearly cancel each other, by so much that ψ'' is the rounding of their difference."""
    count, inner = len(entries["scales"]), 0.010792677996380187
    # On one processor, ρ came out as 0.95; it is 2.6 in 60 digits.
    values = {"scale": 8.5e11, "inner": inner, "share": 0.9999999999999954, "outer": 0.010792677996380232}
    entries["potentials"].update({name: [value] * count for name, value in values.items()})


def _rolled(entries):
    row = entries["filters"][0][0][0][0]
    row.insert(0, row.pop())


HOSTILE = {
    "a pickle": b"\x80\x04\x95.",
    "nothing": b"",
    "another text": b"[1, 2]",
    "nested": b"[" * 200_000,
    "huge": b" " * (MOST_BYTES + 1),
    "not UTF-8": b'{"format": "\xff"}',
    "a later version": _changed(lambda e: e.update(version=4)),
    "a version that is no number": _changed(lambda e: e.update(version={"a": [1] * 1000})),
    "an earlier version": _changed(lambda e: e.update(version=2)),
    "no filters": _changed(lambda e: e.update(filters=[])),
    "filters missing": _changed(lambda e: e.pop("filters")),
    "a ragged list": _changed(lambda e: e["filters"][0][0][0].pop()),
    "text for a number": _changed(lambda e: e["filters"][0][0][0][0].__setitem__(0, "1")),
    "a number for a list": _changed(lambda e: e.update(filters=7)),
    "a list for the potentials": _changed(lambda e: e.update(potentials=[1])),
    "NaN": _changed(lambda e: e["filters"][0][0][0][0].__setitem__(0, float("nan"))),
    "infinity": _changed(lambda e: e["potentials"]["outer"].__setitem__(0, float("inf"))),
    "a huge integer": _changed(lambda e: e["filters"][0][0][0][0].__setitem__(0, 10**400)),
    "a sum that is not zero": _changed(lambda e: e["filters"][0][0][0][0].__setitem__(0, 5.0)),
    "no parity": _changed(_rolled),
    "a wrong shape": _changed(lambda e: e.update(shape=[2, 1, 5])),
    "a huge shape": _changed(lambda e: e.update(shape=[2, 1, 10**9])),
    "a shape of truth values": _changed(lambda e: e.update(shape=[2, True, 7])),
    "too few potentials": _changed(lambda e: e["potentials"]["scale"].pop()),
    "too few scales": _changed(lambda e: e["scales"].pop()),
    "a scale of 3": _changed(lambda e: e["scales"].__setitem__(0, 3)),
    "scales that are no numbers": _changed(lambda e: e.update(scales="12112")),
    "a share of 1": _changed(lambda e: e["potentials"]["share"].__setitem__(0, 1.0)),
    "no word of a gate": _changed(lambda e: e.pop("gate")),
    "a gate that is text": _changed(lambda e: e.update(gate="open")),
    "a gate without a layer": _changed(lambda e: e["gate"].pop("outer")),
    "a gate of other groups": _changed(lambda e: e["gate"]["outer_bias"].pop()),
    "a gate of other features": _changed(lambda e: [row.pop() for row in e["gate"]["inner"]]),
    "a gate beyond single precision": _changed(lambda e: e["gate"]["outer"][0].__setitem__(0, 1e30)),
    "levels that are no range": _changed(lambda e: e.update(levels=[5, 1])),
    "names that are no text": _changed(lambda e: e.update(learned_from=[1])),
    "rho above 1, although it claims less": _changed(_scaled),
    "rho above 1, although rounding finds less": _changed(_cancelling),
    "a curvature that is not finite": _changed(lambda e: _bend(e, 1e308, 1e-300)),
    "a huge curvature": _changed(lambda e: _bend(e, 1e30, 1.0)),
    "squares below the least number": _changed(lambda e: _bend(e, 1.0, 1e-170)),
    "filters of zeros": _changed(lambda e: e.update(filters=(0 * np.array(e["filters"])).tolist())),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused(content):
    with pytest.raises(PriorError) as refused:
        LearnedPrior.from_bytes(content)
    assert len(str(refused.value)) < 400
    assert refused.value.remedy


@pytest.mark.parametrize(("name", "grey_rho", "colour_rho"), [("learned", 0.95, 0.95), ("gated", 0.8, 0.6)])
def test_the_filters_of_the_package_are_certified_and_name_their_origin(name, grey_rho, colour_rho):
    prior = prior_named(name)
    assert prior is prior_named(name)  # read once
    assert prior.name == name
    colour = prior.suiting(3)
    assert [one.bank.channels for one in (prior.suiting(1), prior.suiting(4), colour)] == [1, 1, 3]
    for one, rho in ((prior, grey_rho), (colour, colour_rho)):
        assert one.rho == pytest.approx(rho, abs=1e-4)
        assert (one.bank.gate is None) == (name == "learned")
        assert len(one.learned_from) == 37
        assert {name.partition("_")[0] for name in one.learned_from} == {"budgie", "lomiri", "popos"}


def test_the_filters_of_the_package_are_small():
    priors = [prior_named(name).suiting(channels) for name in SHIPPED for channels in (1, 3)]
    assert sum(len(one.to_bytes()) for one in priors) < 500_000
    assert len({one.digest for one in priors}) == 4


def test_the_digest_of_a_prior_names_the_one_in_colour_too():
    grey, colour = _prior(), _prior(channels=3)
    both = replace(grey, in_colour=colour)
    assert len({grey.digest, colour.digest, both.digest}) == 3
