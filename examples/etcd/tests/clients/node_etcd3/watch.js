// Watches: events, filters, a past revision, many on one stream, cancelled.

'use strict';

const { Etcd3 } = require('etcd3');
const { hosts, next, run, see } = require('../see');

run(async () => {
  const client = new Etcd3({ hosts });
  const watcher = await client.watch().key('foo').withPreviousKV().create();
  const told = [];
  watcher.on('put', (kv, old) => told.push(['put', kv.value.toString(), old && old.value.toString()]));
  watcher.on('delete', kv => told.push(['delete', kv.key.toString()]));
  const { header } = await client.put('foo').value('bar');
  await client.put('foo').value('baz');
  const deleted = next(watcher, 'delete');
  await client.delete().key('foo');
  await deleted;
  see('events', told,
    [['put', 'bar', null], ['put', 'baz', 'bar'], ['delete', 'foo']]);

  const past = client.watch().prefix('fo').startRevision(header.revision).watcher();
  const values = [];
  await new Promise(resolve => past.on('data', answer => {
    values.push(...answer.events.map(event => event.kv.value.toString()));
    if (values.length === 3) resolve();
  }));
  see('from the past', values, ['bar', 'baz', '']);

  const puts = client.watch().key('foo').only('put').startRevision(header.revision).watcher();
  const [kv] = await next(puts, 'put');
  see('puts alone', kv.value.toString(), 'bar');

  const crowd = await Promise.all([...Array(20).keys()].map(n => client.watch().key(`many/${n}`).create()));
  const all = Promise.all(crowd.map(one => next(one, 'put')));
  for (const n of crowd.keys()) await client.put(`many/${n}`).value(n);
  see('twenty on a stream', (await all).map(([kv]) => Number(kv.value)), [...crowd.keys()]);

  await watcher.cancel();
  const length = told.length;
  const bystander = next(past, 'put');
  await client.put('foo').value('after');
  await bystander;
  see('after the cancel', told.length, length);
});
