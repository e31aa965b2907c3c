"""Tenants whose names and skills are made to break whatever prints them."""

from pathlib import Path

import pytest

from tests.command_line.snapshots import snapshot, tenant

HOSTILE = [
    *(
        "it's",
        '"quoted"',
        "back\\slash",
        "\\'; DROP TABLE reconciler_passes; --",
        "$$",
        "$1",
        "%s",
        ":x",
    ),
    *(
        "new\nline",
        "carriage\rreturn",
        "tab\t",
        "\x1b[31mred\x1b[0m",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
    ),
    *("日本語", "🦊", "café", "cafe\u0301", "NULL", "{a,b}", "(1,2)", "E'\\n'", "\\N", "\\.", "\ufeff"),
    "x" * 3000,
]


@pytest.fixture
def hostile(tmp_path: Path) -> list[Path]:
    names = [name[:200] for name in HOSTILE]
    return [
        snapshot(
            tmp_path / "hostile",
            "20261102T000000Z",
            *(tenant(name, *HOSTILE, org=name[:60], uid=f"u{name}"[:100]) for name in names),
        ),
        snapshot(
            tmp_path / "hostile",
            "20261103T000000Z",
            *(
                tenant(name, *HOSTILE[::2], "new", org=name[:60], uid=f"u{name}"[:100], suspend=True)
                for name in names
            ),
        ),
        snapshot(
            tmp_path / "hostile",
            "20261104T000000Z",
            *(
                tenant(
                    name, *HOSTILE, org=name[:60], uid=f"v{name}"[:100], created="2026-11-03T12:00:00Z"
                )
                for name in names
            ),
        ),
    ]
