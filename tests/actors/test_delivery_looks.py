"""Looking for a part at the gateway: what is found must be that part, not an earlier message with the same words."""

import threading
from collections.abc import Collection

import pytest

from actors.delivery import Delivery, outgoing_parts
from actors.domain import AttemptState, Instance, OutgoingPart, Phone, Receipt
from actors.gateways.base import Ability
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
    claim = {"instance_name": "i1", "deadline_at_ms": NOW_MS + 10_000}
    earlier = store.claim("m1", 0, now_ms=started_ms - earlier_ms, **claim)
    store.settle(earlier, AttemptState.ACCEPTED, receipt=Receipt(provider_message_id="3EB0"))
    lost = store.claim("m2", 0, now_ms=started_ms, **claim)
    store.settle(lost, AttemptState.UNKNOWN)
    message = store.load_message("m2")
    delivery = Delivery(work, message, Instance(name="i1"), lease_left_ms=lambda: None)

    with pytest.raises(Snooze):
        delivery.deliver(outgoing_parts(message, Phone(PHONE))[0], store.attempts("m2")[0])

    row = store.attempts("m2")[0]
    assert (row.state, row.looks, row.provider_message_id) == (AttemptState.UNKNOWN, 1, None)
