"""How every store must read the instances of its tenants. A suite for ``store_contract.py``."""

from contracts.store_world import World

from actors.stores.rows import InstanceRow


class ReadsInstances:
    """Instances of tenants, with their credentials."""

    def test_an_instance_is_found_by_any_of_its_names_and_called_as_on_the_wire(self, world: World):
        kind = {"integration_type": "evolution", "evolution_instance_name": "wire-1"}
        world.add(InstanceRow(instance_name="line-1", api_url="http://a", api_key="k", **kind))

        for name in ("line-1", "wire-1"):
            found = world.store.load_instance(name, tenant_id=None)
            assert (found.name, found.backend, found.base_url, found.api_key) == (
                "wire-1",
                "evolution",
                "http://a",
                "k",
            )

    def test_a_cloud_number_has_its_own_token_and_no_evolution_url(self, world: World):
        world.add(
            InstanceRow(
                instance_name="cloud-1",
                integration_type="meta_cloud",
                phone_number_id="1098765",
                access_token="t",
                api_url="http://left-over",
                api_key="left-over",
            )
        )

        found = world.store.load_instance("1098765", tenant_id=None)

        assert (found.name, found.backend, found.phone_number_id) == ("cloud-1", "whatsapp_cloud", "1098765")
        assert (found.base_url, found.api_key) == (None, "t")
        assert "'t'" not in repr(found)

    def test_an_instance_of_no_kind_leaves_the_gateway_to_the_settings(self, world: World):
        world.add(InstanceRow(instance_name="line-1", integration_type=""))

        assert world.store.load_instance("line-1", tenant_id=None).backend is None

    def test_a_tenant_never_gets_an_instance_of_another(self, world: World):
        world.add(InstanceRow(instance_name="line-1", tenant_id="tenant-2"))

        assert world.store.load_instance("line-1", tenant_id="tenant-1") is None
        assert world.store.load_instance("line-1", tenant_id="tenant-1", use_fallback=True) is None
        assert world.store.load_instance("line-1", tenant_id=None) is None
        assert world.store.load_instance(None, tenant_id="tenant-1") is None

    def test_the_tenants_own_comes_before_nobodys(self, world: World):
        world.add(
            InstanceRow(instance_name="line-1", api_key="everybody"),
            InstanceRow(instance_name="line-1", tenant_id="tenant-1", api_key="own"),
        )

        assert world.store.load_instance("line-1", tenant_id="tenant-1").api_key == "own"
        assert world.store.load_instance("line-1", tenant_id="tenant-2").api_key == "everybody"

    def test_an_inactive_instance_is_none_unless_another_may_stand_in(self, world: World):
        world.add(
            InstanceRow(instance_name="line-1", tenant_id="tenant-1", is_active=False),
            InstanceRow(instance_name="line-2", tenant_id="tenant-1"),
        )

        assert world.store.load_instance("line-1", tenant_id="tenant-1") is None
        assert world.store.load_instance("line-1", tenant_id="tenant-1", use_fallback=True).name == "line-2"

    def test_an_unnamed_instance_is_the_only_one_of_the_tenant_never_a_guess(self, world: World):
        world.add(InstanceRow(instance_name="line-1", tenant_id="tenant-1"))
        assert world.store.load_instance(None, tenant_id="tenant-1").name == "line-1"

        world.add(InstanceRow(instance_name="line-2", tenant_id="tenant-1"))
        assert world.store.load_instance(None, tenant_id="tenant-1") is None
        assert world.store.load_instance("gone", tenant_id="tenant-1", use_fallback=True) is None

    def test_all_active_instances_are_listed_page_by_page_with_all_their_names(self, world: World):
        kind = {"integration_type": "evolution", "evolution_instance_name": "wire-0"}
        world.add(
            InstanceRow(instance_name="line-0", **kind),
            InstanceRow(instance_name="line-1", tenant_id="tenant-1"),
            InstanceRow(instance_name="line-2", tenant_id="tenant-1", is_active=False),
            InstanceRow(instance_name="line-1", tenant_id="tenant-2"),
        )

        found, after = world.store.instances(limit=2)
        pages = [found]
        while after is not None:
            found, after = world.store.instances(limit=2, after=after)
            pages.append(found)

        assert max(map(len, pages)) <= 2
        listed = sorted((row.name, row.tenant_id or "", row.names) for page in pages for row in page)
        assert listed == [
            ("line-1", "tenant-1", ("line-1",)),
            ("line-1", "tenant-2", ("line-1",)),
            ("wire-0", "", ("wire-0", "line-0")),
        ]
        assert world.store.instances(limit=9) == ([row for page in pages for row in page], None)

    def test_a_row_may_have_a_pace_of_its_own(self, world: World):
        pace = {"send": {"interval_ms": 500, "burst": 2}}
        world.add(InstanceRow(instance_name="line-0", pace=pace), InstanceRow(instance_name="line-1"))

        assert world.store.load_instance("line-0", tenant_id=None).pace == pace
        assert world.store.load_instance("line-1", tenant_id=None).pace == {}

    def test_no_instance_is_an_empty_page(self, world: World):
        assert world.store.instances(limit=5) == ([], None)
