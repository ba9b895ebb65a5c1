from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from ml_prediction.drivers.warning_log import MOST_WARNINGS, WarningLog, listening


def test_each_warning_is_shown_once_and_kept_but_not_without_end() -> None:
    text = io.StringIO()
    log = WarningLog(Console(file=text, width=200))
    with listening(log):
        for number in range(MOST_WARNINGS + 5):
            for _ in range(2):
                logging.getLogger("ml_prediction.core.x").warning("channel [%02d] is odd", number)
        logging.getLogger("ml_prediction.core.x").info("not said")
    log.take(["channel [00] is odd", "a worker says so"])
    log.show_rest()
    logging.getLogger("ml_prediction").warning("nobody listens any more")
    lines = text.getvalue().splitlines()
    assert lines[0] == "warning: channel [00] is odd"
    assert len(lines) == MOST_WARNINGS + 1
    assert lines[-1] == "warning: 6 more; all are in summary.json"
    assert len(log.sentences) == MOST_WARNINGS + 6
    assert log.sentences == sorted(log.sentences)
    assert "a worker says so" in log.sentences


def test_matplotlib_is_silent_where_the_home_is_read_only(tmp_path: Path) -> None:
    code = "import ml_prediction.drivers.picture"
    file = tmp_path / "file"
    file.touch()
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"MPLCONFIGDIR": str(file / "impossible"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "atplotlib" not in found.stderr
