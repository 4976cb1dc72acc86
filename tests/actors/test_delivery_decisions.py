"""What to do next with a part, decided from its row alone; and what parts a message has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery import LOOKS, Step, UnknownPolicy, look_at_ms, next_step, outgoing_parts
from actors.domain import (
    AttemptState,
    ChatMessage,
    ConversationType,
    Media,
    MediaKind,
    OutgoingPart,
    Quote,
    SendAttempt,
)
from actors.settings import OnUnknown

GRACE_MS = 1_000
ASK = UnknownPolicy(OnUnknown.RECONCILE_THEN_RESEND, True, GRACE_MS, 3)
CANNOT_ASK = UnknownPolicy(OnUnknown.RECONCILE_THEN_RESEND, False, GRACE_MS, 3)
PARK = UnknownPolicy(OnUnknown.PARK_FOR_HUMAN, True, GRACE_MS, 3)
RESEND = UnknownPolicy(OnUnknown.RESEND, True, GRACE_MS, 3)


def attempt(state: AttemptState, *, looks: int = 0, number: int = 1) -> SendAttempt:
    return SendAttempt(
        message_id="m",
        part=0,
        state=state,
        number=number,
        instance_name="i",
        started_at_ms=0,
        deadline_at_ms=10**9,
        looks=looks,
    )


@pytest.mark.parametrize(
    ("row", "now_ms", "policy", "step"),
    [
        (None, 0, ASK, Step.CLAIM),
        (attempt(AttemptState.RETRYABLE), 0, ASK, Step.CLAIM),
        (attempt(AttemptState.ACCEPTED), 0, ASK, Step.SETTLED),
        (attempt(AttemptState.DEAD), 0, ASK, Step.REFUSE),
        (attempt(AttemptState.UNKNOWN), 999, ASK, Step.WAIT),
        (attempt(AttemptState.UNKNOWN), 1_000, ASK, Step.LOOK),
        (attempt(AttemptState.UNKNOWN, looks=1), 1_999, ASK, Step.WAIT),
        (attempt(AttemptState.UNKNOWN, looks=1), 2_000, ASK, Step.LOOK),
        (attempt(AttemptState.UNKNOWN, looks=2), 3_000, ASK, Step.RESEND),
        (attempt(AttemptState.UNKNOWN, looks=2, number=3), 3_000, ASK, Step.PARK),
        (attempt(AttemptState.UNKNOWN), 1_000, CANNOT_ASK, Step.PARK),
        (attempt(AttemptState.UNKNOWN, looks=2), 3_000, PARK, Step.PARK),
        (attempt(AttemptState.UNKNOWN), 1_000, PARK, Step.LOOK),
        (attempt(AttemptState.UNKNOWN), 1_000, RESEND, Step.RESEND),
        (attempt(AttemptState.UNKNOWN, number=3), 1_000, RESEND, Step.PARK),
    ],
)
def test_the_next_step_follows_from_the_row(row, now_ms, policy, step):
    assert next_step(row, now_ms=now_ms, policy=policy) is step


@given(
    state=st.sampled_from([AttemptState.UNKNOWN, AttemptState.SENDING]),
    looks=st.integers(0, 5),
    number=st.integers(1, 20),
    now_ms=st.integers(0, 10**6),
    on_unknown=st.sampled_from(OnUnknown),
    can_ask=st.booleans(),
)
def test_nothing_unknown_is_ever_sent_again_before_it_was_looked_for_in_vain(
    state, looks, number, now_ms, on_unknown, can_ask
):
    row = attempt(state, looks=looks, number=number)
    policy = UnknownPolicy(on_unknown, can_ask, GRACE_MS, 3)
    step = next_step(row, now_ms=now_ms, policy=policy)

    assert step is not Step.CLAIM
    if step is Step.RESEND:
        assert now_ms >= look_at_ms(row, grace_ms=GRACE_MS)
        assert number < policy.max_sends
        assert on_unknown is OnUnknown.RESEND or (can_ask and looks >= LOOKS)


def media(kind: MediaKind, number: int = 0) -> Media:
    return Media(kind=kind, url=f"https://cdn.example.com/{number}", mimetype="x/y", file_name=f"{number}.bin")


def parts_of(**fields: object) -> list[OutgoingPart]:
    chat_message = ChatMessage(
        id="m",
        conversation_id="c",
        tenant_id=None,
        instance_name="i",
        conversation_type=ConversationType.INDIVIDUAL,
        recipient_address="+5511988887777",
        created_at_ms=7,
        **fields,  # type: ignore[arg-type]
    )
    return outgoing_parts(chat_message, chat_message.recipient())


def test_a_text_is_one_part():
    [part] = parts_of(text="oi")

    assert (part.text, part.media, part.reference) == ("oi", None, "m:0")


def test_the_text_is_the_caption_of_the_first_attachment():
    parts = parts_of(text="caption", media=(media(MediaKind.IMAGE, 0), media(MediaKind.DOCUMENT, 1)))

    assert [(part.part, part.text) for part in parts] == [(0, "caption"), (1, "")]


@pytest.mark.parametrize("kind", [MediaKind.VOICE, MediaKind.AUDIO])
def test_sound_is_followed_by_its_text(kind):
    parts = parts_of(text="words", media=(media(kind),))

    assert [(part.text, part.media is not None) for part in parts] == [("", True), ("words", False)]


def test_a_reply_quotes_once_and_mentions_stand_with_the_text():
    quote = Quote(provider_message_id="q", from_me=False)
    parts = parts_of(text="@1", media=(media(MediaKind.VOICE),), quote=quote, mentions=("1",), mention_everyone=True)

    assert [part.quote for part in parts] == [quote, None]
    assert [(part.mentions, part.mention_everyone) for part in parts] == [((), False), (("1",), True)]


@given(kinds=st.lists(st.sampled_from(MediaKind), max_size=5), text=st.sampled_from(["", "words"]))
def test_nothing_of_a_message_is_left_out_and_parts_stay_in_order(kinds, text):
    files = tuple(media(kind, number) for number, kind in enumerate(kinds))
    parts = parts_of(text=text, media=files)

    assert [part.media for part in parts if part.media] == list(files)
    assert [part.text for part in parts if part.text] == ([text] if text else [])
    assert [part.part for part in parts] == list(range(len(parts)))
    assert sorted(part.sequence for part in parts) == [part.sequence for part in parts]
