"""A headless Chromium for tests of report pages, controlled over its debugging pipe."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
from pathlib import Path

import pytest

TIMEOUT_S = 120
"""After which Chromium is considered hung."""


class Browser:
    """A context manager: one page in its own Chromium. Skips the test where there is no Chromium."""

    def __init__(self, profile: Path) -> None:
        program = (
            shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        )
        if program is None:
            pytest.skip("needs Chromium (Debian: apt-get install chromium)")
        self.errors: list[str] = []
        to_browser, from_browser = os.pipe(), os.pipe()
        inside = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser[0], from_browser[1])]

        def connect() -> None:
            os.dup2(inside[0], 3)
            os.dup2(inside[1], 4)

        self._process = subprocess.Popen(
            [
                program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                "--disable-dev-shm-usage", f"--user-data-dir={profile}", "about:blank",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(3, 4), preexec_fn=connect,
        )  # fmt: skip
        for fd in (*inside, to_browser[0], from_browser[1]):
            os.close(fd)
        self._write, self._read = os.fdopen(to_browser[1], "wb", 0), os.fdopen(from_browser[0], "rb")
        self._count, self._rest = 0, b""
        self._session: str | None = None
        self._events: set[str] = set()

    def call(self, method: str, **parameters) -> dict:
        """One command of the Chrome DevTools protocol."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._write.write(json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._count:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def open(self, page: Path, width: int, height: int, phone: bool = False) -> None:
        """Show a file in a window of this size; returns when it has loaded."""
        if self._session is None:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self._events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._note(self._next())

    def run(self, script: str):
        """The value of a JavaScript expression in the page."""
        evaluated = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in evaluated, evaluated
        return evaluated["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """A click with the mouse."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exception) -> None:
        self._process.terminate()
        self._process.wait(TIMEOUT_S)
        self._write.close()
        self._read.close()

    def _next(self) -> dict:
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], TIMEOUT_S)[0], "Chromium does not respond"
            data = os.read(self._read.fileno(), 1 << 20)
            assert data, "Chromium has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def _note(self, message: dict) -> None:
        """Record an event, and the errors and warnings of the developer console."""
        event, parameters = message.get("method", ""), message.get("params", {})
        self._events.add(event)
        if event == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        if event == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(str(parameters["args"]))
        if event == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(str(parameters["entry"]))
