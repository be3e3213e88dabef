"""The script that runs another guide's commands here: it tells what works from what does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "check_guide.py"
GUIDE = ROOT.parent / "shared" / "rollout-guide.md"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def checked(guide: Path) -> tuple[int, str]:
    """The exit code of the script, and what it prints with single spaces."""
    command = [sys.executable, str(SCRIPT), str(guide)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def written(folder: Path, text: str) -> Path:
    """A guide of its own."""
    path = folder / "guide.md"
    path.write_text(text)
    return path


@needs_curl
@pytest.mark.skipif(not GUIDE.exists(), reason="the rollout guide is not beside this repository")
def test_the_rollout_guide_works() -> None:
    """Every command that it prints."""
    code, report = checked(GUIDE)
    assert code == 0, report
    assert report.endswith(" commands, 0 failed")


def test_a_guide_that_is_not_there(tmp_path: Path) -> None:
    """It says so, and that nothing was checked; that is no failure."""
    path = tmp_path / "none.md"
    assert checked(path) == (0, f"{path} is not there: nothing was checked")


@needs_curl
def test_what_works(tmp_path: Path) -> None:
    """Blocks and commands in sentences, over several lines too, each block from nothing."""
    guide = """
    # A heading
    ```bash
    # a comment
    curl -X POST /admin/feature-flags \\
      -d '{"ledger.enabled": true}'
    python3 -c "
    from feature_flags import get_feature_flag
    assert get_feature_flag('ledger.enabled')
    "
    ```
    Or `python3 -c "from feature_flags import get_feature_flag as get; assert not get('ledger.enabled')"`, or `nothing`.
    ```python
    from feature_flags import set_feature_flag
    set_feature_flag("orchestrator.redo_enabled", True)
    ```
    ```bash
    export REDO_MAX_CONSECUTIVE_FAILURES=3
    ```
    """
    code, report = checked(written(tmp_path, "\n".join(line[4:] for line in guide.splitlines())))
    assert (code, report[-20:]) == (0, "5 commands, 0 failed"), report


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("```bash\npython3 -c 'raise SystemExit(3)'\n```", "exit code 3"),
        ("```python\nraise ValueError('no')\n```", "ValueError: no"),
        ("```bash\nexport REDO_NO_SUCH=1\n```", "`redo config` does not know REDO_NO_SUCH"),
        ("```bash\nexport REDO_MAX_CONSECUTIVE_FAILURES=4\n```", "expected 4 as value and default"),
        ("```yaml\n- alert: RedoHighFailureRate\n  expr: up == 0\n```", "alerts.yml does not have it as it is"),
        ("```bash\npython3 -c 'no end\n```", "this command has no end: python3 -c 'no end"),
        ("```ruby\nputs 1\n```", "nobody knows how to check a block of ruby"),
        ("no commands at all", "0 commands, 0 failed"),
    ],
)
def test_what_does_not_work(tmp_path: Path, block: str, problem: str) -> None:
    """It says what, and the exit code is 1; a guide without any command is no proof either."""
    code, report = checked(written(tmp_path, block))
    assert code == 1
    assert problem in report


@needs_curl
def test_a_request_that_is_refused(tmp_path: Path) -> None:
    """An answer that is an error is a failure, and it is shown; the next command is still tried."""
    text = "```bash\ncurl -X POST /admin/feature-flags -d '{\"rollout_percentage\": 101}'\ncurl /healthz\n```"
    code, report = checked(written(tmp_path, text))
    assert code == 1
    assert "101 is not a number from 0 to 100" in report
    assert report.endswith("2 commands, 1 failed")
