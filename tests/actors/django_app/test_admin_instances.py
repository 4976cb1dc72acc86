"""The admin's page of instances: those in trouble first, and each parked or released after a question."""

import re

import pytest
from admin_world import INSTANCES, NOW_MS, log, rows_of, site
from chat.models import WhatsAppInstance

from actors import wiring
from actors.circuit import Cause, Failure, State, failed
from actors.domain import Instance

__all__ = ["site"]

pytestmark = [pytest.mark.django_db, pytest.mark.redis]


def _break_down(name: str = "line-1") -> None:
    failure = Failure(cause=Cause.SESSION_DOWN, code="connection_closed", tenant_id="t")
    wiring.traffic().change(Instance(name=name, tenant_id="t"), lambda now: failed(now, failure, now_ms=NOW_MS))


def test_instances_are_listed_and_those_in_trouble_come_first(site):
    WhatsAppInstance.objects.create(instance_name="a-line", tenant_id="u")
    _break_down()
    _break_down("gone-line")

    rows = rows_of(site.get(INSTANCES))

    assert [re.search(r"<th>(.*?)</th>", row)[1] for row in rows] == ["gone-line", "line-1", "a-line"]
    assert ["parked" in row for row in rows] == [True, True, False]
    assert "connection_closed" in rows[1]
    assert "no active row" in rows[0]


def test_an_instance_is_parked_and_released_after_a_question_and_it_is_logged(site):
    form = {"name": "line-1", "tenant": "t"}

    asked, done = site.confirm(INSTANCES, "park", **form)
    assert ("Park line-1?" in asked, "line-1 is held." in done) == (True, True)
    assert wiring.traffic().circuit("line-1").state is State.HELD

    asked, done = site.confirm(INSTANCES, "release", **form)
    assert ("Release line-1?" in asked, "line-1 is trying." in done) == (True, True)
    assert log() == [("line-1", "Parked."), ("line-1", "Released.")]


def test_an_instance_whose_row_is_gone_can_be_released(site):
    _break_down("gone-line")

    _, done = site.confirm(INSTANCES, "release", name="gone-line", tenant="t")

    assert "gone-line is trying." in done


def test_another_tenant_s_instance_is_not_found(site):
    page = site.client.post(f"{INSTANCES}park/confirm/", {"name": "line-1", "tenant": "u"}, follow=True)

    assert "There is no such instance" in page.content.decode()


def test_instances_are_read_page_by_page(site, monkeypatch):
    monkeypatch.setattr("actors.django_app.admin_instances.PAGE", 2)
    for number in range(4):
        WhatsAppInstance.objects.create(instance_name=f"more-{number}", tenant_id="t")
    seen, page = [], site.get(INSTANCES)

    for _ in range(5):
        seen += re.findall(r"<th>(.*?)</th>", "".join(rows_of(page)))
        more = re.search(r'<a href="\?([^"]+)">More', page)
        if more is None:
            break
        page = site.get(f"{INSTANCES}?{more[1]}")

    assert sorted(seen) == ["line-1", "more-0", "more-1", "more-2", "more-3"]
