// Locks, which this library makes of leases and transactions.

'use strict';

const { Etcd3 } = require('etcd3');
const { hosts, refused, run, see } = require('../see');

run(async () => {
  const client = new Etcd3({ hosts });
  const lock = client.lock('door').ttl(10);
  await lock.acquire();
  see('its lease', (await client.get('door').exec()).kvs[0].lease, await lock.leaseId());
  await refused('by somebody else', client.lock('door').acquire(), 'Failed to acquire a lock');
  await lock.release();
  see('after the release', await client.get('door'), null);

  const inside = await client.lock('door').do(async () => {
    await refused('while it is held', client.lock('door').acquire(), 'Failed to acquire a lock');
    return 'done';
  });
  see('what was done', inside, 'done');
  see('after it', await client.get('door'), null);
});
