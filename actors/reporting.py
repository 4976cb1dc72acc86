"""What a person is told through Sentry, and how its client is started where the host has none.

``wiring`` starts it with a worker process; alerts come here from the book that all processes share.
"""

import logging

from actors.alert_rules import level_of, rules_of, text_of
from actors.services import Services
from middleware import sentry, sentry_client
from middleware.alert_book import AlertBook
from middleware.alerts import Fact, Standing, State
from middleware.brokers.redis.broker import CarrierBroker

logger = logging.getLogger(__name__)

#: Errors in the log that Sentry hears of in another way: as a dead letter, or as an alert.
TOLD_OTHERWISE = (
    "alert.raised",
    "gateway.payload_refused",
    "gateway.recipient_mismatched",
    "instance.alerted",
    "message.recipient_mismatch",
)


sentry_client.tell_otherwise(*TOLD_OTHERWISE)


def start_sentry(work: Services) -> None:
    """Make Sentry ready in this process; a client of the host's is used as it is."""
    settings = work.settings
    sentry_client.start(
        settings.sentry_dsn,
        sentry_client.ClientOptions(
            environment=settings.sentry_environment,
            release=settings.sentry_release,
            traces_sample_rate=settings.sentry_traces_sample_rate,
        ),
    )


def book_of(work: Services, broker: CarrierBroker) -> AlertBook:
    """The book of alerts of this installation."""
    return AlertBook(lambda: broker.client, broker.machinery.keys.alerts, tell=tell, clock=work.clock)


def raise_one(work: Services, broker: CarrierBroker, fact: Fact) -> None:
    """Take in one fact at once, before the next look at all of them."""
    book_of(work, broker).advance([fact], rules_of(work.settings))


def tell(notice: Standing, key: str) -> None:
    """Tell of an alert that was raised or cleared: one event, one line in the log."""
    fields = {"alert": notice.rule, "subject": notice.subject, "value": notice.value, "code": notice.detail}
    is_raised = notice.state is State.RAISED
    if is_raised:
        logger.error("alert.raised", extra=fields)
    else:
        logger.info("alert.cleared", extra=fields)
    tags = {"alert": notice.rule, "subject": notice.subject or "all", "state": str(notice.state)}
    sentry.report_alert(f"alert_{notice.rule}", text_of(notice), tags=tags, key=key, level=level_of(notice))
