"""What is sent to Evolution for a part, to the field."""

import json

import pytest

from actors.domain import GroupJid, Lid, Media, MediaKind, OutgoingPart, Phone, Quote
from actors.errors import BadPayload
from actors.gateways.evolution_requests import file_name, send_request

PHONE = Phone("+5531991234567")
GROUP = GroupJid("120363025246125486@g.us")
PDF = Media(kind=MediaKind.DOCUMENT, url="https://files.example/a", mimetype="application/pdf", file_name="a.pdf")


def part(recipient=PHONE, **fields):
    return OutgoingPart(message_id="m-1", part=0, recipient=recipient, **fields)


def media(kind, mimetype, name="x", url="https://files.example/x"):
    return Media(kind=kind, url=url, mimetype=mimetype, file_name=name)


def test_a_text_to_a_person():
    request = send_request(part(text="oi", sequence=4, mentions=("5511999990001",), mention_everyone=True))

    assert request.operation == "sendText"
    assert request.payload == {"number": "5531991234567", "text": "oi"}
    assert request.headers == {"X-Client-Ref": "m-1:0", "X-Client-Seq": "4"}
    assert request.read_s == 60


def test_a_text_to_a_linked_id_keeps_the_whole_id():
    assert send_request(part(Lid("123456789012345@lid"), text="oi")).payload["number"] == "123456789012345@lid"


def test_a_reply_stands_at_the_root_and_names_the_chat_as_evolution_does():
    quote = Quote(provider_message_id="3EB0AA", from_me=False, participant="1@lid")

    payload = send_request(part(text="oi", quote=quote)).payload

    assert payload["quoted"] == {"key": {"id": "3EB0AA", "remoteJid": "553191234567@s.whatsapp.net", "fromMe": False}}


def test_a_reply_in_a_group_names_who_wrote_it():
    quote = Quote(provider_message_id="3EB0AA", from_me=True, participant="1@lid")

    key = send_request(part(GROUP, text="oi", quote=quote)).payload["quoted"]["key"]

    assert key == {"id": "3EB0AA", "remoteJid": GROUP.jid, "fromMe": True, "participant": "1@lid"}


def test_mentions_in_a_group_are_digits_or_linked_ids_each_once():
    mentions = ("+5511999990001", "5511999990001@s.whatsapp.net", "12@lid", "nobody", "")

    request = send_request(part(GROUP, text="@5511999990001", mentions=mentions, mention_everyone=True))

    assert request.payload["mentioned"] == ["5511999990001", "12@lid"]
    assert request.payload["mentionsEveryOne"] is True
    assert (request.read_s, request.to_group) == (120, True)


def test_a_group_text_without_mentions_has_no_mention_field():
    assert send_request(part(GROUP, text="oi")).payload == {"number": GROUP.jid, "text": "oi"}


def test_a_file_goes_with_type_name_and_caption():
    request = send_request(part(text="veja", media=PDF))

    assert request.operation == "sendMedia"
    assert request.payload == {
        "number": "5531991234567",
        "mediatype": "document",
        "media": PDF.url,
        "mimetype": "application/pdf",
        "fileName": "a.pdf",
        "caption": "veja",
    }
    assert request.read_s == 120


def test_a_voice_note_has_neither_reply_nor_mention():
    quote = Quote(provider_message_id="3EB0AA", from_me=False)
    voice = media(MediaKind.VOICE, "audio/ogg")

    request = send_request(part(GROUP, media=voice, quote=quote, mention_everyone=True))

    assert request.operation == "sendWhatsAppAudio"
    assert request.payload == {"number": GROUP.jid, "audio": voice.url}


def test_a_sound_file_is_sent_as_media():
    request = send_request(part(media=media(MediaKind.AUDIO, "audio/mpeg", "som.mp3")))

    assert (request.operation, request.payload["mediatype"]) == ("sendMedia", "audio")


@pytest.mark.parametrize("kind", [MediaKind.AUDIO, MediaKind.VOICE])
def test_a_text_with_a_sound_is_refused_rather_than_lost(kind):
    with pytest.raises(BadPayload) as caught:
        send_request(part(text="segredo", media=media(kind, "audio/ogg")))

    assert caught.value.code == "caption_on_sound"
    assert not caught.value.request_written
    assert "segredo" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_part_with_nothing_in_it_is_refused(text):
    with pytest.raises(BadPayload) as caught:
        send_request(part(text=text))

    assert caught.value.code == "empty"


@pytest.mark.parametrize("url", ["", "a.pdf", "/media/a.pdf", "data:text/plain;base64,AAAA", "file:///etc/passwd"])
def test_a_file_without_a_web_address_is_refused(url):
    with pytest.raises(BadPayload) as caught:
        send_request(part(media=media(MediaKind.IMAGE, "image/png", url=url)))

    assert caught.value.code == "media_url"
    assert url == "" or url not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "mimetype", "sent"),
    [
        ("a.pdf", "application/pdf", "a.pdf"),
        ("A.PDF", "application/pdf", "A.PDF"),
        ("file", "application/pdf", "file.pdf"),
        ("relatório v1.2", "application/pdf", "relatório v1.2.pdf"),
        ("photo.jpeg", "image/jpeg", "photo.jpeg"),
        ("photo", "image/jpeg", "photo.jpg"),
        ("photo.png", "image/jpeg", "photo.png.jpg"),
        ("audio", "audio/ogg; codecs=opus", "audio.ogg"),
        ("som.mp3", "audio/mpeg", "som.mp3"),
        ("x", "image/webp", "x.webp"),
        ("", "image/png", "file.png"),
        ("../../etc/passwd", "text/plain", "passwd.txt"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", None),
        ("a.zip", "application/octet-stream", "a.zip"),
        ("a", "application/octet-stream", "a.bin"),
        ("a.unheard-of", "application/x-unheard-of", "a.unheard-of.bin"),
        ("a", "", "a.bin"),
    ],
)
def test_a_file_name_says_its_type(name, mimetype, sent):
    found = file_name(media(MediaKind.DOCUMENT, mimetype, name))

    if sent is None:
        assert found.startswith("a.docx")
    else:
        assert found == sent


def test_a_reference_that_no_header_can_carry_is_escaped():
    request = send_request(OutgoingPart(message_id="m\r\nX-Evil: é", part=2, recipient=PHONE, text="oi"))

    assert request.headers["X-Client-Ref"] == "m%0D%0AX-Evil:%20%C3%A9:2"


def test_a_request_shows_no_number_and_no_text():
    shown = repr(send_request(part(text="segredo", media=None)))

    assert "segredo" not in shown
    assert "5531991234567" not in shown
    assert json.dumps(send_request(part(text="segredo")).payload)
