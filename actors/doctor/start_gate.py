"""Look at Redis before a worker takes its first message: refuse over what would lose messages, warn of the rest.

``actors`` has it called in every worker process. A dozen quick questions; where Redis does not answer, those who need it say so.
"""

import logging

from middleware.errors import ExitCode, Refusal

logger = logging.getLogger(__name__)


def refuse_unsafe() -> None:
    """Make the checks of ``doctor`` that concern a start.

    Raises:
        Refusal: one of them found what would lose messages; ``chat-actors doctor`` says how to mend it.
    """
    # Late: what a worker needs once, no import of the package does.
    from actors import services
    from actors.doctor.checks import Severity, Status
    from actors.doctor.run import QUEUES, SERVER, at_start

    settings = services.settings()
    if settings.broker != "redis":
        return
    must_be_known = {spec.name for spec in (*SERVER, *QUEUES) if spec.worst is Severity.CRITICAL}
    for check in at_start(settings):
        if check.severity is Severity.CRITICAL:
            text = f"{check.name}: {check.found}; {check.why}; {check.fix}"
            logger.critical("worker.refused: %s", text)
            raise Refusal(ExitCode(check.exit_code), text)
        if check.status in (Status.WARN, Status.FAIL) or (
            check.status is Status.UNKNOWN and check.name in must_be_known
        ):
            text = "; ".join(filter(None, (check.found, check.fix or check.why)))
            logger.warning("doctor.warned: %s", text, extra={"code": check.name})
