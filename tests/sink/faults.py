"""How Postfix's smtp-sink can be a bad remote: its options, and what they make it do.

Does not know how it is started.
"""

from collections.abc import Mapping

COMMANDS = ("EHLO", "MAIL", "RCPT", "DATA", ".", "RSET", "QUIT")

WAYS: Mapping[str, str] = {
    "-q": "ends the connection, without a reply, at",
    "-Q": "says 421 and ends the connection at",
    "-r": "says 4xx to",
    "-f": "says 5xx to",
}

OTHERS: Mapping[str, str] = {
    "-A 1": "says 550 in the middle of a message",
    "-w 1": "answers DATA after a second",
    "-W MAIL:1": "answers MAIL after a second",
    "-W RSET:1": "answers RSET after a second",
    "-n 1": "ends behind its first connection",
    "-n 10": "ends behind its tenth connection",
    "-M 10": "ends behind its tenth message",
    "-m 2": "serves two connections at a time",
    "-e": "knows no EHLO",
    "-p": "does not offer PIPELINING",
}

FAULTS: Mapping[str, str] = {
    "": "does as it should",
    **{f"{option} {verb}": f"{does} {verb}" for option, does in WAYS.items() for verb in COMMANDS},
    **OTHERS,
}
"""Options → what a remote with them does. All of its connections are alike."""
