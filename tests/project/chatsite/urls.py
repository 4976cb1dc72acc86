"""Where the demo project answers."""

from chat import views
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("inbox.urls")),
    path("admin/", admin.site.urls),
    path("hooks/", include("actors.django_app.urls")),
    path("messages/", views.create_message),
    path("messages/status/", views.count_by_status),
    path("conversations/<uuid:conversation_id>/picture/", views.refresh_picture),
    path("conversations/<uuid:conversation_id>/group/", views.refresh_group),
]
