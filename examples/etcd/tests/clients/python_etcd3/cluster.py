"""Looking after the server: status, members, hash, alarms, a snapshot, defragmentation."""

import io

import etcd3
from see import HOST, PORT, see

etcd = etcd3.client(host=HOST, port=PORT)
etcd.put("kept", "in the snapshot")

status = etcd.status()
see("version", status.version.startswith("3."), True)
members = list(etcd.members)
see("members", [member.name for member in members], ["solo"])
see("the leader", status.leader.id, members[0].id)
see("client urls", list(members[0].client_urls), [f"http://{HOST}:{PORT}"])
see("a hash", etcd.hash() > 0, True)

see("alarms", list(etcd.list_alarms()), [])
raised = etcd.create_alarm()
see("an alarm", [alarm.member_id for alarm in raised], [0])
etcd.disarm_alarm()
see("alarms after it", list(etcd.list_alarms()), [])

copy = io.BytesIO()
etcd.snapshot(copy)
# A bbolt database: its magic number lies behind the header of its first page.
see("a snapshot", copy.getvalue()[16:20].hex(), "edda0ced")
see("the value is in it", b"in the snapshot" in copy.getvalue(), True)
etcd.defragment()
see("after defragmenting", etcd.get("kept")[0], b"in the snapshot")
