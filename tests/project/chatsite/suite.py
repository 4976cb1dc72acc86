"""Settings of the test suite: the demo project, and a second host with other names for everything."""

from chatsite.settings import *  # noqa: F403
from chatsite.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "desk"]
