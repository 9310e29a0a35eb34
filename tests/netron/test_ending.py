"""Signals that ask to end while something is at work that must be cleaned up."""

# ruff: noqa: PT012 - where in a block the exception comes is what is tested
from __future__ import annotations

import os
import signal
import threading

import pytest

from modelscope_cli.bridges.ending import SIGNALS, deferred_end

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


@pytest.fixture(autouse=True)
def usual():
    """The signals as a command has them; whatever a test does, they are as before afterwards."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_exception_where_it_is_allowed(number):
    with pytest.raises(SystemExit) as raised, deferred_end() as ending:
        ending.allow()
        send(number)
    assert raised.value.code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_before_that_it_waits():
    done = []
    with pytest.raises(SystemExit), deferred_end() as ending:
        send(signal.SIGTERM)
        done.append("made")
        ending.allow()
        done.append("never")
    assert done == ["made"]


def test_it_waits_while_things_are_cleaned_up_and_has_its_way_then():
    done = []
    with pytest.raises(SystemExit) as raised:
        with deferred_end() as ending:
            ending.allow()
            ending.defer()
            send(signal.SIGTERM)
            done.append("cleaned")
        done.append("never")
    assert done == ["cleaned"]
    assert raised.value.code == 128 + signal.SIGTERM


def test_a_second_signal_does_not_stop_the_cleaning():
    done = []
    with pytest.raises(SystemExit) as raised, deferred_end() as ending:
        try:
            ending.allow()
            send(signal.SIGTERM)
        finally:
            send(signal.SIGHUP)
            done.append("cleaned")
    assert done == ["cleaned"]
    assert raised.value.code == 128 + signal.SIGTERM


def test_an_error_comes_through():
    with pytest.raises(ValueError, match="mine"), deferred_end() as ending:
        ending.allow()
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_ignored_stays_ignored_and_who_handles_it_goes_on():
    heard = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with deferred_end() as ending:
        ending.allow()
        send(signal.SIGHUP)
        send(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_other_threads_can_do_without():
    said = []

    def work():
        with deferred_end() as ending:
            ending.allow()
            said.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == [signal.SIG_DFL]
