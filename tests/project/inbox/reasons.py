"""Reasons of failures in the words of people who chat; docs/errors.md has all of them in those of operators."""

_WORDS = {
    "not_on_whatsapp": "This number is not on WhatsApp.",
    "bad_recipient": "The conversation has no number that can be written to.",
    "group_missing": "WhatsApp has no such group any more.",
    "group_forbidden": "This line is no longer a member of the group.",
    "text_too_long": "The text is longer than WhatsApp takes.",
    "media_url": "The attachment could not be fetched.",
    "media_too_large": "The attachment is larger than WhatsApp takes.",
    "payload_too_large": "The message is larger than the gateway takes.",
    "empty_message": "The message is empty.",
    "expired": "It could not be sent in time.",
    "cancelled": "Somebody took it back before it was sent.",
    "attempts_exhausted": "Sending was tried several times and failed each time.",
    "unauthorized": "The gateway refuses this line's key. Somebody has to mend it.",
    "no_instance": "This conversation's line is not active.",
    "window_closed": "More than 24 hours have passed since this person wrote.",
    "not_delivered": "WhatsApp took it and could not deliver it.",
    "undeliverable": "WhatsApp took it and could not deliver it.",
    "delivery_unknown": "It may have arrived. Look at the phone before you send it again.",
    "recipient_mismatch": "It went to somebody else. Somebody has to look at this conversation.",
}
#: It may have reached its reader: sending it again has to be meant.
UNCLEAR = frozenset({"delivery_unknown", "recipient_mismatch"})


def code_of(error_message: str) -> str:
    """Code of a failed row: what its error text begins with."""
    return error_message.partition(":")[0].strip()


def in_words(error_message: str) -> str:
    """Why a row failed, for whoever wrote it."""
    code = code_of(error_message)
    return _WORDS.get(code) or (f"It could not be sent ({code})." if code else "It could not be sent.")
