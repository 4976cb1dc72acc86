"""Give a part the bytes of its file where its gateway cannot fetch them; called before the part is claimed."""

from dataclasses import replace

from actors.domain import OutgoingPart
from actors.services import Services
from actors.settings import MediaBy

#: A file is fetched within this time, in seconds, and within a third of an attempt's.
FETCH_S = 60.0


def with_file(work: Services, part: OutgoingPart) -> OutgoingPart:
    """The part as its gateway needs it.

    Raises:
        BadPayload: the file can never be sent.
        Transient: it could not be fetched; three attempts.
    """
    if part.media is None or part.media.content is not None:
        return part
    # Here: whoever only sends must not pay for an HTTP library.
    from actors.gateways.media_fetch import MediaFetcher
    from actors.gateways.media_url import allowed_hosts, check_url

    settings, owner = work.settings, f"message {part.reference}"
    hosts = allowed_hosts(settings.media_hosts)
    if settings.media_by is MediaBy.URL:
        check_url(part.media.url, hosts=hosts, owner=owner)
        return part
    total_s = min(FETCH_S, settings.time_limit_ms / 3000)
    content = MediaFetcher(clock=work.clock, hosts=hosts).fetch(part.media, owner=owner, total_s=total_s)
    return replace(part, media=replace(part.media, content=content))
