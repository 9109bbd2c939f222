"""Settings of the back office, read top to bottom.

Every deployment value is an environment variable; any of them may instead come from the file named
in `<NAME>_FILE` (secrets of an orchestrator). With nothing set at all, the product works: SQLite in
the data directory, a generated secret key, no Redis. The table in docs/configuration.md lists all.
"""

import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import environ
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from backoffice.bucket import storage_of
from backoffice.credentials import without_secrets
from backoffice.secret_files import read_or_create_secret
from boosters import parameters

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.FileAwareEnv()
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")

VERSION = "0.1.0"


def whole_number(name: str, default: int) -> int:
    try:
        return int(env.int(name, default=default))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {env.str(name)!r}.") from error


# --- Where and how it runs -----------------------------------------------------------------------

ENVIRONMENT = env.str("BOOSTER_ENV", default="development")
if ENVIRONMENT not in ("development", "production"):
    raise ImproperlyConfigured(f"BOOSTER_ENV must be development or production, not {ENVIRONMENT!r}.")
IS_PRODUCTION = ENVIRONMENT == "production"
DEBUG = env.bool("DEBUG", default=False)

DATA_DIR = Path(env.str("BOOSTER_DATA_DIR", default=str(BASE_DIR / "data"))).absolute()
try:
    DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    SECRET_KEY = env.str("SECRET_KEY", default="") or read_or_create_secret(DATA_DIR / "secret.key")
except OSError as error:
    raise ImproperlyConfigured(f"The data directory {DATA_DIR} cannot be used: {error.strerror}.") from error
# Key of the digests that tokens and activation codes are stored as: the same on every node.
TOKEN_DIGEST_KEY = env.str("TOKEN_DIGEST_KEY", default=SECRET_KEY)

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if IS_PRODUCTION else ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

SHORTEST_SECRET_KEY = 50
if IS_PRODUCTION:
    if DEBUG:
        raise ImproperlyConfigured("DEBUG must be off when BOOSTER_ENV is production.")
    if not ALLOWED_HOSTS:
        raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts of this node when BOOSTER_ENV is production.")
    if len(SECRET_KEY) < SHORTEST_SECRET_KEY or len(set(SECRET_KEY)) < 5 or "insecure" in SECRET_KEY:  # noqa: PLR2004 - Django's own measure of a weak key
        raise ImproperlyConfigured(f"SECRET_KEY is weak: use at least {SHORTEST_SECRET_KEY} random characters.")

# The addresses that terminals and agents may call, in calling order: the same list on every node.
BOOSTER_PUBLIC_URLS = env.list("BOOSTER_PUBLIC_URLS", default=[])
# Origins allowed to call the terminal doors besides those of the active mobile servers.
BOOSTER_ALLOWED_ORIGINS = env.list("BOOSTER_ALLOWED_ORIGINS", default=[])
# Addresses or networks of the reverse proxies whose X-Forwarded-For is believed.
BOOSTER_TRUSTED_PROXIES = env.list("BOOSTER_TRUSTED_PROXIES", default=[])
for _proxy in BOOSTER_TRUSTED_PROXIES:
    try:
        ip_network(_proxy, strict=False)
    except ValueError as error:
        raise ImproperlyConfigured(f"BOOSTER_TRUSTED_PROXIES must name addresses or networks: {error}.") from error

# --- Application ---------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.import_export",
    "unfold.contrib.simple_history",
    "backoffice.apps.WindowsConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "django_filters",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "import_export",
    "mptt",
    "rest_framework",
    "simple_history",
    "backoffice",
    "events",
    "licensing",
    "organizations",
    "services",
    "accounts",
    "notices",
    "preferences",
    "servers",
    "terminals",
    "routing",
    "fleet",
    "boosters",
]

MIDDLEWARE = [
    "backoffice.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "backoffice.content_policy.ContentPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "routing.middleware.TerminalDoors",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "backoffice.slashes.SlashMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "backoffice.request_log.RequestLogMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "backoffice.password_change.PasswordChangeMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "backoffice.urls"
ASGI_APPLICATION = "backoffice.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database, cache, background work ------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'booster.sqlite3'}")
try:
    is_known = DATABASE_URL.startswith(("sqlite://", "postgresql://", "postgres://"))
    DATABASE: dict[str, Any] = environ.Env.db_url_config(DATABASE_URL) if is_known else {}
except ValueError as error:
    raise ImproperlyConfigured(f"DATABASE_URL is not an address: {error}.") from error
if not DATABASE.get("NAME") or DATABASE["NAME"] == ":memory:":
    raise ImproperlyConfigured("DATABASE_URL must be a postgresql:// or sqlite:// address that names a database.")
if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    # Immediate transactions make writers queue instead of failing when a read turns into a write.
    DATABASE["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
    }
