"""Read an answer of Evolution into facts that rules can ask for. Pure; no body makes it fail.

Bodies hold a message as text, list, nested list or objects, wrapped or bare, or are a proxy's HTML. Nothing of a body ever
reaches an error text: it may quote a number or a chat message.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import islice
from typing import Any

from actors.gateways.exchange import Answer

#: Values looked at in one body, and characters kept of each text: an answer worth reading is far smaller.
MAX_VALUES = 5_000
MAX_TEXT = 4_000
#: Characters looked at in one body.
MAX_TEXTS = 200_000
#: Codes of Meta have six or seven digits.
MAX_CODE = 10**8

_NOT_JSON = object()


class Operation(StrEnum):
    """What was asked of Evolution, by the name of its endpoint."""

    #: A text, to a person or group.
    SEND_TEXT = "sendText"
    #: A picture, film, file or sound.
    SEND_MEDIA = "sendMedia"
    #: A voice note.
    SEND_AUDIO = "sendWhatsAppAudio"
    #: A place on the map.
    SEND_LOCATION = "sendLocation"
    #: A contact card.
    SEND_CONTACT = "sendContact"
    #: A person's picture.
    FETCH_PICTURE = "fetchProfilePictureUrl"
    #: A group's subject, picture, members.
    FETCH_GROUP = "findGroupInfos"
    #: The account behind a number.
    FIND_ACCOUNT = "whatsappNumbers"
    #: What was really sent.
    FIND_MESSAGES = "findMessages"
    #: Whether the session is open.
    CONNECTION_STATE = "connectionState"
    #: Which Evolution it is.
    VERSION = "version"

    @property
    def is_send(self) -> bool:
        """Whether asking twice may reach a person twice."""
        return self in _SENDS


_SENDS = frozenset(
    {
        Operation.SEND_TEXT,
        Operation.SEND_MEDIA,
        Operation.SEND_AUDIO,
        Operation.SEND_LOCATION,
        Operation.SEND_CONTACT,
    }
)


@dataclass(frozen=True)
class Facts:
    """One answer, read. ``to_group`` tells whether a send went to a group."""

    operation: Operation
    answer: Answer = field(repr=False)
    to_group: bool = False
    now_ms: int = 0

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.answer.status

    @cached_property
    def body(self) -> Any:
        """Decoded JSON, or a marker that :attr:`is_json` knows."""
        try:
            return json.loads(self.answer.body)
        except (ValueError, RecursionError):
            return _NOT_JSON

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return self.body is not _NOT_JSON

    @cached_property
    def _values(self) -> tuple[list[str], list[dict[str, Any]]]:
        texts: list[str] = []
        objects: list[dict[str, Any]] = []
        left = MAX_TEXTS
        for value in _walk(self.body):
            if isinstance(value, str):
                texts.append(value[: min(left, MAX_TEXT)])
                left -= len(texts[-1])
            elif isinstance(value, dict):
                objects.append(value)
        return texts, objects

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Every object in the body, the outermost first."""
        return self._values[1]

    @cached_property
    def database_texts(self) -> list[str]:
        """Texts of a failed database call; they quote the row, hence the chat message."""
        return [text for text in self._values[0] if "prismaRepository." in text]

    @cached_property
    def plain_texts(self) -> list[str]:
        """Every other text."""
        return [text for text in self._values[0] if "prismaRepository." not in text]

    def says(self, pattern: str) -> bool:
        """Whether a text matches ``pattern``.

        Texts that quote the row do not count: whoever writes "Connection Closed" in a chat must not decide a rule.
        """
        return any(re.search(pattern, text) for text in self.plain_texts)

    def database_says(self, pattern: str) -> bool:
        """Whether a failed database call matches ``pattern``, looked for before the row that it quotes."""
        return any(re.search(pattern, text[:400]) for text in self.database_texts)

    def raw_says(self, pattern: str) -> bool:
        """Whether the first 2,000 bytes match, whatever they are; for the pages of proxies."""
        return re.search(pattern, self.answer.body[:2_000].decode("latin-1")) is not None

    @property
    def message(self) -> Any:
        """``response.message`` of the envelope, or None."""
        response = self.body.get("response") if isinstance(self.body, dict) else None
        return response.get("message") if isinstance(response, dict) else None

    @property
    def title(self) -> str:
        """``error`` of the envelope, or an empty text."""
        title = self.body.get("error") if isinstance(self.body, dict) else None
        return title if isinstance(title, str) else ""

    @property
    def message_id(self) -> str | None:
        """``key.id`` when it is an id that can be stored."""
        key = self.body.get("key") if isinstance(self.body, dict) else None
        value = key.get("id") if isinstance(key, dict) else None
        # A lone surrogate is a str that no database takes; such an id would be lost, hence it is none.
        if isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable() and value.strip():
            return value
        return None

    @property
    def graph_code(self) -> int | None:
        """Numeric ``code`` of a Graph error that came wrapped in a success."""
        return self._graph_number("code")

    @property
    def graph_subcode(self) -> int | None:
        """Its ``error_subcode``."""
        return self._graph_number("error_subcode")

    def _graph_number(self, name: str) -> int | None:
        body = self.body
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            body = body["error"]
        number = body.get(name) if isinstance(body, dict) else None
        is_code = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MAX_CODE
        return number if is_code else None


def _walk(body: Any) -> Iterator[Any]:
    """Every value of a decoded body, outermost first; keeps its own stack, so no depth is too deep."""
    pending = deque([body])
    seen = 0
    while pending and seen < MAX_VALUES:
        value = pending.popleft()
        seen += 1
        yield value
        if isinstance(value, dict):
            pending.extend(islice(value.values(), MAX_VALUES))
        elif isinstance(value, list):
            pending.extend(islice(value, MAX_VALUES))
