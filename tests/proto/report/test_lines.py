"""The status lines, byte for byte as GreenArrow Proxy prints them."""

from gaproxy.proto.report.lines import Counts, status_lines


def test_there_is_a_line_for_each_listener_and_one_for_all_remotes():
    counts = Counts({"0.0.0.0:807": 3, "[::]:807": 0}, active=2, cached=5)
    assert list(status_lines(counts)) == [
        (
            "listener(0.0.0.0:807): open_connections=3",
            {"event": "listener", "listener": "0.0.0.0:807", "open_connections": 3},
        ),
        (
            "listener([::]:807): open_connections=0",
            {"event": "listener", "listener": "[::]:807", "open_connections": 0},
        ),
        (
            "direct_remote_smtp: connections=7(active=2 cached=5)",
            {"event": "direct_remote_smtp", "connections": 7, "active": 2, "cached": 5},
        ),
    ]
