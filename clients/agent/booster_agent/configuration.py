"""What the agent is configured with: a file of `NAME=value` lines, and the environment, which wins."""

from __future__ import annotations

import re
import shlex
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PORT = 5169
DEFAULT_LOCAL_PORT = 5170
HIGHEST_PORT = 65_535
HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+")
KEY = re.compile(r"[A-Za-z0-9._-]{1,60}")
TOKEN = re.compile(r"bst_agent_[a-z0-9]{16}\.[A-Za-z0-9_-]{43}", re.ASCII)
ON, OFF = ("1", "on", "true", "yes"), ("0", "off", "false", "no")
LARGEST_FILE = 64 * 1024
TEXTS = {
    "BOOSTER_IP": "the primary Booster: an IP address or a name",
    "BOOSTER_PORT": f"its port ({DEFAULT_PORT})",
    "SECOND_BOOSTER_IP": "the secondary Booster; empty: there is none",
    "SECOND_BOOSTER_PORT": f"its port ({DEFAULT_PORT})",
    "BOOSTER_TLS": "off: plain HTTP, for a protected network only (on)",
    "BOOSTER_CA_FILE": "certificates to trust instead of the system's",
    "SERVER_KEY": "key of the mobile server beside this agent",
    "AGENT_TOKEN": "the agent's token",
    "AGENT_TOKEN_FILE": "file that holds it",
    "STATE_DIR": "where the agent keeps what it must not forget (~/.booster-agent)",
    "SERVER_COMMAND": "starts the server and stays with it, in the foreground; empty: it is not started",
    "SERVER_HOME": "folder the server and its scripts run in (the state folder)",
    "SERVER_STATUS_COMMAND": "ends with 0 when a server runs that something else started",
    "SERVER_STOP_COMMAND": "stops the server before a restart; empty: a signal",
    "SERVER_VERSION_COMMAND": "prints the installed version",
    "SERVER_VERSION_FILE": "holds the installed version in its first line",
    "SERVER_MODULES_FILE": 'holds the modules as JSON: [{"name": …, "version": …}]',
    "READY_HOOK": "ends with 0 when the server is ready to work",
    "PREPARE_HOOK": "processes what is pending, when the Booster asks for it",
    "PENDING_HOOK": "prints how many transactions wait",
    "BACKUP_COMMAND": "runs before a patch is applied; needed for patches",
    "PATCH_KEYS": "folder of the patch vendors' public keys (PEM or JWK)",
    "PATCH_FOLDER": "folder of patches that are applied by hand, to be passed on to the Booster",
    "HOOK_TIMEOUT_S": "how long a hook may take (10)",
    "BACKUP_TIMEOUT_S": "how long the backup may take (3600)",
    "PATCH_TIMEOUT_S": "how long a patch's script may take (1800)",
    "RESTART_TIMEOUT_S": "how long the server may need to be back after a patch (540)",
    "REPORT_INTERVAL_S": "pause between reports until a Booster names one (30)",
    "TOKEN_ROLL_DAYS": "how often the token is replaced; 0: never (30)",
    "LOCAL_ADDRESS": "where terminals of the store find the documents (127.0.0.1)",
    "LOCAL_PORT": f"its port ({DEFAULT_LOCAL_PORT}); 0: none",
}
"""Every parameter and what it is for."""


class ParameterRefused(ValueError):
    """A parameter that stops the start; the message is one line that names it."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The parameters, checked. Commands are empty where there is none; times are in seconds."""

    boosters: tuple[Address, ...]
    server_key: str
    token: str = field(repr=False)
    state_dir: Path
    server_home: Path
    uses_tls: bool = True
    ca_file: Path | None = None
    server_command: Command = ()
    server_status_command: Command = ()
    server_stop_command: Command = ()
    version_command: Command = ()
    version_file: Path | None = None
    modules_file: Path | None = None
    ready_hook: Command = ()
    prepare_hook: Command = ()
    pending_hook: Command = ()
    backup_command: Command = ()
    patch_keys: Path | None = None
    patch_folder: Path | None = None
    hook_timeout_s: float = 10
    backup_timeout_s: float = 3_600
    patch_timeout_s: float = 1_800
    restart_timeout_s: float = 540
    report_interval_s: float = 30
    token_roll_days: float = 30
    local_address: str = "127.0.0.1"
    local_port: int = DEFAULT_LOCAL_PORT


