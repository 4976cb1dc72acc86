"""The gateway contract over Evolution, the Cloud API and the sandbox gateway, all against a live sandbox server."""

import pytest
from contracts.gateway_contract import GatewayContract
from contracts.gateway_world import CLOUD_GROUP, GROUP, PERSON, Accepted, Rig
from sandbox_fixture import NUMBER_ID, Sandbox, sandbox

from actors import backends, errors
from actors.domain import Instance
from actors.gateways.base import make_gateway
from actors.settings import Settings

__all__ = ["sandbox"]

pytestmark = pytest.mark.contract

KINDS = {
    "conversation": "text",
    "imageMessage": "image",
    "videoMessage": "video",
    "documentMessage": "document",
    "audioMessage": "audio",
    "locationMessage": "location",
    "contactMessage": "contact",
}
#: What is broken: everything but the question which version it is.
ASKED = ["connectionState", "sendText", "sendMedia", "sendWhatsAppAudio", "sendLocation", "sendContact", "findMessages"]
BREAKS = {
    "lost_before": {"type": "drop"},
    "lost_after": {"type": "drop", "when": "after_accept"},
    "silent_after": {"type": "hang", "when": "after_accept"},
    "cut_after": {"type": "truncate", "bytes": 12},
    "refuses": {"type": "refuse", "for_s": 0.3},
    "closed": {"type": "disconnect", "instance": "i1"},
    "bad_key": {"type": "status", "preset": "bad_key"},
    "too_many": {"type": "status", "preset": "429", "retry_after": 7},
    "down": {"type": "status", "preset": "nginx_502"},
}


class SandboxFarSide:
    """The sandbox, as the contract sees a provider."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def accepted(self) -> list[Accepted]:
        return [
            Accepted(
                reference=one["client_ref"],
                text=one["text"] or one["caption"] or "",
                is_group=one["jid"] == GROUP.jid,
                kind="voice" if one["op"] == "sendWhatsAppAudio" else KINDS[one["type"]],
                is_reply=one["quoted_id"] is not None and not one["quote_lost"],
                mentions_everyone=bool(one["mentions"] and one["mentions"]["everyone"]),
            )
            for one in self._sandbox.admin.deliveries()
        ]

    def requests(self) -> int:
        return len(self._sandbox.requests())

    def break_(self, how: str) -> None:
        self._sandbox.admin.add_fault(BREAKS[how], match={} if how in ("refuses", "closed") else {"op": ASKED})

    def heal(self) -> None:
        self._sandbox.server.open_again()
        self._sandbox.admin.clear_faults()


class TestSandboxGateway(GatewayContract):
    @pytest.fixture
    def rig(self, sandbox: Sandbox):
        sandbox.admin.put_group(GROUP.jid, subject="G")
        gateway = make_gateway("sandbox", sandbox.settings())
        # A row as a copied database has it: the URL of a real server, which must not be asked.
        yield Rig(gateway, Instance(name="i1", base_url="https://evo.invalid"), SandboxFarSide(sandbox))
        gateway.close()

    def test_it_refuses_to_be_another_machine(self):
        for url in ("http://10.0.0.1:8080", "https://evo.example", "http://127.0.0.1@evo.example", "nonsense", None):
            with pytest.raises(errors.SettingsError):
                make_gateway("sandbox", Settings(sandbox_url=url))

    def test_a_revoked_key_of_an_instance_is_refused(self, rig):
        revoked = Instance(name="i1", base_url="https://evo.invalid", api_key="revoked-key")

        with pytest.raises(errors.AuthConfig) as caught:
            rig.gateway.send(rig.part(), instance=revoked, timeout_s=5)

        assert caught.value.code == "unauthorized"


class TestEvolutionGateway(GatewayContract):
    @pytest.fixture
    def rig(self, sandbox: Sandbox):
        sandbox.admin.put_group(GROUP.jid, subject="G")
        gateway = make_gateway("evolution", Settings())
        yield Rig(gateway, sandbox.instance(), SandboxFarSide(sandbox))
        gateway.close()

    def test_the_pair_of_the_settings_serves_instances_without_one(self, rig, sandbox):
        from actors.settings import Hidden

        gateway = make_gateway(
            "evolution", Settings(evolution_url=sandbox.url, evolution_api_key=Hidden(sandbox.apikey))
        )

        assert gateway.send(rig.part(), instance=Instance(name="i1"), timeout_s=5).provider_message_id
        gateway.close()

    @pytest.mark.parametrize("half", [{"base_url": "set"}, {"api_key": "set"}, {}])
    def test_half_a_pair_asks_nobody(self, rig, sandbox, half):
        from actors.settings import Hidden

        instance = Instance(name="i1", **half)
        settings = Settings(
            evolution_url=sandbox.url if half else None, evolution_api_key=Hidden(sandbox.apikey) if half else None
        )
        gateway = make_gateway("evolution", settings)

        with pytest.raises(errors.NoCredentials):
            gateway.send(rig.part(), instance=instance, timeout_s=5)

        assert rig.far.requests() == 0


CLOUD_BREAKS = {
    **{how: action for how, action in BREAKS.items() if how != "closed"},
    "bad_key": {"type": "status", "preset": "graph_190"},
}
CLOUD_KINDS = {"contacts": "contact"}


class CloudFarSide(SandboxFarSide):
    """The Cloud API, as the contract sees a provider."""

    def accepted(self) -> list[Accepted]:
        return [
            Accepted(
                reference=one["client_ref"],
                text=one["text"] or one["caption"] or "",
                is_group=one["jid"] == CLOUD_GROUP.id,
                kind="voice" if one["media"] and one["media"]["voice"] else CLOUD_KINDS.get(one["type"], one["type"]),
                is_reply=one["quoted_id"] is not None and not one["quote_lost"],
                mentions_everyone=False,
            )
            for one in self._sandbox.admin.deliveries()
        ]

    def break_(self, how: str) -> None:
        self._sandbox.admin.add_fault(CLOUD_BREAKS[how])


def cloud_rig(sandbox: Sandbox, gateway, instance: Instance) -> Rig:
    sandbox.admin.put_group(CLOUD_GROUP.id, subject="G")
    return Rig(gateway, instance, CloudFarSide(sandbox), group=CLOUD_GROUP, has_session=False, max_text_chars=4_096)


class TestWhatsAppCloudGateway(GatewayContract):
    @pytest.fixture
    def rig(self, sandbox: Sandbox):
        gateway = make_gateway("whatsapp_cloud", Settings())
        yield cloud_rig(sandbox, gateway, sandbox.cloud_instance())
        gateway.close()


class TestSandboxInPlaceOfTheCloud(GatewayContract):
    @pytest.fixture
    def rig(self, sandbox: Sandbox):
        gateway = make_gateway("sandbox", sandbox.settings(), in_place_of="whatsapp_cloud")
        # As a copied database has it: the token of a real number is tried here only, and refused as any other would be.
        row = Instance(name="cloud-1", base_url="https://graph.invalid", phone_number_id=NUMBER_ID)
        yield cloud_rig(sandbox, gateway, row)
        gateway.close()


def test_every_backend_of_this_distribution_is_held_to_the_contract():
    assert set(backends.BUILT_IN["gateway"]) == {"evolution", "sandbox", "whatsapp_cloud"}
    assert PERSON.number
