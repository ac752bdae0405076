"""The server of ``tune --live``: whom it serves, what it writes, and how it ends."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support.banks import small_prior
from support.browser import Served, served
from support.live_client import Client
from support.own_time import own_time
from support.processes import environment
from support.values import noise, pixels
from tvdenoise.live import server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]  # in a process of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a photograph, the name of which a shell would take apart."""
    path = tmp_path_factory.mktemp("live")
    Image.fromarray(noise(60, 80, 3)).save(path / "a photo.png")
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Served]:
    with served(folder, environment(), "a photo.png") as running:
        yield running


def get(page: Served, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def test_the_page_and_its_files_are_served_to_those_who_know_the_token(page):
    for name in ("", "index.html", "main.js", "style.css", "icon.svg"):
        answer = get(page, f"/{page.token}/{name}")
        assert answer.status == 200, name
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "http:" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    ["/", "/index.html", "/main.js", "/session", "/favicon.ico", "//", "/x{token}/", "/{short}/", "/{token}x/",
     "/x/{token}/", "/?token={token}", "/%00/"],
)  # fmt: skip
def test_no_request_without_the_token_is_served(page, path):
    answer = get(page, path.format(token=page.token, short=page.token[:-1]))
    assert (answer.status, answer.read()) == (403, b"forbidden\n")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}"]
)
def test_no_request_by_another_name_is_served(page, host):
    """A page elsewhere, whose name leads here."""
    assert get(page, f"/{page.token}/", Host=host.format(port=page.port)).status == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"]
)
def test_no_request_from_another_page_is_served(page, origin):
    origin = origin.format(port=page.port)
    assert get(page, f"/{page.token}/", Origin=origin).status == 403
    with pytest.raises(InvalidStatus, match="403"):
        Client(page.url, origin=origin).__enter__()


def test_a_socket_needs_the_token_an_origin_and_this_host(page):
    with pytest.raises(InvalidStatus, match="403"):
        Client(page.url, origin=None).__enter__()
    with pytest.raises(InvalidStatus, match="403"):
        Client(page.url.replace(page.token, "x" * len(page.token))).__enter__()
    with socket.create_connection(("127.0.0.1", page.port)) as plain:
        plain.sendall(
            f"GET /{page.token}/session HTTP/1.1\r\nHost: evil.example:{page.port}\r\n"
            f"Origin: http://evil.example:{page.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b" 403 " in plain.recv(100)


@pytest.mark.parametrize(
    "path",
    [
        "../../pyproject.toml",
        "..%2f..%2fpyproject.toml",
        "%2e%2e/",
        "server.py",
        "a%20photo.png",
        "page/main.js",
    ],
)
def test_no_other_file_is_served(page, path):
    assert get(page, f"/{page.token}/{path}").status in (403, 404)


def test_the_page_is_only_read(page):
    assert get(page, f"/{page.token}/", "POST").status == 405


@pytest.mark.skipif(sys.platform != "linux", reason="the loopback device has other addresses only on Linux")
def test_only_the_loopback_address_listens(page):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", page.port), timeout=5)


def test_nothing_of_the_page_is_fetched_from_elsewhere():
    for name, (contents, _) in server.load_page().items():
        text = contents.decode().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in "".join(line for line in text.splitlines() if "http" in line), name
        assert "import(" not in text, name


def test_the_command_shown_writes_the_file_that_save_writes(page, folder):
    target = folder / "a photo_denoised.png"
    with Client(page.url) as client:
        request = client.look(mu=7.5, chroma=2.25)
        command = client.message("setting")["command"]
        header, _ = client.full(request)
        client.send(type="save", mu=7.5, epsilon=None, chroma=2.25)
        assert client.message("saved")["status"] == "done"
    saved = target.read_bytes()
    target.unlink()
    words = shlex.split(command)
    assert words[:3] == ["tvdenoise", "run", "a photo.png"]
    assert float(words[words.index("--epsilon") + 1]) == header["epsilon"]
    subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment(), check=True, timeout=60)
    assert target.read_bytes() == saved
    target.unlink()