else:
    DATABASE["CONN_MAX_AGE"] = whole_number("DATABASE_CONN_MAX_AGE_S", default=60)
    DATABASE["CONN_HEALTH_CHECKS"] = True
    # A host that vanished says no goodbye: without these, who waits for its answer waits for a quarter of an hour.
    patience = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    patience["tcp_user_timeout"] = 10_000  # in milliseconds
    DATABASE["OPTIONS"] = {**patience, **DATABASE.get("OPTIONS", {})}
DATABASES = {"default": DATABASE}
# The two nodes of a Booster pair; without BOOSTER_IP this node is alone.
BOOSTER_PARAMETERS = parameters.read(
    {
        "BOOSTER_IP": env.str("BOOSTER_IP", default=""),
        "BOOSTER_PORT": env.str("BOOSTER_PORT", default=""),
        "SECOND_BOOSTER_IP": env.str("SECOND_BOOSTER_IP", default=""),
        "SECOND_BOOSTER_PORT": env.str("SECOND_BOOSTER_PORT", default=""),
        "LOCAL_IP": env.str("LOCAL_IP", default=""),
        "LOCAL_PORT": env.str("LOCAL_PORT", default=""),
    },
    is_sqlite=DATABASE["ENGINE"] == "django.db.backends.sqlite3",
)
if BOOSTER_PARAMETERS.is_pair and DATABASE["ENGINE"] != "django.db.backends.sqlite3":
    # A node that was cut off must notice it soon, whatever the network says.
    DATABASE["OPTIONS"] = {
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 8000,
        **DATABASE["OPTIONS"],
    }
# Each thread has a connection of its own: what a web process takes of those the database accepts.
BOOSTER_REQUEST_THREADS = whole_number("BOOSTER_REQUEST_THREADS", default=16)
if BOOSTER_REQUEST_THREADS < 1:
    raise ImproperlyConfigured("BOOSTER_REQUEST_THREADS must be at least 1.")
# How much memory a web process may take for compiled documents.
BOOSTER_DOCUMENTS_MB = whole_number("BOOSTER_DOCUMENTS_MB", default=64)
if BOOSTER_DOCUMENTS_MB < 1:
    raise ImproperlyConfigured("BOOSTER_DOCUMENTS_MB must be at least 1.")
# What a web process serves terminals from when it starts while the database is away.
TERMINAL_SNAPSHOT = DATA_DIR / "terminals.snapshot"
# How many polls and streams may wait in a web process at once; above that, they are answered without waiting.
BOOSTER_WAITING_POLLS = whole_number("BOOSTER_WAITING_POLLS", default=10_000)
if BOOSTER_WAITING_POLLS < 1:
    raise ImproperlyConfigured("BOOSTER_WAITING_POLLS must be at least 1.")
# How often a terminal, and an address that has no known token, may call the polled doors of a web process.
BOOSTER_POLLS_PER_MINUTE = whole_number("BOOSTER_POLLS_PER_MINUTE", default=240)
BOOSTER_STRANGERS_PER_MINUTE = whole_number("BOOSTER_STRANGERS_PER_MINUTE", default=240)
for _name, _number in {
    "BOOSTER_POLLS_PER_MINUTE": BOOSTER_POLLS_PER_MINUTE,
    "BOOSTER_STRANGERS_PER_MINUTE": BOOSTER_STRANGERS_PER_MINUTE,
}.items():
    if _number < 1:
        raise ImproperlyConfigured(f"{_name} must be at least 1.")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("REDIS_URL must be a redis://, rediss:// or unix:// address.")
CACHES = {
    "default": (
        {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "booster",
            # Whoever counts would otherwise wait for a Redis that does not answer, and with him his thread.
            "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
        }
        if REDIS_URL
        # Above its few entries by default it forgets some at random: who calls from many addresses, or with
        # many tokens, would not be counted.
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
    )
}

# Without Redis the beat process runs each task itself as it falls due (see docs/adr/0004).
# Celery spells a Unix socket and its database number in its own way.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=") or "memory://"
CELERY_TASK_ALWAYS_EAGER = not REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
HOUR_S = 3_600
CELERY_BEAT_SCHEDULE: dict[str, Any] = {
    task: {"task": task, "schedule": HOUR_S}
    for task in (
        "accounts.tasks.prune_failed_logins",
        "accounts.tasks.prune_sessions",
        "boosters.tasks.prune_slots",
        "boosters.tasks.sweep_patches",
        "events.tasks.prune_events",
        "fleet.tasks.prune_history",
        "notices.tasks.prune_notices",
        "terminals.tasks.prune_activations",
    )
}
CELERY_BEAT_SCHEDULE["licensing.tasks.keep_moment"] = {"task": "licensing.tasks.keep_moment", "schedule": 60}
for _task, _seconds in {
    "fleet.tasks.watch": 5,
    "fleet.tasks.probe": 5,
    "fleet.tasks.watch_terminals": 60,
    "notices.tasks.deliver": 5,
    "boosters.tasks.drive_roll_outs": 5,
}.items():
    CELERY_BEAT_SCHEDULE[_task] = {
        "task": _task,
        "schedule": _seconds,
        "options": {"expires": _seconds},  # what no worker took in time, the next round does
    }
