"""A sent message is known again by chat, time, kind and content, and by belonging to no other part."""

import unicodedata

import pytest

from actors.domain import GroupJid, Media, MediaKind, OutgoingPart, Phone
from actors.gateways import evolution_search as search

AT_MS = 1_761_050_000_000
JID = "5511988887777@s.whatsapp.net"
WINDOW = search.Window.around(AT_MS, AT_MS + 60_000)
IMAGE = Media(kind=MediaKind.IMAGE, url="https://f.example/a", mimetype="image/jpeg", file_name="a.jpg")
PDF = Media(kind=MediaKind.DOCUMENT, url="https://f.example/a", mimetype="application/pdf", file_name="relatório")


def part(text="oi", recipient=None, media=None):
    return OutgoingPart(message_id="m", part=0, recipient=recipient or Phone("+5511988887777"), text=text, media=media)


def record(key_id="3EB01", *, message=None, at_ms=AT_MS, jid=JID, from_me=True):
    return {
        "key": {"id": key_id, "remoteJid": jid, "fromMe": from_me},
        "message": message or {"conversation": "oi"},
        "messageTimestamp": at_ms // 1000,
    }


def find(wanted, *records, bound=()):
    found = search.find(wanted, list(records), window=WINDOW, bound_ids=bound)
    return None if found is None else found.provider_message_id


@pytest.mark.parametrize(
    "message",
    [{"conversation": "oi"}, {"extendedTextMessage": {"text": "oi"}}],
)
def test_a_text_is_found_in_either_form(message):
    assert find(part(), record(message=message)) == "3EB01"


@pytest.mark.parametrize(
    "other",
    [
        record(message={"conversation": "oi "}),
        record(message={"conversation": "Oi"}),
        record(message={"imageMessage": {"caption": "oi"}}),
        record(message={"reactionMessage": {}}),
        record(jid="5511988887778@s.whatsapp.net"),
        record(from_me=False),
        record(at_ms=AT_MS - 7_000),
        record(at_ms=AT_MS + 67_000),
        record(key_id=""),
        record(key_id=None),
        {"key": None, "message": {"conversation": "oi"}},
        {},
    ],
)
def test_another_message_is_not_taken_for_it(other):
    assert find(part(), other) is None


@pytest.mark.parametrize(
    ("alt", "found"), [(JID, "3EB01"), ("5511988887778@s.whatsapp.net", None), (None, None), (7, None)]
)
def test_a_record_under_a_linked_id_is_known_by_the_number_beside_it(alt, found):
    linked = record(jid="123456789012345@lid")
    linked["key"]["remoteJidAlt"] = alt

    assert find(part(), linked) == found


def test_accents_may_be_written_either_way():
    composed, decomposed = unicodedata.normalize("NFC", "não"), unicodedata.normalize("NFD", "não")

    assert find(part(text=decomposed), record(message={"conversation": composed})) == "3EB01"


def test_of_two_identical_texts_the_earliest_unbound_one_is_taken():
    newest_first = [record("3EB02", at_ms=AT_MS + 9_000), record("3EB01", at_ms=AT_MS + 1_000)]

    assert find(part(), *newest_first) == "3EB01"
    assert find(part(), *newest_first, bound={"3EB01"}) == "3EB02"
    assert find(part(), *newest_first, bound={"3EB01", "3EB02"}) is None


def test_within_one_second_the_one_listed_last_is_the_earliest():
    assert find(part(), record("3EB02"), record("3EB01")) == "3EB01"


@pytest.mark.parametrize("jid", ["5531991234567@s.whatsapp.net", "553191234567@s.whatsapp.net"])
def test_a_number_with_two_addresses_is_found_under_both(jid):
    assert find(part(recipient=Phone("+5531991234567")), record(jid=jid)) == "3EB01"


@pytest.mark.parametrize(
    ("media", "message", "found"),
    [
        (IMAGE, {"imageMessage": {"caption": "oi", "mimetype": "image/jpeg"}}, True),
        (IMAGE, {"imageMessage": {"caption": "oi"}}, True),
        (IMAGE, {"imageMessage": {"caption": "oi", "mimetype": "image/png"}}, False),
        (IMAGE, {"imageMessage": {"mimetype": "image/jpeg"}}, False),
        (IMAGE, {"videoMessage": {"caption": "oi"}}, False),
        (PDF, {"documentMessage": {"caption": "oi", "fileName": "relatório.pdf"}}, True),
        (PDF, {"documentMessage": {"caption": "oi", "fileName": "outro.pdf"}}, False),
        (PDF, {"documentWithCaptionMessage": {"message": {"documentMessage": {"caption": "oi"}}}}, True),
    ],
)
def test_a_file_is_found_by_kind_caption_and_what_is_known_of_it(media, message, found):
    assert find(part(media=media), record(message=message)) == ("3EB01" if found else None)


@pytest.mark.parametrize(("kind", "ptt"), [(MediaKind.VOICE, True), (MediaKind.AUDIO, False)])
def test_a_voice_note_is_not_taken_for_a_sound_file(kind, ptt):
    sound = Media(kind=kind, url="https://f.example/a", mimetype="audio/ogg", file_name="a.ogg")
    wanted = part(text="", media=sound)

    assert find(wanted, record(message={"audioMessage": {"mimetype": "audio/ogg; codecs=opus", "ptt": ptt}})) == "3EB01"
    assert find(wanted, record(message={"audioMessage": {"ptt": not ptt}})) is None
    assert find(wanted, record(message={"audioMessage": {}})) == "3EB01"


@pytest.mark.parametrize("value", [str(AT_MS // 1000), {"low": AT_MS // 1000, "high": 0}, None, "soon", True])
def test_a_time_in_any_form_does_not_hide_a_message(value):
    assert find(part(), {**record(), "messageTimestamp": value}) == "3EB01"


def test_a_query_names_chat_and_both_bounds():
    group = GroupJid("1203@g.us")

    body = search.query(group.jid, WINDOW, page=2)

    assert body == {
        "where": {
            "key": {"remoteJid": "1203@g.us", "fromMe": True},
            "messageTimestamp": {"gte": "2025-10-21T12:33:15.000Z", "lte": "2025-10-21T12:34:25.000Z"},
        },
        "page": 2,
        "offset": 50,
    }


@pytest.mark.parametrize(
    ("header", "skew_ms"),
    [
        ("Tue, 21 Oct 2025 12:33:20 GMT", 0),
        ("Tue, 21 Oct 2025 12:33:22 GMT", 0),
        ("Tue, 21 Oct 2025 12:34:20 GMT", 60_000),
        ("Tue, 21 Oct 2025 12:31:20 GMT", -120_000),
        ("", 0),
        ("yesterday", 0),
        ("Tue, 99 Oct 2025 99:99:99 GMT", 0),
    ],
)
def test_the_date_header_tells_how_far_the_clocks_are_apart(header, skew_ms):
    assert search.skew_ms(header, now_ms=AT_MS) == skew_ms


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"messages": []},
        {"messages": {"records": []}},
        {"messages": {"records": {}, "pages": 1}},
        {"messages": {"records": [], "pages": True}},
        "html",
    ],
)
def test_what_is_no_list_of_messages_is_never_an_empty_one(body):
    assert search.Page.of(body) is None


def test_a_page_keeps_what_can_be_read():
    page = search.Page.of({"messages": {"total": 2, "pages": 3, "records": [record(), "broken", None]}})

    assert page is not None
    assert (len(page.records), page.pages) == (1, 3)
