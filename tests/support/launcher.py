"""Runs the command in processes forked after its imports: as isolated as others, at a tenth of the cost."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from support.processes import environment

_LIMIT = 180  # seconds

#: Reads a folder, files for output and messages, and arguments from each line, and answers with an exit code. A forked
#: child leaves the loop and runs the command; it prints its processor time in seconds and its peak memory in kilobytes.
_SERVER = f"""
import json, os, signal, sys
from tvdenoise.commands.app import main
from tvdenoise import denoise
import imagecodecs, numpy, tvdenoise.batch.run, tvdenoise.files.writing
denoise(numpy.zeros((2, 2), numpy.float32), 1.0)
for line in sys.stdin:
    folder, output, messages, *arguments = json.loads(line)
    if (child := os.fork()) == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
signal.alarm({_LIMIT})
for number, name in enumerate((os.devnull, output, messages)):
    opened = os.open(name, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
    os.dup2(opened, number)
    os.close(opened)
os.chdir(folder)
sys.argv = ["tvdenoise", *arguments]
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(sum(os.times()[:2]), next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    atexit.register(server.communicate)
    return server


def launched(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float, float]:
    """Run ``tvdenoise run`` in a folder; return the completed process, its processor time (s) and peak memory (MiB)."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as name:
        output, messages = Path(name, "output"), Path(name, "messages")
        request = [str(folder), str(output), str(messages), "run", *arguments]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        ended = subprocess.CompletedProcess(request[3:], code, output.read_text(), messages.read_text())
    assert code >= 0, f"ended by signal {-code}: {ended.stderr}"
    seconds, kilobytes = ended.stdout.split()
    return ended, float(seconds), int(kilobytes) / 1024
