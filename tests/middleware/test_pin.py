"""The pin: whatever a URL says of its database, the queue is on ours, on the same server, or the URL is refused."""

import re
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from middleware.brokers.redis.pin import BadRedisUrl, address, kwargs_for_db, url_for_db

#: URL → what must be kept of it. The comment is what text replacement of /0 by /2 made of it.
USABLE = {
    "redis://:pw@host:6379/0": {"host": "host", "port": 6379, "password": "pw"},
    # DB 0, DB 0, DB 0, DB 1, DB 10, DB 21
    "redis://host:6379": {"host": "host", "port": 6379},
    "redis://host:6379/": {"host": "host", "port": 6379},
    "rediss://default:pw@eu1.upstash.io:6379": {"host": "eu1.upstash.io", "username": "default", "password": "pw"},
    "redis://host:6379/1": {"host": "host", "port": 6379},
    "redis://host:6379/10": {"host": "host"},
    "redis://host:6379/01": {"host": "host"},
    # the query wins over the path: DB 0
    "redis://host:6379?db=0": {"host": "host", "port": 6379},
    "redis://host:6379/2?db=0": {"host": "host"},
    "redis://host:6379/0?db=0": {"host": "host"},
    "redis://host:6379/0?db=0&db=1": {"host": "host"},
    "redis://host:6379/0?db=": {"host": "host"},
    "redis://host/0?%64b=5": {"host": "host"},
    # another machine got the password
    "redis://:pw@0.0.0.0:6379/1": {"host": "0.0.0.0", "port": 6379, "password": "pw"},  # noqa: S104
    "redis://0001.cache.example.com:6379/0": {"host": "0001.cache.example.com"},
    # another user, another password
    "redis://0user:pw@h/0": {"host": "h", "username": "0user", "password": "pw"},
    "redis://:a%2F0b@host/0": {"host": "host", "password": "a/0b"},
    "redis://:a%40b%3Ac%23%3F@host/0": {"host": "host", "password": "a@b:c#?"},
    "redis://:p@ss@host/0": {"host": "host", "password": "p@ss"},
    # TLS broken, a wrong name
    "rediss://h/0?ssl_ca_certs=/etc/ssl/0/ca.pem": {"host": "h", "ssl_ca_certs": "/etc/ssl/0/ca.pem"},
    "rediss://h:6380/0?ssl_cert_reqs=none&ssl_check_hostname=false": {
        "ssl_cert_reqs": "none",
        "ssl_check_hostname": False,
    },
    "redis://h/0?client_name=web/01": {"host": "h", "client_name": "web/01"},
    "redis://h/0?socket_timeout=1.5&health_check_interval=30": {"socket_timeout": 1.5, "health_check_interval": 30},
    # another socket, still DB 0
    "unix:///run/redis/0/redis.sock?db=0": {"path": "/run/redis/0/redis.sock"},
    "unix:///run/redis/redis.sock": {"path": "/run/redis/redis.sock"},
    "unix://u@/run/r.sock?db=0&password=a/0b": {"path": "/run/r.sock", "username": "u", "password": "a/0b"},
    "unix://:a%2F0b@/run/r.sock": {"path": "/run/r.sock", "password": "a/0b"},
    "redis://host/0/": {"host": "host"},
    "redis://[::1]:6379/0": {"host": "::1", "port": 6379},
    "rediss://u:pw@[2001:db8::1]/0": {"host": "2001:db8::1", "username": "u", "password": "pw"},
    "redis://my_service/0": {"host": "my_service"},
}

REFUSED = [
    "",
    "host:6379",
    "http://:s3cr3t@host/0",
    "REDIS://:s3cr3t@host/0",
    "redis:/host/0",
    "sentinel://:s3cr3t@s1/0;sentinel://s2/0",
    "redis+sentinel://:s3cr3t@s1/mymaster/0",
    "redis://:s3cr3t@h1,h2/0",
    "redis://:s3cr3t@h1:1,h2:2/0",
    "redis://:s3cr3t@/0",
    "redis://",
    "redis:///0",
    "redis://:s3cr3t@host/chat",
    "redis://:s3cr3t@host/1/2",
    "redis://:s3cr3t@host/-1",
    "redis://:s3cr3t@host/٣",
    "redis://:s3cr3t@host:port/0",
    "redis://:s3cr3t@host:0/0",
    "redis://:s3cr3t@host:99999/0",
    "redis://:s3cr3t@host/0?db=abc",
    "redis://:s3cr3t@host/0?db=-1",
    # a password that nobody encoded: / ? # @ [
    "redis://:a/s3cr3t@host/0",
    "redis://:s3cr3t/0b@host/0",
    "redis://:s3cr3t?b@host/0",
    "redis://user:12?s3cr3t@host/0",
    "redis://u@x:12?s3cr3t=1@host/0",
    "redis://:s3cr3t#b@host/0",
    "redis://:12#s3cr3t@host/0",
    "redis://:[s3cr3t@host/0",
    "redis://:s3cr3t\uff0fb@host/0",
    "redis://:s3cr3t@host/0#",
    "redis://:s3cr3t@host/0\n",
    " redis://:s3cr3t@host/0",
    "redis://:s3cr3t@ho st/0",
    # options
    "redis://:s3cr3t@host/0?socket_timeout=soon",
    "redis://:s3cr3t@host/0?unheard_of=1",
    "redis://:s3cr3t@host/0?flag",
    "redis://h/0?password=a&s3cr3t=b",
    "redis://:s3cr3t@host/0?retry=3",
    "redis://:s3cr3t@host/0?host=other",
    "redis://:s3cr3t@host/0?connection_class=x",
    "redis://:s3cr3t@host/0?retry_on_error=all",
    "redis://:s3cr3t@host/0?ssl_ca_certs=/ca.pem",
    "rediss://:s3cr3t@host/0?ssl_cert_reqs=maybe",
    "redis://host/0?client_name=a@s3cr3t",
    # sockets
    "unix://:s3cr3t@",
    "unix:///",
    "unix://run/redis.sock",
    "unix://:s3cr3t@run/redis.sock",
    "unix:///run/r.sock?db=x&password=s3cr3t",
]


