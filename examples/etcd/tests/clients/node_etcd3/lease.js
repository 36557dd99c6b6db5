// Leases: kept alive by the library, revoked, released and left to end.

'use strict';

const { Etcd3 } = require('etcd3');
const { hosts, next, refused, run, see } = require('../see');

run(async () => {
  const client = new Etcd3({ hosts });
  const short = client.lease(1, { autoKeepAlive: false });
  const { header } = await short.put('short').value('soon gone').exec();

  const lease = client.lease(10);
  const id = await lease.grant();
  await lease.put('leased').value('bar');
  see('on the key', (await client.get('leased').exec()).kvs[0].lease, id);
  see('prolonged', (await lease.keepaliveOnce()).TTL, '10');
  const about = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  see('granted for', [about.grantedTTL, about.keys.map(String)], ['10', ['leased']]);
  const { leases } = await client.leaseClient.leaseLeases();
  see('among all leases', leases.some(one => one.ID === id), true);
  await lease.revoke();
  see('its key', await client.get('leased'), null);
  await refused('a key with it', client.put('leased').value('x').lease(id), 'lease');

  // A third of its time after the grant, the library prolongs it on a stream.
  const kept = client.lease(3);
  await kept.put('kept').value('kept');
  const [answer] = await next(kept, 'keepaliveSucceeded');
  see('kept alive', answer.TTL, '3');

  const [gone] = await next(
    client.watch().key('short').startRevision(String(Number(header.revision) + 1)).watcher(), 'delete');
  see('a lease has ended', gone.key.toString(), 'short');

  const lost = next(kept, 'lost');
  await client.leaseClient.leaseRevoke({ ID: await kept.grant() });
  const [error] = await lost;
  see('revoked by somebody else', error.constructor.name, 'EtcdLeaseInvalidError');
  see('the key', await client.get('kept'), null);
});
