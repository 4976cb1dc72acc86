"""Every way in which clients and their commands spoil a real Redis server, with the check that must find it.

``test_doctor_checks.py`` tries them all; what is spoilt of the server itself stands in ``doctor_faults.py``.
"""

from contextlib import suppress

import redis
from doctor_faults import FILL
from doctor_world import Patient, fires

BUSY = "local t = redis.call('TIME') repeat local n = redis.call('TIME') until (n[1]-t[1])*1000000+n[2]-t[2] > 70000"


@fires("connections", "warning", says="of 50 are used")
def _many_connections(patient: Patient) -> None:
    patient.serve(maxclients="50")
    patient.hold(42)


@fires("connections", "error", says="of 100 are used")
def _no_connections(patient: Patient) -> None:
    patient.serve(maxclients="100")
    patient.hold(97)


@fires("connections", "warning", says="were refused", mends=True)
def _refused_connections(patient: Patient) -> None:
    patient.serve(maxclients="30")
    admin, *_ = patient.hold(1)
    with suppress(redis.ConnectionError):
        patient.hold(30)
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@fires("client_buffers", "warning", says="unbounded", mends=True)
def _unbounded_buffers(patient: Patient) -> None:
    patient.serve(client_output_buffer_limit="normal 0 0 0")


@fires("idle_timeout", "warning", says="20 s", mends=True)
def _idle_cut(patient: Patient) -> None:
    patient.serve(timeout="20")


@fires("script_limit", "warning", says="5 ms", mends=True)
def _impatient(patient: Patient) -> None:
    patient.serve(lua_time_limit="5")


@fires("slow_commands", "warning", says="EVAL", mends=True)
def _slow_script(patient: Patient) -> None:
    patient.serve()
    patient.client().eval(BUSY, 0)


@fires("lazy_flush", "warning", says="db0 has 100000 keys", mends=True)
def _slow_flush(patient: Patient) -> None:
    patient.serve(persist=False, lazyfree_lazy_user_flush="no")
    patient.client().eval(FILL, 0, 100_000, "k", 1)


@fires("keyspace_events", "warning", says="K", mends=True)
def _tells_everybody(patient: Patient) -> None:
    patient.serve(notify_keyspace_events="KEA")
