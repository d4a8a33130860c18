"""Chromium without a window and without a network, one for all tests of a module."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


class Browser:
    """A page in the browser, and what a reader does with it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, path: Path) -> float:
        """Open a page; return how many milliseconds it took until it answered."""
        self.driver.get(path.as_uri())
        mark = "return performance.getEntriesByName('interactive')[0]?.startTime"
        waiting = WebDriverWait(self.driver, 60, poll_frequency=0.02)
        return float(str(waiting.until(lambda _: self.run(mark))))

    def run(self, script: str, *arguments: object) -> object:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
        found = cast("list[str]", self.run(script, selector))
        return [re.sub("[ \t]+", " ", each).strip() for each in found]

    def text(self, selector: str) -> str:
        return self.texts(selector)[0]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def search(self, text: str, expected: str) -> None:
        """Search, and wait until the count of what was found is the expected one."""
        box = self.one("input[type=search]")
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(text)
        WebDriverWait(self.driver, 20, poll_frequency=0.02).until(
            lambda _: self.text(".count") == expected, f"{self.text('.count')} is not {expected}"
        )

    def overflow(self, width: int) -> int:
        """Return by how many pixels the page is wider than a window of this width."""
        with self.sized(width):
            return int(str(self.run("return document.documentElement.scrollWidth"))) - width

    @contextmanager
    def sized(self, width: int) -> Iterator[None]:
        """Let the window be of this width while the block lasts."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def complaints(self) -> list[str]:
        return [str(entry["message"]) for entry in self.log("browser")]

    def log(self, kind: str) -> list[dict[str, object]]:
        """Return what the browser has noted since the last call."""
        entries = self.driver.get_log(kind)
        return cast("list[dict[str, object]]", entries)


@pytest.fixture(scope="module")
def started() -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail("needs Chromium: apt-get install chromium chromium-driver", pytrace=False)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Below the ports that connections are given: none can take it before chromedriver listens.
    service = webdriver.ChromeService(driver, port=20_000 + os.getpid() % 10_000)
    with webdriver.Chrome(options, service) as chrome:
        chrome.set_window_size(1280, 900)
        yield chrome


@pytest.fixture
def browser(started: webdriver.Chrome) -> Iterator[Browser]:
    """A browser whose console must stay silent: no error, nothing blocked."""
    started.get("about:blank")
    browser = Browser(started)
    browser.complaints()
    yield browser
    assert browser.complaints() == []
