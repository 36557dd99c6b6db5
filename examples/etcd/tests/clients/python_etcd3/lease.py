"""Leases: granted, with keys, prolonged, revoked, and left to end."""

import etcd3
from see import HOST, PORT, see

etcd = etcd3.client(host=HOST, port=PORT)

short = etcd.lease(1)
etcd.put("/lease/short", "soon gone", lease=short)

lease = etcd.lease(60)
etcd.put("/lease/a", "1", lease=lease)
etcd.put("/lease/b", "2", lease=lease)
see("granted for", lease.granted_ttl, 60)
see("what is left", 55 < lease.remaining_ttl <= 60, True)
see("its keys", sorted(lease.keys), [b"/lease/a", b"/lease/b"])
see("on the key", etcd.get("/lease/a")[1].lease_id, lease.id)
see("prolonged", [answer.TTL for answer in lease.refresh()], [60])
lease.revoke()
see("keys after the revoke", list(etcd.get_prefix("/lease/a")), [])
see("time to live of none", etcd.get_lease_info(lease.id).TTL, -1)
see("a lease with an id of ours", etcd.lease(60, lease_id=4711).id, 4711)

# It may have ended by now: the watch begins where the key was put.
put_at = etcd.get("/lease/short")[1]
if put_at is not None:
    gone = etcd.watch_once("/lease/short", timeout=20, start_revision=put_at.mod_revision + 1)
    see("the lease has ended", type(gone).__name__, "DeleteEvent")
see("its key", etcd.get("/lease/short"), (None, None))