CELERY_BEAT_SCHEDULER = "boosters.beat:ActingScheduler"

# The vendor's public keys, which licences are checked with: part of the product, not of its configuration.
LICENSE_VENDOR_KEYS = BASE_DIR / "licensing" / "vendor_keys"

# --- Patches -------------------------------------------------------------------------------------

# The public keys of the vendors whose patches are accepted: PEM or JWK files. None is there at first.
BOOSTER_PATCH_KEYS = env.str("BOOSTER_PATCH_KEYS", default=str(DATA_DIR / "patch_keys"))
BOOSTER_LARGEST_PATCH_MB = whole_number("BOOSTER_LARGEST_PATCH_MB", default=512)
if BOOSTER_LARGEST_PATCH_MB < 1:
    raise ImproperlyConfigured("BOOSTER_LARGEST_PATCH_MB must be at least 1.")
# How fast one server's agent may fetch a patch, unless its roll-out says otherwise; 0: as fast as it can.
BOOSTER_PATCH_BYTES_PER_S = whole_number("BOOSTER_PATCH_BYTES_PER_S", default=1_000_000)
if BOOSTER_PATCH_BYTES_PER_S < 0:
    raise ImproperlyConfigured("BOOSTER_PATCH_BYTES_PER_S must be 0 or more.")

# How long the event log and the notices are kept.
BOOSTER_EVENT_DAYS = whole_number("BOOSTER_EVENT_DAYS", default=400)
# How long the servers' transitions and the closed incidents are kept; the uptime of 90 days is shown.
BOOSTER_HISTORY_DAYS = whole_number("BOOSTER_HISTORY_DAYS", default=400)
SHORTEST_HISTORY_DAYS, LONGEST_HISTORY_DAYS = 91, 36_500
if not SHORTEST_HISTORY_DAYS <= BOOSTER_HISTORY_DAYS <= LONGEST_HISTORY_DAYS:
    raise ImproperlyConfigured(
        f"BOOSTER_HISTORY_DAYS must be {SHORTEST_HISTORY_DAYS} to {LONGEST_HISTORY_DAYS}, not {BOOSTER_HISTORY_DAYS}."
    )

# --- Notices -------------------------------------------------------------------------------------

# The mail server; without one, e-mail channels say so and deliver nothing.
EMAIL_URL = env.str("EMAIL_URL", default="")
try:
    _EMAIL: dict[str, Any] = environ.Env.email_url_config(EMAIL_URL or "dummymail://")
except (ImproperlyConfigured, ValueError) as error:
    raise ImproperlyConfigured(
        "EMAIL_URL must be an smtp://, smtp+tls:// or smtp+ssl:// address, such as smtp+tls://user:password@host:587."
    ) from error
EMAIL_BACKEND: str = _EMAIL["EMAIL_BACKEND"]
EMAIL_HOST: str = _EMAIL["EMAIL_HOST"] or "localhost"
EMAIL_PORT: int = _EMAIL["EMAIL_PORT"] or 25
EMAIL_HOST_USER: str = _EMAIL["EMAIL_HOST_USER"] or ""
EMAIL_HOST_PASSWORD: str = _EMAIL["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS: bool = _EMAIL.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL: bool = _EMAIL.get("EMAIL_USE_SSL", False)
EMAIL_FILE_PATH: str | None = _EMAIL["EMAIL_FILE_PATH"] or None
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("BOOSTER_MAIL_FROM", default="Booster Back Office <booster@localhost>")
# Whether webhooks may call private addresses.
BOOSTER_WEBHOOK_PRIVATE = env.bool("BOOSTER_WEBHOOK_PRIVATE", default=False)

# Whether servers without an agent may be called on this machine's own addresses.
BOOSTER_PROBE_LOOPBACK = env.bool("BOOSTER_PROBE_LOOPBACK", default=False)

# What Prometheus sends to read /metrics; without it there are none.
BOOSTER_METRICS_TOKEN = env.str("BOOSTER_METRICS_TOKEN", default="").strip()
SHORTEST_METRICS_TOKEN = 16
if 0 < len(BOOSTER_METRICS_TOKEN) < SHORTEST_METRICS_TOKEN:
    raise ImproperlyConfigured(f"BOOSTER_METRICS_TOKEN must have at least {SHORTEST_METRICS_TOKEN} characters.")

# --- People --------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_HTTP_RESPONSE_CODE = 429
AXES_CLIENT_IP_CALLABLE = "backoffice.addresses.counted_address"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False
AXES_LOCKOUT_CALLABLE = "backoffice.look.locked_out"

SESSION_ENGINE = "django.contrib.sessions.backends.cached_db" if REDIS_URL else "django.contrib.sessions.backends.db"
SESSION_COOKIE_AGE = 8 * 60 * 60
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_PRODUCTION
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

SECURE_SSL_REDIRECT = IS_PRODUCTION and env.bool("SECURE_SSL_REDIRECT", default=True)
SECURE_HSTS_SECONDS = 31_536_000 if IS_PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BOOSTER_TRUSTED_PROXIES else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- Language, time, files -----------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
# Running from the source tree needs no collectstatic; production serves hashed, compressed files.
WHITENOISE_USE_FINDERS = not IS_PRODUCTION
WHITENOISE_ALLOW_ALL_ORIGINS = False  # pages of other origins have business at the terminal doors only
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if IS_PRODUCTION
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}
# Where patches' files are kept instead of the database.
BUCKET_URL = env.str("BUCKET_URL", default="")
if BUCKET_URL:
    try:
        STORAGES["patches"] = storage_of(BUCKET_URL)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from error
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000

