// Users and roles, made with this library; it logs in by itself, and again when its token is refused.

'use strict';

const { Etcd3 } = require('etcd3');
const { hosts, next, refused, run, see } = require('../see');

const by = (username, password) => new Etcd3({ hosts, auth: { username, password } });

run(async () => {
  const open = new Etcd3({ hosts });
  await open.role('root').create();
  const root = await open.user('root').create('deep');
  await root.addRole('root');
  const garden = await open.role('garden').create();
  await garden.grant({ permission: 'Readwrite', range: open.range({ prefix: '/garden/' }) });
  await (await open.user('alice').create('rabbit')).addRole(garden);
  see('users', (await open.getUsers()).map(user => user.name).sort(), ['alice', 'root']);
  see('roles of alice', (await open.user('alice').roles()).map(role => role.name), ['garden']);
  const [permission] = await garden.permissions();
  see('the permission', [permission.permission, permission.range.start.toString()],
    ['Readwrite', '/garden/']);
  await open.auth.authEnable();

  await refused('nobody', open.put('/garden/rose').value('red'), 'user name is empty');
  await refused('a wrong password', by('alice', 'hare').get('/garden/rose'), 'authentication failed');
  const alice = by('alice', 'rabbit');
  const watcher = await alice.watch().prefix('/garden/').create();
  const put = next(watcher, 'put');
  await alice.lease(60).put('/garden/rose').value('white');
  see('her own', await alice.get('/garden/rose'), 'white');
  see('her watch', (await put)[0].value.toString(), 'white');
  await refused('a key of others', alice.get('/palace').exec(), 'permission denied');
  await refused('a role of hers', alice.role('queen').create(), 'permission denied');

  const queen = by('root', 'deep');
  await queen.put('/palace').value('cards');
  await queen.user('alice').setPassword('mirror');
  // The change ends the tokens of alice.
  see('with the new one', await by('alice', 'mirror').get('/garden/rose'), 'white');
  await queen.role('garden').revoke({ permission: 'Readwrite', range: open.range({ prefix: '/garden/' }) });
  await refused('what was hers', by('alice', 'mirror').get('/garden/rose').exec(), 'permission denied');
  await queen.user('alice').delete();
  await queen.auth.authDisable();
  see('open again', await open.get('/palace'), 'cards');
});
