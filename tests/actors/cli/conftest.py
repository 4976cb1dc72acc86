"""Fixtures of ``operator_world``."""

from operator_world import run as run
from operator_world import site as site
from operator_world import unset as unset
