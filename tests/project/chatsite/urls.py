"""Where the demo project answers."""

from chat import views
from django.urls import path

urlpatterns = [
    path("messages/", views.create_message),
    path("messages/status/", views.count_by_status),
    path("conversations/<uuid:conversation_id>/picture/", views.refresh_picture),
    path("conversations/<uuid:conversation_id>/group/", views.refresh_group),
]
