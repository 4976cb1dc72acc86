"""The way of one message through the Cloud API, whole: store, broker, worker threads, real client, sandbox gateway."""

import pytest
from flow_world import GROUP, add_cloud_number, working
from sandbox_fixture import NUMBER_ID
from waiting import stays, until

import actors
from actors.domain import MessageStatus
from actors.settings import OnUnknown
from actors.stores.rows import AttachmentRow, ConversationRow

pytestmark = pytest.mark.redis

CLOUD_GROUP = "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD"
SENT, FAILED = MessageStatus.SENT, MessageStatus.FAILED


@pytest.fixture
def cloud(world, change):
    """The world with a number of the Cloud API, two people and a group of its own."""
    own = {"tenant_id": "t", "instance_name": "cloud-1"}
    add_cloud_number(world)
    world.store.add(
        ConversationRow(
            id="cg1",
            contact_phone=CLOUD_GROUP,
            conversation_type="group",
            group_metadata={"group_id": CLOUD_GROUP, "participants": ["kept"]},
            **own,
        ),
        ConversationRow(
            id="eg1", contact_phone=GROUP, conversation_type="group", group_metadata={"group_id": GROUP}, **own
        ),
    )
    world.sandbox.admin.put_group(CLOUD_GROUP, subject="Vendas", participants=[{"wa_id": "5511988887777"}])
    change(told_within_s=0.2)
    return world


def asked(world):
    return [one["op"] for one in world.sandbox.requests()]


def test_a_message_goes_out_through_the_number_of_its_row(cloud):
    cloud.say("m1", "olá", conversation="p1")
    cloud.say("m2", "oi, grupo", conversation="cg1")
    for name in ("m1", "m2"):
        actors.send_message.send(name)
    with working():
        until(lambda: cloud.status("m1") == cloud.status("m2") == SENT, within_ms=10_000)

    delivered = {one["client_ref"]: one for one in cloud.sandbox.admin.deliveries()}
    assert {name: one["instance"] for name, one in delivered.items()} == {"m1:0": NUMBER_ID, "m2:0": NUMBER_ID}
    assert delivered["m1:0"]["requested_number"] == "+5511988887777"
    assert delivered["m2:0"]["jid"] == CLOUD_GROUP
    assert cloud.store.message("m1").message_id == delivered["m1:0"]["key_id"]


def test_a_place_and_a_template_of_a_row_go_out(cloud):
    cloud.say("m1", "", conversation="p1", metadata={"location_message": {"latitude": -23.5, "longitude": -46.6}})
    cloud.say("m2", "shown", conversation="p2", metadata={"template": {"name": "hi", "language": "pt_BR"}})
    for name in ("m1", "m2"):
        actors.send_message.send(name)
    with working():
        until(lambda: cloud.status("m1") == cloud.status("m2") == SENT, within_ms=10_000)

    assert sorted(one["type"] for one in cloud.sandbox.admin.deliveries()) == ["location", "template"]


def test_a_group_of_the_cloud_api_is_merged_and_participants_stay(cloud):
    actors.fetch_group_info.send("cg1", force=True)
    with working():
        until(lambda: cloud.store.conversation("cg1").contact_name == "Vendas", within_ms=10_000)

    assert cloud.store.conversation("cg1").group_metadata["participants"] == ["kept"]
    assert cloud.letters() == []


def test_a_picture_and_a_foreign_group_ask_nobody_and_leave_no_letter(cloud, queue_client):
    actors.fetch_profile_pic.send("p1", force=True)
    actors.fetch_group_info.send("eg1", force=True)
    with working():
        until(lambda: not _waiting(queue_client), within_ms=10_000)

    assert asked(cloud) == []
    assert cloud.letters() == []


def _waiting(queue_client):
    return [key for name in ("fetch_profile_pic", "fetch_group_info") for key in queue_client.keys(f"*{name}.msgs")]