def load(file: Path | None, environment: Mapping[str, str]) -> Configuration:
    """Return the configuration of a file, if one is given, and of the environment; raises ParameterRefused."""
    values = {} if file is None else read_file(file)
    return check(values | {name: environment[name] for name in TEXTS if name in environment})


def read_file(file: Path) -> dict[str, str]:
    """Return the values of a configuration file, which its owner alone may read; raises ParameterRefused."""
    try:
        mode = file.stat().st_mode
        content = file.read_bytes()[: LARGEST_FILE + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterRefused(f"{file} cannot be read: {error}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise ParameterRefused(
            f"{file} holds secrets and has the mode {stat.S_IMODE(mode):04o}: nobody but its owner may read it "
            f"(chmod 600 {shlex.quote(str(file))})."
        )
    values: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or name not in TEXTS:
            raise ParameterRefused(f"{file}, line {number}: {name[:60]!r} is no parameter of the agent.")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[name] = value
    return values


def check(values: Mapping[str, str]) -> Configuration:
    """Return the configuration that `values` spell, empty ones counting as absent.

    Raises ParameterRefused, with one line that names the parameter. Source: OMF-01 to OMF-03.
    """
    given = {name: values.get(name, "").strip() for name in TEXTS}
    state_dir = _path(given, "STATE_DIR") or Path.home() / ".booster-agent"
    uses_tls = _flag(given, "BOOSTER_TLS", default=True)
    return Configuration(
        boosters=_boosters(given),
        server_key=_server_key(given["SERVER_KEY"]),
        token=_token(given),
        state_dir=state_dir,
        server_home=_path(given, "SERVER_HOME") or state_dir,
        uses_tls=uses_tls,
        ca_file=_existing(given, "BOOSTER_CA_FILE"),
        server_command=_command(given, "SERVER_COMMAND"),
        server_status_command=_command(given, "SERVER_STATUS_COMMAND"),
        server_stop_command=_command(given, "SERVER_STOP_COMMAND"),
        version_command=_command(given, "SERVER_VERSION_COMMAND"),
        version_file=_path(given, "SERVER_VERSION_FILE"),
        modules_file=_path(given, "SERVER_MODULES_FILE"),
        ready_hook=_command(given, "READY_HOOK"),
        prepare_hook=_command(given, "PREPARE_HOOK"),
        pending_hook=_command(given, "PENDING_HOOK"),
        backup_command=_command(given, "BACKUP_COMMAND"),
        patch_keys=_path(given, "PATCH_KEYS"),
        patch_folder=_path(given, "PATCH_FOLDER"),
        hook_timeout_s=_number(given, "HOOK_TIMEOUT_S", 10, 0.1, 60),
        backup_timeout_s=_number(given, "BACKUP_TIMEOUT_S", 3_600, 1, 86_400),
        patch_timeout_s=_number(given, "PATCH_TIMEOUT_S", 1_800, 1, 86_400),
        restart_timeout_s=_number(given, "RESTART_TIMEOUT_S", 540, 1, 86_400),
        report_interval_s=_number(given, "REPORT_INTERVAL_S", 30, 1, 3_600),
        token_roll_days=_number(given, "TOKEN_ROLL_DAYS", 30, 0, 3_650),
        local_address=_host(given, "LOCAL_ADDRESS") or "127.0.0.1",
        local_port=_port(given, "LOCAL_PORT", lowest=0, default=DEFAULT_LOCAL_PORT),
    )


def _boosters(given: Mapping[str, str]) -> tuple[Address, ...]:
    first, second = _host(given, "BOOSTER_IP"), _host(given, "SECOND_BOOSTER_IP")
    first_port, second_port = _port(given, "BOOSTER_PORT"), _port(given, "SECOND_BOOSTER_PORT")
    if second and not first:
        raise ParameterRefused("SECOND_BOOSTER_IP is set, but BOOSTER_IP is not: set BOOSTER_IP to the primary.")
    if not first:
        raise ParameterRefused("BOOSTER_IP is missing: set it to the address of the primary Booster.")
    if not second:
        return (Address(first, first_port),)
    if (first.lower(), first_port) == (second.lower(), second_port):
        raise ParameterRefused(
            "SECOND_BOOSTER_IP and SECOND_BOOSTER_PORT name the same Booster as BOOSTER_IP and BOOSTER_PORT: "
            f"{Address(first, first_port)}."
        )
    return Address(first, first_port), Address(second, second_port)


def _host(given: Mapping[str, str], name: str) -> str:
    if given[name] and not HOST.fullmatch(given[name]):
        raise ParameterRefused(f"{name} must be an IP address or a host name, not {given[name][:60]!r}.")
    return given[name]


def _port(given: Mapping[str, str], name: str, *, lowest: int = 1, default: int = DEFAULT_PORT) -> int:
    text = given[name]
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()) or not lowest <= int(text[:6]) <= HIGHEST_PORT:
        raise ParameterRefused(f"{name} must be a port from {lowest} to {HIGHEST_PORT}, not {text[:60]!r}.")
    return int(text)


