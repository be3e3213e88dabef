"""The page that set-flags leaves in the Prefect UI."""

from __future__ import annotations

from tasks.flag_artifact import FlagsSeen, flag_markdown

OFF = FlagsSeen(
    {"orchestrator.redo_enabled": False, "rollout_percentage": 100},
    {"orchestrator.redo_enabled": "default", "rollout_percentage": "default"},
    (),
)
ON = FlagsSeen(
    {"orchestrator.redo_enabled": True, "rollout_percentage": 12.5},
    {"orchestrator.redo_enabled": "stored", "rollout_percentage": "stored"},
    (),
)


def test_what_changed_is_bold() -> None:
    """Each flag before and after, who, why, and where the value comes from."""
    page = flag_markdown(OFF, ON, actor="ann", reason="phase 2")
    assert page.startswith("## The flags were changed\n\nBy ann: phase 2\n")
    assert "| orchestrator.redo_enabled | off | **on** | stored |" in page
    assert "| rollout_percentage | 100 % | **12.5 %** | stored |" in page
    assert "| kill switch | off | off |  |" in page


def test_nothing_changed() -> None:
    """It says so, and nothing is bold."""
    page = flag_markdown(ON, ON, actor="ann", reason="a look")
    assert page.startswith("## Nothing was changed")
    assert "**" not in page


def test_a_kill_switch_overrules() -> None:
    """It says that the flags do not count meanwhile."""
    killed = FlagsSeen(OFF.values, OFF.sources, ("store",))
    page = flag_markdown(OFF, killed, actor="ann", reason="emergency")
    assert "| kill switch | off | **on (store)** |  |" in page
    assert "A kill switch is on" in page


def test_what_somebody_typed_is_text() -> None:
    """Neither a link nor a table cell can be made by a reason."""
    page = flag_markdown(OFF, ON, actor="a|b", reason="[x](http://x) <b>\n| y |")
    assert r"By a\|b: \[x\]\(http://x\) \<b\> \| y \|" in page
