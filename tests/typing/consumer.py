"""What a host's code looks like to a type checker; ``test_types.py`` has it read by mypy and expects what the comments say."""

from typing import Literal
from uuid import UUID

from dramatiq import Message

from actors import broker, fetch_group_info, fetch_profile_pic, send_message
from actors.django_app.send import SentInTransaction, asend, send_many_on_commit, send_on_commit
from middleware.errors import NotAllSent


def use(*values: object) -> None:
    """Takes what it is given."""


def sends(id_: UUID) -> None:
    job: Message[None] = send_message.send(id_, use_fallback=True, bulk=False)
    send_message.send("m-1", conversation_id="c-1")
    fetch_profile_pic.send("c-1", "+5511988887777", force=True)
    fetch_group_info.send("c-1", "1@g.us", "line-1", force=True)
    send_message.send_with_options(args=(id_,), delay=1_000, on_commit=True)
    tried: Message[None] | Literal[False] = send_message.try_send(id_)
    built: Message[None] = send_message.message(id_)
    many: list[Message[None]] = send_message.send_many([id_, "m-2"], bulk=True)
    send_on_commit(send_message, id_, using="default", bulk=True)
    send_many_on_commit(send_message, [id_], bulk=True)
    broker.enqueue(built)
    use(job.message_id, tried, many, SentInTransaction)


async def async_sends(id_: UUID) -> None:
    job: Message[None] = await send_message.asend(id_, bulk=True)
    quiet: Message[None] | Literal[False] = await asend(send_message, id_)
    use(job, quiet)


def which(error: NotAllSent) -> list[str]:
    return [message.message_id for message in error.unsent]


def mistakes(id_: UUID) -> None:
    send_message.send()  # error: call-arg
    send_message.send(id_, use_falback=True)  # error: call-arg
    send_message.send(id_, bulk="yes")  # error: arg-type
    send_message.send(7)  # error: arg-type
    fetch_profile_pic.send("c-1", forced=True)  # error: call-arg
    fetch_group_info.send("c-1", force="no")  # error: arg-type
    send_message.try_send(conversation="c-1")  # error: call-arg
