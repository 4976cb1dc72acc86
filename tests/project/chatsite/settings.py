"""Settings of the demo project, from the environment.

CHATSITE_DATABASE     path of an SQLite file, or postgresql://user:password@host:port/name
CHATSITE_CACHE_URL    Redis of the cache, database 0; without it the cache is in memory
CHATSITE_CHAT_ACTORS  CHAT_ACTORS as JSON; what it leaves out is read from CHAT_* and REDIS_URL
"""

import json
import os
from pathlib import Path

from chatsite.databases import database

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("CHATSITE_SECRET_KEY", "only-for-the-demo-and-the-tests")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "chatsite.urls"
WSGI_APPLICATION = "chatsite.wsgi.application"
INSTALLED_APPS = ["django.contrib.staticfiles", "chat", "actors.django_app"]
STATIC_URL = "static/"
STATIC_ROOT = os.environ.get("CHATSITE_STATIC_ROOT")
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
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

CHAT_ACTORS = json.loads(os.environ.get("CHATSITE_CHAT_ACTORS", "{}"))
