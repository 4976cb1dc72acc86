"""What Evolution takes for a URL, for base64 and for a well-formed body."""

import json

import pytest

from actors.gateways.sandbox import validators
from actors.gateways.sandbox.replies import Refused

NUMBER = {"number": "5511988887777"}


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("https://files.example/a.jpg?x=1", True),
        ("http://10.0.0.1/a.jpg", True),
        ("http://127.0.0.1:8000/a.jpg", True),
        ("files.example/a.jpg", True),
        ("http://localhost/a.jpg", False),
        ("http://minio:9000/a.jpg", False),
        ("data:image/png;base64,QUJD", False),
        ("file:///etc/passwd", False),
        ("http://[::1", False),
        ("https://files.example/a b", False),
        ("", False),
    ],
)
def test_a_url_has_a_domain_or_an_address(text, good):
    assert validators.is_url(text) is good


@pytest.mark.parametrize(
    ("text", "good"), [("QUJD", True), ("QUI=", True), ("QUJ", False), ("Q-JD", False), ("", False)]
)
def test_base64_is_whole(text, good):
    assert validators.is_base64(text) is good


@pytest.mark.parametrize(
    ("check", "body", "problem"),
    [
        ("check_text", {**NUMBER, "text": 7}, "text is not of a type(s) string"),
        ("check_text", {**NUMBER, "text": "a", "linkPreview": 1}, "linkPreview is not of a type(s) boolean"),
        ("check_text", {**NUMBER, "text": "a", "linkPreview": None}, "linkPreview is not of a type(s) boolean"),
        ("check_text", {**NUMBER, "text": "a", "mentioned": "1"}, "mentioned is not of a type(s) array"),
        ("check_text", {**NUMBER, "text": "a", "mentioned": []}, "mentioned does not meet minimum length of 1"),
        ("check_text", {**NUMBER, "text": "a", "mentioned": ["1", "1"]}, "mentioned contains duplicate item"),
        ("check_text", {**NUMBER, "text": "a", "quoted": {"key": 1}}, "quoted.key is not of a type(s) object"),
        (
            "check_text",
            {**NUMBER, "text": "a", "quoted": {"key": {"id": 1}}},
            "quoted.key.id is not of a type(s) string",
        ),
        ("check_text", {**NUMBER, "text": "a", "quoted": {"key": {"id": ""}}}, 'The "id" cannot be empty'),
        ("check_media", NUMBER, 'instance requires property "mediatype"'),
        (
            "check_media",
            {**NUMBER, "mediatype": "sticker"},
            "mediatype is not one of enum values: image,document,video,audio",
        ),
        ("check_media", {**NUMBER, "mediatype": "image", "media": 1}, "media is not of a type(s) string"),
        ("check_audio", {**NUMBER, "audio": 1}, "audio is not of a type(s) string"),
    ],
)
def test_a_malformed_body_is_named_in_a_nested_list(check, body, problem):
    with pytest.raises(Refused) as caught:
        getattr(validators, check)(body)

    assert json.loads(caught.value.reply.body)["response"]["message"] == [[problem]]


@pytest.mark.parametrize("quoted", [{}, None, {"message": {}}, "x"])
def test_a_reply_without_key_is_taken(quoted):
    assert validators.check_text({**NUMBER, "text": "a", "quoted": quoted}) is None


@pytest.mark.parametrize(("query", "jid"), [("120363@g.us", "120363@g.us"), ("120363", "120363@g.us")])
def test_a_group_gets_its_suffix(query, jid):
    assert validators.check_group({"groupJid": query}) == jid


def test_a_malformed_group_is_named_as_object():
    with pytest.raises(Refused) as caught:
        validators.check_group({"groupJid": "abc"})

    assert json.loads(caught.value.reply.body)["response"]["message"][0]["property"] == "groupJid"
