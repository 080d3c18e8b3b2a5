"""The recorder under signals such as Ctrl-C: exceptions between any two steps of its callbacks."""

import itertools
import signal
import threading

from limits import HANG_S

from ros2_derain.nodes import outputs
from ros2_derain.ros_testing.observer import Observer


class Interruption(Exception):
    """Raised by a signal."""


def interrupt(*_):
    raise Interruption


def test_signals_while_messages_are_received_leave_a_recorder_that_ends(tmp_path):
    before = signal.signal(signal.SIGALRM, interrupt)
    with Observer() as observer:
        recorder = observer.record(tmp_path / "bag", (outputs.MODE,))
        close, recorder.close = recorder.close, lambda: None  # the observer's own call might never return
        (subscription,) = recorder._subscriptions
        try:
            for delay_us in itertools.islice(itertools.cycle(range(20, 220)), 400):
                try:
                    # again after a second: an exception in a finaliser is lost
                    signal.setitimer(signal.ITIMER_REAL, delay_us / 1e6, 1.0)
                    while True:
                        subscription.callback(b"")
                except Interruption:
                    pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        ending = threading.Thread(target=close, daemon=True)
        ending.start()
        ending.join(HANG_S)
        assert not ending.is_alive()
