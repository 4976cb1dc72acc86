"""What is sent to the Cloud API for each kind of part, and what is refused before any request."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain import (
    CloudGroup,
    ContactCard,
    GroupJid,
    Lid,
    Location,
    Media,
    MediaKind,
    OutgoingPart,
    Phone,
    Quote,
    Template,
)
from actors.errors import BadPayload, Unsupported
from actors.gateways.whatsapp_cloud_requests import MAX_MEDIA_BYTES, base_type, check, message, wire_recipient

PERSON = Phone("+5511988887777")
GROUP = CloudGroup("Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")
MB = 1024 * 1024


def part(text="oi", recipient=PERSON, **fields):
    return OutgoingPart(message_id="m1", part=0, recipient=recipient, text=text, **fields)


def media(kind=MediaKind.IMAGE, mimetype="image/jpeg", content=None, url="https://files.example/a.jpg", name="a.jpg"):
    return Media(kind=kind, url=url, mimetype=mimetype, file_name=name, content=content)


def test_a_text():
    assert message(part("oi")) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+5511988887777",
        "type": "text",
        "text": {"preview_url": False, "body": "oi"},
        "biz_opaque_callback_data": "m1:0",
    }


@pytest.mark.parametrize("text", ["veja https://a.example", "http://a.example/x"])
def test_a_text_with_a_link_asks_for_its_preview(text):
    assert message(part(text))["text"]["preview_url"] is True


def test_a_group_of_this_api_is_a_group():
    body = message(part(recipient=GROUP))

    assert (body["recipient_type"], body["to"]) == ("group", GROUP.id)


def test_a_reply_names_the_message_in_its_context():
    body = message(part(quote=Quote(provider_message_id="wamid.1", from_me=False)))

    assert body["context"] == {"message_id": "wamid.1"}


@pytest.mark.parametrize(
    ("kind", "mimetype", "name", "content"),
    [
        (MediaKind.IMAGE, "image/png", "a.png", {"caption": "oi"}),
        (MediaKind.VIDEO, "video/mp4", "a.mp4", {"caption": "oi"}),
        (MediaKind.DOCUMENT, "application/pdf", "a.pdf", {"caption": "oi", "filename": "a.pdf"}),
        (MediaKind.DOCUMENT, "application/x-unknown", "x/a.bin", {"caption": "oi", "filename": "a.bin"}),
    ],
)
def test_a_file_by_its_link(kind, mimetype, name, content):
    body = message(part(media=media(kind, mimetype, url="https://files.example/f", name=name)))

    assert body["type"] == str(kind)
    assert body[str(kind)] == {"link": "https://files.example/f", **content}


@pytest.mark.parametrize(
    ("kind", "mimetype", "content"),
    [
        (MediaKind.VOICE, "audio/ogg; codecs=opus", {"voice": True}),
        (MediaKind.VOICE, "", {"voice": True}),
        (MediaKind.VOICE, "audio/mpeg", {}),
        (MediaKind.AUDIO, "audio/ogg", {}),
        (MediaKind.AUDIO, "audio/mp3", {}),
    ],
)
def test_only_ogg_is_a_voice_note_and_any_other_sound_a_sound(kind, mimetype, content):
    body = message(part("", media=media(kind, mimetype, url="https://files.example/f")))

    assert (body["type"], body["audio"]) == ("audio", {"link": "https://files.example/f", **content})


def test_an_uploaded_file_goes_by_its_id():
    body = message(part(media=media(content=b"x")), media_id="77")

    assert body["image"] == {"id": "77", "caption": "oi"}


def test_a_place():
    place = Location(latitude=-23.5, longitude=-46.6333333, name="Sé", address="Praça da Sé")

    assert message(part("", extra=place))["location"] == {
        "latitude": "-23.50000000",
        "longitude": "-46.63333330",
        "name": "Sé",
        "address": "Praça da Sé",
    }
    assert set(message(part("", extra=Location(latitude=1e-7, longitude=0)))["location"]) == {"latitude", "longitude"}


def test_a_contact_card():
    card = ContactCard(full_name="Ana Lima", phone="+5511977776666", organization="Loja")

    assert message(part("", extra=card))["contacts"] == [
        {
            "name": {"formatted_name": "Ana Lima", "first_name": "Ana Lima"},
            "phones": [{"phone": "+5511977776666", "type": "CELL"}],
            "org": {"company": "Loja"},
        }
    ]


def test_a_template_goes_as_it_was_approved():
    component = {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}

    assert message(part("", extra=Template(name="hi", language="pt_BR", components=(component,))))["template"] == {
        "name": "hi",
        "language": {"code": "pt_BR"},
        "components": [component],
    }
    assert "components" not in message(part("", extra=Template(name="hi", language="pt_BR")))["template"]


def test_a_number_always_goes_with_its_plus():
    assert wire_recipient(PERSON) == "+5511988887777"


@pytest.mark.parametrize("recipient", [GroupJid("120363025246125486@g.us"), Lid("123456789012345@lid")])
def test_what_this_api_cannot_reach_is_unsupported(recipient):
    with pytest.raises(Unsupported):
        message(part(recipient=recipient))


@pytest.mark.parametrize("fields", [{"mentions": ("+5511977776666",)}, {"mention_everyone": True}])
@pytest.mark.parametrize("recipient", [PERSON, GROUP])
def test_a_mention_is_unsupported(fields, recipient):
    with pytest.raises(Unsupported):
        message(part("@todos", recipient, **fields))


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (part(" "), "empty"),
        (part("x" * 4_097), "text_too_long"),
        (part("x" * 1_025, media=media()), "caption_too_long"),
        (part("oi", media=media(MediaKind.VOICE, "audio/ogg")), "caption_on_sound"),
        (part(media=media(mimetype="image/webp")), "media_type"),
        (part(media=media(mimetype="application/pdf")), "media_type"),
        (part(media=media(MediaKind.VIDEO, "video/quicktime")), "media_type"),
        (part("", media=media(MediaKind.AUDIO, "audio/wav")), "media_type"),
        (part(media=media(url="file:///etc/passwd")), "media_url"),
        (part(media=media(url="data:image/png;base64,AAAA")), "media_url"),
        (part(media=media(url="https:///a")), "media_url"),
        (part(media=media(content=b"")), "empty"),
        (OutgoingPart(message_id="m" * 511, part=0, recipient=PERSON, text="oi"), "reference_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_go_out_whole_is_refused(made, code):
    with pytest.raises(BadPayload) as caught:
        message(made)

    assert caught.value.code == code
    assert not caught.value.request_written


def test_the_longest_texts_go_out_whole():
    assert message(part("é" * 4_096))["text"]["body"] == "é" * 4_096
    assert message(part("é" * 1_024, media=media()))["image"]["caption"] == "é" * 1_024
    reference = message(OutgoingPart(message_id="m" * 510, part=0, recipient=PERSON, text="oi"))
    assert len(reference["biz_opaque_callback_data"]) == 512


@pytest.mark.parametrize(
    ("kind", "mimetype", "limit"),
    [
        (MediaKind.IMAGE, "image/png", 5 * MB),
        (MediaKind.VIDEO, "video/mp4", 16 * MB),
        (MediaKind.AUDIO, "audio/mpeg", 16 * MB),
        (MediaKind.VOICE, "audio/ogg", 16 * MB),
        (MediaKind.DOCUMENT, "application/pdf", 100 * MB),
    ],
)
def test_a_file_may_be_as_large_as_its_kind_allows_and_no_larger(kind, mimetype, limit):
    content = bytes(limit)
    check(part("", media=media(kind, mimetype, content)))

    with pytest.raises(BadPayload) as caught:
        check(part("", media=media(kind, mimetype, content + b"x")))

    assert caught.value.code == "media_too_large"
    assert MAX_MEDIA_BYTES[kind] == limit


@pytest.mark.parametrize(
    ("mimetype", "kind", "base"),
    [
        ("IMAGE/JPEG; q=1", MediaKind.IMAGE, "image/jpeg"),
        ("image/jpg", MediaKind.IMAGE, "image/jpeg"),
        ("", MediaKind.DOCUMENT, "application/octet-stream"),
    ],
)
def test_a_type_is_read_as_people_write_it(mimetype, kind, base):
    assert base_type(media(kind, mimetype)) == base


@given(
    text=st.text(max_size=5_000) | st.sampled_from(["\ud800", "\x00", "  a  "]),
    digits=st.from_regex(r"\A\+[1-9][0-9]{7,14}\Z"),
)
def test_any_text_goes_out_to_the_letter_or_not_at_all(text, digits):
    made = part(text, Phone(digits))
    if not text.strip() or len(text) > 4_096:
        with pytest.raises(BadPayload):
            message(made)
        return

    body = json.loads(json.dumps(message(made)))

    assert body["text"]["body"] == text
    assert body["to"] == digits
