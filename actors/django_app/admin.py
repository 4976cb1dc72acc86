"""What the host's admin shows of deliveries: send attempts, dead letters, instances.

Found by Django where ``django.contrib.admin`` is installed. The pages read a bounded part of what there is, and say so when
Redis is down; whoever changes something is asked first, and it stands in the admin's log.
"""

from django.contrib import admin

from actors.django_app.admin_attempts import AttemptAdmin
from actors.django_app.admin_instances import InstanceAdmin
from actors.django_app.admin_letters import LetterAdmin
from actors.django_app.models import DeadLetter, InstanceCircuit, SendAttempt

admin.site.register(SendAttempt, AttemptAdmin)
admin.site.register(DeadLetter, LetterAdmin)
admin.site.register(InstanceCircuit, InstanceAdmin)
