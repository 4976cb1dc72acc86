"""What is read from the old product's payloads: ids, and never what nobody may see."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from legacy_world import AT, group, leaks, picture

from actors.legacy_jobs import (
    GROUP,
    OPERATIONS,
    PICTURE,
    SEND,
    LegacyJob,
    entry_of_fields,
    entry_of_json,
    is_dead_letters,
    is_foreign,
    operation_of,
)
from middleware.brokers.redis.wire import new_id

A, B = "6f1c1f0e-0a51-4e55-9d0e-0a6f6f1c1f0e", "11111111-2222-3333-4444-555555555555"


def _job(operation, row_id=A, **values):
    return LegacyJob(operation=operation, row_id=row_id, **values)


def _json(operation, payload):
    return entry_of_json(json.dumps(payload).encode(), operation)


@pytest.mark.parametrize(
    ("operation", "payload", "jobs"),
    [
        (SEND, {"message_id": A}, (_job(SEND),)),
        (SEND, {"message_id": A, "retry": 3, "enqueued_at": AT, "extra": {}}, (_job(SEND),)),
        (SEND, {"message_id": A, "extra": {"use_fallback": True}}, (_job(SEND, use_fallback=True),)),
        (SEND, {"message_id": A, "extra": '{"use_fallback": true}'}, (_job(SEND, use_fallback=True),)),
        (SEND, {"message_ids": [A, B, A], "retry": 0, "extra": {}}, (_job(SEND), _job(SEND, B))),
        (PICTURE, picture(A), (_job(PICTURE),)),
        (PICTURE, {**picture(A), "_retry_count": 2, "enqueued_at": AT}, (_job(PICTURE),)),
        (GROUP, group(A), (_job(GROUP),)),
        (GROUP, group(A, group_jid=None), (_job(GROUP),)),
        (SEND, {"message_id": 4711}, (_job(SEND, "4711"),)),
    ],
)
def test_a_payload_is_read_as_the_rows_that_it_names(operation, payload, jobs):
    entry = _json(operation, payload)

    assert (entry.jobs, entry.fault) == (jobs, None)


def test_a_batch_of_a_stream_is_read_from_its_fields():
    fields = {b"message_ids": json.dumps([A, B]).encode(), b"retry": b"1", b"extra": b'{"use_fallback":true}'}

    assert entry_of_fields(fields, SEND).jobs == (_job(SEND, use_fallback=True), _job(SEND, B, use_fallback=True))


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"{", "unreadable"),
        (b"", "unreadable"),
        (b"[]", "unreadable"),
        (b'"text"', "unreadable"),
        (b"\xff\xfe{", "unreadable"),
        (b"[" * 100_000, "unreadable"),
        (b"{}", "no_id"),
        (b'{"message_id": null}', "no_id"),
        (b'{"message_id": true}', "no_id"),
        (b'{"message_id": "+5511987654321"}', "no_id"),
        (b'{"message_id": "a@s.whatsapp.net"}', "no_id"),
        (b'{"message_ids": []}', None),
    ],
)
def test_what_names_no_row_says_so(raw, fault):
    entry = entry_of_json(raw, SEND)

    assert (entry.jobs, entry.fault) == ((), fault or "no_id")


def test_of_a_batch_with_a_bad_id_the_others_are_done():
    entry = _json(SEND, {"message_ids": [A, None, B]})

    assert [job.row_id for job in entry.jobs] == [A, B]
    assert entry.fault == "bad_id"


def test_of_an_unreadable_entry_the_ids_are_kept():
    entry = entry_of_json(f'{{"conversation_id": "{A}", "phone": "+5511'.encode(), PICTURE)

    assert (entry.fault, entry.ids) == ("unreadable", (A,))


@pytest.mark.parametrize(
    ("record", "jobs"),
    [
        ({"queue": "chat:queue:fetch_group_info", "payload": group(A)}, (_job(GROUP),)),
        ({"queue": "send_message", "payload": json.dumps({"message_id": A})}, (_job(SEND),)),
        ({"payload": {"message_id": A}, "error": "x"}, (_job(SEND),)),
        ({"queue": "chat:queue:edit_message", "payload": {"message_id": A, "new_content": "x"}}, ()),
        ({"payload": {"message_id": A, "new_content": "x"}}, ()),
        ({"payload": {"conversation_id": A, "message_id": B}}, ()),
        ({"operation": SEND, "ids": [A, B], "why": "dead_letter"}, (_job(SEND), _job(SEND, B))),
    ],
)
def test_a_dead_letter_names_its_work_itself(record, jobs):
    assert _json(None, record).jobs == jobs


@pytest.mark.parametrize("operation", [*OPERATIONS, None])
@pytest.mark.parametrize("payload", [picture(A), group(A), {"tenant_id": A, "phone": picture(A)["phone"]}])
def test_nothing_secret_gets_past_the_reading(operation, payload):
    for raw in (json.dumps(payload), json.dumps({"payload": payload}), json.dumps(payload)[:-9]):
        entry = entry_of_json(raw.encode(), operation)

        assert leaks(repr(dataclasses.asdict(entry))) == []
        assert entry.has_secrets


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["message_id", "message_ids", "ids", "payload", "extra", "queue", "conversation_id", "phone"]
                ),
                inner,
            )
        ),
    )
)
def test_no_payload_breaks_the_reading(payload):
    for operation in (*OPERATIONS, None):
        entry = _json(operation, payload)

        assert entry.jobs or entry.fault


@given(st.dictionaries(st.binary(max_size=9), st.binary(max_size=30)))
def test_no_field_of_a_stream_breaks_the_reading(fields):
    entry = entry_of_fields(fields, SEND)

    assert entry.jobs or entry.fault


def test_an_id_of_ours_is_never_taken_for_an_entry_of_theirs():
    assert not any(is_foreign(new_id().encode()) for _ in range(2_000))
    assert not is_foreign(A.encode())
    assert is_foreign(b' {"message_id": 1}')


def test_names_of_queues_say_what_they_are_for():
    assert [operation_of(name) for name in ("chat:queue:send_message", "chat:stream:send_message", "edit_message")] == [
        SEND,
        SEND,
        None,
    ]
    assert is_dead_letters("chat:queue:dead_letter")
    assert is_dead_letters("chat:stream:chat_dlq")
    assert not is_dead_letters("chat:queue:send_message")
