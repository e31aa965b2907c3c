"""The thread that reads a stream: when it is closed, it has ended."""

import threading

import pytest

from reconciler.modes.stream import Stream
from tests.modes.streams import Watch, change


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.mark.parametrize("wait", [0.0, 30.0])
def test_a_stream_that_is_closed_has_no_thread_any_more(wait: float) -> None:
    before = threads()
    stream = Stream(lambda: Watch([change(1)], None), wait)
    stream.close()
    assert threads() == before


def test_a_stream_that_is_closed_while_it_opens_has_no_thread_any_more() -> None:
    before = threads()
    opening, may_open = threading.Event(), threading.Event()

    def open_watch() -> Watch:
        opening.set()
        may_open.wait()
        return Watch([], None)

    stream = Stream(open_watch, 0)
    opening.wait()
    threading.Timer(0.05, may_open.set).start()
    stream.close()
    assert {thread for thread in threads() - before if not isinstance(thread, threading.Timer)} == set()
