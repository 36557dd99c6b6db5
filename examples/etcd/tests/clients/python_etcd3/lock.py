"""Locks, which this library makes of leases, transactions and watches."""

import threading

import etcd3
from see import HOST, PORT, see

etcd = etcd3.client(host=HOST, port=PORT)
other = etcd3.client(host=HOST, port=PORT)

lock = etcd.lock("door", ttl=20)
see("acquired", lock.acquire(), True)
see("held", lock.is_acquired(), True)
see("prolonged", [answer.TTL for answer in lock.refresh()], [20])
see("by somebody else", other.lock("door").acquire(timeout=0), False)

# The waiter has to watch before the lock is released: the library does not look again.
watches = threading.Event()
add_watch = other.add_watch_callback


def add_watch_and_tell(*arguments, **named):
    watch_id = add_watch(*arguments, **named)
    watches.set()
    return watch_id


other.add_watch_callback = add_watch_and_tell
waiter = other.lock("door", ttl=20)
got = []
thread = threading.Thread(target=lambda: got.append(waiter.acquire(timeout=20)))
thread.start()
see("somebody waits", watches.wait(20), True)
see("released", lock.release(), True)
thread.join(20)
see("the waiter has it", (got, waiter.is_acquired(), lock.is_acquired()), ([True], True, False))
see("released by who does not hold it", lock.release(), False)
see("released by who does", waiter.release(), True)

with etcd.lock("door", ttl=20) as lock:
    see("in a with", lock.is_acquired(), True)
see("after it", lock.is_acquired(), False)