@pytest.mark.parametrize(
    ("conversation", "text", "metadata", "reason"),
    [
        ("eg1", "oi", {}, "unsupported"),
        ("cg1", "@todos", {"mention_everyone": True}, "unsupported"),
        ("p1", "x" * 4_097, {}, "text_too_long"),
    ],
)
def test_what_the_cloud_api_cannot_send_fails_at_once_with_its_reason_and_no_request(
    cloud, conversation, text, metadata, reason
):
    cloud.say("m1", text, conversation=conversation, metadata=metadata)
    actors.send_message.send("m1")
    with working():
        until(lambda: cloud.status("m1") == FAILED, within_ms=10_000)

    assert _reason(cloud, "m1") == reason
    assert asked(cloud) == []


def test_an_answer_that_was_lost_is_never_sent_again_without_being_told_to(cloud):
    cloud.sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, match={"op": "messages"})
    cloud.say("m1", "olá", conversation="p1")
    cloud.say("m2", "depois", conversation="p1")
    for name in ("m1", "m2"):
        actors.send_message.send(name)
    with working():
        until(lambda: cloud.status("m1") == cloud.status("m2") == FAILED, within_ms=20_000)

    assert {_reason(cloud, name) for name in ("m1", "m2")} == {"delivery_unknown"}
    assert cloud.delivered() == ["olá", "depois"]


def test_an_unknown_send_is_repeated_where_the_host_says_so(cloud, change):
    change(on_unknown=OnUnknown.RESEND)
    cloud.sandbox.admin.add_fault({"type": "drop"}, match={"op": "messages"}, trigger={"next": 1})
    cloud.say("m1", "olá", conversation="p1")
    actors.send_message.send("m1")
    with working():
        until(lambda: cloud.status("m1") == SENT, within_ms=20_000)

    assert cloud.delivered() == ["olá"]
    assert asked(cloud) == ["messages", "messages"]


def test_the_webhook_of_a_lost_answer_is_waited_for(cloud, change):
    change(told_within_s=60.0)
    cloud.sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, match={"op": "messages"})
    cloud.say("m1", "olá", conversation="p1")
    actors.send_message.send("m1")
    with working():
        until(lambda: cloud.sandbox.admin.deliveries() and _state(cloud, "m1") == "unknown", within_ms=10_000)
        stays(lambda: cloud.status("m1") == MessageStatus.PENDING, for_ms=300)

    assert cloud.delivered() == ["olá"]


def _state(world, message_id):
    return next((row.state for row in world.store.attempts(message_id)), None)


def test_one_pair_waits_while_another_persons_message_goes_out(cloud):
    cloud.sandbox.admin.add_fault(
        {"type": "status", "preset": "graph_131056"}, match={"number_re": "988887777"}, trigger={"next": 1}
    )
    cloud.say("m1", "espera", conversation="p1")
    cloud.say("m2", "passa", conversation="p2")
    actors.send_message.send("m1")
    with working():
        until(lambda: len(cloud.sandbox.requests()) == 1, within_ms=10_000)
        actors.send_message.send("m2")
        until(lambda: cloud.status("m1") == cloud.status("m2") == SENT, within_ms=20_000)

    assert cloud.delivered() == ["passa", "espera"]


def test_a_file_is_uploaded_where_the_worker_fetches_it(cloud, change, file_server):
    from actors.settings import MediaBy

    change(media_by=MediaBy.CONTENT, media_hosts="127.0.0.1")
    cloud.say("m1", "veja", conversation="p1")
    cloud.store.add(
        AttachmentRow(
            message_id="m1",
            mime_type="image/png",
            original_filename="a.png",
            short_url=f"{file_server}/a.png",
            created_at_ms=1,
        )
    )
    actors.send_message.send("m1")
    with working():
        until(lambda: cloud.status("m1") == SENT, within_ms=10_000)

    assert asked(cloud) == ["media", "messages"]
    assert cloud.sandbox.admin.deliveries()[0]["media"]["bytes"] == len(PNG)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
def file_server():
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(PNG)))
            self.end_headers()
            self.wfile.write(PNG)

        def log_message(self, *_) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _reason(world, message_id):
    return next(letter.reason for letter in world.letters() if letter.kwargs["message_id"] == message_id)
