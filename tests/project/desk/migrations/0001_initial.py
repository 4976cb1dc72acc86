
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Inbox',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('owner', models.CharField(max_length=64, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Line',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('owner', models.CharField(max_length=64, null=True)),
                ('label', models.CharField(max_length=100)),
                ('wire_name', models.CharField(blank=True, max_length=100)),
                ('enabled', models.BooleanField(default=True)),
            ],
        ),
        migrations.CreateModel(
            name='Thread',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(default='individual', max_length=20)),
                ('address', models.CharField(max_length=80)),
                ('title', models.CharField(blank=True, max_length=255)),
                ('line', models.CharField(max_length=100, null=True)),
                ('avatar', models.CharField(blank=True, max_length=500)),
                ('group', models.JSONField(default=dict)),
                ('inbox', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='desk.inbox')),
            ],
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('way', models.CharField(default='outgoing', max_length=10)),
                ('body', models.TextField(blank=True)),
                ('state', models.CharField(default='pending', max_length=20)),
                ('raw_state', models.CharField(blank=True, max_length=50)),
                ('external_id', models.CharField(blank=True, max_length=255)),
                ('failure', models.TextField(null=True)),
                ('note', models.BooleanField(default=False)),
                ('removed', models.BooleanField(default=False)),
                ('archived', models.BooleanField(default=False)),
                ('author', models.CharField(max_length=40, null=True)),
                ('extra', models.JSONField(null=True)),
                ('written_at', models.DateTimeField()),
                ('thread', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='desk.thread')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('external_id', ''), _negated=True), fields=('thread', 'external_id'), name='desk_entry_external_id')],
            },
        ),
    ]
