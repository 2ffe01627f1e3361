/**
 * Holds moves at chosen points, from within the database: the programs under test are those that users run.
 *
 * A move that is held has done all of a step, and its next step waits to be written. Whoever dies there has done the work and
 * nobody knows of it; when the gate opens, it is done again or goes on.
 */
import assert from 'node:assert/strict'
import type pg from 'pg'
import type { IndexId } from '../../src/store/catalogue.ts'
import type { MoveStep } from '../../src/topology/move-steps.ts'
import type { Fleet } from './fleet.ts'
import { pause } from './fleet-traffic.ts'

/** The end of a step, or the moment in which a copy's lane is to begin. */
export type GatePlace = MoveStep | 'begin'

/** Tells our locks from those of others. */
const lockClass = 7_701
const reachedMsMax = 180_000

const install = `
create table move_gates (number serial primary key, index_id uuid not null, place text not null);
create function wait_at_gate(wanted uuid, reached text) returns void language plpgsql as $$
declare found int;
begin
  select number into found from move_gates where index_id = wanted and place = reached;
  if found is not null then perform pg_advisory_xact_lock_shared(${lockClass}, found); end if;
end $$;
create function hold_move() returns trigger language plpgsql as $$
begin
  if new.step <> old.step then perform wait_at_gate(old.index_id, old.step); end if;
  return new;
end $$;
create function hold_replica() returns trigger language plpgsql as $$
begin
  if old.state = 'copying' and new.state = 'standby' then perform wait_at_gate(old.index_id, 'begin'); end if;
  return new;
end $$;
create trigger hold_move before update on moves for each row execute function hold_move();
create trigger hold_replica before update on placements for each row execute function hold_replica();`

export class MoveGates {
  readonly #fleet: Fleet
  #client: pg.Client
  #last: Promise<unknown> = Promise.resolve()

  private constructor(fleet: Fleet, client: pg.Client) {
    this.#fleet = fleet
    this.#client = client
  }

  static async create(fleet: Fleet): Promise<MoveGates> {
    const client = await fleet.connect()
    await client.query(install)
    return new MoveGates(fleet, client)
  }

  /** One after the other: a connection answers one question at a time. */
  #ask<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<pg.QueryResult<Row>> {
    const asked = this.#last.then(() => this.#client.query<Row>(text, values))
    this.#last = asked.catch(() => undefined)
    return asked
  }

  /** Answers the gate's number. */
  async close(index: IndexId, place: GatePlace): Promise<number> {
    const text = 'insert into move_gates (index_id, place) values ($1, $2) returning number'
    const { rows } = await this.#ask<{ number: number }>(text, [index, place])
    const { number } = rows[0]!
    await this.#ask('select pg_advisory_lock($1, $2)', [lockClass, number])
    return number
  }

  async #isReached(number: number): Promise<boolean> {
    const { rowCount } = await this.#ask(
      "select from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and not granted",
      [lockClass, number],
    )
    return rowCount !== 0
  }

  /** Waits until somebody stands at the gate. */
  async reached(number: number): Promise<void> {
    for (const deadline = performance.now() + reachedMsMax; !(await this.#isReached(number)); ) {
      if (performance.now() > deadline) assert.fail(`nobody comes to gate ${number}:\n${await this.#report()}`)
      await pause(20)
    }
  }

  async #report(): Promise<string> {
    const moves = await this.#fleet.store.moves.list({}, 100)
    const steps = moves.map(({ index, step, wish, failure, progress }) =>
      JSON.stringify({ index, step, wish, failure, progress }),
    )
    return `${steps.join('\n')}\n${this.#fleet.output}`
  }

  /** Lets whoever stands there go on, and everybody from now on. */
  async open(number: number): Promise<void> {
    await this.#ask('delete from move_gates where number = $1', [number])
    await this.#ask('select pg_advisory_unlock($1, $2)', [lockClass, number])
  }

  /** Lets whoever stands there go on, and holds the next one. */
  async pass(number: number): Promise<void> {
    await this.#ask('select pg_advisory_unlock($1, $2)', [lockClass, number])
    // Granted when the transaction that went on has ended.
    await this.#ask('select pg_advisory_lock($1, $2)', [lockClass, number])
  }

  /** After a crash of the database, which let everybody go on. */
  async reconnect(): Promise<void> {
    this.#client = await this.#fleet.connect()
    await this.#client.query('delete from move_gates')
  }

  async end(): Promise<void> {
    await this.#client.end()
  }
}
