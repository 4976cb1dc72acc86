"""Make the demo's plan from a seed: who writes what to whom, and whose key or number is wrong.

``demo`` calls :func:`make_plan`; tests make other plans of the same pieces. The same seed gives the same rows, ids included, and so the same faults of the sandbox.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from actors.cli.demo_plan import Line, Message, Part, Plan, Thread
from actors.cli.demo_texts import CAPTIONS, REPEATED, REPLIES, a_long_text, a_sentence

#: Conversations with messages: of the open line, of the one that is disconnected, of the one with the revoked key.
PEOPLE = {"vendas": 6, "suporte": 6, "cobranca": 3}
GROUPS = {"vendas": 3, "suporte": 2}
#: Conversations that are only asked about.
MORE_PEOPLE = 21
MORE_GROUPS = 5
#: Messages of a conversation in which nothing can be sent.
REFUSED_EACH = 3
DISCONNECTED, REVOKED = "suporte", "cobranca"

_IDS = UUID("5f0b8f0c-1a6e-5b9d-8a63-0c1f5e2d7a10")
_NAMES = ("Antônia", "João", "Conceição", "Inácio", "Márcia", "Sebastião", "Luísa", "Tomé", "Zuleica", "Cauã")
_SUBJECTS = (
    "Condomínio São José 🏢",
    "Família Gonçalves",
    "Manutenção — 3º turno",
    "Turma de Inglês",
    "Mães do 5º ano 💛",
)
_FILES = "https://media.example.com"
#: What is written in one conversation, over and over, shuffled.
_DECK = ("text", "text", "text", "text", "reply", "reply", "picture", "voice", "document", "repeated", "repeated")
_GROUP_DECK = ("text", "text", "mention", "everyone", "reply", "picture", "voice", "repeated")
#: Told apart from the deck: once in every third conversation.
_LONG_EVERY = 3

Draw = random.Random
#: Fields of the body, and the parts that must come of them.
Content = tuple[dict[str, Any], tuple[Part, ...]]


def make_plan(*, seed: int, messages: int) -> Plan:
    """A plan with that many messages."""
    draw = random.Random(seed)  # noqa: S311 - a story that can be told again, not a secret
    lines = {name: _line(seed, name) for name in PEOPLE}
    threads = [*_people(seed, lines), *_groups(seed, lines)]
    counts = _counts(threads, messages)
    return Plan(
        lines=tuple(lines.values()),
        threads=tuple(threads),
        messages=tuple(
            message for thread in threads for message in conversation(seed, draw, thread, counts.get(thread.id, 0))
        ),
        disconnected=DISCONNECTED,
    )


def _id(seed: int, *names: object) -> str:
    return str(uuid5(_IDS, "/".join(map(str, (seed, *names)))))


def _line(seed: int, name: str) -> Line:
    key = _id(seed, "key", name)
    return Line(name=name, key=key, token=_id(seed, "new key", name) if name == REVOKED else key)


def _people(seed: int, lines: dict[str, Line]) -> list[Thread]:
    """Persons with messages first; the last of the open line is not on WhatsApp."""
    owners = [lines[name] for name, count in PEOPLE.items() for _ in range(count)]
    owners += [lines["vendas"]] * MORE_PEOPLE
    people = [person(seed, line, number) for number, line in enumerate(owners, start=1)]
    absent = PEOPLE["vendas"] - 1
    people[absent] = replace(people[absent], exists=False, picture=None)
    return people


def person(seed: int, line: Line, number: int) -> Thread:
    """A conversation with somebody; ``number`` makes who that is."""
    address, wire = _address(number)
    picture = f"{_FILES}/faces/{number}.jpg"
    return Thread(
        id=_id(seed, "person", number),
        line=line,
        name=_NAMES[number % len(_NAMES)],
        address=address,
        wire=wire,
        # Every sixth shows none; of these every second has an older one on the row, which must stay.
        picture=None if number % 6 == 0 else picture,
        stored_picture=f"{_FILES}/older/{number}.jpg" if number % 12 == 0 else None,
        # While a session is down Evolution says "no picture", which cannot be told from the truth.
        wants_picture=line.name != DISCONNECTED,
    )


def _address(number: int) -> tuple[str, str]:
    """How the row writes a number, and how the gateway is asked for it; most are of Brazil, in the forms that hosts store."""
    digits = f"55{11 + number * 7 % 80}98888{number:04}"
    forms = (
        (f"+{digits}", digits),
        (f"+55 ({digits[2:4]}) {digits[4:9]}-{digits[9:]}", digits),
        (f"{digits}@s.whatsapp.net", digits),
        (f"+351 91 000 {number:04}", f"35191000{number:04}"),
        (f"1000000000{number:04}@lid", f"1000000000{number:04}@lid"),
    )
    return forms[(0, 1, 0, 2, 1, 3, 0, 4)[number % 8]]


def _groups(seed: int, lines: dict[str, Line]) -> list[Thread]:
    owners = [lines[name] for name, count in GROUPS.items() for _ in range(count)]
    owners += [lines[name] for name in ("vendas", "suporte")] * MORE_GROUPS
    return [group(seed, line, number) for number, line in enumerate(owners[: sum(GROUPS.values()) + MORE_GROUPS])]


def group(seed: int, line: Line, number: int) -> Thread:
    """A group; ``number`` makes which."""
    jid = f"1203630000000{number:05}@g.us"
    members = tuple(f"55119777{number:02}{member:03}@s.whatsapp.net" for member in range(3 + number))
    return Thread(
        id=_id(seed, "group", number),
        line=line,
        name=f"grupo {number}",
        address=jid,
        wire=jid,
        is_group=True,
        picture=f"{_FILES}/groups/{number}.jpg" if number % 2 else None,
        subject=f"{_SUBJECTS[number % len(_SUBJECTS)]} ({number})",
        members=members,
        stored_members=members[:2] if number % 3 == 0 else (),
        wants_group=True,
    )


def _counts(threads: list[Thread], messages: int) -> dict[str, int]:
    """Messages per conversation; where nothing can be sent only a few."""
    talking = [*threads[: sum(PEOPLE.values())], *[one for one in threads if one.is_group][: sum(GROUPS.values())]]
    refused = [one for one in talking if one.line.is_revoked or not one.exists]
    few = max(2, min(REFUSED_EACH, messages // (4 * len(talking))))
    counts = {one.id: few for one in refused}
    open_ = [one for one in talking if one.id not in counts]
    each, more = divmod(messages - few * len(refused), len(open_))
    return counts | {one.id: each + (index < more) for index, one in enumerate(open_)}


def conversation(seed: int, draw: Draw, thread: Thread, count: int) -> list[Message]:
    """``count`` messages of every kind that are written in ``thread``, in their order."""
    deck: list[str] = []
    written: list[Message] = []
    long_at = count - 1 if _is_long_winded(thread) else None
    for place in range(count):
        if not deck:
            deck = list(_GROUP_DECK if thread.is_group else _DECK)
            draw.shuffle(deck)
        kind = "long" if place == long_at else deck.pop()
        if kind == "reply" and not written:
            kind = "text"
        body, parts = _WRITERS[kind](draw, f" ({place + 1})", thread, written)
        id_ = _id(seed, "message", thread.id, place)
        body = {"id": id_, "conversation_id": thread.id, **body}
        written.append(Message(id=id_, thread=thread, place=place, kind=kind, body=body, parts=parts))
    return written


def _is_long_winded(thread: Thread) -> bool:
    return int(thread.id[:8], 16) % _LONG_EVERY == 0


# -- one writer per kind -------------------------------------------------------------------------------------------


def _text(draw: Draw, tail: str, _: Thread, __: list[Message]) -> Content:
    text = a_sentence(draw, tail=tail)
    return {"content": text}, (Part(op="sendText", text=text),)


def _repeated(_: Draw, __: str, ___: Thread, ____: list[Message]) -> Content:
    return {"content": REPEATED}, (Part(op="sendText", text=REPEATED),)


def _long(draw: Draw, _: str, __: Thread, ___: list[Message]) -> Content:
    text = a_long_text(draw)
    return {"content": text}, (Part(op="sendText", text=text),)


def _reply(draw: Draw, tail: str, _: Thread, written: list[Message]) -> Content:
    text, original = f"{draw.choice(REPLIES)}{tail}", draw.choice(written)
    return {"content": text, "reply_to": original.id}, (Part(op="sendText", text=text, quotes=original.id),)


def _picture(draw: Draw, tail: str, thread: Thread, _: list[Message]) -> Content:
    """One or two pictures; the text is the caption of the first."""
    caption = draw.choice(CAPTIONS)
    names = [f"{thread.id[:8]}{tail.strip(' ()')}-{index}.jpg" for index in range(draw.choice((1, 1, 2)))]
    files = [_file("image/jpeg", name) for name in names]
    texts = [caption, *[""] * (len(files) - 1)]
    parts = [Part(op="sendMedia", text=text, url=file["file_url"]) for file, text in zip(files, texts, strict=True)]
    return {"content": caption, "attachments": files}, tuple(parts)


def _document(draw: Draw, tail: str, thread: Thread, _: list[Message]) -> Content:
    mimetype, extension = draw.choice((("application/pdf", "pdf"), ("video/mp4", "mp4")))
    file = _file(mimetype, f"{thread.id[:8]}{tail.strip(' ()')}-relatório.{extension}")
    text = f"{draw.choice(CAPTIONS)}{tail}"
    return {"content": text, "attachments": [file]}, (Part(op="sendMedia", text=text, url=file["file_url"]),)


def _voice(draw: Draw, tail: str, thread: Thread, _: list[Message]) -> Content:
    """A voice note has no caption, so a text beside it must arrive by itself."""
    file = _file("audio/ogg", f"{thread.id[:8]}{tail.strip(' ()')}.ogg")
    text = draw.choice(("", f"Resumo do áudio{tail}"))
    parts = [Part(op="sendWhatsAppAudio", url=file["file_url"])]
    return {"content": text, "attachments": [file]}, (*parts, *([Part(op="sendText", text=text)] if text else []))


def _mention(draw: Draw, tail: str, thread: Thread, _: list[Message]) -> Content:
    digits = draw.choice(thread.members).removesuffix("@s.whatsapp.net")
    text = f"@{digits} pode verificar, por favor?{tail}"
    return {"content": text, "mentions": [f"+{digits}"]}, (Part(op="sendText", text=text, mentions=(digits,)),)


def _everyone(draw: Draw, tail: str, _: Thread, __: list[Message]) -> Content:
    text = a_sentence(draw, tail=tail)
    return {"content": text, "mention_everyone": True}, (Part(op="sendText", text=text, everyone=True),)


def _file(mimetype: str, name: str) -> dict[str, str]:
    # The gateway fetches the file; the host's link to it carries no accent.
    url = f"{_FILES}/files/{name.encode('ascii', 'ignore').decode()}"
    return {"mime_type": mimetype, "original_filename": name, "file_url": url}


_WRITERS: dict[str, Callable[[Draw, str, Thread, list[Message]], Content]] = {
    "text": _text,
    "repeated": _repeated,
    "long": _long,
    "reply": _reply,
    "picture": _picture,
    "document": _document,
    "voice": _voice,
    "mention": _mention,
    "everyone": _everyone,
}
