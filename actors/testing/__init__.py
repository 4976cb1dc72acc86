"""For a host's own tests: see what was sent, run it here, look at what a phone would have got.

docs/testing.md shows its use. The pytest plugin ``pytest_chat_actors`` makes fixtures of it. Nothing here imports Django, and
nothing leaves the machine: while :class:`Sends` is open no message reaches Redis and no request a real gateway.
"""

from actors.testing.cases import ChatActorsMixin
from actors.testing.queue import Ran, Sent
from actors.testing.sandbox import Sandbox
from actors.testing.sends import Sends, StillWaiting

__all__ = ["ChatActorsMixin", "Ran", "Sandbox", "Sends", "Sent", "StillWaiting"]
