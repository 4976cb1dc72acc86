"""A host's models under names of its own: rows are found through them, and every fault in the names is told at once."""

from types import SimpleNamespace

import pytest
from contracts.django_world import DeskWorld
from contracts.store_world import message
from desk.models import Entry

from actors.errors import SettingsError
from actors.stores.base import make_store
from actors.stores.django_host import find_host
from actors.stores.rows import InstanceRow


def _settings(**values):
    return SimpleNamespace(**{"models": {}, "field_map": {}, **values})


def test_an_archived_row_is_still_found(sqlite_alias, unblocked):
    world = DeskWorld(sqlite_alias)
    sent = message(world)
    Entry.objects.using(sqlite_alias).filter(pk=sent.id).update(archived=True)

    assert world.store.load_message(sent.id).id == sent.id
    world.clear()


def test_an_instance_of_a_host_with_other_names_is_found(sqlite_alias, unblocked):
    world = DeskWorld(sqlite_alias)
    world.add(
        InstanceRow(instance_name="line-1", evolution_instance_name="wire-1", tenant_id="tenant-1"),
        InstanceRow(instance_name="line-1", tenant_id="tenant-2"),
    )

    found = world.store.load_instance("line-1", tenant_id="tenant-1")

    assert (found.name, found.tenant_id, found.backend, found.api_key) == ("wire-1", "tenant-1", None, None)
    assert world.store.load_instance(None, tenant_id="tenant-2").name == "line-1"
    assert world.store.load_instance("line-1", tenant_id="tenant-3") is None
    world.clear()


def test_every_fault_of_the_hosts_models_is_named_at_once():
    models = {"message": "chat.Letter", "instance": None, "attachment": "chat.Files"}
    field_map = {
        "conversation": {"contact_phone": "number", "picture": "profile_pic_url", "contact_name": "status__x"},
        "person": {},
    }

    with pytest.raises(SettingsError) as caught:
        make_store("django", _settings(models=models, field_map=field_map))

    text = str(caught.value)
    for said in (
        "'chat.Letter' (message) does not exist",
        "(instance) does not exist",
        "'chat.Files' (attachment) does not exist",
        "chat.Conversation (conversation) has no usable field 'number'",
        "has no usable field 'status__x'",
        "FIELD_MAP['conversation'] has an unknown key 'picture'",
        "FIELD_MAP has an unknown key 'person'",
    ):
        assert said in text
    assert len(caught.value.faults) == 7


def test_a_field_that_is_written_must_be_the_models_own():
    _, faults = find_host({}, {"message": {"status": "conversation__status"}})

    assert ["conversation__status" in fault.text for fault in faults] == [True]


def test_a_field_that_is_not_needed_may_be_named_away():
    host, faults = find_host({}, {"message": {"metadata": None}, "conversation": {"tenant_id": None}})

    assert faults == []
    assert "metadata" not in host["message"].paths
    assert "tenant_id" not in host["conversation"].paths
