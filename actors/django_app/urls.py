"""Where providers post what became of messages; a host includes it under a path of its choice.

    path("hooks/", include("actors.django_app.urls"))

Evolution posts to ``hooks/evolution/<CHAT_WEBHOOK_TOKEN>/``, with or without the name of the event after it (its
``webhookByEvents``); Meta to ``hooks/cloud/``.
"""

from django.urls import path

from actors.django_app import views

app_name = "chat_actors"

urlpatterns = [
    path("evolution/<str:token>/", views.evolution, name="evolution"),
    path("evolution/<str:token>", views.evolution),
    path("evolution/<str:token>/<slug:event>", views.evolution),
    path("cloud/", views.cloud, name="cloud"),
    # Django would answer a POST without the last slash with a redirect, which no provider follows.
    path("cloud", views.cloud),
]
