"""Key and URL come from one source, and nothing else may enter a path."""

import pytest

from actors.domain import Instance
from actors.errors import AuthConfig, NoCredentials
from actors.gateways.evolution_endpoint import clean_url, instance_segment, is_loopback, resolve

DEFAULT = {"default_url": "https://evo.example", "default_key": "default-key"}


def test_an_instance_with_a_pair_of_its_own_uses_it():
    instance = Instance(name="i1", base_url="https://own.example/", api_key="own-key")

    endpoint = resolve(instance, **DEFAULT)

    assert (endpoint.base_url, endpoint.api_key) == ("https://own.example", "own-key")


@pytest.mark.parametrize("instance", [None, Instance(name="i1"), Instance(name="i1", base_url="", api_key="")])
def test_an_instance_without_any_uses_the_default_pair(instance):
    endpoint = resolve(instance, **DEFAULT)

    assert (endpoint.base_url, endpoint.api_key) == ("https://evo.example", "default-key")


@pytest.mark.parametrize(
    ("instance", "default"),
    [
        (Instance(name="i1", base_url="https://own.example"), DEFAULT),
        (Instance(name="i1", api_key="own-key"), DEFAULT),
        (Instance(name="i1"), {"default_url": "https://evo.example", "default_key": None}),
        (Instance(name="i1"), {"default_url": None, "default_key": "default-key"}),
        (None, {"default_url": None, "default_key": None}),
    ],
)
def test_half_a_pair_is_never_completed_from_elsewhere(instance, default):
    with pytest.raises(NoCredentials) as caught:
        resolve(instance, **default)

    assert caught.value.code == "no_credentials"
    assert not caught.value.request_written
    assert not [secret for secret in ("own-key", "default-key", "own.example") if secret in str(caught.value)]


@pytest.mark.parametrize("key", ["a b", "a\nb", "chavé", "a\x00"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key):
    with pytest.raises(AuthConfig) as caught:
        resolve(Instance(name="i1", base_url="https://own.example", api_key=key), **DEFAULT)

    assert key not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "evo.example",
        "ftp://evo.example",
        "http:///only/a/path",
        "https://user:pw@evo.example",
        "https://e.example/?a=1",
        "http://[::1",
        "https://e.example/#x",
        # A resolver would refuse these with an error of its own, after the send was claimed: nobody could say that nothing left.
        "http://e..example",
        "http://.example",
        "http://example..",
        f"http://{'a' * 64}.example",
        f"http://{'a.' * 130}example",
        "http://xn--a.example",
        "http://e.example:0",
        "http://e.example:99999",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_unseen(url):
    with pytest.raises(AuthConfig) as caught:
        clean_url(url, source="the row")

    assert caught.value.code == "wrong_url"
    assert url not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_path_before_evolution_is_kept():
    assert clean_url("https://e.example/evolution/", source="x") == "https://e.example/evolution"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a?instanceName=b", "a#b", "a\\b", "a\nb"])
def test_a_name_that_would_change_the_path_is_refused(name):
    with pytest.raises(AuthConfig) as caught:
        instance_segment(name)

    assert caught.value.code == "bad_instance_name"


@pytest.mark.parametrize(
    ("name", "segment"), [("i1", "i1"), ("Loja São", "Loja%20S%C3%A3o"), ("a%2Fb", "a%252Fb"), ("a&b", "a%26b")]
)
def test_a_name_is_one_segment_of_the_path(name, segment):
    assert instance_segment(name) == segment


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:1", True),
        ("http://localhost:1", True),
        ("http://127.0.0.1.evil.example", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0:1", False),
        ("http://localhost.evil.example", False),
        ("https://evo.example", False),
    ],
)
def test_only_this_machine_is_loopback(url, local):
    assert is_loopback(url) is local