def everything_said(error: BaseException) -> str:
    """The error with all its causes, as a log or Sentry would keep it."""
    seen = [error]
    while (seen[-1].__cause__ or seen[-1].__context__) is not None:
        seen.append(seen[-1].__cause__ or seen[-1].__context__)
    return "\n".join([*traceback.format_exception(error, chain=True)[-1:], *(repr(one) + str(one) for one in seen)])


@pytest.mark.parametrize("url", USABLE)
@pytest.mark.parametrize("db", [2, 3, 15])
def test_a_usable_url_leads_to_our_database_of_the_same_server(url, db):
    kwargs = kwargs_for_db(url, db)

    assert kwargs["db"] == db
    assert {name: kwargs[name] for name in USABLE[url]} == USABLE[url]
    assert kwargs == parse_url(url) | {"db": db}


@pytest.mark.parametrize("url", USABLE)
def test_the_pinned_text_differs_from_the_url_in_nothing_but_the_database(url):
    pinned = url_for_db(url, 2)

    assert parse_url(pinned) == parse_url(url) | {"db": 2}
    assert len(re.findall(r"[?&]db=", pinned)) == (1 if pinned.startswith("unix") else 0)
    assert url_for_db(pinned, 2) == pinned


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("read", [kwargs_for_db, url_for_db])
def test_an_unusable_url_is_refused_without_being_quoted(url, read):
    with pytest.raises(BadRedisUrl) as caught:
        read(url, 2)

    said = everything_said(caught.value)
    assert str(caught.value)
    assert "s3cr" not in said
    assert not url or url not in said


def test_the_size_of_a_pool_is_not_taken_from_the_url():
    kwargs = kwargs_for_db("redis://host/0?max_connections=3&timeout=1", 2)

    assert kwargs == {"host": "host", "db": 2}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:s3cr3t@host/0", "redis://host:6379"),
        ("rediss://:s3cr3t@[::1]:6380", "rediss://[::1]:6380"),
        ("unix://:s3cr3t@/run/r.sock?db=1", "unix:///run/r.sock"),
    ],
)
def test_an_address_shows_where_and_never_with_what(url, shown):
    assert address(url) == shown


def test_the_pinned_url_of_a_real_server_reaches_its_database_two(redis_server):
    import redis

    with redis.Redis.from_url(url_for_db(redis_server.url(0), 2)) as client:
        assert client.client_info()["db"] == 2


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
hosts = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z0-9]{1,8}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
)
databases = st.sampled_from(["", "/", "/0", "/1", "/15", "/0/", "?db=0", "/3?db=0", "?db=1&client_name=w%2F0"])


@given(
    scheme=st.sampled_from(["redis", "rediss"]),
    user=words,
    password=words,
    host=hosts,
    port=st.integers(1, 65535),
    rest=databases,
    db=st.integers(2, 15),
)
def test_every_encoded_url_keeps_its_server_and_credentials(scheme, user, password, host, port, rest, db):
    url = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}{rest}"

    for kwargs in (kwargs_for_db(url, db), parse_url(url_for_db(url, db))):
        kept = (kwargs["username"], kwargs["password"], kwargs["host"], kwargs["port"], kwargs["db"])
        assert kept == (user, password, host.strip("[]"), port, db)
        assert ("connection_class" in kwargs) == (scheme == "rediss")


@given(
    secret=st.text(st.sampled_from("QZ09:/?#@[]&=%, .\t\uff0f"), min_size=1, max_size=12).map(
        lambda text: f"QZ{text}ZQ"
    ),
    user=st.sampled_from(["", "user"]),
    rest=databases,
)
def test_a_password_that_nobody_encoded_is_read_whole_or_refused_unseen(secret, user, rest):
    url = f"redis://{user}:{secret}@real-host:6379{rest}"

    try:
        kwargs = kwargs_for_db(url, 2)
    except BadRedisUrl as error:
        said = everything_said(error)
        assert "QZ" not in said
        assert "ZQ" not in said
    else:
        assert kwargs["host"] == "real-host"
        assert kwargs["port"] == 6379
        assert kwargs["password"] == parse_url(url)["password"]
        assert kwargs["password"].startswith("QZ")
        assert kwargs["password"].endswith("ZQ")
        assert "QZ" not in address(url)
