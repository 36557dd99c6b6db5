"""Watches: by iterator, by callback, once, from a past revision, on a prefix, cancelled, too late."""

import queue

import etcd3
from see import HOST, PORT, refused, see

etcd = etcd3.client(host=HOST, port=PORT)


def told(event):
    """An event in short."""
    return (type(event).__name__, event.key, event.value, event.prev_value)


events, cancel = etcd.watch("/watch/one", prev_kv=True)
etcd.put("/watch/one", "1")
etcd.put("/watch/one", "2")
etcd.put("/watch/two", "not watched")
etcd.delete("/watch/one")
see("put", told(next(events)), ("PutEvent", b"/watch/one", b"1", b""))
see("put again", told(next(events)), ("PutEvent", b"/watch/one", b"2", b"1"))
last = next(events)
see("delete", told(last), ("DeleteEvent", b"/watch/one", b"", b"2"))
cancel()
see("after the cancel", list(events), [])

history, cancel = etcd.watch_prefix("/watch/", start_revision=last.mod_revision - 2)
see("from the past", [next(history).value for _ in range(3)], [b"2", b"not watched", b""])
cancel()

heard = queue.Queue()
watch_id = etcd.add_watch_prefix_callback("/call/", heard.put)
etcd.put("/call/me", "back")
answer = heard.get(timeout=10)
see("a callback", [told(event)[1:3] for event in answer.events], [(b"/call/me", b"back")])
etcd.cancel_watch(watch_id)

puts, cancel = etcd.watch("/only")
etcd.put("/only", "put")
see("another on the same stream", next(puts).value, b"put")
cancel()

refused("nothing happens", lambda: etcd.watch_once("/quiet", timeout=0.2), "WatchTimedOut")

etcd.compact(last.mod_revision)
late, _ = etcd.watch("/watch/one", start_revision=1)
refused("from before the compaction", lambda: next(late), "RevisionCompactedError")
etcd.close()
