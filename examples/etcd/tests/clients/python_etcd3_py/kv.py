"""Keys and values in JSON over HTTP: put, range, delete, transactions, compaction."""

from etcd3 import Client
import since36  # noqa: F401
from see import HOST, PORT, refused, see

client = Client(HOST, PORT)
see("version", client.server_version.startswith("3."), True)
see("health", client.health(), "true")

client.put("foo", "bar")
kv = client.range("foo").kvs[0]
see("range", (kv.key, kv.value, kv.version), (b"foo", b"bar", 1))
see("what was there before", client.put("foo", "baz", prev_kv=True).prev_kv.value, b"bar")
see("a key that is not there", "kvs" in client.range("nowhere"), False)
see("bytes that are no text", client.put("raw", b"\x00\xff").header.revision > 0, True)
see("read back", client.range("raw").kvs[0].value, b"\x00\xff")

for number in range(5):
    client.put(f"/list/{number}", f"v{4 - number}")
down = client.range("/list/", prefix=True, sort_order="DESCEND", sort_target="VALUE", limit=2)
see("a prefix, sorted", [kv.key for kv in down.kvs], [b"/list/0", b"/list/1"])
see("more of them", (down.more, down.count), (True, 5))
see("counted", client.range(all=True, count_only=True).count, 7)
names = client.range("/list/0", range_end="/list/2", keys_only=True).kvs
see("keys alone", [(kv.key, kv.value) for kv in names], [(b"/list/0", None), (b"/list/1", None)])

txn = client.Txn()
txn.compare(txn.key("foo").value == "baz")
txn.compare(txn.key("foo").version > 1)
txn.success(txn.put("foo", "bra"))
txn.success(txn.range("foo"))
txn.failure(txn.delete("foo"))
answer = txn.commit()
read = answer.responses[1].response_range.kvs[0]
see("a transaction", (answer.succeeded, read.value), (True, b"bra"))
txn.clear()
txn.compare(txn.key("foo").create == 0)
txn.failure(txn.delete("/list/", prefix=True))
answer = txn.commit()
deleted = answer.responses[0].response_delete_range.deleted
see("its other branch", ("succeeded" in answer, deleted), (False, 5))

gone = client.delete_range("foo", prev_kv=True)
see("delete", (gone.deleted, gone.prev_kvs[0].value), (1, b"bra"))
newest = client.put("foo", "last").header.revision
client.compact(newest)
refused("compact again", lambda: client.compact(newest), "required revision has been compacted")
refused("the past", lambda: client.range("foo", revision=1), "ErrCompacted")
