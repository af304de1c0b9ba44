"""gen-secret: what it prints is good for a configuration."""

import re
import subprocess
import sys

from gaproxy.proto.config.settings import read_settings


def fresh_secret() -> str:
    told = subprocess.run([sys.executable, "-m", "gaproxy", "gen-secret"], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    assert told.stdout.endswith("\n")
    return told.stdout[:-1]


def test_a_secret_has_43_url_safe_characters_and_is_never_the_same():
    first, second = fresh_secret(), fresh_secret()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", first)
    assert first != second


def test_a_fresh_secret_may_stand_in_a_configuration_without_quotes():
    secret = fresh_secret()
    settings, warnings = read_settings(f"listen 127.0.0.1:807\nauth_shared_secret {secret}\n")
    assert settings.secrets[0].reveal() == secret
    assert warnings == ()
