"""Check settings against each other and against what this installation knows.

Called by ``settings_source.load`` with the values of all fields; every check yields the faults it finds.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any

from actors import backends, pace
from actors.recipients import CALLING_CODES
from middleware.brokers.redis.pin import BadRedisUrl, kwargs_for_db, split_url

Values = Mapping[str, Any]

#: What a host may name a model for.
MODEL_ROLES = ("message", "conversation", "instance", "attachment", "redis_usage")
#: A shorter secret in a path could be guessed.
MIN_TOKEN_CHARS = 20


def faults(values: Values, *, unusable: Collection[str]) -> Iterator[str]:
    """Everything wrong with ``values``; a check that needs an ``unusable`` field is left out, it was reported already."""
    for check, names in _CHECKS:
        if not set(names) & set(unusable):
            yield from check(values)


def _databases(values: Values) -> Iterator[str]:
    if values["queue_db"] == values["rate_db"]:
        yield f"CHAT_QUEUE_DB and CHAT_RATE_DB are both {values['rate_db']}; each needs a database of its own"


def _redis_url(values: Values) -> Iterator[str]:
    if values["redis_url"] is None:
        return
    try:
        kwargs_for_db(values["redis_url"], 2)
    except BadRedisUrl as error:
        yield f"REDIS_URL (or CHAT_REDIS_URL) cannot be used: {error}"


def _backends(values: Values) -> Iterator[str]:
    for kind in ("broker", "gateway", "store", "scheduler"):
        name = values[kind]
        if name is None:
            continue
        known = backends.names(kind)
        if name not in known:
            near = get_close_matches(name, known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            yield f"CHAT_{kind.upper()} is {name!r}, known are {', '.join(known)}{advice}"


def _sandbox(values: Values) -> Iterator[str]:
    if values["sandbox_url"] is None:
        if values["gateway"] == "sandbox":
            yield "CHAT_GATEWAY is sandbox but CHAT_SANDBOX_URL is not set: it needs the URL of one on this machine"
        return
    yield from _http_faults("CHAT_SANDBOX_URL", values["sandbox_url"])
    parts = split_url(values["sandbox_url"])
    if parts is not None and parts.hostname and not _is_loopback(parts.hostname):
        yield "CHAT_SANDBOX_URL leads away from this machine; a sandbox is at 127.0.0.1, ::1 or localhost only"


def _evolution(values: Values) -> Iterator[str]:
    url, key = values["evolution_url"], values["evolution_api_key"]
    if (url is None) != (key is None):
        yield "CHAT_EVOLUTION_URL and CHAT_EVOLUTION_API_KEY are a pair: set both or neither"
    if url is not None:
        yield from _http_faults("CHAT_EVOLUTION_URL", url)


def _cloud(values: Values) -> Iterator[str]:
    yield from _http_faults("CHAT_WHATSAPP_CLOUD_URL", values["whatsapp_cloud_url"])


def _media_hosts(values: Values) -> Iterator[str]:
    for host in filter(None, (one.strip() for one in (values["media_hosts"] or "").split(","))):
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if any(character in bare for character in "/@?# ") or bare.count(":") == 1:
            yield f"CHAT_MEDIA_HOSTS has {host!r}; it takes names or addresses of hosts, without scheme, port or path"


def _webhook_token(values: Values) -> Iterator[str]:
    token = values["webhook_token"]
    if token is None:
        return
    if len(token) < MIN_TOKEN_CHARS or not (token.isascii() and token.replace("-", "").replace("_", "").isalnum()):
        yield (
            f"CHAT_WEBHOOK_TOKEN cannot be used: it must be {MIN_TOKEN_CHARS} or more letters, digits, - and _, because it "
            "stands in a path; make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


def _rabbitmq(values: Values) -> Iterator[str]:
    url = values["rabbitmq_url"]
    if url is None:
        return
    parts = split_url(url)
    if parts is None or parts.scheme not in ("amqp", "amqps") or not parts.hostname or "#" in url:
        yield "CHAT_RABBITMQ_URL cannot be used: it must be amqp://user:password@host, with / ? # @ percent-encoded"


def _backup_recipients(values: Values) -> Iterator[str]:
    for key in filter(None, (one.strip() for one in (values["backup_recipients"] or "").split(","))):
        if not key.startswith(("age1", "ssh-")):
            yield f"CHAT_BACKUP_RECIPIENTS has {key[:4]}…, which is no public key of age: they begin with age1 or ssh-"


def _sqlite(values: Values) -> Iterator[str]:
    if values["store"] == "sqlite" and values["sqlite_path"] is None:
        yield "CHAT_STORE is sqlite but CHAT_SQLITE_PATH is not set"


def _pace(values: Values) -> Iterator[str]:
    for name, table in values["pace"].items():
        for fault in pace.faults(name, table):
            yield f"CHAT_PACE: {fault}"


def _times(values: Values) -> Iterator[str]:
    if values["backoff_cap_ms"] < values["backoff_base_ms"]:
        yield "CHAT_BACKOFF_CAP_MS is below CHAT_BACKOFF_BASE_MS"
    if values["sweep_after_s"] >= values["send_deadline_s"]:
        yield "CHAT_SWEEP_AFTER_S is not below CHAT_SEND_DEADLINE_S: nothing would be swept before it expires"


def _region(values: Values) -> Iterator[str]:
    region = values["default_region"]
    if region is not None and region not in CALLING_CODES:
        yield f"CHAT_DEFAULT_REGION is {region!r}, known are {', '.join(sorted(CALLING_CODES))}"


def _models(values: Values) -> Iterator[str]:
    for role, model in values["models"].items():
        if role not in MODEL_ROLES:
            near = get_close_matches(role, MODEL_ROLES, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            yield f"CHAT_ACTORS['MODELS'] has an unknown key {role!r}, known are {', '.join(MODEL_ROLES)}{advice}"
        if model and [*map(str.isidentifier, model.split("."))] != [True, True]:
            yield f"CHAT_ACTORS['MODELS'][{role!r}] is {model!r}; it must be 'app.Model'"


def _http_faults(name: str, url: str) -> Iterator[str]:
    """Never quotes the URL: what is wrong with it may be a key in it."""
    parts = split_url(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        yield f"{name} cannot be used: it must be http(s)://host[:port][/path]"
    elif "@" in parts.netloc or parts.query or parts.fragment:
        yield f"{name} must hold neither credentials nor ? or #"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


#: Each check with the fields it reads.
_CHECKS: tuple[tuple[Callable[[Values], Iterator[str]], tuple[str, ...]], ...] = (
    (_databases, ("queue_db", "rate_db")),
    (_redis_url, ("redis_url",)),
    (_backends, ("broker", "gateway", "store", "scheduler")),
    (_sandbox, ("sandbox_url", "gateway")),
    (_evolution, ("evolution_url", "evolution_api_key")),
    (_cloud, ("whatsapp_cloud_url",)),
    (_media_hosts, ("media_hosts",)),
    (_webhook_token, ("webhook_token",)),
    (_rabbitmq, ("rabbitmq_url", "broker")),
    (_sqlite, ("store", "sqlite_path")),
    (_backup_recipients, ("backup_recipients",)),
    (_times, ("backoff_base_ms", "backoff_cap_ms", "sweep_after_s", "send_deadline_s")),
    (_pace, ("pace",)),
    (_region, ("default_region",)),
    (_models, ("models",)),
)
