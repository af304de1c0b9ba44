"""The house itself: boot, reload, the status lines, and the end. It is a part of the hall.

Knows what the configuration is and when the house closes; does not know any conversation.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence

from gaproxy.proto import events
from gaproxy.proto.actions import Adopt, Certificate, Exit, Listener, Note, Prepare, ReadConfig
from gaproxy.proto.config.directives import AUTO, NATIVE
from gaproxy.proto.config.reload import Reload
from gaproxy.proto.config.settings import DoorSettings, Settings, plain_text_warnings
from gaproxy.proto.doors.admission import Admission, Client
from gaproxy.proto.doors.credentials import Keys
from gaproxy.proto.doors.native import NativeDoor
from gaproxy.proto.patience import HOUSE_S, SECOND
from gaproxy.proto.relay.near import Near
from gaproxy.proto.relay.tunnel import Side
from gaproxy.proto.remote.pool import Pool
from gaproxy.proto.remote.route import Policy
from gaproxy.proto.report.lines import Counts, status_lines
from gaproxy.proto.seating import Connection, Seating

STATUS, REPEATS, DRAIN = "status", "repeats", "drain"


class Caretaker:
    """Keeps what is in force: settings, the policy of the way out, who is admitted.

    `doors`: by name of the listener, former ones too, for some may still come in there. `exit_code`: the house is
    closed. `problems`: why it never opened.
    """

    def __init__(self, filename: str, keys: Keys, seating: Seating, pool: Pool) -> None:
        self.pool = pool
        self.reload = Reload(filename)
        self.keys = keys
        self.seating = seating
        self.admission = Admission(0, 0)
        self.policy = Policy((), frozenset())
        self.doors: dict[str, DoorSettings] = {}
        self.run = ""  # the name of this run
        self.guests = 0
        self.guests_of: Counter[Client | None] = Counter()
        self.stopping = False
        self.overdue = False
        self.exit_code: int | None = None
        self.problems: Sequence[str] = ()

    @property
    def settings(self) -> Settings:
        """What is in force; there is none before the first `Adopt`."""
        assert self.reload.running is not None
        return self.reload.running

    # Signals.

    def signalled(self, event: events.Signalled) -> None:
        self.run = self.run or event.entropy[:4].hex()
        {"START": self.read, "HUP": self.read, "TERM": self.stop, "INT": self.stop}[event.name]()

    def read(self) -> None:
        """Boot is a reload from nothing."""
        if not self.stopping and self.reload.begin():
            self.seating.order(ReadConfig(self.reload.filename))

    def stop(self) -> None:
        """Accept nobody, begin nothing, let what is in flight end. A second time: close at once."""
        if self.stopping or self.reload.running is None:
            self.leave(1)
            return
        self.stopping = True
        self.seating.order(Prepare(()))
        self.seating.mention("draining", {"connections": len(self.seating.connections)})
        self.alarm(DRAIN, self.settings.timeouts["drain"])
        for session in list(self.seating.seats):
            self.seating.tell(session, session.drain)

    # Reload: ReadConfig → ConfigRead → Prepare → Prepared → Adopt, or nothing changes.

    def config_read(self, event: events.ConfigRead) -> None:
        if self.stopping:  # told to stop in the middle of a reload: nothing new is listened at
            return
        if event.problem:
            self.refuse([event.problem])
            return
        faults, warnings = self.reload.take_in(event.text)
        for warning in warnings:
            self.seating.mention("config_warning", {"text": f"{self.reload.filename}:{warning}"})
        wanted = self.reload.wanted
        if wanted is None:
            self.refuse([f"{self.reload.filename}:{fault}" for fault in faults])
            return
        tls = {NATIVE: wanted.native_tls}
        listeners = tuple(Listener(one.name, one.address, tls.get(one.directive, "none")) for one in wanted.doors)
        directories = (wanted.capture[0],) if wanted.capture else ()
        self.seating.order(Prepare(listeners, directories, wanted_certificate(wanted)))

    def prepared(self, event: events.Prepared) -> None:
        if self.stopping:
            self.seating.order(Adopt(self.settings.capture, self.settings.log_format))
        elif event.problems:
            self.refuse(event.problems)
        else:
            self.adopt(self.reload.adopt(), event)

    def adopt(self, settings: Settings, prepared: events.Prepared) -> None:
        """From here on these settings hold: new sessions begin with them, and so does every wait."""
        listeners = tuple(one.address for one in settings.doors)
        self.doors |= {one.name: one for one in settings.doors}
        self.policy = Policy(
            settings.source_ips, settings.remote_ports, settings.remote_allow, settings.remote_deny, listeners
        )
        self.keys.keep(tuple(secret.reveal() for secret in settings.secrets))
        self.admit(self.admission.limit(settings.unauthenticated_total, settings.unauthenticated_per_client))
        idle_s = settings.reuse.idle_s if settings.reuse is not None else 0
        self.seating.keep_times({**settings.timeouts, "rest": idle_s})
        self.seating.verbose = settings.log_verbose
        self.seating.order(Adopt(settings.capture, settings.log_format))
        self.tell_adopted(settings, prepared)
        self.send_away({one.name for one in settings.doors})
        for name in (STATUS, REPEATS):
            if name not in self.seating.patience:
                self.alarm(name, HOUSE_S[name])
        self.read_again()

    def tell_adopted(self, settings: Settings, prepared: events.Prepared) -> None:
        told: dict[str, str | int] = {
            "listeners": ",".join(one.name for one in settings.doors),
            "certificate_sha256": prepared.certificate_sha256,
            "descriptors": prepared.descriptors,
        }
        self.seating.mention("adopted", {name: value for name, value in told.items() if value})
        for warning in () if prepared.certificate_sha256 else plain_text_warnings(settings):
            self.seating.mention("config_warning", {"text": f"{self.reload.filename}: {warning}"})

    def send_away(self, names: Container[str]) -> None:
        """Whose listener went: as soon as it is idle."""
        for session, seat in list(self.seating.seats.items()):
            if isinstance(session, NativeDoor) and seat.hears is not None and seat.hears.listener not in names:
                self.seating.tell(session, session.send_away, "reload")

    def refuse(self, problems: Sequence[str]) -> None:
        """Every problem is told; what was running stays in force, and where nothing was the house closes."""
        for problem in problems:
            self.seating.mention("config_refused", {"text": problem})
        self.reload.refuse()
        if self.reload.running is None:
            self.problems = problems
            self.leave(1)
        else:
            self.read_again()

    def read_again(self) -> None:
        if self.reload.take_queued():
            self.read()

    # Who comes in.

    def refuses(self, client: Client, door: DoorSettings, guarded: bool) -> str | None:
        """Why this client is closed at once at this door, in one word."""
        settings = self.settings
        for networks in (settings.allow_from, door.allow_from):
            if networks is not None and not any(client in network for network in networks):
                return "allow_from"
        if guarded and self.admission.refused(client, self.seating.now):
            return "auth_failed"
        if self.guests >= settings.connections_max:
            return "connections_max"
        return "connections_per_client" if self.guests_of[client] >= settings.connections_per_client else None

    def let_in(self, connection: Connection) -> None:
        connection.guest = True
        self.guests += 1
        self.guests_of[connection.client] += 1

    def let_out(self, connection: Connection) -> None:
        """It is gone; it may never have been let in."""
        if connection.guest:
            self.guests -= 1
            self.guests_of[connection.client] -= 1
            if not self.guests_of[connection.client]:
                del self.guests_of[connection.client]

    def admit(self, ids: Sequence[int]) -> None:
        """These strangers may be read now."""
        for id in ids:
            connection = self.seating.connections[id]
            connection.waiting = False
            door = connection.session
            assert isinstance(door, NativeDoor)
            self.seating.tell(door, door.admitted)

    # Alarms of the house.

    def alarm(self, name: str, seconds: float) -> None:
        self.seating.patience.wait(name, self.seating.now + int(seconds * SECOND))

    def elapsed(self, name: str) -> None:
        {STATUS: self.tell_status, REPEATS: self.tell_repeats, DRAIN: self.be_overdue}[name]()

    def be_overdue(self) -> None:
        self.overdue = True

    def tell_repeats(self) -> None:
        """What was refused more than once in the last minute."""
        for topic, fields in self.seating.repeats.summaries():
            self.seating.mention(topic, fields)
        self.alarm(REPEATS, HOUSE_S[REPEATS])

    def tell_status(self) -> None:
        """The status lines, every five seconds."""
        listeners = {one.name: 0 for one in self.settings.doors}
        connections = self.seating.connections.values()
        for connection in connections:
            if connection.listener in listeners:
                listeners[connection.listener] += 1
        cached = len(self.pool)
        called = sum(1 for one in connections if not one.listener)
        counts = Counts(listeners, called - cached, cached)
        self.seating.order(*(Note(line, fields) for line, fields in status_lines(counts)))
        self.alarm(STATUS, HOUSE_S[STATUS])

    # The end.

    def close_when_done(self) -> None:
        """While draining: the last one out closes the house, or else time does. Nothing is ordered behind that."""
        if self.stopping and (self.overdue or not self.seating.connections):
            self.leave(0)

    def leave(self, code: int) -> None:
        if self.exit_code is not None:
            return
        self.exit_code = code
        if self.stopping:
            self.seating.mention("drained", self.in_flight())
        self.seating.order(Exit(code))

    def in_flight(self) -> Mapping[str, str | int]:
        """Transactions that end without their final reply; those of them whose dot was sent.

        And, where there are any, tunnels: nobody here knows whether a message was on its way through them.
        """
        relays = [one.relay for one in self.seating.seats if isinstance(one, Near) and one.relay.in_transaction]
        tunnels = {one.tunnel for one in self.seating.seats if isinstance(one, Side)}
        cut = {"cut": len(relays), "unknown": sum(relay.awaits_outcome() for relay in relays)}
        return cut | ({"opaque": len(tunnels)} if tunnels else {})


def wanted_certificate(settings: Settings) -> Certificate:
    """The certificate that the settings name; one of our own making, needed or not, where they name none."""
    named = settings.tls_certificate
    if named is None or named == AUTO:
        return Certificate(needed=named == AUTO or settings.native_tls == "required")
    return Certificate(named, settings.tls_key or named, needed=True)