# --- REST ----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "backoffice.api.authentication.UserTokenAuthentication",
        "backoffice.api.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["backoffice.api.permissions.ModelRights"],
    "DEFAULT_PAGINATION_CLASS": "backoffice.api.paging.Paging",
    "DEFAULT_FILTER_BACKENDS": ["backoffice.api.filters.StrictFilterBackend"],
    "DEFAULT_PARSER_CLASSES": ["backoffice.api.parsing.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "backoffice.api.schema.ProblemSchema",
    "EXCEPTION_HANDLER": "backoffice.api.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Booster Back Office",
    "DESCRIPTION": "Configures which server every POS terminal calls for every service, and tells the terminals.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    # Without this the page asks validator.swagger.io what it thinks of the document.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "PREPROCESSING_HOOKS": ["backoffice.api.schema.without_slash_forms"],
    "ENUM_NAME_OVERRIDES": {
        "ChannelKindEnum": "notices.models.ChannelKind",
        "NodeRoleEnum": "boosters.models.NodeRole",
        "OriginalServerStatusEnum": ["ON", "OFF", "TON", "TOFF"],  # as routing.api.question answers
        "ServerStatusEnum": "servers.models.ServerStatus",
        "ServerTypeEnum": "servers.models.ServerType",
    },
}

# --- Logging -------------------------------------------------------------------------------------

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
    raise ImproperlyConfigured(f"LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {LOG_LEVEL!r}.")
_before_rendering: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    without_secrets,
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _before_rendering,
            "processor": (
                structlog.processors.JSONRenderer()
                if IS_PRODUCTION
                else structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(),
                    exception_formatter=structlog.dev.plain_traceback,  # rich's prints local variables
                )
            ),
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # The request middleware logs every request with its status already.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.server": {"level": "WARNING"},
        "celery": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},  # would name every address that is called
        "granian": {"level": "WARNING"},
        "_granian": {"level": "WARNING"},
    },
}
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_before_rendering,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)

# --- The windows' look ---------------------------------------------------------------------------

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Booster Back Office",
    "SITE_HEADER": "Booster Back Office",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "backoffice.dashboard.dashboard",
    "STYLES": [lambda request: static("backoffice/windows.css")],
    "SCRIPTS": [lambda request: static("backoffice/windows.js")],
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("backoffice/favicon.svg"),
        }
    ],
    "SIDEBAR": {"show_search": False, "navigation": "backoffice.navigation.navigation"},
    "COLORS": {
        # The blue of a rack's status light; contrast of 600 on white is above 4.5.
        "primary": {
            "50": "oklch(97% .014 236)",
            "100": "oklch(94% .03 236)",
            "200": "oklch(88% .06 236)",
            "300": "oklch(80% .1 236)",
            "400": "oklch(72% .13 236)",
            "500": "oklch(62% .14 240)",
            "600": "oklch(52% .13 244)",
            "700": "oklch(45% .12 246)",
            "800": "oklch(39% .1 248)",
            "900": "oklch(33% .08 250)",
            "950": "oklch(25% .06 252)",
        },
    },
}

# Between preview and confirmation the file must be found by whichever process answers.
IMPORT_EXPORT_TMP_STORAGE_CLASS = (
    "import_export.tmp_storages.CacheStorage" if REDIS_URL else "backoffice.pending_imports.PendingImport"
)
