"""Chromium without a window, driven by its own DevTools protocol over a pair of pipes.

Source: https://chromedevtools.github.io/devtools-protocol/; with `--remote-debugging-pipe` a message is JSON
that ends in a zero byte, to the browser on descriptor 3, from it on descriptor 4.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KEYS = {
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
    "Space": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "ArrowLeft": {"key": "ArrowLeft", "code": "ArrowLeft", "windowsVirtualKeyCode": 37},
}
TIMEOUT = 60  # seconds


def find() -> str | None:
    """The program, where this machine has it."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser, with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self._command = [
            program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}",
            "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
        ]  # fmt: skip
        self._log = profile.with_suffix(".log")
        self._number = 0
        self._received = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        their_in, self._to = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        self._from, their_out = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())

        def onto_3_and_4() -> None:
            os.dup2(their_in, 3)
            os.dup2(their_out, 4)

        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command,
                preexec_fn=onto_3_and_4,  # noqa: PLW1509 - it only calls dup2
                pass_fds=(3, 4),
                stdout=log,
                stderr=log,
            )
        os.close(their_in)
        os.close(their_out)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; what happens meanwhile is kept in `events`."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == number:
                break
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def read(self) -> dict[str, Any]:
        """Return the next message."""
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self._from, 2**20) if ready else b""
            if not part:
                raise RuntimeError(f"the browser says nothing:\n{self._log.read_text()[-2000:]}")
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


class Tab:
    """One page in a browser; `faults` has what its console was told."""

    def __init__(self, browser: Browser, width: int = 1280, height: int = 900) -> None:
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command to this page."""
        return self._browser.call(method, self._session, **parameters)

    def close(self) -> None:
        """Close the page."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def resize(self, width: int, height: int, *, ratio: float = 1) -> None:
        """Show the page at another size, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=width < 700,
        )

    def prefer(self, **features: str) -> None:
        """Set media features, with underscores: `prefers_color_scheme="dark"`."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()],
        )

    def open(self, url: str) -> None:
        """Load a page, and wait until its scripts have run."""
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.protocol === 'http:'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise's too."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        self._wait(lambda: bool(self.evaluate(expression)), expression)

    def wait_for_event(self, method: str) -> dict[str, Any]:
        """Return the parameters of the next event of that name, which is then forgotten."""

        def find() -> bool:
            self.evaluate("0")  # messages are read while a command is answered
            return any(event.get("method") == method for event in self._browser.events)

        self._wait(find, method)
        event = next(event for event in self._browser.events if event.get("method") == method)
        self._browser.events.remove(event)
        return event["params"]

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not is_so():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"waited in vain for {what}; the page: {self.evaluate('document.body.innerText')}"
                )
            time.sleep(0.03)

    def choose(self, file: Path) -> None:
        """Put a file into the page's file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def drop(self, file: Path, x: int, y: int) -> None:
        """Drag a file from the desktop and let it go at a place of the page."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def press(self, key: str) -> None:
        """Press and release one key."""
        self.call("Input.dispatchKeyEvent", type="keyDown", **KEYS[key])
        self.call("Input.dispatchKeyEvent", type="keyUp", **KEYS[key])

    def screenshot(self, *, whole: bool = True) -> bytes:
        """Return the page as a PNG file."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    @property
    def faults(self) -> list[str]:
        """Errors of the page's scripts, and what its Content-Security-Policy refused; no refused request."""
        ours = [each for each in self._browser.events if each.get("sessionId") == self._session]
        return [
            json.dumps(each["params"])
            for each in ours
            if each["method"] == "Runtime.exceptionThrown"
            or (
                each["method"] == "Log.entryAdded"
                and each["params"]["entry"]["level"] == "error"
                and each["params"]["entry"]["source"] != "network"
            )
        ]
