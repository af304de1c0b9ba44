"""Notes every turn that a dialogue takes, so that the tables of states can be held against them."""

from collections.abc import Iterator

import pytest

from gaproxy.proto.session import Session

Turn = tuple[type[Session], str, str]

DIALOGUES = {
    f"test_{name}.py"
    for name in (
        *("native", "haproxy", "haproxy_ehlo", "haproxy_failures", "haproxy_shared"),
        *("tunnel", "caller", "dialler", "dialogue", "proxy", "caretaker"),
        *("rest", "taking", "taints", "situations", "reset"),
        *("line", "limits", "turns", "replace"),
    )
}


@pytest.fixture(scope="session", autouse=True)
def turns_taken() -> Iterator[set[Turn]]:
    """Every turn since the first test: who, from which row, to which row."""
    turns: set[Turn] = set()

    def look_on(role: type[Session], before: str, after: str) -> None:
        turns.add((role, before, after))

    Session.onlookers.append(look_on)
    yield turns
    Session.onlookers.remove(look_on)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tables are judged behind all dialogues, if all are told; models come later, for they take every turn."""
    narrowed = config.option.keyword or config.option.markexpr or any("::" in arg for arg in config.args)
    whole = not narrowed and {item.path.name for item in items} >= DIALOGUES
    judges = [item for item in items if item.path.name == "test_tables.py" and item.name.startswith("test_every_turn")]
    models = [item for item in items if item.path.name.endswith("_model.py")]
    others = [item for item in items if item not in judges and item not in models]
    if not whole:
        config.hook.pytest_deselected(items=judges)
    items[:] = others + (judges if whole else []) + models
