"""On a terminal, a person sees how far it is; on a pipe, nothing of that."""

import os
import pty
import re
import subprocess
from pathlib import Path

from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command


def on_a_terminal(command: Command, *arguments: str | Path) -> str:
    """What the command writes to a stderr that is a terminal."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [*command.program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=command.folder,
        env=command.environment(),
    )
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 1 << 16):
            told += piece
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert done.wait() == 0
    return told.decode()


def test_a_replay_and_a_verification_tell_how_far_they_are(command: Command) -> None:
    files = [
        snapshot(command.folder / "dumps", f"2025110{day}T000000Z", tenant("anna", "mail"))
        for day in (1, 2, 3)
    ]
    told = on_a_terminal(command, "run", "--snapshot", *files)
    assert "\rsnapshot 2 of 3" in told.replace("\x1b[K", "")
    told = on_a_terminal(command, "verify", "--ledger-only", "--deep").replace("\x1b[K", "")
    assert re.search(r"\rchecking tenant_skill_events \(\d of 8\)", told)
    assert "\rcomparing digests" in told
    assert "snapshot 2 of 3" not in command("run", "--snapshot", *files).err
    assert "checking" not in command("verify", "--ledger-only").err
