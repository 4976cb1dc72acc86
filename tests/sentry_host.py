"""A host's web request and worker in one interpreter of their own, with the Sentry integrations that it gets by default.

Run by ``tests/flows/test_sentry_flow.py``: Sentry patches Django for good, so no other test may live in its process. Prints the
ids of the two messages.
"""

import io
import json
import os
import sys

import sentry_sdk


def main() -> None:
    sentry_sdk.init(
        dsn=os.environ["SINK_DSN"],
        traces_sample_rate=1.0,
        environment="test",
        release="host@1",
        # What a host's own request holds is the host's own.
        max_request_body_size="never",
        auto_enabling_integrations=True,
        shutdown_timeout=10,
    )
    import django

    django.setup()
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from dramatiq import Worker

    call_command("migrate", verbosity=0)
    from chat.models import Conversation, Message, WhatsAppInstance

    import actors

    WhatsAppInstance.objects.create(
        instance_name="i1", api_key=os.environ["KEY"], api_url=os.environ["SANDBOX"], status="active"
    )
    conversations = [
        Conversation.objects.create(contact_phone=os.environ["PHONE"], instance_name="i1") for _ in range(2)
    ]
    ids = [post(get_wsgi_application(), conversation.pk) for conversation in conversations]
    actors.broker.emit_after("process_boot")
    worker = Worker(actors.broker, worker_threads=2, worker_timeout=50)
    worker.start()
    actors.broker.join("send_message", timeout=20_000)
    worker.stop(timeout=5_000)
    statuses = dict(Message.objects.values_list("pk", "status"))
    sentry_sdk.flush(timeout=10)
    json.dump({"ids": ids, "statuses": sorted(statuses.values())}, sys.stdout)


def post(application: object, conversation_id: object) -> str:
    body = json.dumps({"conversation_id": str(conversation_id), "content": os.environ["TEXT"]}).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/messages/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
    }
    answer = application(environ, lambda *_: None)  # type: ignore[operator]
    try:
        return str(json.loads(b"".join(answer))["id"])
    finally:
        answer.close()


if __name__ == "__main__":
    main()
