from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('desk', '0001_initial')]

    operations = [
        migrations.CreateModel(
            name='UsageSample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sampled_at', models.DateTimeField(auto_now_add=True)),
                ('used_memory', models.BigIntegerField()),
                ('aof_current_size', models.BigIntegerField(null=True)),
                ('keys_profile_pic', models.IntegerField(null=True)),
                ('keys_webhook', models.IntegerField(null=True)),
            ],
        ),
    ]
