"""Where a file may lie: no URL, name or address leads into a network of ours, and every public one is taken."""

import pytest
from media_world import OWNER, PUBLIC, Network, answering, fetch, media, names, ok, refusal

from actors import errors
from actors.gateways.media_fetch import MediaFetcher
from actors.gateways.media_url import allowed_hosts, check_url, is_refused, literal
from middleware.clock import SystemClock

REFUSED = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.0.0.0", "169.254.169.254", "100.64.0.1",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.0.170", "192.88.99.1", "::", "::1", "::7f00:1",
    "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:53aa:64c::", "2001:db8::1", "fe80::1%eth0",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
@pytest.mark.parametrize("beside", ["", f"{PUBLIC},"])
def test_a_name_that_leads_into_a_network_of_ours_is_refused_and_not_connected_to(address, beside):
    with answering(ok(b"x")) as (port, _):
        network = Network(port)
        fetcher = MediaFetcher(clock=SystemClock(), network=network, resolve=names(evil_example=beside + address))
        with pytest.raises(errors.BadPayload) as caught:
            fetcher.fetch(media("http://evil.example/a"), owner=OWNER, total_s=5)

    assert caught.value.code == "media_url"
    assert "CHAT_MEDIA_HOSTS" in str(caught.value)
    assert network.asked == []


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_public_addresses_are_not_refused(address):
    from ipaddress import ip_address

    assert not is_refused(ip_address(address))


def test_a_host_of_ours_may_be_at_a_private_address():
    content, _, network = fetch(
        ok(b"x"),
        "http://MinIO.:9000/bucket/a.png",
        resolve=names(minio="10.0.0.7"),
        hosts=allowed_hosts("other, minio"),
    )

    assert content == b"x"
    assert network.asked == [("10.0.0.7", 9000)]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "data:image/png;base64,QUJD", "ftp://cdn.example/a", "gopher://cdn.example/", "a.png", "",
        "//cdn.example/a", "http://", "http:///a", "https:cdn.example", "QUJD", "javascript:1", "http://?x", "HTTP:/x",
        "http://cdn.example\\@10.0.0.1/a", "http://user:pw@cdn.example/a", "http://cdn.example /a", "http://cdn.example/\na",
        "http://[::1", "http://cdn.example:99999/", "http://cdn.example:0/", "http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/", "http://\x00cdn.example/",
        "http://localhost/a", "http://LOCALHOST./a", "http://api.localhost/", "http://127.0.0.1:8000/a", "http://127.1/a",
        "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest/meta-data", "http://10.1.2.3/a", "http://192.168.0.1/a", "http://0/", "http://0.0.0.0/",
        "http://localhost%2e/a", "http://%31%32%37.0.0.1/a", "http://xn--a.example/a",
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_good_is_refused_before_anything_is_resolved(url):
    with pytest.raises(errors.BadPayload) as caught:
        check_url(url, hosts=(), owner=OWNER)

    assert caught.value.code == "media_url"
    assert OWNER in str(caught.value)
    assert "user:pw" not in str(caught.value)
    with pytest.raises(errors.BadPayload):
        MediaFetcher(clock=SystemClock(), resolve=None).fetch(media(url), owner=OWNER, total_s=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["https://cdn.example/a.png", "HTTPS://CDN.example/a", "http://93.184.216.34/a", "http://fe.ac/a"]
)
def test_a_public_url_is_not_refused(url):
    assert check_url(url, hosts=(), owner=OWNER).host


def test_no_number_shows_where_a_host_looks_like_one():
    error = refusal(ok(b""), "http://5511988887777.example/a")

    assert "5511988887777" not in f"{error} {error!r}"


@pytest.mark.parametrize(
    ("text", "is_literal"), [("127.1", True), ("0x7f.1", True), ("::1", True), ("fe.ac", False), ("cdn.example", False)]
)
def test_an_address_is_known_in_every_form_that_resolvers_take(text, is_literal):
    assert (literal(text) is not None) is is_literal
