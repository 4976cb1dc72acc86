"""Services over the demo project's rows, in the process of the test. Loaded by ``conftest.py``."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.services import Services
from actors.settings import Settings


@pytest.fixture
def serve() -> Iterator[Callable[..., Services]]:
    """``serve(webhook_token=…)``: services of this process over the project's rows; forgotten afterwards."""

    # Imported before Django is set up these would find no models.
    import actors
    from actors import services
    from actors.django_app.instance_keys import keys
    from actors.stores.django_orm import make_store

    def serve(**settings: Any) -> Services:
        keys.forget()
        made = Settings(store="django", gateway="sandbox", sandbox_url="http://127.0.0.1:9", **settings)
        work = Services(settings=made, store=make_store(made))
        services.install(work)
        return work

    yield serve
    actors.broker.close()
    services.install(None)
    keys.forget()
