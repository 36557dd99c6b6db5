"""Locks: the server's own service, and those that this library makes of leases and watches."""

import threading

from etcd3 import Client
from see import HOST, PORT, see

client = Client(HOST, PORT)
other = Client(HOST, PORT)

lease = client.lease_grant(60).ID
door = client.lock("door", lease)
see("the server's lock", door.key, b"door/%x" % lease)
waiting = []
wait = lambda: waiting.append(other.lock("door", other.lease_grant(60).ID).key)
thread = threading.Thread(target=wait)
thread.start()
# Two keys below the name: one holds the lock, and one waits.
while client.range("door/", prefix=True, count_only=True).count < 2:
    pass
see("the other waits", waiting, [])
client.unlock(door.key)
thread.join(20)
see("the other has it", [key[:5] for key in waiting], [b"door/"])
other.unlock(waiting[0])

story = []


def user(name, mine):
    with mine.Lock("lock_name", lock_ttl=5):
        story.append(f"{name} has it")
        story.append(f"{name} gives it back")


lock = client.Lock("lock_name", lock_ttl=5)
lock.acquire()
see("held", lock.is_acquired, True)
see("by somebody else", other.Lock("lock_name", lock_ttl=5).acquire(block=False), None)
lock.release()
for name, mine in [("user1", client), ("user2", other)]:
    user(name, mine)
see("one after the other", story,
    ["user1 has it", "user1 gives it back", "user2 has it", "user2 gives it back"])
see("the key", "kvs" in client.range("_locks/lock_name"), False)
