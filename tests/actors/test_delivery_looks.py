"""Looking for a part at the gateway: what is found must be that part, not an earlier message with the same words."""

import threading
from collections.abc import Collection

import pytest
from contracts.store_world import first

from actors.delivery import Delivery
from actors.domain import AttemptState, GroupJid, Instance, OutgoingPart, Phone, Receipt
from actors.errors import DeliveryUnknown
from actors.gateways.base import Ability
from actors.parts import first_attempt, outgoing_parts
from actors.services import Services
from actors.settings import Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.errors import Snooze

NOW_MS = 1_750_000_000_000
PHONE = "+5511988887777"


class FixedClock:
    def now_ms(self) -> int:
        return NOW_MS

    def boot_ms(self) -> int:
        return NOW_MS

    def wait(self, seconds: float, *, until: threading.Event) -> bool:
        return until.is_set()


class GatewayThatSent:
    """Has one message with these words in its list of sent ones, whenever it is asked."""

    name = "sandbox"
    supports = frozenset(Ability)

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id

    def find_sent(
        self, part: OutgoingPart, *, instance: Instance, since_ms: int, until_ms: int, bound_ids: Collection[str]
    ) -> Receipt | None:
        return None if self.key_id in bound_ids else Receipt(provider_message_id=self.key_id)


# A gateway looks a little further back than asked, and a send may last as long as its time limit.
@pytest.mark.parametrize("earlier_ms", [100, 4_900, 5_100, 9_900, 60_000, 180_000])
def test_an_earlier_message_with_the_same_words_is_never_taken_for_this_one(earlier_ms: int):
    store = MemoryStore()
    store.add(
        InstanceRow(instance_name="i1"),
        ConversationRow(id="c1", contact_phone=PHONE, instance_name="i1"),
        *(
            MessageRow(id=id_, conversation_id="c1", content="ok", created_at_ms=NOW_MS - 200_000)
            for id_ in ("m1", "m2")
        ),
    )
    settings = Settings(gateway="sandbox", reconcile_grace_s=1)
    gateway = GatewayThatSent("3EB0")
    work = Services(settings=settings, store=store, clock=FixedClock(), gateways={"sandbox": gateway})
    started_ms = NOW_MS - 1_500
    earlier = store.claim(first("m1", now_ms=started_ms - earlier_ms, instance="i1"))
    store.settle(earlier, AttemptState.ACCEPTED, receipt=Receipt(provider_message_id="3EB0"))
    lost = store.claim(first("m2", now_ms=started_ms, instance="i1"))
    store.settle(lost, AttemptState.UNKNOWN)
    message = store.load_message("m2")
    delivery = Delivery(work, message, Instance(name="i1"), lease_left_ms=lambda: None)

    with pytest.raises(Snooze):
        delivery.deliver(outgoing_parts(message, Phone(PHONE))[0], store.attempts("m2")[0])

    row = store.attempts("m2")[0]
    assert (row.state, row.looks, row.provider_message_id) == (AttemptState.UNKNOWN, 1, None)


