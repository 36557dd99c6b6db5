"""Users: the library logs in with a name and a password; it makes none, so its stubs do that here."""

import etcd3
import grpc
from etcd3 import etcdrpc
from see import HOST, PORT, refused, see

# The library shows its token twice, in the metadata and as credentials of each call; gRPC of today
# takes the latter over TLS alone.
grpc.metadata_call_credentials = lambda plugin: None

open_door = etcd3.client(host=HOST, port=PORT)
stub = etcdrpc.AuthStub(open_door.channel)
for name, password in [("root", "deep"), ("alice", "rabbit")]:
    stub.UserAdd(etcdrpc.AuthUserAddRequest(name=name, password=password))
    stub.RoleAdd(etcdrpc.AuthRoleAddRequest(name="root" if name == "root" else "garden"))
stub.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="root", role="root"))
stub.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="alice", role="garden"))
grant = etcdrpc.AuthRoleGrantPermissionRequest(name="garden")
grant.perm.permType, grant.perm.key, grant.perm.range_end = 2, b"/garden/", b"/garden0"
stub.RoleGrantPermission(grant)
stub.AuthEnable(etcdrpc.AuthEnableRequest())

refused("nobody", lambda: open_door.put("/garden/rose", "red"), "user name is empty")
wrong = lambda: etcd3.client(host=HOST, port=PORT, user="alice", password="hare")
refused("a wrong password", wrong, "authentication failed, invalid user ID or password")

root = etcd3.client(host=HOST, port=PORT, user="root", password="deep")
alice = etcd3.client(host=HOST, port=PORT, user="alice", password="rabbit")
events, cancel = alice.watch_prefix("/garden/")
alice.put("/garden/rose", "white", lease=alice.lease(60))
see("her own", alice.get("/garden/rose")[0], b"white")
see("her watch", next(events).value, b"white")
cancel()
root.put("/palace", "cards")
refused("a key of others", lambda: alice.get("/palace"), "permission denied")
refused("a write there", lambda: alice.put("/palace", "tea"), "permission denied")
see("root", root.get("/palace")[0], b"cards")
with root.lock("palace", ttl=20) as lock:
    see("a lock", lock.is_acquired(), True)
see("status", alice.status().version.startswith("3."), True)
