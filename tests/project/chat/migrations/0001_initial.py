
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Conversation',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.CharField(blank=True, db_index=True, max_length=64, null=True)),
                ('contact_phone', models.CharField(db_index=True, max_length=50)),
                ('contact_name', models.CharField(blank=True, max_length=255)),
                ('profile_pic_url', models.URLField(blank=True, max_length=500, null=True)),
                ('instance_name', models.CharField(blank=True, db_index=True, max_length=255)),
                ('conversation_type', models.CharField(default='individual', max_length=20)),
                ('group_metadata', models.JSONField(blank=True, default=dict)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('status', models.CharField(default='open', max_length=20)),
                ('last_message_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name='WhatsAppInstance',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('tenant_id', models.CharField(blank=True, db_index=True, max_length=64, null=True)),
                ('friendly_name', models.CharField(default='WhatsApp', max_length=100)),
                ('instance_name', models.CharField(max_length=100)),
                ('evolution_instance_name', models.CharField(blank=True, max_length=100)),
                ('api_url', models.URLField(blank=True, null=True)),
                ('api_key', models.CharField(blank=True, max_length=255, null=True)),
                ('connection_state', models.CharField(default='close', max_length=20)),
                ('status', models.CharField(default='inactive', max_length=20)),
                ('is_active', models.BooleanField(default=True)),
                ('integration_type', models.CharField(default='evolution', max_length=20)),
                ('phone_number_id', models.CharField(blank=True, max_length=64, null=True)),
                ('access_token', models.TextField(blank=True, null=True)),
                ('pace', models.JSONField(blank=True, default=dict)),
            ],
        ),
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('sender_name', models.CharField(blank=True, max_length=255)),
                ('sender_phone', models.CharField(blank=True, max_length=20)),
                ('content', models.TextField(blank=True)),
                ('direction', models.CharField(default='outgoing', max_length=10)),
                ('message_id', models.CharField(blank=True, db_index=True, max_length=255, null=True)),
                ('evolution_status', models.CharField(blank=True, max_length=50)),
                ('error_message', models.TextField(blank=True)),
                ('status', models.CharField(db_index=True, default='pending', max_length=20)),
                ('is_internal', models.BooleanField(default=False)),
                ('is_deleted', models.BooleanField(default=False)),
                ('is_edited', models.BooleanField(default=False)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('conversation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='messages', to='chat.conversation')),
            ],
        ),
        migrations.CreateModel(
            name='MessageAttachment',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('original_filename', models.CharField(blank=True, max_length=255)),
                ('mime_type', models.CharField(max_length=100)),
                ('file_path', models.CharField(blank=True, max_length=500)),
                ('file_url', models.TextField(blank=True)),
                ('short_url', models.CharField(blank=True, max_length=255, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attachments', to='chat.message')),
            ],
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['status', 'direction'], name='chat_message_waiting'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.UniqueConstraint(condition=models.Q(('message_id__isnull', False)), fields=('conversation', 'message_id'), name='chat_message_provider_id'),
        ),
    ]