def _server_key(text: str) -> str:
    if not text:
        raise ParameterRefused("SERVER_KEY is missing: set it to the key of the mobile server.")
    if not KEY.fullmatch(text):
        raise ParameterRefused(f"SERVER_KEY must be the key of a mobile server, not {text[:60]!r}.")
    return text


def _token(given: Mapping[str, str]) -> str:
    text, file = given["AGENT_TOKEN"], given["AGENT_TOKEN_FILE"]
    if text and file:
        raise ParameterRefused("AGENT_TOKEN and AGENT_TOKEN_FILE are both set: set one of them.")
    name = "AGENT_TOKEN"
    if file:
        name = "AGENT_TOKEN_FILE"
        try:
            text = Path(file).read_bytes()[:LARGEST_FILE].decode(errors="replace").strip()
        except OSError as error:
            raise ParameterRefused(f"AGENT_TOKEN_FILE cannot be read: {error}") from error
    if not text:
        raise ParameterRefused(f"{name} is missing: an administrator makes the token in the server's window.")
    if not TOKEN.fullmatch(text):
        raise ParameterRefused(f"{name} holds no agent's token (bst_agent_…).")
    return text


def _command(given: Mapping[str, str], name: str) -> Command:
    try:
        return tuple(shlex.split(given[name]))
    except ValueError as error:
        raise ParameterRefused(f"{name} cannot be read as a command: {error}.") from error


def _path(given: Mapping[str, str], name: str) -> Path | None:
    if not given[name]:
        return None
    path = Path(given[name]).expanduser()
    if not path.is_absolute():
        raise ParameterRefused(f"{name} must be a path from the root on, not {given[name][:100]!r}.")
    return path


def _existing(given: Mapping[str, str], name: str) -> Path | None:
    path = _path(given, name)
    if path is not None and not path.is_file():
        raise ParameterRefused(f"{name} names no file: {path}.")
    return path


def _flag(given: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = given[name].lower()
    if text and text not in (*ON, *OFF):
        raise ParameterRefused(f"{name} must be on or off, not {text[:60]!r}.")
    return text in ON if text else default


def _number(given: Mapping[str, str], name: str, default: float, lowest: float, highest: float) -> float:
    text = given[name]
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", text, re.ASCII) or not lowest <= float(text) <= highest:
        raise ParameterRefused(f"{name} must be a number from {lowest:g} to {highest:g}, not {text[:60]!r}.")
    return float(text)


def own_host_name() -> str:
    return socket.gethostname()[:255]
