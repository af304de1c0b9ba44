"""`gaproxy gen-secret`: makes a secret for `auth_shared_secret`."""

import secrets
from argparse import ArgumentParser, Namespace, _SubParsersAction

ENTROPY_BYTES = 32  # 43 characters


def add(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "gen-secret",
        help="print a fresh secret of 43 URL-safe characters",
        description="Print a fresh secret of 43 URL-safe characters for auth_shared_secret.",
        epilog="example: gaproxy gen-secret",
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    print(secrets.token_urlsafe(ENTROPY_BYTES))
    return 0
