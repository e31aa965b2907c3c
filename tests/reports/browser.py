"""A headless Chromium, driven over its DevTools protocol: no driver, and nothing to download."""

import itertools
import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import websocket

PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or ""
_FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=*"),
)


class Page:
    """One page, and every request that it makes."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=60)
        self._numbers = itertools.count(1)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self("enable", domain)

    def __call__(self, method: str, domain: str = "Page", **parameters: Any) -> dict[str, Any]:
        """Sends one command and returns its result; notes what the page tells meanwhile."""
        number = next(self._numbers)
        self._socket.send(
            json.dumps({"id": number, "method": f"{domain}.{method}", "params": parameters})
        )
        while (told := self._next()).get("id") != number:
            pass
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    def _next(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._socket.recv())
        match told.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(told["params"]["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["params"]))
        return told

    def open(self, file: Path, width: int) -> None:
        """Loads a file in a window of that width."""
        self(
            "setDeviceMetricsOverride",
            "Emulation",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self("navigate", url=file.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, which the page's own policy does not bind."""
        told = self("evaluate", "Runtime", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def close(self) -> None:
        """Leaves it."""
        self._socket.close()

    def picture(self) -> bytes:
        """The whole page, as a PNG."""
        return b64decode(self("captureScreenshot", captureBeyondViewport=True)["data"])

    def printed(self) -> bytes:
        """The page on A4, as a PDF."""
        return b64decode(self("printToPDF", preferCSSPageSize=True)["data"])


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with a new profile in that folder."""
    with subprocess.Popen(
        [PROGRAM, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stderr is not None
            listening = next(line for line in running.stderr if "DevTools listening on" in line)
            address = listening.split()[-1]
            with closing(websocket.create_connection(address, timeout=60)) as asked:
                asked.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
                targets = json.loads(asked.recv())["result"]["targetInfos"]
            target = next(one["targetId"] for one in targets if one["type"] == "page")
            with closing(Page(address.rpartition("/browser/")[0] + f"/page/{target}")) as page:
                yield page
        finally:
            running.terminate()
