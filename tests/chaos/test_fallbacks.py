"""A send that may leave through another instance of its tenant may do so after Redis forgot everything."""

import pytest
from waiting import until

import actors
from actors import services
from actors.domain import MessageStatus
from actors.housekeeping import sweep_pending
from actors.stores.rows import ConversationRow, InstanceRow

pytestmark = pytest.mark.redis

PHONE = "+5511988887777"


@pytest.fixture
def send(world, change, queue_client):
    """Send a message whose own instance is not active, empty Redis, and let the sweep find it."""
    change(sweep_after_s=1)
    world.store.add(
        InstanceRow(instance_name="gone", tenant_id="t", is_active=False),
        ConversationRow(id="c1", contact_phone=PHONE, tenant_id="t", instance_name="gone"),
    )

    def send(**options) -> str:
        world.say("m1", created_at_ms=services.get().clock.now_ms() - 5_000)
        actors.send_message.send("m1", **options)
        queue_client.flushall()
        sweep_pending()
        with world.working():
            until(lambda: world.status("m1") != MessageStatus.PENDING, within_ms=10_000)
        return world.status("m1")

    return send


def test_a_fallback_outlives_an_emptied_redis(world, send):
    assert send(use_fallback=True) == MessageStatus.SENT

    assert world.delivered() == ["oi"]
    assert world.store.attempts("m1")[0].instance_name == "i1"


def test_nobody_leaves_through_another_instance_unasked(world, send):
    assert send() == MessageStatus.FAILED

    assert world.store.message("m1").error_message.startswith("no_instance")
    assert world.delivered() == []


def test_a_fallback_never_leaves_through_another_tenant(world, send):
    world.store._instances = [row for row in world.store._instances if row.instance_name != "i1"]
    world.store.add(
        InstanceRow(instance_name="i1", tenant_id="other", api_key=world.sandbox.apikey, api_url=world.sandbox.url)
    )

    assert send(use_fallback=True) == MessageStatus.FAILED

    assert world.store.message("m1").error_message.startswith("no_instance")
    assert world.delivered() == []
