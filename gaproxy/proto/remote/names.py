"""Which name of a certificate will do.

Knows names and one wildcard label (RFC 6125 6.4.3); does not know a certificate.
"""

from collections.abc import Iterable


def acceptable_name(wanted: Iterable[str], shown: Iterable[str]) -> bool:
    """Whether any name of the certificate is one of the wanted ones.

    On either side a leading `*.` stands for exactly one label: a wanted `*.example.net` takes `mx.example.net`, and so
    does a certificate's own. Names compare without regard to case or a final dot.
    """
    patterns = [_labels(name) for name in wanted]
    return any(_match(pattern, _labels(name)) for name in shown for pattern in patterns)


def _labels(name: str) -> list[str]:
    return name.lower().removesuffix(".").split(".")


def _match(wanted: list[str], shown: list[str]) -> bool:
    """Two wildcards match only as equals: a certificate for `*.a` is not one for each host that `*.a` may mean."""
    if len(wanted) != len(shown) or wanted[1:] != shown[1:] or "" in wanted + shown:
        return False
    if wanted[0] == shown[0]:
        return True
    return len(wanted) > 2 and "*" in (wanted[0], shown[0])
