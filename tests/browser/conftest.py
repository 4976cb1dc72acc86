"""A browser of the system, and the chat that it opens."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sandbox_fixture
from chat_page import Page
from chat_site import Site, running
from django_fixtures import sqlite_alias, unblocked
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

__all__ = ["sqlite_alias", "unblocked"]

#: ``--no-sandbox``: in a container the kernel lets no user of it make namespaces.
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,800")


@pytest.fixture(scope="session")
def site(sqlite_alias: str, django_db_blocker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("chat")
    with (
        sandbox_fixture.running() as sandbox,
        django_db_blocker.unblock(),
        running(folder, sqlite_alias, sandbox) as one,
    ):
        yield one


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Both paths are given, so selenium looks for nothing and fetches nothing.
    one = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        yield one
    finally:
        one.quit()


@pytest.fixture
def open_page(site: Site, driver: webdriver.Chrome, unblocked: None) -> Iterator[Callable[..., Page]]:
    """``open_page(conversation)``: its page in a window of its own, live."""
    first = driver.current_window_handle

    def open_page(conversation) -> Page:
        page = Page(driver, site)
        page.open(conversation)
        return page

    driver.get(site.entry)
    # What it complained of in the test before, whose server was stopped on purpose.
    driver.get_log("browser")
    yield open_page
    for window in driver.window_handles:
        if window != first:
            driver.switch_to.window(window)
            driver.close()
    driver.switch_to.window(first)
