import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { after, afterEach, describe, test } from 'node:test'
import { defaultChatWorkspace } from '../../src/api/chat-workspace.ts'
import { emptyNetwork } from '../../src/api/network-body.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { untilRoutesTaken } from '../../src/replication/routes-taken.ts'
import { World } from './journal-world.ts'
import { memorySource, postgresSource, type StoreSource } from './stores.ts'

for (const source of [memorySource(), await postgresSource()]) {
  describe(`catalogue in ${source.name}`, () => {
    afterEach(() => source.closeStores())
    after(() => source.close())
    catalogue(source)
  })
}

const newKey = { name: null, description: null, actions: ['search'], indexes: ['a*'], expiresAt: null }

function catalogue(source: StoreSource) {
  test('a project starts with the four default keys, in their order, found by the hash of their value', async () => {
    const { store, project } = await World.open(await source.open())
    const keys = await store.catalogue.keys(project.id)
    assert.deepEqual(
      keys.map(({ name }) => name),
      ['Default Search API Key', 'Default Admin API Key', 'Default Read-Only Admin API Key', 'Default Chat API Key'],
    )
    const value = createHmac('sha256', project.masterKey)
      .update(keys[0]?.uid ?? '')
      .digest('hex')
    assert.equal(keys[0]?.hash, createHash('sha256').update(value).digest('hex'))
    assert.match(project.ref, /^[a-z][a-z0-9]{11}$/)
    assert.match(project.masterKey, /^[0-9a-f]{64}$/)
  })

  test('a project is found by its name, whatever the case, and by its reference', async () => {
    const { store, project } = await World.open(await source.open())
    assert.equal((await store.catalogue.findProject('BOOKS'))?.id, project.id)
    assert.equal((await store.catalogue.findProject(project.ref))?.id, project.id)
    assert.equal(await store.catalogue.findProject('films'), undefined)
    const chosen = await store.catalogue.createProject({
      organisation: project.organisation,
      name: 'films',
      masterKey: 'a key of my own ☃',
    })
    assert.equal((await store.catalogue.findProject('films'))?.masterKey, 'a key of my own ☃')
    assert.equal((await store.catalogue.projects()).length, 2)
    assert.notEqual(chosen.ref, project.ref)
  })

  test('keys are created once, changed, listed newest first, and deleted', async () => {
    const { store, project } = await World.open(await source.open())
    const { catalogue } = store
    const uid = 'AAAAAAAA-0000-4000-8000-000000000001'
    const created = await catalogue.createKey(project.id, { ...newKey, uid, name: 'nul \u0000 name' })
    assert(created !== 'exists')
    assert.equal(created.uid, uid.toLowerCase())
    assert.equal(await catalogue.createKey(project.id, { ...newKey, uid }), 'exists')
    assert.deepEqual((await catalogue.keys(project.id))[0], created)
    const changed = await catalogue.updateKey(project.id, uid, { description: 'why' })
    assert.deepEqual(changed, { ...created, description: 'why', updatedAt: changed?.updatedAt })
    assert((changed?.updatedAt ?? 0) > created.updatedAt)
    assert.equal(await catalogue.updateKey(project.id, '00000000-0000-4000-8000-00000000000f', {}), undefined)
    assert.equal(await catalogue.deleteKey(project.id, uid), true)
    assert.equal(await catalogue.deleteKey(project.id, uid), false)
  })

  test('the same key uid in two projects makes two keys', async () => {
    const { store, project } = await World.open(await source.open())
    const { catalogue } = store
    const other = await catalogue.createProject({ organisation: project.organisation, name: 'films' })
    const uid = 'aaaaaaaa-0000-4000-8000-000000000001'
    const [one, two] = [
      await catalogue.createKey(project.id, { ...newKey, uid }),
      await catalogue.createKey(other.id, { ...newKey, uid }),
    ]
    assert(one !== 'exists' && two !== 'exists')
    assert.notEqual(one.hash, two.hash)
    await catalogue.deleteKey(project.id, uid)
    assert.deepEqual((await catalogue.keys(other.id))[0], two)
  })

  test('whoever follows from any version sees all that changed since, as it is now', async () => {
    const world = await World.open(await source.open())
    const { catalogue } = world.store
    const { version } = await catalogue.snapshot()
    const { index } = await world.put('a')
    await world.deliver(index)
    await catalogue.setFeatures(world.project.id, { network: true })
    await catalogue.setProjectState(world.project.id, 'read_only')
    const [key] = await catalogue.keys(world.project.id)
    await catalogue.deleteKey(world.project.id, key?.uid ?? '')
    await catalogue.putNode({ id: 'n1', engine: 'embedded', url: 'http://moved', region: 'local', key: 'other' })
    const { version: last, changes } = await catalogue.changesAfter(version, 100)
    const snapshot = await catalogue.snapshot()
    assert.equal(last, snapshot.version)
    assert.equal(last, version + 5)
    assert.deepEqual(
      changes.map(({ event }) => event.entity),
      ['index', 'project', 'key', 'node'],
    )
    const [first, second, third, fourth] = changes
    assert.deepEqual(first?.now, { index: snapshot.indexes[0], placements: snapshot.placements })
    assert.deepEqual(second?.now, snapshot.projects[0])
    assert.equal(snapshot.projects[0]?.state, 'read_only')
    assert.deepEqual(snapshot.projects[0]?.features, { network: true })
    assert.equal(third?.now, undefined)
    assert.deepEqual(fourth?.now, snapshot.nodes[0])
    assert.deepEqual(await catalogue.changesAfter(last, 100), { version: last, changes: [] })
    const entities = new Set<string>()
    for (let at = version; at < last; ) {
      const next = await catalogue.changesAfter(at, 1)
      assert(next.version > at)
      at = next.version
      for (const { event } of next.changes) entities.add(event.entity)
    }
    assert.deepEqual([...entities].sort(), ['index', 'key', 'node', 'project'])
  })

  test('followers are called when something changes', async () => {
    const { store, project } = await World.open(await source.open())
    let calls = 0
    let called: () => void = () => undefined
    const stop = await store.catalogue.onChange(() => {
      calls += 1
      called()
    })
    const waiting = new Promise<void>((done) => {
      called = done
    })
    await store.catalogue.setFeatures(project.id, { network: true })
    await waiting
    await stop()
    assert(calls > 0)
  })

  test('gateways count each other, and one that leaves does not count', async () => {
    const { gateways } = await source.open()
    const entry = (digit: number) => ({
      ...{ id: `00000000-0000-4000-8000-00000000000${digit}`, address: `http://g${digit}`, version: '1' },
      ...{ startedAt: digit, appliedVersion: 7 },
    })
    assert.equal(await gateways.beat(entry(1)), 1)
    assert.equal(await gateways.beat(entry(2)), 2)
    assert.equal(await gateways.beat(entry(1)), 2)
    assert.deepEqual(await gateways.list(), [entry(1), entry(2)])
    await gateways.leave(entry(2).id)
    assert.equal(await gateways.beat(entry(1)), 1)
  })

  // Else what a gateway still reads would be taken away.
  test('whoever waits for gateways learns when all of them route by what was committed', async () => {
    const { store, project } = await World.open(await source.open())
    const { gateways, catalogue } = store
    const beat = async (digit: number, appliedVersion: number) =>
      gateways.beat({
        ...{ id: `00000000-0000-4000-8000-00000000001${digit}`, address: `http://g${digit}`, version: '1' },
        ...{ startedAt: digit, appliedVersion },
      })
    for (const { id } of await gateways.list()) await gateways.leave(id)
    const before = await catalogue.version()
    await catalogue.setFeatures(project.id, { network: true })
    const wait = () =>
      untilRoutesTaken({ gateways, clock: systemClock, log: { warn() {} } }, AbortSignal.timeout(30_000))
    await wait()
    for (const digit of [1, 2]) await beat(digit, before)
    assert.equal((await gateways.routing()).oldest, before)
    let isTaken = false
    const waiting = wait().then(() => {
      isTaken = true
    })
    const asked = () => new Promise<void>((resolve) => gateways.onAsked(resolve))
    await asked()
    await beat(1, await catalogue.version())
    await asked()
    assert.equal(isTaken, false)
    await beat(2, await catalogue.version())
    await waiting
    for (const digit of [1, 2]) await gateways.leave(`00000000-0000-4000-8000-00000000001${digit}`)
  })

  test('edits of the token rules of a project follow each other, and are told as a change of the project', async () => {
    const { store, project } = await World.open(await source.open())
    const { catalogue } = store
    const { version } = await catalogue.snapshot()
    const revoke = (jti: string) =>
      catalogue.changeTokenRules(project.id, (rules) => ({ ...rules, revoked: [...rules.revoked, { jti, until: 7 }] }))
    await Promise.all(['a', 'b', '\u0000'].map(revoke))
    const refused = catalogue.changeTokenRules(project.id, () => {
      throw new Error('no')
    })
    await assert.rejects(refused, /no/)
    const { changes } = await catalogue.changesAfter(version, 100)
    const [change] = changes
    assert.deepEqual([changes.length, change?.event.entity], [1, 'project'])
    const found = await catalogue.findProject(project.ref)
    assert.deepEqual(change?.now, found)
    assert.deepEqual(found?.tokens.revoked.map(({ jti }) => jti).sort(), ['\u0000', 'a', 'b'])
  })

  test('chat workspaces belong to one project, and stay when its network changes', async () => {
    const { store, project } = await World.open(await source.open())
    const { catalogue } = store
    const other = await catalogue.createProject({ organisation: project.organisation, name: 'chats' })
    const workspace = { ...defaultChatWorkspace, apiKey: 'secret' }
    assert.deepEqual(await catalogue.chats(project.id), {})
    await catalogue.changeChats(project.id, (before) => ({ ...before, w: workspace }))
    await catalogue.changeNetwork(project.id, (before) => before)
    assert.deepEqual(await catalogue.chats(project.id), { w: workspace })
    assert.deepEqual(await catalogue.chats(other.id), {})
  })

  test('a project keeps what it wrote to its network, and no other project sees it', async () => {
    const { store, project } = await World.open(await source.open())
    const { catalogue } = store
    const other = await catalogue.createProject({ organisation: project.organisation, name: 'other' })
    const written = {
      self: 'a',
      remotes: { b: { url: 'http://b', searchApiKey: 'secret', writeApiKey: null } },
      shards: { s: ['b'] },
      version: 'v1',
    }
    assert.deepEqual(await catalogue.network(project.id), emptyNetwork)
    assert.deepEqual(await catalogue.changeNetwork(project.id, () => written), written)
    assert.deepEqual(await catalogue.network(project.id), written)
    assert.deepEqual(await catalogue.network(other.id), emptyNetwork)
    await Promise.all(
      ['c', 'd'].map((name) =>
        catalogue.changeNetwork(project.id, (before) => ({ ...before, shards: { ...before.shards, [name]: [] } })),
      ),
    )
    assert.deepEqual((await catalogue.network(project.id)).shards, { s: ['b'], c: [], d: [] })
  })

  test('a project has at most twenty webhooks of its own, and their headers come back', async () => {
    const { store, project } = await World.open(await source.open())
    const { catalogue } = store
    const hook = (at: number, isEditable = true) => ({
      project: project.id,
      uuid: `00000000-0000-4000-8000-0000000000${String(at).padStart(2, '0')}`,
      url: `http://example.com/${at}`,
      headers: { Authorization: 'Bearer secret' },
      isEditable,
    })
    assert.equal(await catalogue.putWebhook(hook(0, false)), 'stored')
    for (let at = 1; at <= 20; at += 1) assert.equal(await catalogue.putWebhook(hook(at)), 'stored')
    assert.equal(await catalogue.putWebhook(hook(21)), 'too-many')
    assert.equal(await catalogue.putWebhook({ ...hook(20), url: 'http://example.com/new' }), 'stored')
    const webhooks = await catalogue.webhooks(project.id)
    assert.equal(webhooks.length, 21)
    assert.deepEqual(webhooks[0], hook(0, false))
    assert.equal(webhooks[20]?.url, 'http://example.com/new')
    assert.equal(await catalogue.deleteWebhook(project.id, hook(3).uuid), true)
    assert.equal(await catalogue.deleteWebhook(project.id, hook(3).uuid), false)
  })
}
