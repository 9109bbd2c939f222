"""Fixtures of every test."""

from __future__ import annotations

import asyncio
import os

import pytest
from django.core.cache import cache
from django.db import connections
from rest_framework.test import APIClient

from licensing.rules import Limits
from routing.store import store


@pytest.fixture(autouse=True)
def _empty_cache():
    """Start every test without counters and sessions of another."""
    cache.clear()


@pytest.fixture(autouse=True)
def _cheap_passwords(settings):
    """Hash passwords quickly: tests make many users, and none of them is worth attacking."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _forgetful_store():
    """Start every test without the snapshot of another's rolled-back database."""
    store.forget()


@pytest.fixture(autouse=True)
def _no_loop_of_the_browser(request):
    """Hide the event loop that browser tests leave running in their thread from the tests after them."""
    if "chromium" in request.fixturenames:
        yield
        return
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(running)


@pytest.fixture
def api_client() -> APIClient:
    return APIClient()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix):
    """Keep SQLite's test database in a file: one in memory knows no waiting writers."""
    for connection in connections.all():
        if connection.vendor == "sqlite":
            name = connection.settings_dict["NAME"]
            worker = os.environ.get("PYTEST_XDIST_WORKER", "test")
            connection.settings_dict["TEST"]["NAME"] = f"{name}.{worker}"


@pytest.fixture(autouse=True)
def _no_limits(request, monkeypatch):
    """Let rooms other than licensing add what they like, also at a moment long after the trial."""
    if request.path.parent.name != "licensing":
        monkeypatch.setattr("licensing.rules.COMMUNITY", Limits())


@pytest.fixture
def vendor_keys(settings, tmp_path):
    """Let the product know the public halves of the tests' keys."""
    from licensing import files, installation
    from tests.licensing.makers import write_public_keys

    def forget():
        files._shipped.cache_clear()
        installation._read.cache_clear()

    write_public_keys(tmp_path)
    settings.LICENSE_VENDOR_KEYS = tmp_path
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def patch_home(settings, tmp_path):
    """Keep patches' files in a folder of the test, and trust its vendor of patches."""
    from tests.boosters.makers import write_keys

    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.BOOSTER_PATCH_KEYS = str(write_keys(tmp_path / "patch_keys"))
