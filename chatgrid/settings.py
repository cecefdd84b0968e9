"""Every setting of ChatGrid. `make run` sets the environment; docs/settings.md explains each variable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kombu.entity import Queue as BrokerQueue

from chatgrid.env import read_bool, read_choice, read_curves, read_database, read_int, read_list, read_path, read_str
from chatgrid.schedule import ROUTES, SCHEDULE, Queue

BASE_DIR = Path(__file__).resolve().parent.parent

# --- where and how this process runs ------------------------------------------------------------------------------
ENVIRONMENT = read_choice("CHATGRID_ENVIRONMENT", ("development", "test", "production"), "production")
PRODUCTION = ENVIRONMENT == "production"
DEBUG = False  # a debug page shows settings and local variables: not even on a laptop
SECRET_KEY = read_str("CHATGRID_SECRET_KEY")
SECRET_KEY_FALLBACKS = read_list(
    "CHATGRID_OLD_SECRET_KEYS"
)  # read what was signed or encrypted with them, make nothing
DATA_FOLDER = read_path("CHATGRID_DATA", BASE_DIR / ".chatgrid")
ALLOWED_HOSTS = read_list("CHATGRID_ALLOWED_HOSTS", "" if PRODUCTION else "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = read_list("CHATGRID_TRUSTED_ORIGINS")
TRUSTED_PROXIES = read_int("CHATGRID_TRUSTED_PROXIES", 0)  # how many entries of X-Forwarded-For our own proxies wrote

INSTALLED_APPS = [
    "chatgrid.console",  # before Django's admin, whose templates it restyles
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "audit",
    "departments",
    "departments.keys",
    "departments.limits",
    "departments.calls",
    "departments.documents",
    "chatgrid.accounts",
    "chatgrid.chat",
    "chatgrid.documents",
    "chatgrid.assistant",
]
if not PRODUCTION:
    INSTALLED_APPS.append("chatgrid.dev")

# Every one of these runs on the event loop: one synchronous middleware would move the whole chat path into a thread.
MIDDLEWARE = [
    "chatgrid.middleware.SecurityHeaders",
    "servestatic.middleware.ServeStaticMiddleware",
    "chatgrid.middleware.Sessions",
    "chatgrid.middleware.Common",
    "chatgrid.middleware.Csrf",
    "chatgrid.misplaced.MisplacedKeys",
    "chatgrid.middleware.Authentication",
    "chatgrid.middleware.Messages",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "chatgrid.urls"
ASGI_APPLICATION = "chatgrid.asgi.application"
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
                "chatgrid.chat.shell.shell",
            ],
        },
    }
]

# --- databases: the application's role reads and writes, the owner's role migrates --------------------------------
DATABASES: dict[str, Any] = {"default": read_database("CHATGRID_DATABASE_URL")}
DATABASES["default"]["CONN_MAX_AGE"] = 0
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # the first page after an outage must not meet a dead connection
if pool_size := read_int("CHATGRID_PAGE_POOL_SIZE", 8):  # 0 in workers, which fork
    DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 0, "max_size": pool_size, "timeout": 5}}
if owner := read_str("CHATGRID_OWNER_DATABASE_URL", ""):
    DATABASES["owner"] = read_database("CHATGRID_OWNER_DATABASE_URL", owner)
# the record's own roles; on a laptop without them the owner does their work
OWNER_STANDS_IN = "" if PRODUCTION else owner
if sealer := read_str("CHATGRID_SEALER_DATABASE_URL", OWNER_STANDS_IN):
    DATABASES["sealer"] = read_database("CHATGRID_SEALER_DATABASE_URL", sealer)
if retention := read_str("CHATGRID_RETENTION_DATABASE_URL", OWNER_STANDS_IN):
    DATABASES["retention"] = read_database("CHATGRID_RETENTION_DATABASE_URL", retention)
DATABASE_APPLICATION_ROLE = DATABASES["default"]["USER"]
CONTROL_POOL_SIZE = read_int("CHATGRID_CONTROL_POOL_SIZE", 12)  # connections of the chat path, per process
PROVISIONER_URL = read_str("CHATGRID_PROVISIONER_URL", "")
POSTGRES_PROGRAMS = read_str("CHATGRID_POSTGRES_PROGRAMS", "")  # folder of pg_dump, pg_restore and psql; else the PATH
STORE_TEMPLATE = "chatgrid_store_template"
STORE_POOL_SIZE = read_int("CHATGRID_STORE_POOL_SIZE", 4)  # connections per department and process
STORE_POOLS = read_int("CHATGRID_STORE_POOLS", 20)  # departments whose connections a process keeps
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- cache, broker, background work -------------------------------------------------------------------------------
REDIS_URL = read_str("CHATGRID_REDIS_URL")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "chatgrid",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = Queue.CHORES
CELERY_TASK_QUEUES = [BrokerQueue(queue.value) for queue in Queue]  # type: ignore[no-untyped-call]
CELERY_TASK_ROUTES = ROUTES
CELERY_BEAT_SCHEDULE = SCHEDULE
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_FOLDER / "run" / "beat-schedule")
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SOFT_TIME_LIMIT = 840
CELERY_TASK_TIME_LIMIT = 870
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # above the longest task, or it would run twice; lost messages are looked for every 2 s (reference: kombu 5.7)
    "visibility_timeout": 900,
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    # a broker that is away must not hold a request: the row is the outbox and a tick finds it
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 0,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# --- people and sign-in -------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["chatgrid.accounts.backends.AccountBackend"]
SESSION_ENGINE = "chatgrid.accounts.sessions"
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SESSION_COOKIE_NAME = "__Host-session" if PRODUCTION else "chatgrid_session"
CSRF_COOKIE_NAME = "__Host-csrf" if PRODUCTION else "chatgrid_csrf"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "chatgrid.errors.csrf_failure"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
if ENVIRONMENT == "test":  # a slow hash on purpose would be most of the test run
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "chatgrid.accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # IT creates people; nobody signs up
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # no mail to strangers: it would offer them to sign up
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key", "reset_password": "20/m/ip,5/m/key"}
# who must have a second factor in every organization; each may ask for more
SECOND_FACTOR = read_choice("CHATGRID_SECOND_FACTOR", ("off", "privileged", "everybody"), "off")
MFA_ADAPTER = "chatgrid.accounts.second_factor.SecondFactorAdapter"
MFA_FORMS = {
    "authenticate": "chatgrid.accounts.second_factor_forms.SignInForm",
    "reauthenticate": "chatgrid.accounts.second_factor_forms.RenewForm",
}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_ALLOW_UNVERIFIED_EMAIL = True  # IT makes people: nobody can shut out the owner of an address that is not theirs
MFA_TOTP_TOLERANCE = 1  # a phone's clock may be 30 seconds off
EMAIL_BACKEND = read_str("CHATGRID_EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")
EMAIL_TIMEOUT = 20  # a mail server that says nothing must not keep a thread
DEFAULT_FROM_EMAIL = SERVER_EMAIL = read_str("CHATGRID_EMAIL_FROM", "chatgrid@localhost")
# private networks in which webhooks may be, such as 10.1.2.0/24: nothing else of a private network is ever asked
WEBHOOK_NETWORKS = read_list("CHATGRID_WEBHOOK_NETWORKS")
# where somebody who found a flaw writes to: /.well-known/security.txt
SECURITY_CONTACTS = read_list("CHATGRID_SECURITY_CONTACTS", f"mailto:{DEFAULT_FROM_EMAIL}")

# --- secrets and providers ----------------------------------------------------------------------------------------
VAULT = read_choice("CHATGRID_VAULT", ("local", "aws", "hashicorp", "azure", "gcp"), "aws" if PRODUCTION else "local")
VAULT_OPTIONS: dict[str, str] = json.loads(read_str("CHATGRID_VAULT_OPTIONS", "{}"))
if VAULT == "local":
    VAULT_OPTIONS.setdefault("folder", str(DATA_FOLDER / "vault"))
KEY_ROTATION_DAYS = read_int("CHATGRID_KEY_ROTATION_DAYS", 90)  # the age at which a key is exchanged by itself
KEY_CACHE_SECONDS = 60  # the longest time a process may use a key without asking the secret manager again
# name -> {"kind": "openai" | "azure" | "compatible", "base_url": …}. Base URLs come from here and nowhere else.
PROVIDERS: dict[str, dict[str, str]] = json.loads(
    read_str(
        "CHATGRID_PROVIDERS",
        json.dumps(
            {
                "openai": {
                    "kind": "openai",
                    "base_url": read_str("CHATGRID_OPENAI_BASE_URL", "https://api.openai.com/v1"),
                }
            }
        ),
    )
)
# what a new department's project at OpenAI is bounded by, until IT changes it; the fields of ProviderProject
PROJECT_DEFAULTS: dict[str, Any] = {
    "monthly_cents": 20_000,
    "alert_percents": [50, 80, 100],
    "requests_per_minute": 600,
    "tokens_per_minute": 2_000_000,
} | json.loads(read_str("CHATGRID_PROJECT_DEFAULTS", "{}"))
SIMULATED = read_bool("CHATGRID_SIMULATED", False)  # the page says that answers come from the simulator
CHAT_MODEL = read_str("CHATGRID_CHAT_MODEL", "gpt-6-luna")
EMBEDDING_MODEL = read_str("CHATGRID_EMBEDDING_MODEL", "text-embedding-3-small")
EMBEDDING_DIMENSIONS = read_int("CHATGRID_EMBEDDING_DIMENSIONS", 1536)
SEARCH_CALIBRATION = read_curves("CHATGRID_SEARCH_CALIBRATION")  # what `make calibrate` prints for a model
ANSWER_TOKENS = read_int("CHATGRID_ANSWER_TOKENS", 1500)  # the longest answer, before the budget fits it
ANSWER_SECONDS = read_int("CHATGRID_ANSWER_SECONDS", 300)  # the longest time a call may take
SILENCE_SECONDS = read_int("CHATGRID_SILENCE_SECONDS", 60)  # the longest time without a byte from the provider
# dotted path of a callable: text -> labels, for what the scanner's own rules do not see
CLASSIFIER = read_str("CHATGRID_CLASSIFIER", "")
CLASSIFIER_SECONDS = read_int("CHATGRID_CLASSIFIER_SECONDS", 2)  # the longest time a text waits for it
TRIAL_TOKENS = read_int("CHATGRID_TRIAL_TOKENS", 60_000)  # what one trial of a department's rules may use
MODERATION_MODEL = read_str("CHATGRID_MODERATION_MODEL", "omni-moderation-latest")

# --- documents ----------------------------------------------------------------------------------------------------
MEDIA_ROOT = DATA_FOLDER / "originals"
UPLOAD_BYTES = read_int("CHATGRID_UPLOAD_BYTES", 50 * 1024 * 1024)  # the largest single file
# what a department may keep where IT has not set it on the department
DEPARTMENT_FILES = read_int("CHATGRID_DEPARTMENT_FILES", 20_000)
DEPARTMENT_BYTES = read_int("CHATGRID_DEPARTMENT_BYTES", 50 * 1024**3)
INGEST_PARALLEL = read_int("CHATGRID_INGEST_PARALLEL", 4)  # files of one department in the queue or being read
# dotted path of a callable, path of a file -> what is wrong with it: departments.documents.clamd.scan asks ClamAV
MALWARE_SCANNER = read_str("CHATGRID_MALWARE_SCANNER", "")
MALWARE_SECONDS = read_int("CHATGRID_MALWARE_SECONDS", 120)  # the longest time one file may take it
MALWARE_AWAY = read_choice("CHATGRID_MALWARE_AWAY", ("wait", "fail"), "wait")  # a file while it does not answer
CLAMD = read_str("CHATGRID_CLAMD", "unix:///run/clamav/clamd.ctl")
OCR_LANGUAGES = read_str("CHATGRID_OCR_LANGUAGES", "eng")  # of scanned pages, as tesseract names them: "eng+deu"
REVIEW_MAILS = read_bool("CHATGRID_REVIEW_MAILS", True)  # to a department's admins, when a day of review has come
# places that may be synchronised into departments at all; which one feeds which department is IT's choice
SOURCE_FOLDERS: dict[str, str] = json.loads(read_str("CHATGRID_SOURCE_FOLDERS", "{}"))
SOURCE_BUCKETS: dict[str, dict[str, Any]] = json.loads(read_str("CHATGRID_SOURCE_BUCKETS", "{}"))
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = 1000  # a folder, in a browser without JavaScript
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000  # as many rows as a page of documents has, chosen at once
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- pages --------------------------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = read_path("CHATGRID_STATIC_ROOT", DATA_FOLDER / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
    },
    "staticfiles": {"BACKEND": "chatgrid.static_files.StaticFiles"},
}
if ENVIRONMENT == "test":  # straight from the source tree, without a collected copy
    STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
if originals_bucket := read_str("CHATGRID_ORIGINALS_BUCKET", ""):  # uploaded files on S3; private, encrypted there
    STORAGES["default"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "default_acl": None,
            "querystring_auth": True,
            "object_parameters": {"ServerSideEncryption": "AES256"},
            "max_memory_size": 8 * 1024 * 1024,
            **json.loads(read_str("CHATGRID_ORIGINALS_BUCKET_OPTIONS", "{}")),
            "bucket_name": originals_bucket,
        },
    }
# --- the record: who signs it, and where its seals and its archive lie outside the database ------------------------
AUDIT_SIGNER = "departments.keys.sealing.current_signer"  # a callable: only the sealer's process may call it
AUDIT_ANCHORS = read_list("CHATGRID_ANCHORS", "" if PRODUCTION else f"file://{DATA_FOLDER}/anchors/seals.jsonl")
AUDIT_SIEM: list[dict[str, str]] = json.loads(read_str("CHATGRID_SIEM", "[]"))  # where sealed events are pushed to
AUDIT_PUBLIC_KEYS = read_list("CHATGRID_SEAL_PUBLIC_KEYS")  # trusted from the start; empty: those of the anchors
STORAGES["archive"] = {
    "BACKEND": "django.core.files.storage.FileSystemStorage",
    "OPTIONS": {"location": read_path("CHATGRID_ARCHIVE", DATA_FOLDER / "archive")},
}
if anchor_bucket := read_str("CHATGRID_ANCHOR_BUCKET", ""):  # made with Object Lock
    BUCKET_OPTIONS = {"bucket_name": anchor_bucket, **json.loads(read_str("CHATGRID_ANCHOR_BUCKET_OPTIONS", "{}"))}
    STORAGES["anchors"] = {"BACKEND": "audit.storages.LockedS3Storage", "OPTIONS": BUCKET_OPTIONS}
    STORAGES["archive"] = {
        "BACKEND": "audit.storages.LockedS3Storage",
        "OPTIONS": {**BUCKET_OPTIONS, "location": "archive"},
    }

SERVESTATIC_USE_FINDERS = ENVIRONMENT == "test"
SERVESTATIC_ALLOW_ALL_ORIGINS = False  # no other site needs our files, and none may read with scripts what we send
LANGUAGE_CODE = "en-gb"
FORMAT_MODULE_PATH = "chatgrid.formats"
TIME_ZONE = "UTC"
USE_TZ = True
SECURE_SSL_REDIRECT = PRODUCTION and read_bool("CHATGRID_SSL_REDIRECT", True)
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"

RATELIMIT_ENABLE = read_bool("CHATGRID_FLOOD_SHIELD", True)
SILENCED_SYSTEM_CHECKS = [
    # Django looks for its middleware by name; ours are subclasses of them (chatgrid.E008 looks for those)
    "security.W001",
    "security.W002",
    "security.W003",
    "django_ratelimit.W001",  # Django's own Redis cache is atomic; the library knows only others by name
]

# what an error report shows of local variables and settings goes through the same filter as the logs
DEFAULT_EXCEPTION_REPORTER = "departments.keys.reporting.RedactingReporter"

# --- logs: one line a record, keys redacted on every handler ------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "redact": {"()": "departments.keys.redaction.KeyRedactionFilter"},
        "outages": {"()": "chatgrid.outages.WithoutTraces"},
        "paths": {"()": "chatgrid.access_lines.PathsAlone"},
    },
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["redact"], "formatter": "line"}},
    "root": {"handlers": ["console"], "level": read_str("CHATGRID_LOG_LEVEL", "INFO")},
    "loggers": {
        # their own handlers would pass the filter by; an address that is asked for may hold a key
        "uvicorn": {"handlers": [], "propagate": True},
        "uvicorn.error": {"handlers": [], "propagate": True},
        "uvicorn.access": {"handlers": [], "filters": ["paths"], "propagate": True},
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "django.request": {"filters": ["outages"], "propagate": True},
        # one line for each request of the SDK, with the URL: ours says it with the call's id
        "httpx2": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
    },
}
