"""Where the chat's pages answer."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path
from django.views.generic import RedirectView

from inbox import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="inbox")),
    path("enter/<str:token>/", views.enter, name="enter"),
    path("login/", LoginView.as_view(template_name="inbox/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("chat/", views.page, name="inbox"),
    path("chat/state/", views.state, name="inbox_state"),
    path("chat/<uuid:conversation_id>/", views.page, name="conversation"),
    path("chat/<uuid:conversation_id>/state/", views.state, name="state"),
    path("chat/<uuid:conversation_id>/write/", views.write, name="write"),
    path("chat/<uuid:conversation_id>/refresh/", views.refresh, name="refresh"),
    path("chat/<uuid:conversation_id>/picture.svg", views.picture, name="picture"),
    path("chat/messages/<uuid:message_id>/retry/", views.retry, name="retry"),
]
