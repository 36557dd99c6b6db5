"""Leases: granted, with keys, kept alive, revoked, and left to end."""

import threading

from etcd3 import Client
from see import HOST, PORT, see

client = Client(HOST, PORT)

short = client.lease_grant(1)
put_at = client.put("/lease/short", "soon gone", lease=short.ID).header.revision

with client.Lease(ttl=60) as lease:
    client.put("foo", "bar", lease=lease.ID)
    client.put("fizz", "buzz", lease=lease.ID)
    about = lease.time_to_live(keys=True)
    see("its keys", sorted(about.keys), [b"fizz", b"foo"])
    see("granted for", (about.grantedTTL, 55 < about.TTL <= 60), (60, True))
    see("alive", lease.alive(), True)
    see("on the key", client.range("foo").kvs[0].lease, lease.ID)
    see("prolonged", lease.refresh().TTL, 60)
see("a key after the with", "kvs" in client.range("foo"), False)
see("alive after it", lease.alive(), False)

kept = client.Lease(ttl=2)
kept.grant()
client.put("/lease/kept", "kept", lease=kept.ID)
prolonged = threading.Semaphore(0)
kept.keepalive(keep_cb=prolonged.release)
see("kept alive", [prolonged.acquire(timeout=10) for _ in range(2)], [True, True])

watcher = client.Watcher("/lease/short", start_revision=put_at + 1)
gone = watcher.watch_once(timeout=20)
see("the lease has ended", (gone.key, gone.value), (b"/lease/short", None))
see("the one that is kept", client.range("/lease/kept").kvs[0].value, b"kept")
kept.cancel_keepalive()
kept.revoke()
see("its key", "kvs" in client.range("/lease/kept"), False)
