"""What a backup is made of, each part alone: ids seen, work ahead, encryption, and a restore that is refused half way."""

import io
import threading

import hypothesis.strategies as st
import pyrage
import pytest
from backup_world import Vault, lines
from carrier_world import MEMORY, QUEUE
from hypothesis import given

from middleware.backup_ahead import DEPTH, ahead
from middleware.backup_cipher import BadKey, decrypting, encrypting
from middleware.backup_records import BadRecord, line_of, record_of
from middleware.backup_restore import RestoreStopped
from middleware.backup_seen import Seen
from middleware.brokers.redis.copies import CopiedGates, CopiedLetter, CopiedMessage
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import NewMessage, Routing

# -- ids seen ----------------------------------------------------------------------------------------------------------

IDS = st.lists(st.lists(st.binary(min_size=1, max_size=2), max_size=8), max_size=20)


@given(batches=IDS, in_memory=st.sampled_from([0, 1, 5, 1000]))
def test_an_id_is_new_once_wherever_it_is_kept(batches, in_memory):
    known: set[bytes] = set()
    with Seen(in_memory=in_memory) as seen:
        for batch in batches:
            assert seen.add(batch) == set(batch) - known
            known |= set(batch)


@given(aside=IDS, batches=IDS, in_memory=st.sampled_from([0, 1000]))
def test_what_was_put_aside_comes_back_but_for_what_was_seen_since(aside, batches, in_memory):
    with Seen(in_memory=in_memory) as seen:
        for batch in aside:
            seen.put_aside(batch)
        for batch in batches:
            seen.add(batch)

        back = [id_ for page in seen.aside() for id_ in page]

    put, added = {id_ for batch in aside for id_ in batch}, {id_ for batch in batches for id_ in batch}
    assert (sorted(back), seen_any(aside)) == (sorted(put - added), bool(put))


def seen_any(aside: list[list[bytes]]) -> bool:
    with Seen() as seen:
        for batch in aside:
            seen.put_aside(batch)
        return seen.has_aside


# -- work ahead --------------------------------------------------------------------------------------------------------


def test_items_come_in_their_order_and_an_error_in_its_place():
    def make():
        yield from range(20)
        raise OSError("full")

    got: list[int] = []

    def use() -> None:
        for item in ahead(make()):
            got.append(item)  # noqa: PERF402  # extend keeps nothing of what came before an error

    with pytest.raises(OSError, match="full"):
        use()
    assert got == list(range(20))


def test_no_more_is_made_than_fits_and_whoever_stops_ends_the_thread():
    made: list[int] = []

    def make():
        for number in range(1_000):
            made.append(number)
            yield number

    items = ahead(make())
    assert next(items) == 0
    items.close()

    assert len(made) <= DEPTH + 2
    assert not [one for one in threading.enumerate() if one.name == "backup-ahead"]


# -- encryption --------------------------------------------------------------------------------------------------------


def test_what_was_encrypted_is_read_by_its_key_and_by_age_itself():
    secret, data = pyrage.x25519.Identity.generate(), b"line\n" * 100_000
    sink = io.BytesIO()
    with encrypting(sink, [str(secret.to_public())]) as plain:
        plain.write(data)

    assert pyrage.decrypt(sink.getvalue(), [secret]) == data
    with decrypting(io.BytesIO(sink.getvalue()), [str(secret)]) as plain:
        assert plain.read() == data
    with (
        pytest.raises(BadKey),
        decrypting(io.BytesIO(sink.getvalue()), [str(pyrage.x25519.Identity.generate())]) as plain,
    ):
        assert plain.read() == b""


def test_a_sink_that_is_full_is_the_error_of_whoever_writes():
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            pass

    def write() -> None:
        with encrypting(Full(), [str(pyrage.x25519.Identity.generate().to_public())]) as plain:
            for _ in range(1_000):
                plain.write(b"x" * 65_536)

    with pytest.raises(OSError, match="No space left"):
        write()


def test_whoever_stops_writing_or_reading_gets_his_own_error():
    secret = pyrage.x25519.Identity.generate()
    whole = pyrage.encrypt(b"x" * 1_000_000, [secret.to_public()])

    def write() -> None:
        with encrypting(io.BytesIO(), [str(secret.to_public())]) as plain:
            plain.write(b"x")
            raise KeyError

    def read() -> None:
        with decrypting(io.BytesIO(whole), [str(secret)]) as plain:
            plain.read(1)
            raise KeyError

    for stops in (write, read):
        with pytest.raises(KeyError):
            stops()


