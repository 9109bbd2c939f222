"""Fixtures of every test."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient


@pytest.fixture(autouse=True)
def _empty_cache():
    """Start every test without counters and sessions of another."""
    cache.clear()


@pytest.fixture
def api_client() -> APIClient:
    return APIClient()