class GatewayWithRecords:
    """Has messages with these words in its list: id → when it was sent. Takes what is sent."""

    name = "sandbox"
    supports = frozenset(Ability)

    def __init__(self, records: dict[str, int]) -> None:
        self.records = records
        self.sent: list[str] = []

    def find_sent(
        self, part: OutgoingPart, *, instance: Instance, since_ms: int, until_ms: int, bound_ids: Collection[str]
    ) -> Receipt | None:
        found = sorted(
            (at_ms, id_)
            for id_, at_ms in self.records.items()
            if since_ms <= at_ms <= until_ms and id_ not in bound_ids
        )
        return Receipt(provider_message_id=found[0][1]) if found else None

    def send(self, part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        self.sent.append(part.message_id)
        return Receipt(provider_message_id=f"sent-{part.message_id}")


class World:
    """Messages with the same words to one phone, from conversations of their own, under a clock that stands."""

    def __init__(self, *ids: str, **records: int) -> None:
        self.store, self.clock = MemoryStore(), FixedClock()
        self.store.add(InstanceRow(instance_name="i1"))
        for id_ in ids:
            self.store.add(
                ConversationRow(id=f"c-{id_}", contact_phone=PHONE, instance_name="i1"),
                MessageRow(id=id_, conversation_id=f"c-{id_}", content="ok", created_at_ms=NOW_MS - 200_000),
            )
        self.gateway = GatewayWithRecords(records)
        settings = Settings(gateway="sandbox", reconcile_grace_s=1)
        self.work = Services(settings=settings, store=self.store, clock=self.clock, gateways={"sandbox": self.gateway})

    def attempt(self, id_: str, state: AttemptState, *, age_ms: int, **outcome: object) -> None:
        part = self.part(id_)
        claim = first_attempt(part, instance_name="i1", now_ms=NOW_MS - age_ms, deadline_at_ms=NOW_MS + 10_000)
        taken = self.store.claim(claim)
        if state is not AttemptState.SENDING:
            self.store.settle(taken, state, **outcome)

    def part(self, id_: str) -> OutgoingPart:
        return outgoing_parts(self.store.load_message(id_), Phone(PHONE))[0]

    def deliver(self, id_: str) -> str:
        """One run; what became of it."""
        delivery = Delivery(self.work, self.store.load_message(id_), Instance(name="i1"), lease_left_ms=lambda: None)
        try:
            delivery.deliver_last(self.part(id_), {row.part: row for row in self.store.attempts(id_)})
        except Snooze:
            return "put back"
        return str(self.store.attempts(id_)[0].provider_message_id)


UNKNOWN, SENDING, ACCEPTED = AttemptState.UNKNOWN, AttemptState.SENDING, AttemptState.ACCEPTED


@pytest.mark.parametrize("state", [UNKNOWN, SENDING])
def test_of_two_with_the_same_words_the_earlier_is_looked_for_first(state):
    """One record, two sends in silence: whichever job looks first, it is the earlier one's."""
    world = World("early", "late", R1=NOW_MS - 3_500)
    world.attempt("early", state, age_ms=4_000)
    world.attempt("late", UNKNOWN, age_ms=3_800)

    assert world.deliver("late") == "put back"
    assert world.store.attempts("late")[0].looks == 0
    assert "R1" in (world.deliver("early"), world.deliver("early"))
    # The record is taken: this one was not sent, which two looks show, and it goes out once.
    assert [world.deliver("late"), world.deliver("late")] == ["put back", "sent-late"]
    assert world.gateway.sent == ["late"]


def test_two_with_the_same_words_that_both_went_out_get_a_record_each():
    world = World("early", "late", R1=NOW_MS - 2_500, R2=NOW_MS - 2_400)
    world.attempt("early", UNKNOWN, age_ms=3_000)
    world.attempt("late", UNKNOWN, age_ms=2_800)

    assert [world.deliver("late"), world.deliver("early"), world.deliver("late")] == ["put back", "R1", "R2"]
    assert world.gateway.sent == []


def test_nobody_waits_for_ever_for_one_whose_job_is_gone():
    """Its record, sent before this one was begun, stays its own."""
    world = World("gone", "late", R1=NOW_MS - 260_000, R2=NOW_MS - 199_000)
    world.attempt("gone", UNKNOWN, age_ms=262_000)
    world.attempt("late", UNKNOWN, age_ms=200_000)

    assert world.deliver("late") == "R2"


def test_a_record_that_was_taken_without_an_id_is_not_taken_for_the_next_message():
    """Evolution said that it went out and not under which id; the same words again, whose request was lost."""
    receipt = Receipt(provider_message_id=None)
    world = World("untracked", "late", R1=NOW_MS - 5_500)
    world.attempt("untracked", ACCEPTED, age_ms=6_000, receipt=receipt)
    world.attempt("late", UNKNOWN, age_ms=3_000)

    assert [world.deliver("late"), world.deliver("late")] == ["put back", "sent-late"]
    assert world.gateway.sent == ["late"]


def test_a_record_of_its_own_is_found_beside_one_that_left_none():
    """What is taken without an id is mostly not in the list: the only record is this message's."""
    world = World("untracked", "late", R1=NOW_MS - 2_900)
    world.attempt("untracked", ACCEPTED, age_ms=6_000, receipt=Receipt(provider_message_id=None))
    world.attempt("late", UNKNOWN, age_ms=3_000)

    assert world.deliver("late") == "R1"


class GatewayThatIsTold(GatewayWithRecords):
    """Cannot be asked; its webhooks tell."""

    supports = frozenset({Ability.SEND_TEXT, Ability.STATUS_BY_REFERENCE})


@pytest.mark.parametrize(("age_ms", "left_ms"), [(1_000, 89_000), (89_000, 1_000)])
def test_a_gateway_that_cannot_be_asked_gets_time_to_tell(age_ms: int, left_ms: int):
    world = World("m1")
    world.work.gateways["sandbox"] = GatewayThatIsTold({})
    world.attempt("m1", UNKNOWN, age_ms=age_ms)
    delivery = Delivery(world.work, world.store.load_message("m1"), Instance(name="i1"), lease_left_ms=lambda: None)

    with pytest.raises(Snooze) as put_back:
        delivery.deliver(world.part("m1"), world.store.attempts("m1")[0])

    assert put_back.value.delay_ms == left_ms


def test_what_nobody_told_of_in_time_is_for_a_person():
    world = World("m1")
    world.work.gateways["sandbox"] = GatewayThatIsTold({})
    world.attempt("m1", UNKNOWN, age_ms=90_000)

    with pytest.raises(DeliveryUnknown):
        world.deliver("m1")

    assert (world.store.attempts("m1")[0].state, world.gateway.sent) == (AttemptState.DEAD, [])


def test_an_answer_that_a_webhook_overtook_ends_the_same():
    """The status was applied while the request was still out."""
    world = World("m1")

    def tell_and_answer(part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        world.store.bind("m1", 0, provider_message_id="wamid.1")
        return Receipt(provider_message_id="wamid.1")

    world.gateway.send = tell_and_answer
    assert world.deliver("m1") == "put back"

    assert world.deliver("m1") == "wamid.1"
    assert len(world.store.attempts("m1")) == 1


def test_an_answer_does_not_revive_what_the_provider_refused_meanwhile():
    world = World("m1")

    def refuse_and_answer(part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        attempt = world.store.attempts("m1")[0]
        world.store.record_failed(attempt, provider_message_id="wamid.1", code="window_closed", text="late")
        return Receipt(provider_message_id="wamid.1")

    world.gateway.send = refuse_and_answer
    assert world.deliver("m1") == "put back"

    assert (world.store.attempts("m1")[0].state, world.store.message("m1").status) == ("dead", "failed")


def test_a_second_delivery_is_told_of_by_the_run_that_made_it(caplog):
    """The webhook of the first send came while the second was on its way: nobody else knows both ids."""
    world = World("m1")
    world.attempt("m1", AttemptState.RETRYABLE, age_ms=60_000)

    def send(part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        world.store.bind("m1", 0, provider_message_id="first")
        return Receipt(provider_message_id="second")

    world.gateway.send = send

    world.deliver("m1")

    assert world.store.attempts("m1")[0].provider_message_id == "first"
    assert [record.getMessage() for record in caplog.records] == ["attempt.sent_twice"]


@pytest.mark.parametrize(("age_ms", "looks"), [(2_900, 0), (3_100, 1)])
def test_a_group_is_given_the_time_of_a_file(age_ms, looks):
    """Evolution asks for a group's members before it sends: 30 s and more were seen, and a look before that finds nothing."""
    world = World("m1")
    group = GroupJid("120363025246125486@g.us")
    world.store.add(ConversationRow(id="c-m1", contact_phone=group.jid, conversation_type="group", instance_name="i1"))
    message = world.store.load_message("m1")
    [part] = outgoing_parts(message, group)
    claim = first_attempt(part, instance_name="i1", now_ms=NOW_MS - age_ms, deadline_at_ms=NOW_MS + 10_000)
    lost = world.store.settle(world.store.claim(claim), UNKNOWN)
    delivery = Delivery(world.work, message, Instance(name="i1"), lease_left_ms=lambda: None)

    with pytest.raises(Snooze):
        delivery.deliver(part, lost)

    assert world.store.attempts("m1")[0].looks == looks