def test_learned_filters_are_tuned_by_their_level_and_saved_as_the_command_does(tmp_path):
    target = tmp_path / "grey_denoised.png"
    Image.fromarray(noise(40, 50)).save(tmp_path / "grey.png")
    (tmp_path / "small.prior").write_bytes(small_prior().to_bytes())
    with served(tmp_path, environment(), "grey.png", "--prior", "small.prior") as page:
        with Client(page.url) as client:
            automatic = client.scene["automatic"]["level"]
            gentle, _ = client.full(client.look(level=automatic / 2))
            request = client.look(level=automatic * 1.5)
            command = client.message("setting")["command"]
            while f"--level {automatic * 1.5:.4g} " not in command:
                command = client.message("setting")["command"]
            strong, planes = client.full(request)
            client.send(type="save", level=strong["level"])
            assert client.message("saved")["status"] == "done"
        assert "grey levels (rms)" in strong["within"]
        assert gentle["level"] < strong["level"]
    saved = target.read_bytes()
    target.unlink()
    words = shlex.split(command)
    subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, env=environment(), check=True, timeout=60)
    assert target.read_bytes() == saved
    difference = planes[0] - pixels(target).astype(float)
    assert np.sqrt(np.mean(difference**2)) < 2 * 255 * strong["bound"]


def test_an_existing_file_is_replaced_only_where_that_is_confirmed(page, folder):
    target = folder / "a photo_denoised.png"
    target.write_bytes(b"precious")
    with Client(page.url) as client:
        setting = {"mu": 5, "epsilon": 0.02, "chroma": 3}
        for unsure in ({}, {"overwrite": False}, {"overwrite": "yes"}):
            client.send(type="save", **setting, **unsure)
            assert "already exists" in client.message("exists")["line"]
        assert target.read_bytes() == b"precious"
        client.send(type="save", overwrite=True, **setting)
        assert client.message("saved")["status"] == "done"
    assert pixels(target).shape == (60, 80, 3)
    target.unlink()


def test_the_page_cannot_say_where_to_write(page, folder):
    elsewhere = folder / "elsewhere.png"
    with Client(page.url) as client:
        client.send(type="save", mu=5, epsilon=0.02, chroma=3, target=str(elsewhere), output=str(elsewhere))
        client.message("saved")
    assert not elsewhere.exists()
    (folder / "a photo_denoised.png").unlink()


def test_two_pages_have_settings_of_their_own(page):
    with Client(page.url) as one, Client(page.url) as other:
        first, second = one.look(mu=3), other.look(mu=30)
        smooth, rough = one.full(first), other.full(second)
    assert (smooth[0]["mu"], rough[0]["mu"]) == (3, 30)
    assert smooth[1].std() < rough[1].std()


def test_of_many_requests_the_last_one_is_answered_and_most_are_dropped(page):
    with Client(page.url) as client:
        requests = [client.look(mu=1 + step / 50) for step in range(200)]
        answered = set()
        while requests[-1] not in answered:
            answer = client.receive()
            if isinstance(answer, tuple) and answer[0]["kind"] == "after":
                answered.add(answer[0]["request"])
    assert len(answered) < 150


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"type":"shell"}', '{"type":"look","request":1,"mu":-1,"epsilon":1,"chroma":3}',
     '{"type":"look","request":1,"view":{"x":0,"y":0,"width":0,"height":1,"zoom":1},"mu":1,"epsilon":1,"chroma":3}',
     '{"type":"look","request":1,"view":{"x":NaN,"y":0,"width":9,"height":1,"zoom":1},"mu":1,"epsilon":1,"chroma":3}'],
)  # fmt: skip
def test_a_page_that_talks_nonsense_is_let_go_and_the_others_go_on(page, text):
    with Client(page.url) as sane, Client(page.url) as client:
        client.send_text(text)
        with pytest.raises(ConnectionClosed) as closed:
            client.message("never")
        assert closed.value.rcvd.code == 1008
        sane.full(sane.look())


