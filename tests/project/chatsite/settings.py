"""Settings of the demo project, from the environment.

CHATSITE_DATABASE     path of an SQLite file, or postgresql://user:password@host:port/name
CHATSITE_CACHE_URL    Redis of the cache, database 0; without it the cache is in memory
CHATSITE_CHANNELS_URL Redis of Channels, database 1; without it open pages are told nothing and ask by themselves
CHATSITE_ENTRY_TOKEN  last part of a link that logs its visitor in as CHATSITE_ENTRY_USER; without it there is no such link
CHATSITE_CHAT_ACTORS  CHAT_ACTORS as JSON; what it leaves out is read from CHAT_* and REDIS_URL
"""

import json
import os
from pathlib import Path

from chatsite.databases import channel_layer, database

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("CHATSITE_SECRET_KEY", "only-for-the-demo-and-the-tests")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "chatsite.urls"
ASGI_APPLICATION = "chatsite.asgi.application"
WSGI_APPLICATION = "chatsite.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "chat",
    "inbox",
    "actors.django_app",
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "inbox"
LOGOUT_REDIRECT_URL = "login"
CHATSITE_ENTRY_TOKEN = os.environ.get("CHATSITE_ENTRY_TOKEN", "")
CHATSITE_ENTRY_USER = os.environ.get("CHATSITE_ENTRY_USER", "demo")
STATIC_URL = "static/"
STATIC_ROOT = os.environ.get("CHATSITE_STATIC_ROOT")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "America/Sao_Paulo"

DATABASES = {"default": database(os.environ.get("CHATSITE_DATABASE", str(BASE_DIR / "chatsite.sqlite3")))}

_cache_url = os.environ.get("CHATSITE_CACHE_URL")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _cache_url}
    if _cache_url
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

_channels_url = os.environ.get("CHATSITE_CHANNELS_URL")
CHANNEL_LAYERS = {"default": channel_layer(_channels_url)} if _channels_url else {}

CHAT_ACTORS = {"BROADCAST": True} if _channels_url else {}
CHAT_ACTORS |= json.loads(os.environ.get("CHATSITE_CHAT_ACTORS", "{}"))
