"""The job, as rows: single messages of several MTAs to one remote. Knows what is measured of it, and what we aim at.

Does not know how the MTAs do it.
"""

from contextlib import closing
from functools import partial
from socket import socket

from bench.load import SINK, measure
from bench.mtas import WORKERS, Deliveries
from bench.remote import CONNECTIONS, FAR, Remote
from bench.rows import Figure, Options, Row
from bench.subjects import Haproxy, Native, Smtp, SmtpTls, Subject

FAR_WARM_S = 1.0  # all have begun, and the first have come to their end
FAR_TIMES = 10  # longer than what is near: a connection carries a hundred messages, four seconds of them


def far_pace(subject: Subject, sink: socket, options: Options) -> Figure:
    """Messages a second that a remote takes which is far away, and speaks TLS."""
    with Remote(), closing(Deliveries(subject, sink, FAR, tls=True)) as load:
        got = measure(subject, load, FAR_TIMES * options.seconds, FAR_WARM_S)
    return Figure(got.count / got.seconds)


def near_cpu(subject: Subject, sink: socket, options: Options) -> Figure:
    """The proxy's time for each message that a remote has taken which is near, and plain."""
    with closing(Deliveries(subject, sink, SINK)) as load:
        got = measure(subject, load, options.seconds)
    return Figure(got.cpu_us, got.proxy_share, got.load_share)


DELIVERIES = (
    Row(
        "1",
        f"messages a second, STARTTLS, 20 ms away, {CONNECTIONS} connections",
        [partial(Native, connections=CONNECTIONS), partial(SmtpTls, connections=CONNECTIONS)],
        far_pace,
        4.3,
        more=True,
        peers=(partial(Haproxy, "haproxy", connections=CONNECTIONS), partial(Haproxy, "haproxy unlimited")),
    ),
    Row(
        "2",
        f"CPU per delivered message, plain, {WORKERS} connections",
        [partial(Native, connections=WORKERS), partial(Smtp, connections=WORKERS)],
        near_cpu,
        0.8,
        peers=(partial(Haproxy, "haproxy", connections=WORKERS),),
    ),
    Row(
        "2",
        f"the same, {CONNECTIONS} connections",
        [partial(Native, connections=CONNECTIONS), partial(Smtp, connections=CONNECTIONS)],
        near_cpu,
        0.8,
        peers=(partial(Haproxy, "haproxy", connections=CONNECTIONS),),
    ),
)
