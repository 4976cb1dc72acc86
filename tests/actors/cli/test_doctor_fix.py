"""``doctor --deploy`` and ``--fix``: a restart's losses fail, and settings are changed only where that is safe and agreed to."""

import json
from contextlib import ExitStack

import pytest
from doctor_world import Patient

from actors.cli import doctor_fix
from actors.doctor import run as doctor_run
from middleware.errors import ExitCode

pytestmark = pytest.mark.redis


@pytest.fixture
def patient(site):
    with ExitStack() as stack:
        yield Patient(site, stack)
        site.broker.close()


def _of(out, name):
    return next(check for check in json.loads(out)["checks"] if check["name"] == name)


def test_without_a_file_a_deployment_fails_and_a_look_only_warns(run, patient):
    patient.serve(persist=False)
    patient.settle()

    looked, deployed = run("doctor", "--json"), run("doctor", "--json", "--deploy")

    assert (_of(looked.out, "persistence")["severity"], looked.code) == ("warning", ExitCode.OK)
    assert (_of(deployed.out, "persistence")["severity"], deployed.code) == ("error", ExitCode.UNSAFE)
    # The only difference.
    assert [_of(deployed.out, check["name"])["status"] for check in json.loads(looked.out)["checks"]].count("fail") == 1


def test_code_may_ask_too(patient):
    patient.serve(persist=False)

    found = {check.name: check for check in doctor_run.run(deploy=True)}

    assert (found["persistence"].status, found["persistence"].severity) == ("fail", "error")
    assert found["eviction"].status == "ok"


def test_nothing_is_changed_where_nobody_can_be_asked(run, patient):
    patient.serve(maxmemory_policy="allkeys-lru")

    ran = run("doctor", "--fix")

    assert ran.code == ExitCode.USAGE
    assert "redis-cli -u \"$REDIS_URL\" CONFIG SET maxmemory-policy noeviction    (is 'allkeys-lru')" in ran.out
    assert patient.client().config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


def test_what_is_shown_is_done_kept_and_looked_at_again(run, patient):
    server = patient.serve(persist=False, maxmemory_policy="allkeys-lru", timeout="5")

    ran = run("doctor", "--fix", "--yes")

    client = patient.client()
    names = ("maxmemory-policy", "timeout", "appendonly")
    assert [client.config_get(name)[name] for name in names] == ["noeviction", "300", "yes"]
    assert "set maxmemory-policy to noeviction\n" in ran.out
    assert "written to the server's configuration file too" in ran.out
    assert "maxmemory-policy noeviction" in (server.directory / "redis.conf").read_text()
    _, _, again = ran.out.partition("written to the server's configuration file too")
    assert "eviction              noeviction" in again
    assert "fail     eviction" not in again


def test_as_json_what_was_changed_is_told(run, patient):
    patient.serve(maxmemory_policy="allkeys-lru")

    told = json.loads(run("doctor", "--fix", "--yes", "--json").out)

    assert told["changed"] == [
        {
            "setting": "maxmemory-policy",
            "before": "allkeys-lru",
            "after": "noeviction",
            "done": True,
            "refused": None,
        }
    ]
    assert next(one for one in told["checks"] if one["name"] == "eviction")["status"] == "ok"


def test_where_nothing_can_be_mended_nothing_is_asked(run, patient):
    patient.serve()
    patient.settle()

    ran = run("doctor", "--fix")

    assert ran.code == ExitCode.OK
    assert ran.out.splitlines()[-1] == "nothing here can be mended by a setting that is safe to change"


def test_a_crowded_server_is_not_made_to_refuse_its_next_write(patient):
    patient.serve(persist=False)
    client = patient.client()
    client.set("k", b"x" * 8_000_000)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.8))
    client.config_set("maxmemory-policy", "allkeys-lru")

    [repair] = patient.look("eviction").repair

    assert (repair.setting, repair.value) == ("maxmemory-policy", "volatile-lru")


def test_a_provider_that_refuses_config_set_is_told_apart(patient, capsys):
    server = patient.serve(maxmemory_policy="allkeys-lru")
    patient.client().execute_command(
        *("ACL", "SETUSER", "shy", "reset", "on", ">shy", "~*", "&*", "+@all", "-config"),
    )
    patient.use(f"redis://shy:shy@127.0.0.1:{server.port}/0")
    found = patient.look("eviction")

    changes = doctor_fix.mend(patient.site.settings, doctor_fix.repairs_of([found]), yes=True, quiet=False)

    assert [change.refused for change in changes] == ["NOPERM"]
    assert "refused (NOPERM): set maxmemory-policy to noeviction in the provider's console" in capsys.readouterr().out
