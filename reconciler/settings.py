"""The settings of a run, checked. The one file that knows `pydantic_settings`.

Flags win over the environment, the environment over `.env`, and that over the defaults in `options`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from reconciler import options
from reconciler.errors import UsageError

_SERVICE = re.compile(r"_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_(TCP|UDP|SCTP)\w*)$")
"""What Kubernetes sets in a pod for each Service, such as one that is named `reconciler`."""
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", str(value).strip(), re.ASCII)
    if match is None:
        raise ValueError("expected a time like 30s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class Settings(BaseSettings):
    """One field for each row of `options.ALL`; times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=options.PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr | None
    embedded: bool
    embedded_dir: Path
    database_connect_timeout: Seconds
    lock_timeout: Seconds
    kubeconfig: str | None
    context: str | None
    api_group: str = Field(min_length=1)
    api_version: str | None
    plural: str = Field(min_length=1)
    kind: str = Field(min_length=1)
    org_label: str = Field(min_length=1)
    managed_fields: bool
    page_size: int = Field(ge=1)
    compress: bool
    connect_timeout: Seconds
    read_timeout: Seconds
    list_timeout: Seconds
    cluster_uid: str | None
    brake_floor: int = Field(ge=0)
    brake_percent: float = Field(ge=0, le=100)
    quarantine_exit: int = Field(ge=0, le=255)
    read_all: bool
    catch_up: bool
    settle: Annotated[float, BeforeValidator(_seconds)]
    catch_up_timeout: Seconds
    list_every: Annotated[float, BeforeValidator(_seconds)]
    interval: Seconds
    jitter: Annotated[float, BeforeValidator(_seconds)]
    cron: str | None
    stop_timeout: Seconds
    watch: bool
    watch_silence: Seconds
    ready_within: Seconds
    live_within: Seconds
    health_port: int = Field(ge=0, le=65535)
    coverage_gap: Seconds
    time_zone: str = Field(min_length=1)
    log_level: str = Field(pattern="^(debug|info|warning|error)$")
    log_format: str = Field(pattern="^(auto|text|json)$")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        defaults = InitSettingsSource(
            settings_cls, {option.name: option.default for option in options.ALL}
        )
        return init_settings, env_settings, dotenv_settings, defaults


def load(flags: dict[str, Any]) -> Settings:
    """The settings of this run; `flags` are those that were given. Raises UsageError."""
    for name, value in os.environ.items():
        if name.startswith(options.PREFIX) and not options.is_text(value):
            raise UsageError(f"{name} is not UTF-8")
    try:
        # As in the environment: what is empty was not given.
        optional = {option.name for option in options.ALL if option.default is None}
        absent = {name for name, value in flags.items() if value == "" and name in optional}
        settings = Settings(**{name: value for name, value in flags.items() if name not in absent})
    except ValidationError as error:
        raise UsageError("; ".join(_told(problem) for problem in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f".env cannot be read: {error}") from None
    return settings


class Origin(NamedTuple):
    """Where a setting in effect comes from, and how it is written there; None: nothing is set."""

    source: str
    value: str | None


def origins(flags: dict[str, Any]) -> Mapping[str, Origin]:
    """Of every setting by name, the first source that has it. Raises UsageError."""
    layers = (
        ("flag", {name: value for name, value in flags.items() if value != ""}),
        ("environment", EnvSettingsSource(Settings)()),
        (".env", DotEnvSettingsSource(Settings)()),
        ("default", {option.name: option.default for option in options.ALL}),
    )
    found = {}
    for option in options.ALL:
        source, layer = next(one for one in layers if option.name in one[1])
        value = layer[option.name]
        text = str(value).lower() if isinstance(value, bool) else value
        found[option.name] = Origin(source, text)
    return found


def unknown_variables() -> Sequence[str]:
    """Variables of the environment and of .env that look like settings and are none."""
    known = {options.variable(option) for option in options.ALL}
    inside = {name.upper() for name in DotEnvSettingsSource(Settings).env_vars}
    names = {*os.environ, *inside}
    return sorted(
        name
        for name in names
        if name.startswith(options.PREFIX) and name not in known and not _SERVICE.search(name)
    )


def check_database(settings: Settings) -> None:
    """Raises UsageError where the settings name no database, or two."""
    if settings.embedded and settings.database_url is not None:
        raise UsageError("--database-url and --embedded exclude each other; unset one of them")
    if settings.embedded and "KUBERNETES_SERVICE_HOST" in os.environ:
        raise UsageError(
            "--embedded is for trying things out, never inside a cluster; set --database-url"
        )
    if not settings.embedded and settings.database_url is None:
        raise UsageError(
            "no database: give --database-url (or RECONCILER_DATABASE_URL), "
            "or --embedded for a private Postgres to try things out"
        )


_EXPECTED: Final = {
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "bool_parsing": "expected true or false",
    "greater_than_equal": "expected {ge:g} or more",
    "greater_than": "expected more than {gt:g}",
    "less_than_equal": "expected {le:g} or less",
}
"""What to say instead of pydantic's sentence, by its type of error."""


def _told(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    flag = next((options.flag(one) for one in options.ALL if one.name == name), name)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if (expected := _EXPECTED.get(problem["type"])) is not None:
        message = expected.format(**problem.get("ctx", {}))
    return f"{flag} ({options.PREFIX}{name.upper()}): {message[:1].lower()}{message[1:]}"
