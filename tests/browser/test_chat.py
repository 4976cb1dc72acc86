"""The chat in a browser: what a person writes goes, and every window sees it go, whatever is cut on the way."""

import pytest
from chat_page import WITHIN_MS
from waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.process]


def test_what_is_written_in_the_form_goes_and_its_tick_turns_without_a_reload(site, open_page):
    conversation = site.conversation(site.line())
    page = open_page(conversation)

    page.write("first\nline two")
    page.until_bubbles(("first\nline two", "sent"))
    page.write("second")
    page.until_bubbles(("first\nline two", "sent"), ("second", "sent"))

    assert [one[2] for one in page.bubbles()] == ["Sent", "Sent"]
    assert page.js("return [document.activeElement.id, document.activeElement.value]") == ["text", ""]
    assert page.count("#empty:not([hidden])") == 0
    assert page.errors() == []
    delivered = [one["text"] for one in site.sandbox.admin.deliveries(instance=conversation.instance_name)]
    assert delivered == ["first\nline two", "second"]


def test_ticks_go_on_to_delivered_and_read_and_nothing_jumps(site, open_page):
    line = site.line()
    conversation = site.conversation(line)
    for status, after_ms in (("DELIVERY_ACK", 100), ("READ", 300)):
        site.sandbox.admin.add_fault({"type": "ack", "status": status, "after_ms": after_ms}, match={"instance": line})
    fault = site.sandbox.admin.add_fault({"type": "disconnect", "instance": line})
    page = open_page(conversation)
    where = (
        "const box = document.querySelector('.bubble').getBoundingClientRect(); return [box.top, box.left, box.height]"
    )

    page.write("hello")
    page.until_bubbles(("hello", "pending"))
    page.until_text("#banner", f"The line {line} has lost its connection")
    before = page.js(where)
    site.sandbox.admin.clear_faults(fault)
    page.until_bubbles(("hello", "seen"))
    page.until_text("#banner", "")

    assert page.js(where) == before
    assert page.bubbles()[0][2] == "Read"


def test_a_failed_message_says_why_and_goes_when_it_is_tried_again(site, open_page):
    conversation = site.conversation(site.line())
    site.sandbox.admin.put_contact(conversation.contact_phone.strip("+"), exists=False)
    page = open_page(conversation)

    page.write("is anybody there?")
    page.until_text(".failure", "This number is not on WhatsApp.")
    page.until_bubbles(("is anybody there?", "failed"))
    site.sandbox.admin.put_contact(conversation.contact_phone.strip("+"), exists=True)
    page.click(".failure button")

    page.until_bubbles(("is anybody there?", "sent"))
    assert page.bubbles()[0][3] == ""
    assert len(site.sandbox.admin.deliveries(instance=conversation.instance_name)) == 1


def test_two_windows_see_the_same(site, open_page):
    conversation = site.conversation(site.line())
    site.sandbox.admin.put_contact(conversation.contact_phone.strip("+"), exists=False)
    one, other = open_page(conversation), open_page(conversation)

    one.write("hello")
    for page in (one, other):
        page.until_text(".failure", "not on WhatsApp")
    site.sandbox.admin.put_contact(conversation.contact_phone.strip("+"), exists=True)
    other.click(".failure button")
    other.write("and again")

    for page in (one, other):
        page.until_bubbles(("hello", "sent"), ("and again", "sent"))
        page.until_text(".list a[aria-current]", "and again")


def test_a_page_whose_socket_was_cut_catches_up_in_order(site, open_page):
    line = site.line()
    conversation = site.conversation(line)
    fault = site.sandbox.admin.add_fault({"type": "disconnect", "instance": line})
    page = open_page(conversation)
    page.write("one")
    page.until_bubbles(("one", "pending"))

    site.stop_web()
    page.until_link("lost")
    site.sandbox.admin.clear_faults(fault)
    until(lambda: site.status_of(conversation, "one") == "sent", within_ms=WITHIN_MS)
    site.message(conversation, "two", direction="incoming", status="seen")
    page.write("typed meanwhile")
    page.until_text("#notice", "The server cannot be reached.")
    assert page.js("return document.getElementById('text').value") == "typed meanwhile"
    site.start_web()
    site.wait_for_web()

    page.until_link("live")
    page.until_bubbles(("one", "sent"), ("two", "seen"))
    page.click("#composer button")
    page.until_bubbles(("one", "sent"), ("two", "seen"), ("typed meanwhile", "sent"))


def test_what_is_written_is_shown_as_text(site, open_page):
    evil = "<img src=x onerror='window.isHurt=1'><script>window.isHurt=1</script>&lt;b&gt;{{7*7}}"
    metadata = {"description": evil, "participants": [{"id": evil}], "participants_count": 1}
    conversation = site.conversation(
        site.line(),
        contact_name=evil,
        contact_phone="120363025246125486@g.us",
        conversation_type="group",
        group_metadata=metadata,
    )
    site.message(conversation, evil, direction="incoming", status="seen", sender_name=evil)
    page = open_page(conversation)

    page.write(evil)
    until(lambda: len(page.bubbles()) == 2, within_ms=WITHIN_MS)
    page.click(".info summary")

    assert [one[0] for one in page.bubbles()] == [evil, evil]
    assert page.find(".pane h2").text == evil
    assert evil in page.find(".sheet").text
    assert page.js("return [window.isHurt ?? null, document.querySelectorAll('img[src=x], .app script').length]") == [
        None,
        0,
    ]


def test_pictures_and_group_info_appear_when_they_are_fetched(site, open_page):
    line = site.line()
    person, group = site.conversation(line), site.conversation(line, conversation_type="group", contact_name="?")
    jid = f"1203630{person.pk.int % 10**11:011}@g.us"
    type(group).objects.using(site.alias).filter(pk=group.pk).update(contact_phone=jid)
    site.sandbox.admin.put_contact(person.contact_phone.strip("+"), picture_url="https://media.example.com/1.jpg")
    members = [{"id": f"55119777700{number}@s.whatsapp.net", "admin": None} for number in range(3)]
    site.sandbox.admin.put_group(jid, subject="Neighbours", participants=members)
    one, other = open_page(person), open_page(group)

    one.click(".info summary")
    one.click("[data-refresh] button")
    other.click(".info summary")
    other.click("[data-refresh] button")

    is_shown = "const one = document.querySelector('#head img.avatar'); return Boolean(one && one.naturalWidth)"
    until(lambda: one.js(is_shown), within_ms=WITHIN_MS)
    other.until_text("#head h2", "Neighbours")
    other.until_text("#head .who p", "Group, 3 members")
    assert other.js("return document.querySelector('details.info').open")
    assert [one.errors(), other.errors()] == [[], []]


def test_a_page_is_never_wider_or_higher_than_its_window(site, open_page):
    conversation = site.conversation(site.line(), contact_name="W" * 200)
    site.message(conversation, "w" * 400, status="failed", error_message="expired: too late")
    page = open_page(conversation)

    for width in (360, 1_200):
        size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
        assert page.js("return document.getElementById('text').getBoundingClientRect().bottom <= innerHeight")
        assert page.find("#composer button").is_displayed()
