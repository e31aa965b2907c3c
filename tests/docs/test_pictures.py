"""The pictures show what the program prints now."""

from tests.conftest import SAMPLES, Command
from tests.docs.pictures import pictures


def test_the_pictures_show_what_the_program_prints(command: Command) -> None:
    for name, drawn in pictures(command):
        # If this fails, look at the difference, and run `python -m tests.docs.pictures`.
        assert (SAMPLES / name).read_text(encoding="utf-8") == drawn
