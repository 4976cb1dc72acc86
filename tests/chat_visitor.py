"""A browser of somebody who works for a tenant of the demo project's chat, without a browser."""

import uuid

from django.contrib.auth.models import Permission, User
from django.test import Client
from inbox.models import Member

TENANT = "loja"


class Visitor:
    """A browser of somebody who works for a tenant."""

    def __init__(self, *rights: str, tenant: str = TENANT) -> None:
        self.user = User.objects.create_user(f"user-{uuid.uuid4().hex[:8]}")
        self.user.user_permissions.set(Permission.objects.filter(codename__in=("view_conversation", *rights)))
        Member.objects.create(user=self.user, tenant_id=tenant)
        self.client = Client()
        self.client.force_login(self.user)

    def post(self, path: str, **form: object):
        return self.client.post(path, form, headers={"Accept": "application/json"})
