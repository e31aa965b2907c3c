"""Runs one command and prints what it took: `python -I -S measure.py STDOUT STDERR COMMAND…`.

A process of its own, and a small one: a child's peak memory is never told as less than its parent had.
"""

import json
import os
import sys
import time


def main(stdout: str, stderr: str, *command: str) -> None:
    opened = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, opened, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, stderr, opened, 0o644),
    ]
    began = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status, used = os.wait4(child, 0)
    wall = time.monotonic() - began
    taken = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}
    print(json.dumps({**taken, "status": os.waitstatus_to_exitcode(status)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
