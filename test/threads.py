"""Work in several threads at once."""

import threading

from limits import HANG_S


def in_threads(count, work):
    """Run ``work(index)`` in as many threads; what each returned."""
    results = [None] * count

    def run(index):
        results[index] = work(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
        assert not thread.is_alive()
    return results
