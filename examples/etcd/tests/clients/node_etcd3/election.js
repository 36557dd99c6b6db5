// Elections, which this library makes of leases, transactions and watches.

'use strict';

const { Etcd3 } = require('etcd3');
const { hosts, next, run, see } = require('../see');

// Resolves when the observer names this leader.
async function leads(observer, name) {
  while (observer.leader() !== name) await next(observer, 'change');
  return observer.leader();
}

run(async () => {
  const client = new Etcd3({ hosts });
  const other = new Etcd3({ hosts });
  const election = client.election('singleton', 10);
  see('before', await election.leader(), undefined);
  const observer = await other.election('singleton').observe();

  const ann = election.campaign('ann');
  await ann.wait();
  see('elected', await election.leader(), 'ann');
  see('observed', await leads(observer, 'ann'), 'ann');

  const bob = other.election('singleton', 10).campaign('bob');
  const elected = next(bob, 'elected');
  await bob.getCampaignKey();
  await ann.proclaim('ann, again');
  see('proclaimed', await leads(observer, 'ann, again'), 'ann, again');
  await ann.resign();
  await elected;
  see('the next one', await election.leader(), 'bob');
  see('observed', await leads(observer, 'bob'), 'bob');
  await bob.resign();
  see('nobody', await leads(observer, undefined), undefined);
  await observer.cancel();
});
