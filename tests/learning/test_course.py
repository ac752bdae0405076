"""Learning lowers the error, is the same for any number of threads, and continues bit for bit."""

import numpy as np
import pytest

from tvdenoise.learning.course import Course, CourseState, Schedule
from tvdenoise.learning.patches import Sampler
from tvdenoise.learning.weights import Terms, starting_weights


@pytest.fixture
def new_course():
    rng = np.random.default_rng(0)
    steps = np.kron(rng.uniform(0, 255, (2, 1, 8, 9)), np.ones((1, 1, 8, 8))).astype(np.float32)
    sampler = Sampler(list(steps), (10.0, 40.0), (24, 30), seed=1)
    terms = Terms(side=5, rho=0.9, hidden=3)

    def make(threads=1):
        schedule = Schedule(steps=20, patches=3, rate=0.05, filter_rate=0.02, warm_up=3)
        return Course(
            terms, schedule, sampler, CourseState.start(starting_weights(terms, 8)), threads=threads
        )

    return make


def _bytes(course):
    return b"".join(one.tobytes() for one in (one for weights in course.state[1:] for one in weights))


def test_learning_lowers_the_error(new_course):
    course = new_course()
    judged = course.sampler.draw(1000, 6)
    before = course.errors(judged, 0.01).mean()
    for _ in range(12):
        course.advance()
    assert course.errors(judged, 0.01).mean() < 0.93 * before


def test_the_number_of_threads_changes_nothing(new_course):
    one, two = new_course(threads=1), new_course(threads=2)
    for _ in range(3):
        assert one.advance() == two.advance()
    assert _bytes(one) == _bytes(two)


def test_a_continued_course_equals_an_uninterrupted_one(new_course):
    whole, first, second = new_course(), new_course(), new_course()
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        first.advance()
    second.state = CourseState.from_bytes(first.state.to_bytes("key"), "key", second.state.weights)
    for _ in range(2):
        second.advance()
    assert second.state.step == whole.state.step == 4
    assert _bytes(second) == _bytes(whole)


def test_a_batch_follows_from_seed_and_number(new_course):
    sampler = new_course().sampler
    one, same, other = sampler.draw(3, 4), sampler.draw(3, 4), sampler.draw(4, 4)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.noisy, other.noisy)
    assert (one.noisy - one.clean).std() == pytest.approx(1, rel=0.05)
    assert (np.diff(one.levels) > 0).all()
    assert 10 <= one.levels.min() < one.levels.max() <= 40


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"[" * 100_000, b'{"format": 1, "key": "key", "step": 1}', b"\x80\x04"],
)
def test_a_state_that_is_none_is_refused(new_course, content):
    with pytest.raises(ValueError, match=r"damaged|another|Expecting|decode"):
        CourseState.from_bytes(content, "key", new_course().state.weights)


def test_the_state_of_another_course_is_refused(new_course):
    state = new_course().state
    with pytest.raises(ValueError, match="damaged"):
        CourseState.from_bytes(state._replace(step=-5).to_bytes("key"), "key", state.weights)
    with pytest.raises(ValueError, match="another course"):
        CourseState.from_bytes(state.to_bytes("key"), "other", state.weights)
    with pytest.raises(ValueError, match="damaged"):
        CourseState.from_bytes(state.to_bytes("key"), "key", starting_weights(Terms(side=7), 9))
    nan = state._replace(mean=state.mean._replace(scale=state.mean.scale * np.nan))
    with pytest.raises(ValueError, match="damaged"):
        CourseState.from_bytes(nan.to_bytes("key"), "key", state.weights)
