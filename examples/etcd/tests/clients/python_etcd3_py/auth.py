"""Users and roles, made with this library; it logs in when it is told to."""

from etcd3 import Client
from etcd3.models import authpbPermissionType
import since36  # noqa: F401
from see import HOST, PORT, refused, see

root = Client(HOST, PORT)
root.user_add("root", "deep")
root.role_add("root")
root.user_grant_role("root", "root")
root.user_add("alice", "rabbit")
root.role_add("garden")
root.role_grant_permission("garden", "/garden/", authpbPermissionType.READWRITE, prefix=True)
root.user_grant_role("alice", "garden")
see("users", sorted(root.user_list().users), ["alice", "root"])
see("roles of alice", root.user_get("alice").roles, ["garden"])
perm = root.role_get("garden").perm[0]
see("the permission", (perm.key, perm.range_end), (b"/garden/", b"/garden0"))
root.auth_enable()

nobody = Client(HOST, PORT)
refused("nobody", lambda: nobody.put("/garden/rose", "red"), "user name is empty")
refused("a wrong password", lambda: nobody.auth("alice", "hare"), "authentication failed")
root.auth("root", "deep")
alice = Client(HOST, PORT, username="alice", password="rabbit")
alice.auth()

at = alice.put("/garden/rose", "white").header.revision
see("her own", alice.range("/garden/rose").kvs[0].value, b"white")
once = alice.Watcher("/garden/", prefix=True, start_revision=at).watch_once(timeout=10)
see("her watch", once.value, b"white")
root.put("/palace", "cards")
refused("a key of others", lambda: alice.range("/palace"), "permission denied")
refused("a role of hers", lambda: alice.role_add("queen"), "permission denied")
with alice.Lease(ttl=60) as lease:
    see("her lease", alice.put("/garden/tea", "six", lease=lease.ID).header.revision > at, True)

root.user_change_password("alice", "mirror")
alice.auth("alice", "mirror")
root.user_revoke_role("alice", "garden")
refused("what was hers", lambda: alice.range("/garden/rose"), "permission denied")
# This library takes no permission back: it sends the key as etcd 3.3 wanted it, not in base64.
root.role_delete("garden")
root.user_delete("alice")
see("users at the end", root.user_list().users, ["root"])
root.auth_disable()
see("open again", nobody.range("/palace").kvs[0].value, b"cards")
