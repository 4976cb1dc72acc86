"""A web process whose host has Sentry: its events keep our frames' variables to themselves, before anything is sent."""

import sentry_sdk
from django.apps import apps

from actors.errors import BadPayload


def test_an_error_of_ours_in_a_view_shows_no_variable_of_ours(sink, generous_host):
    generous_host()
    apps.get_app_config("chat_actors").ready()
    words = "-".join(("planted", "text"))
    code = compile(f"def fail(text):\n    raise error", "actors/chat.py", "exec")  # noqa: F541
    names = {"__name__": "actors.chat", "error": BadPayload("row m1 is empty")}
    exec(code, names)  # noqa: S102 - a frame of ours, whatever ours will look like
    try:
        names["fail"](words)  # type: ignore[operator]
    except BadPayload as error:
        sentry_sdk.capture_exception(error)
    sink.wait(sink.events)

    [event] = sink.events()
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert [frame["function"] for frame in frames if "vars" not in frame] == ["fail"]
    # The view's own frame is the host's.
    assert frames[0]["vars"]["words"] == f"'{words}'"
