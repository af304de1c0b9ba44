"""Settings: knows what the values of a configuration mean to a run. Does not know how they were written."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen

from gaproxy.proto.config.directives import (
    CLUSTER,
    NATIVE,
    PROXY_PROTOCOL,
    REUSE,
    THROTTLE,
    TIMEOUTS,
    TOTALS,
    Values,
)
from gaproxy.proto.config.grammar import Fault
from gaproxy.proto.config.reading import read_values
from gaproxy.proto.config.values import ListenAddress, Network, Secret, read_duration_s
from gaproxy.throttle.blocks import Block, Blocks


@frozen
class DoorSettings:
    """One place to listen at: by which directive, where, and what its options say. `allow_from`: None narrows nothing.

    `tls`, of doors that are not native: who speaks TLS with the remote. `mta`: the MTA itself; `may` and `encrypt`: we,
    where it can be had or in any case; `opaque`: whoever likes, we only carry bytes.
    `pool`: whose connections its clients share. `messages_per_turn`: None is no bound.
    """

    directive: str
    name: str
    address: tuple[str, int]
    allow_from: tuple[Network, ...] | None = None
    tls: str = ""
    pool: str = CLUSTER
    messages_per_turn: int | None = None


@frozen
class Reuse:
    """Which connections rest, and how many (`per_destination`: of one source, address and port)."""

    idle_s: float
    max_age_s: float
    messages: int
    per_destination: int
    total: int


@frozen
class Settings:
    """What a run goes by. `doors`: all places to listen at, those of `listeners` (native ones) first.

    `secrets`: the current one, then the previous. `timeouts`: name → seconds.

    `tls_certificate`: a file, AUTO, or None: AUTO where it can be had. `source_ips`: None is any local address.
    `remote_deny`: beyond the addresses that are denied anyway. `reuse`: None: no connection rests.
    """

    doors: tuple[DoorSettings, ...]
    listeners: tuple[ListenAddress, ...]
    allow_from: tuple[Network, ...]
    secrets: tuple[Secret, ...]
    tls_certificate: str | None
    tls_key: str | None
    native_tls: str
    log_verbose: bool
    log_format: str
    source_ips: tuple[Network, ...] | None
    remote_ports: frozenset[int]
    remote_deny: tuple[Network, ...]
    remote_allow: tuple[Network, ...]
    greeting_5xx: str
    reuse: Reuse | None
    blocks: Blocks
    connections_max: int
    connections_per_client: int
    unauthenticated_total: int
    unauthenticated_per_client: int
    timeouts: Mapping[str, float]
    capture: tuple[str, int] | None


def read_settings(text: str) -> tuple[Settings, tuple[Fault, ...]]:
    """The settings that a configuration file stands for, and its warnings. Raises ConfigFaults."""
    values, warnings = read_values(text)
    return _compose(values), warnings


def plain_text_warnings(settings: Settings) -> Iterator[str]:
    """What an operator should know where there is no certificate."""
    if settings.listeners:
        yield (
            "there is no TLS on `listen`: no tls_certificate is given, and to make one takes pip install 'gaproxy[tls]'"
        )
    for listener in settings.listeners:
        if listener.is_public:
            yield f"{listener.name} may be public, and is plain text: what follows the proofs can be read and changed"


def _compose(values: Values) -> Settings:
    secrets = (values["auth_shared_secret"], values["auth_shared_secret_previous"])
    directory = values["capture directory"]
    return Settings(
        doors=_compose_doors(values),
        listeners=values[NATIVE] or (),
        allow_from=values["allow_from"],
        secrets=tuple(secret for secret in secrets if secret is not None),
        tls_certificate=values["tls_certificate"],
        tls_key=values["tls_key"],
        native_tls=values["native_tls"],
        log_verbose=values["log_verbose"],
        log_format=values["log_format"],
        source_ips=values["source_ips"],
        remote_ports=frozenset(values["remote_ports"]),
        remote_deny=values["remote_deny"] or (),
        remote_allow=values["remote_allow"] or (),
        greeting_5xx=values["greeting_5xx"],
        reuse=_compose_reuse(values),
        blocks=Blocks(tuple(_compose_block(*one) for one in values[THROTTLE])),
        connections_max=values["connections max"],
        connections_per_client=values["connections per_client"],
        unauthenticated_total=values["unauthenticated total"],
        unauthenticated_per_client=values["unauthenticated per_client"],
        timeouts=MappingProxyType(_compose_timeouts(values)),
        capture=None if directory is None else (directory, values["capture max_size"]),
    )


def _compose_doors(values: Values) -> tuple[DoorSettings, ...]:
    """The native ones first. A turn that is not given is one message there, and without a bound elsewhere."""
    turn = values["messages_per_turn"]
    native_turn = 1 if turn is None else turn
    listeners = values[NATIVE] or ()
    return (
        *(DoorSettings(NATIVE, one.name, one.address, messages_per_turn=native_turn or None) for one in listeners),
        *(_compose_door(PROXY_PROTOCOL, place, options, turn or None) for place, options in values[PROXY_PROTOCOL]),
    )


def _compose_door(
    directive: str, place: ListenAddress, options: Mapping[str, Any], messages_per_turn: int | None
) -> DoorSettings:
    if options["relay"] == "opaque":
        tls = "opaque"
    else:
        tls = (options["level"] or "may") if options["starttls"] == "proxy" else "mta"
    pool = options["pool"] or CLUSTER
    return DoorSettings(directive, place.name, place.address, options["allow_from"], tls, pool, messages_per_turn)


def _compose_reuse(values: Values) -> Reuse | None:
    given = [values[f"{REUSE} {name}"] for name in ("idle", "max_age", "messages", "per_destination", "total")]
    return None if None in given else Reuse(*given)


def _compose_block(name: str, options: Mapping[str, Any]) -> Block:
    return Block(
        name,
        options["source"] or (),
        options["remote"] or (),
        options["max_connections"],
        options["messages_per_connection"],
    )


def _compose_timeouts(values: Values) -> dict[str, float]:
    """`total` where it is not given has a default of its own for each kind of door."""
    timeouts = {row.name: values[f"timeouts {row.name}"] for row in TIMEOUTS}
    given = timeouts["total"]
    return timeouts | {name: given or read_duration_s(default) for name, default in TOTALS.items()}