# -- records -----------------------------------------------------------------------------------------------------------

RAW = st.binary(max_size=20)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
FACTS = st.tuples(NAMES, NAMES, NAMES, st.sampled_from(["", "c", "d", "cds"]))


@given(
    id_=RAW.filter(lambda raw: raw and b"\0" not in raw),
    body=RAW,
    facts=FACTS,
    eta_ms=st.integers(0, 2**52),
    holds=st.booleans(),
    crashes=st.integers(0, 9),
)
def test_a_message_is_read_as_it_was_written_whatever_its_bytes(id_, body, facts, eta_ms, holds, crashes):
    text = "\0".join(facts).encode() if any(facts) else b""
    message = CopiedMessage(id_, body, text, eta_ms, holds, crashes)

    assert record_of((line_of("q", message) + "\n").encode()) == ("message", ("q", message))


def test_letters_and_gates_are_read_as_they_were_written():
    letter = CopiedLetter(b"m", 5, b'{"reason":"x","fingerprint":"f","about":{"lane":"a"}}', b"\xff", told=True)
    gates = CopiedGates(7, {b"g": b"-1 0 50.5 1 1764195558123.250 0 0.3"})

    for kind, what in (("letter", letter), ("queue", gates)):
        assert record_of((line_of("q", what) + "\n").encode()) == (kind, ("q", what))


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b"{",
        b"\xff\n",
        b'{"kind":"other","queue":"q"}\n',
        b'{"kind":"message","queue":"q","id":"","body":""}\n',
        b'{"kind":"message","queue":"q","id":"a\\u0000b","body":""}\n',
        b'{"kind":"message","queue":"q","id":"a","body":1}\n',
        b'{"kind":"message","queue":"q","id":"a","body":"","lane":"x\\u0000y"}\n',
        b'{"kind":"message","queue":"q","id":"a","body":"","eta_ms":"1"}\n',
        b'{"kind":"message","queue":"q","id":"a","body":"","eta_ms":1e300}\n',
        b'{"kind":"message","queue":"q","id":"a","body":"","crashes":-1}\n',
        b'{"kind":"letter","queue":"q","id":"a","died_at_ms":1,"told":1,"body":"","letter":"[]"}\n',
        b'{"kind":"letter","queue":"q","id":"a","died_at_ms":1,"told":1,"body":"","letter":"{\\"reason\\":1}"}\n',
        b'{"kind":"queue","queue":"q","paused_at_ms":0,"gates":{"g":"1 2"}}\n',
        b'{"kind":"queue","queue":"q","paused_at_ms":0,"gates":[]}\n',
    ],
)
def test_what_is_no_record_is_refused(line):
    with pytest.raises(BadRecord):
        record_of(line)


# -- a restore that is refused half way --------------------------------------------------------------------------------


def fill_up(moves: Transitions) -> None:
    if moves.stats([QUEUE])[0].unfinished:
        moves.scripts.client.config_set("maxmemory", 1)


@pytest.mark.redis
def test_a_restore_that_was_refused_half_way_goes_on_when_it_is_run_again(queue_client, tmp_path):
    moves = Transitions(Scripts(queue_client, Keys("test:half")), memory=MEMORY)
    new = [NewMessage(f"m{n}", b"x" * 2_000, 0, Routing(lane=f"l{n % 7}", unique_key=f"k{n}")) for n in range(1_500)]
    moves.enqueue_many(QUEUE, new)
    vault = Vault(moves, tmp_path, [QUEUE])
    path = vault.create()
    queue_client.flushdb()

    with pytest.raises(RestoreStopped, match=r"stopped after \d+ records: Redis is full"):
        vault.restore(path, token="first", progress=lambda _: fill_up(moves))
    there = moves.stats([QUEUE])[0].unfinished
    queue_client.config_set("maxmemory", 0)
    restored = vault.restore(path, token="second")

    assert 0 < there < 1_500
    assert restored.messages[QUEUE] == {"known": there, "new": 1_500 - there}
    assert moves.stats([QUEUE])[0].unfinished == 1_500
    assert len(lines(path)) == 1_500 + 3
