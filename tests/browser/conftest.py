"""A real Chromium before the real windows; skipped politely where there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def chromium():
    if not CHROMIUM:
        pytest.skip("no Chromium is installed here")
    from playwright.sync_api import sync_playwright

    # Playwright's synchronous API runs an event loop in this thread; the tests' queries are not part of it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Watched:
    """A page that notes whatever a sysadmin should never meet."""

    def __init__(self, context, live_server):
        self.page = context.new_page()
        self.address = live_server.url
        self.faults = []
        host = urlsplit(live_server.url).netloc
        self.page.on("request", lambda request: self._leaves(request.url, host))
        self.page.on("response", lambda answer: answer.status >= 400 and self.note(f"{answer.status} {answer.url}"))
        self.page.on("console", lambda message: message.type == "error" and self.note(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.note(f"script: {error}"))

    def _leaves(self, url, host):
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != host:
            self.note(f"left the host: {url}")

    def note(self, fault):
        self.faults.append((urlsplit(self.page.url).path, fault))

    def open(self, path):
        self.page.goto(self.address + path)
        self.page.wait_for_timeout(150)  # scripts that start with the page may still fail
        return self.page

    def picture(self, name, **options):
        """Keep a picture where BOOSTER_SCREENSHOTS says, for people to look at."""
        if folder := os.environ.get("BOOSTER_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=f"{folder}/{name}.png", **options)

    @property
    def overflow(self):
        """By how many pixels the page is wider than the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def open_windows(chromium, live_server, db):
    """Return a function that opens the windows for a user: light or dark, wide or narrow."""
    contexts = []

    def open_for(user=None, *, scheme="light", size=WIDE):
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        context.set_default_timeout(15_000)
        contexts.append(context)
        if user is not None:
            session = SessionStore()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.save()
            cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session.session_key, "url": live_server.url}
            context.add_cookies([cookie])
        return Watched(context, live_server)

    yield open_for
    for context in contexts:
        context.close()
