// Keys and values: builders for put, get and delete, namespaces, transactions, software transactions.

'use strict';

const { Etcd3 } = require('etcd3');
const { hosts, refused, run, see } = require('../see');

run(async () => {
  const client = new Etcd3({ hosts });
  await client.put('foo').value('bar');
  see('foo', await client.get('foo').string(), 'bar');
  see('a key that is not there', await client.get('nowhere'), null);
  const before = await client.put('foo').value('baz').getPrevious();
  see('what was there before', before.value.toString(), 'bar');
  see('as bytes', (await client.get('foo').buffer()).toString('hex'), '62617a');
  await client.put('number').value(42);
  see('as a number', await client.get('number').number(), 42);

  for (const n of [0, 1, 2, 3]) await client.put(`list/${n}`).value(`v${3 - n}`);
  const list = client.getAll().prefix('list/');
  see('a prefix', await list.strings(),
    { 'list/0': 'v3', 'list/1': 'v2', 'list/2': 'v1', 'list/3': 'v0' });
  const sorted = client.getAll().prefix('list/').sort('Value', 'Ascend').limit(2);
  see('sorted by value', await sorted.keys(), ['list/3', 'list/2']);
  const range = client.getAll().inRange({ start: 'list/1', end: 'list/3' });
  see('a range', await range.keys(), ['list/1', 'list/2']);
  see('counted', await client.getAll().prefix('list/').count(), 4);

  const room = client.namespace('list/');
  see('in a namespace', await room.get('0'), 'v3');
  await room.put('new').value('here');
  see('from outside', await client.get('list/new'), 'here');

  const first = await client.if('foo', 'Value', '==', 'baz').and('foo', 'Version', '>', 1)
    .then(client.put('foo').value('bra'), client.get('foo'))
    .else(client.delete().key('foo'))
    .commit();
  const read = first.responses[1].response_range.kvs[0].value.toString();
  see('a transaction', [first.succeeded, read], [true, 'bra']);
  const second = await client.if('foo', 'Create', '==', 0)
    .then(client.put('foo').value('never')).else(client.delete().key('number')).commit();
  see('its other branch', [second.succeeded, await client.get('number')], [false, null]);

  await client.put('sum').value(0);
  const add = () => client.stm({ retries: 50 }).transact(async tx => {
    await tx.put('sum').value(1 + (await tx.get('sum').number()));
  });
  await Promise.all([add(), add(), add(), add(), add()]);
  see('software transactions that contend', await client.get('sum').number(), 5);

  see('delete', (await client.delete().key('foo')).deleted, '1');
  const { header } = await client.put('foo').value('last');
  await client.kv.compact({ revision: header.revision });
  await refused('the past', client.get('foo').revision(1), 'revision has been compacted');
  see('delete all', (await client.delete().all().getPrevious()).length, 7);

  const status = await client.maintenance.status();
  const { members } = await client.cluster.memberList({});
  see('version', status.version.startsWith('3.'), true);
  see('the leader', status.leader, members[0].ID);
});