def test_ctrl_c_ends_it_within_two_seconds_while_pages_are_at_work(tmp_path):
    Image.fromarray(noise(1500, 1500, 3)).save(tmp_path / "large.png")
    with served(tmp_path, environment(), "large.png") as page, Client(page.url) as client:
        client.look(mu=0.5)
        with own_time(page.process.pid) as taken:
            code, messages = page.interrupt()
    assert taken.seconds < 2
    assert code == 130
    assert messages.startswith("tvdenoise: interrupted")
    assert "Traceback" not in messages


def test_it_ends_with_0_when_the_page_is_done(tmp_path):
    Image.fromarray(noise(9, 9)).save(tmp_path / "icon.png")
    with served(tmp_path, environment(), "icon.png") as page, Client(page.url) as client:
        client.send(type="done")
        assert page.process.wait(5) == 0


def test_a_port_that_is_taken_is_one_line_with_the_remedy(make_image, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = command("tune", make_image(), "--live", "--port", port)
    assert result.exit_code == 2
    assert result.stderr == (
        f"tvdenoise: port {port} of 127.0.0.1 is in use or not permitted; "
        "choose another with --port, or leave it out for any free port\n"
    )


def test_without_the_extra_it_says_what_to_install(make_image, command, monkeypatch):
    monkeypatch.setattr("tvdenoise.commands.tune.find_spec", lambda _name: None)
    result = command("tune", make_image(), "--live")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "install tvdenoise[live]" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["missing.png"], 1, "missing.png: no such file"),
        (["."], 2, "is not a file"),
        (["broken.png"], 1, "broken.png: "),
        (["photo.png", "-o", "result.xyz"], 2, "belongs to no known format"),
        (["photo.png", "-o", "photo.png"], 2, "the output would replace the input"),
        (["photo.png", "--max-pixels", "0.0001"], 1, "exceed the limit"),
        (["photo.png", "--port", "70000"], 2, "--port must be"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(make_image, command, tmp_path, arguments, code, said):
    make_image()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    result = command("tune", "--live", *arguments)
    assert said in result.stderr
    assert result.exit_code == code
    assert result.stderr.count("\n") == 1


def test_grey_is_one_plane_and_alpha_another(tmp_path):
    values = np.dstack((noise(20, 30), np.full((20, 30), 128, np.uint8)))
    Image.fromarray(values, "LA").save(tmp_path / "grey.png")
    with served(tmp_path, environment(), "grey.png") as page, Client(page.url) as client:
        header, planes = client.full(client.look())
    assert (header["channels"], header["alpha"], planes.shape) == (1, True, (2, 20, 30))
    assert (planes[1] == 128).all()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="terminals of POSIX")
def test_the_browser_that_is_set_is_opened_at_the_address_on_a_terminal_alone(make_image, tmp_path):
    image, opened = make_image(), tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    with_screen = environment() | {"BROWSER": str(browser), "DISPLAY": ":99"}
    for asked, is_opened in (((), True), (("--no-browser",), False)):
        said = said_on_a_terminal([image.name, *asked], tmp_path, with_screen, opened if is_opened else None)
        assert opened.exists() == is_opened
        assert not is_opened or f" {opened.read_text()} (press Ctrl-C to stop)" in said
        opened.unlink(missing_ok=True)
    without = with_screen | {"BROWSER": str(tmp_path / "missing")}
    assert "(press Ctrl-C to stop)" in said_on_a_terminal([image.name], tmp_path, without, None)


def said_on_a_terminal(arguments, folder, variables, awaited):
    """What ``tune --live`` says on a terminal until it is interrupted; a file that is awaited before."""
    shown, terminal = os.openpty()
    words = [sys.executable, "-m", "tvdenoise", "tune", "--live", *arguments]
    process = subprocess.Popen(words, stderr=terminal, stdin=terminal, cwd=folder, env=variables)
    os.close(terminal)
    try:
        said = b""
        while b"Ctrl-C" not in said:
            said += os.read(shown, 4096)
        end = time.monotonic() + 20
        while awaited is not None and not awaited.exists() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        return said.decode()
    finally:
        process.kill()
        process.wait()
        os.close(shown)
