"""The product's settings for a process of its own that knows the tests' keys."""

import os

from backoffice.settings import *  # noqa: F403

LICENSE_VENDOR_KEYS = os.environ["TEST_VENDOR_KEYS"]
