"""Watches: callbacks with filters, an iterator, once, from a past revision, too late."""

import queue
import threading

from etcd3 import Client
from etcd3.models import EventEventType
from see import HOST, PORT, refused, see

client = Client(HOST, PORT)


def told(event):
    """An event in short."""
    return (event.type.value if hasattr(event.type, "value") else event.type, event.key, event.value)


start = client.put("foo", "before").header.revision

heard = queue.Queue()
watcher = client.Watcher(all=True, start_revision=start + 1, progress_notify=True, prev_kv=True)
watcher.onEvent("f.*", heard.put)
watcher.runDaemon()
client.put("foo", "bar")
client.put("other", "not asked for")
client.put("foz", "bar")
client.delete_range("foo")
seen = [heard.get(timeout=10) for _ in range(3)]
see("callbacks", [told(event) for event in seen],
    [("PUT", b"foo", b"bar"), ("PUT", b"foz", b"bar"), ("DELETE", b"foo", None)])
see("what was there before", [seen[0].prev_kv.value, seen[2].prev_kv.value], [b"before", b"bar"])
watcher.stop()

watcher = client.Watcher("fo", prefix=True, start_revision=start)
values = []
with watcher:
    for event in watcher:
        values.append(event.value)
        if len(values) == 3:
            break
see("an iterator from the past", values, [b"before", b"bar", b"bar"])

watcher = client.Watcher("foo", start_revision=start, no_put=True)
once = watcher.watch_once(lambda event: event.type == EventEventType.DELETE, timeout=10)
see("once, without puts", told(once), ("DELETE", b"foo", None))
see("nothing happens", client.Watcher("quiet").watch_once(timeout=0.3), None)

client.compact(client.put("foo", "after").header.revision)
late = client.Watcher("foo", start_revision=start, max_retries=0)
refused("from before the compaction", lambda: late.watch_once(timeout=10), "compact")
