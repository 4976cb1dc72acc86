"""What Django is asked to save, over HTTP, as browsers would ask.

``demo`` starts the :class:`Traffic`; ``demo_world`` and ``demo_watch`` ask the :class:`Host`.
"""

import http.client
import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.cli.demo_plan import Message, Plan
from actors.cli.demo_processes import DemoFailed

#: Browsers that write at the same time; the messages of one conversation come from one of them, in order.
BROWSERS = 4
_TIMEOUT_S = 30.0


class Host:
    """The Django project as its users see it. Safe to call from many threads."""

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.address}"

    def get(self, path: str) -> Any:
        """Answer to a GET."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Answer to a POST.

        Raises:
            DemoFailed: it is no success.
        """
        return self._ask("POST", path, json.dumps(body).encode())

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            self.get("/messages/status/")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        connection = http.client.HTTPConnection(self.address, timeout=_TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise DemoFailed(f"{method} {path} of the Django project answered {answer.status}")
        return json.loads(content)


class Traffic:
    """Saves the whole plan: pictures and groups first, then the messages of all conversations side by side."""

    def __init__(self, plan: Plan, host: Host) -> None:
        self.plan = plan
        self.host = host
        self.saved = 0
        self.failure: BaseException | None = None
        self._lock = threading.Lock()
        self._left = BROWSERS
        self._stopping = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether everything was asked.

        Raises:
            DemoFailed: something could not be saved.
        """
        if self.failure is not None:
            raise self.failure
        return self._left == 0

    def start(self) -> None:
        """Begin; ends by itself, or at :meth:`stop`."""
        for number in range(BROWSERS):
            errands = self._errands(number)
            threading.Thread(target=self._run, args=(errands,), name=f"browser-{number}", daemon=True).start()

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stopping.set()

    def _run(self, errands: list[Callable[[], Any]]) -> None:
        try:
            for errand in errands:
                if self._stopping.is_set():
                    return
                errand()
        except (DemoFailed, OSError, http.client.HTTPException, ValueError) as error:
            self.failure = DemoFailed(f"the Django project could not be asked: {error}")
        finally:
            with self._lock:
                self._left -= 1

    def _errands(self, number: int) -> list[Callable[[], Any]]:
        pictures = [(f"/conversations/{thread.id}/picture/", thread) for thread in self.plan.pictures]
        groups = [(f"/conversations/{thread.id}/group/", thread) for thread in self.plan.groups]
        asked = [path for path, _ in (*pictures, *groups)][number::BROWSERS]
        fetches = [lambda path=path: self.host.post(path, {}) for path in asked]
        return [*fetches, *(lambda message=message: self._save(message) for message in self._messages(number))]

    def _messages(self, number: int) -> list[Message]:
        """The messages of every fourth conversation, one of each in turn."""
        waiting = deque(deque(messages) for _, messages in list(self.plan.by_thread())[number::BROWSERS])
        ordered = []
        while waiting:
            conversation = waiting.popleft()
            ordered.append(conversation.popleft())
            if conversation:
                waiting.append(conversation)
        return ordered

    def _save(self, message: Message) -> None:
        self.host.post("/messages/", message.body)
        with self._lock:
            self.saved += 1
