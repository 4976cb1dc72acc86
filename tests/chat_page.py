"""One window of the chat, as a person has it: looked at and typed into, never called behind its back."""

from typing import Any

from chat.models import Conversation
from chat_site import Site
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from waiting import until

#: A loaded machine starts a process, or paints, as slowly as that.
WITHIN_MS = 30_000
#: Text, status and why it failed of every bubble, read at one moment.
_BUBBLES = """
return [...document.querySelectorAll("#log .bubble")].map((one) => [
  one.querySelector(".text")?.textContent ?? "", one.dataset.status, one.querySelector(".tick .hidden")?.textContent ?? "",
  [...one.querySelectorAll(".failure p")].filter((why) => why.offsetParent).map((why) => why.textContent).join(" ")])
"""


class Page:
    """A window; every method goes to it first."""

    def __init__(self, driver: WebDriver, site: Site) -> None:
        self.driver, self.site = driver, site
        driver.switch_to.new_window("window")
        self.window = driver.current_window_handle

    def open(self, conversation: Conversation) -> None:
        self._go()
        self.driver.get(f"{self.site.url}/chat/{conversation.pk}/")
        self.until_link("live")
        # Whatever loads the page anew takes this along.
        self.js("window.isTheSame = true")

    def js(self, script: str, *arguments: Any) -> Any:
        self._go()
        return self.driver.execute_script(script, *arguments)

    def find(self, css: str) -> WebElement:
        self._go()
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def count(self, css: str) -> int:
        self._go()
        return len(self.driver.find_elements(By.CSS_SELECTOR, css))

    def click(self, css: str) -> None:
        self._go()

        def clicked() -> bool:
            try:
                self.find(css).click()
            except StaleElementReferenceException:
                return False
            return True

        until(clicked, within_ms=WITHIN_MS)

    def write(self, text: str) -> None:
        """Type it into the field and press Enter; a line break is Shift and Enter."""
        field = self.find("#text")
        for index, line in enumerate(text.split("\n")):
            if index:
                field.send_keys(Keys.SHIFT, Keys.ENTER)
            field.send_keys(line)
        field.send_keys(Keys.ENTER)

    def bubbles(self) -> list[list[str]]:
        """Text, status, its words, and the reason that is shown, of each."""
        return list(self.js(_BUBBLES))

    def until_bubbles(self, *wanted: tuple[str, str]) -> None:
        """Wait for exactly these, each a text and a status, in this order; the page is still the same one."""
        try:
            until(lambda: [(one[0], one[1]) for one in self.bubbles()] == list(wanted), within_ms=WITHIN_MS)
        except AssertionError as error:
            raise AssertionError(f"{self.bubbles()} instead of {wanted}; link {self._text('#link')}") from error
        assert self.js("return window.isTheSame") is True

    def until_link(self, state: str) -> None:
        until(lambda: self.find("#link").get_attribute("data-link") == state, within_ms=WITHIN_MS)

    def until_text(self, css: str, part: str) -> None:
        """Wait until what is shown there has this in it; "" = until nothing is."""
        until(lambda: part in self._text(css) if part else not self._text(css), within_ms=WITHIN_MS)

    def errors(self) -> list[str]:
        """What the browser complained of."""
        self._go()
        return [one["message"] for one in self.driver.get_log("browser")]

    def _text(self, css: str) -> str:
        return str(self.js("return document.querySelector(arguments[0])?.innerText ?? ''", css)).strip()

    def _go(self) -> None:
        self.driver.switch_to.window(self.window)
