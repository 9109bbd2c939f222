import pytest
from django.db import OperationalError, connection

from backoffice import health

pytestmark = pytest.mark.django_db


def test_probes_answer_any_host_without_redirect(client, settings):
    settings.ALLOWED_HOSTS = ["booster.example"]
    settings.SECURE_SSL_REDIRECT = True

    answers = [client.get(path, headers={"Host": "10.0.0.7"}) for path in ("/livez", "/readyz")]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"status": "ok"})] * 2


def test_readyz_says_that_the_database_is_away_while_livez_lives(client, monkeypatch):
    def refuse():
        raise OperationalError("connection refused")

    monkeypatch.setattr(connection, "ensure_connection", refuse)
    monkeypatch.setattr(connection, "close", lambda: None)

    ready, live = client.get("/readyz"), client.get("/livez")

    assert (live.status_code, ready.status_code, ready.headers["Retry-After"]) == (200, 503, "5")
    assert ready.headers["Content-Type"] == "application/problem+json"
    assert ready.json()["detail"] == "the database is away."


def test_readyz_says_that_migrations_are_not_applied(client, monkeypatch):
    monkeypatch.setitem(health._state, "migrated", False)
    monkeypatch.setattr(health, "unapplied_migrations", lambda: ["servers.0002_more"])

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["detail"]) == (503, "migrations are not applied.")
