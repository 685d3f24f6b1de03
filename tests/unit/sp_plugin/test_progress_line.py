"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io

from sp_plugin.cli.progress import ProgressLine

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_bytes_speed_of_this_run_and_what_is_left_on_one_line() -> None:
    now, out = [0.0], Terminal()
    line = ProgressLine(out, lambda: now[0])
    line.show("reading", 100 * MIB, 400 * MIB)  # taken up at 100 MiB
    now[0] = 10.0
    line.show("reading", 200 * MIB, 400 * MIB)
    line.end()
    assert out.getvalue() == (
        "\rreading: 100.0 of 400.0 MiB\rreading: 200.0 of 400.0 MiB, 10.5 MB/s, 20 s left\n"
    )


def test_elsewhere_there_is_a_plain_line_now_and_then() -> None:
    now, out = [0.0], io.StringIO()
    line = ProgressLine(out, lambda: now[0])
    for second in range(21):
        now[0] = float(second)
        line.show("waiting", 0, None)
    line.end()
    assert out.getvalue() == "waiting, 0 s\nwaiting, 10 s\nwaiting, 20 s\n"
