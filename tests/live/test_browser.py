"""The page of ``tune --live`` in a real browser."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support import browser
from support.banks import small_prior
from support.processes import ROOT, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing())),
]

_PIXELS = """
const canvas = document.getElementById("image");
const { data } = canvas.getContext("2d").getImageData(canvas.width * 0.6, canvas.height * 0.4, 100, 100);
let sum = 0;
for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) % 1000003;
return sum;
"""


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "coffee.png"
    path.write_bytes((ROOT / "sample_images" / "coffee.png").read_bytes())
    return path


def wait_until(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 15, poll_frequency=0.05).until(lambda _: condition())


def shown_controls(driver):
    controls = driver.find_elements("css selector", "main button, main input, canvas")
    return [control for control in controls if control.is_displayed()]


def test_a_slider_moves_the_picture_and_the_command_and_save_writes_what_run_writes(photograph):
    folder = photograph.parent
    with browser.served(folder, environment(), photograph.name) as page, browser.browser() as driver:
        driver.get(page.url)
        text = lambda name: driver.find_element("id", name).text  # noqa: E731
        wait_until(driver, lambda: text("status").startswith("converged"))
        before, command = driver.execute_script(_PIXELS), text("command")

        moved = browser.move(driver, "strength", 2.0)
        wait_until(driver, lambda: text("command") != command)
        assert driver.execute_script(_PIXELS) != before
        assert f"--mu {moved['mu']:g} " in text("command")
        assert "grey levels (rms)" in text("within")

        driver.find_element("id", "save").click()
        wait_until(driver, lambda: "evaluations, within" in text("message"))
        target = folder / "coffee_denoised.png"
        saved = target.read_bytes()
        target.unlink()
        words = shlex.split(text("command"))
        subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment(), check=True, timeout=60)
        assert target.read_bytes() == saved

        driver.find_element("id", "save").click()
        wait_until(driver, lambda: "already exists" in text("confirm-text"))
        target.write_bytes(b"precious")
        driver.switch_to.active_element.click()  # Keep it
        wait_until(driver, lambda: "Kept" in text("message"))
        assert target.read_bytes() == b"precious"

        driver.find_element("id", "done").click()
        assert page.process.wait(5) == 0
        wait_until(driver, lambda: "has ended" in text("connection"))
        assert [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_command_is_copied(photograph):
    with (
        browser.served(photograph.parent, environment(), photograph.name) as page,
        browser.browser() as driver,
    ):
        driver.get(page.url)
        text = lambda name: driver.find_element("id", name).text  # noqa: E731
        wait_until(driver, lambda: text("status").startswith("converged"))
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})
        driver.find_element("id", "copy").click()
        wait_until(driver, lambda: text("message") == "Copied.")
        copied = driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        assert copied == text("command")
        assert shlex.split(copied)[:2] == ["tvdenoise", "run"]

        driver.execute_script("navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden'))")
        driver.find_element("id", "copy").click()
        wait_until(driver, lambda: "The command is selected" in text("message"))
        assert driver.execute_script("return getSelection().toString()").strip() == text("command")


def test_the_page_is_worked_from_the_keyboard(photograph):
    from selenium.webdriver.common.keys import Keys

    with (
        browser.served(photograph.parent, environment(), photograph.name) as page,
        browser.browser() as driver,
    ):
        driver.get(page.url)
        find = lambda name: driver.find_element("id", name)  # noqa: E731
        wait_until(driver, lambda: find("status").text.startswith("converged"))
        find("image").send_keys("1")
        wait_until(driver, lambda: find("zoom").text == "100 %")
        find("image").send_keys("+" + Keys.ARROW_RIGHT)
        wait_until(driver, lambda: find("zoom").text == "125 %")
        find("strength").send_keys(Keys.ARROW_RIGHT)
        wait_until(driver, lambda: find("strength-number").get_property("value") == "1.02")
        find("epsilon-number").send_keys(Keys.CONTROL + "a", Keys.NULL, "0.05", Keys.TAB)
        wait_until(driver, lambda: "--epsilon 0.05" in find("command").text)
        assert not find("follows").is_selected()


def test_a_number_beyond_the_limits_is_taken_to_the_nearest_and_none_to_what_was_there(photograph):
    from selenium.webdriver.common.keys import Keys

    with (
        browser.served(photograph.parent, environment(), photograph.name) as page,
        browser.browser() as driver,
    ):
        driver.get(page.url)
        find = lambda name: driver.find_element("id", name)  # noqa: E731
        wait_until(driver, lambda: find("status").text.startswith("converged"))
        for name, written, taken in (
            ("mu", "1e-70", "1e-60"),
            ("mu", "-3", "1e-60"),
            ("mu", "20", "20"),
            ("epsilon", "5", "1"),
            ("chroma", "1e9", "1000"),
        ):
            find(f"{name}-number").send_keys(Keys.CONTROL + "a", Keys.NULL, written, Keys.TAB)
            wait_until(driver, lambda: f"--{name} {taken} " in find("command").text)  # noqa: B023
            assert find(f"{name}-number").get_property("value") == taken
        assert find("connection").text == ""


@pytest.mark.parametrize(("name", "has_chroma"), [("camera.png", False), ("coffee.png", True)])
def test_chroma_is_only_there_for_colour(tmp_path, name, has_chroma):
    (tmp_path / name).write_bytes((ROOT / "sample_images" / name).read_bytes())
    with browser.served(tmp_path, environment(), name) as page, browser.browser() as driver:
        driver.get(page.url)
        wait_until(driver, lambda: driver.find_element("id", "status").text.startswith("converged"))
        assert driver.find_element("id", "chroma").is_displayed() == has_chroma


def test_learned_filters_have_sliders_for_strength_and_level_alone(photograph):
    (photograph.parent / "small.prior").write_bytes(small_prior().to_bytes())
    arguments = (photograph.name, "--prior", "small.prior")
    with (
        browser.served(photograph.parent, environment(), *arguments) as page,
        browser.browser() as driver,
    ):
        driver.get(page.url)
        find = lambda name: driver.find_element("id", name)  # noqa: E731
        wait_until(driver, lambda: find("status").text.startswith("converged"))
        names = ("strength", "level", "mu", "epsilon", "chroma")
        assert [find(name).is_displayed() for name in names] == [True, True, False, False, False]
        before, automatic = driver.execute_script(_PIXELS), float(find("level-number").get_property("value"))
        browser.move(driver, "strength", 2.0)
        wait_until(driver, lambda: f" --level {2 * automatic:.4g} " in find("command").text)
        assert driver.execute_script(_PIXELS) != before
        browser.move(driver, "level", automatic / 2)
        wait_until(driver, lambda: f" --level {automatic / 2:.4g} " in find("command").text)
        assert float(find("strength-number").get_property("value")) == pytest.approx(0.5, rel=1e-3)
        assert "--mu" not in find("command").text
        find("automatic").click()
        wait_until(driver, lambda: f" --level {automatic:.4g} " in find("command").text)
        assert [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        assert all(control.accessible_name for control in shown_controls(driver))


def test_a_lost_connection_is_told_from_an_end(photograph):
    with (
        browser.served(photograph.parent, environment(), photograph.name) as page,
        browser.browser() as driver,
    ):
        driver.get(page.url)
        wait_until(driver, lambda: driver.find_element("id", "status").text.startswith("converged"))
        page.process.kill()
        wait_until(driver, lambda: "Connection lost" in driver.find_element("id", "connection").text)
        assert not driver.find_element("id", "save").is_enabled()


def test_every_control_has_a_name(photograph):
    with (
        browser.served(photograph.parent, environment(), photograph.name) as page,
        browser.browser() as driver,
    ):
        driver.get(page.url)
        wait_until(driver, lambda: driver.find_element("id", "status").text.startswith("converged"))
        assert not driver.find_element("id", "level").is_displayed()
        for control in shown_controls(driver):
            assert control.accessible_name, control.get_attribute("outerHTML")
