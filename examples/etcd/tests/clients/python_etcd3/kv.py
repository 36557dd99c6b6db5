"""Keys and values: put, get, prefixes, compare and swap, transactions, compaction."""

import etcd3
from see import HOST, PORT, refused, see

etcd = etcd3.client(host=HOST, port=PORT)

etcd.put("bar", "doot")
value, about = etcd.get("bar")
see("get", (value, about.key, about.version), (b"doot", b"bar", 1))
before = etcd.put("bar", "dooot", prev_kv=True).prev_kv
see("what was there before", before.value, b"doot")
see("a key that is not there", etcd.get("nowhere"), (None, None))

see("put if new", etcd.put_if_not_exists("once", "1"), True)
see("put if new, again", etcd.put_if_not_exists("once", "2"), False)
see("replace", etcd.replace("once", "1", "3"), True)
see("replace what is not there", etcd.replace("once", "1", "4"), False)

for number in range(5):
    etcd.put(f"/list/{number}", f"v{4 - number}")
down = etcd.get_prefix("/list/", sort_order="descend", sort_target="value")
see("a prefix, sorted by value", [about.key[-1:] for _, about in down], [b"0", b"1", b"2", b"3", b"4"])
part = etcd.get_range("/list/1", "/list/3")
see("a range", [value for value, _ in part], [b"v3", b"v2"])
names = etcd.get_prefix("/list/", keys_only=True)
see("keys alone", [(value, about.key) for value, about in names][0], (b"", b"/list/0"))
see("all keys", len(list(etcd.get_all())), 7)

done, answers = etcd.transaction(
    compare=[
        etcd.transactions.value("bar") == "dooot",
        etcd.transactions.version("bar") > 1,
        etcd.transactions.create("nowhere") == 0,
    ],
    success=[
        etcd.transactions.put("bar", "success"),
        etcd.transactions.get("bar"),
        etcd.transactions.delete("once"),
    ],
    failure=[etcd.transactions.put("bar", "failure")],
)
see("a transaction", (done, answers[1][0][0]), (True, b"success"))
done, answers = etcd.transaction(
    compare=[etcd.transactions.mod("bar") == 1],
    success=[],
    failure=[etcd.transactions.get("once"), etcd.transactions.get("bar")],
)
see("its other branch", (done, answers[0], answers[1][0][0]), (False, [], b"success"))

see("delete", etcd.delete("bar"), True)
see("delete again", etcd.delete("bar"), False)
see("delete a prefix", etcd.delete_prefix("/list/").deleted, 5)

etcd.put("bar", "last")
newest = etcd.get_response("bar").header.revision
etcd.compact(newest)
refused("compact again", lambda: etcd.compact(newest), "required revision has been compacted")
