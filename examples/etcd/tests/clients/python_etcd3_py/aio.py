"""The asynchronous client: calls one by one and many at a time. Its streams are not for Python 3.11."""

import asyncio

from etcd3 import AioClient
from see import HOST, PORT, see


async def main():
    async with AioClient(HOST, PORT) as client:
        await client.put("foo", "bar")
        kv = (await client.range("foo")).kvs[0]
        see("range", (kv.key, kv.value), (b"foo", b"bar"))
        await asyncio.gather(*(client.put(f"/many/{n}", str(n)) for n in range(50)))
        counted = await client.range("/many/", prefix=True, count_only=True)
        see("fifty at once", counted.count, 50)
        lease = await client.lease_grant(60)
        await client.put("leased", "value", lease=lease.ID)
        await client.lease_revoke(lease.ID)
        see("a key of a revoked lease", "kvs" in await client.range("leased"), False)


asyncio.run(main())
