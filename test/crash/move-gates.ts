/**
 * Holds moves at chosen points, from within the database: the programs under test are those that users run.
 *
 * A move that is held has done all of a step, and cannot write so: it is done again and again, as after crashes. Whoever dies
 * there has done the work and nobody knows of it.
 */
import assert from 'node:assert/strict'
import type pg from 'pg'
import type { IndexId } from '../../src/store/catalogue.ts'
import type { Move } from '../../src/store/moves.ts'
import type { MoveStep } from '../../src/topology/move-steps.ts'
import type { Fleet } from './fleet.ts'
import { pause } from './fleet-traffic.ts'

/**
 * The end of a step, or the moment in which a copy's lane is to begin. `worn`: its move begins with no attempt left. `lost`: its
 * copy is never known to hold anything.
 */
export type GatePlace = MoveStep | 'begin' | 'worn' | 'lost'

const reachedMsMax = 300_000

const install = `
create table move_gates (index_id uuid, place text, primary key (index_id, place));
create function stop_at_gate(wanted uuid, reached text) returns void language plpgsql as $$
begin
  if exists (select from move_gates where index_id = wanted and place = reached) then
    raise exception 'held at the gate of %', reached;
  end if;
end $$;
create function hold_move() returns trigger language plpgsql as $$
begin
  if new.step <> old.step then perform stop_at_gate(old.index_id, old.step); end if;
  return new;
end $$;
create function hold_replica() returns trigger language plpgsql as $$
begin
  if old.state = 'copying' and new.state = 'standby' then perform stop_at_gate(old.index_id, 'begin'); end if;
  if new.state = 'standby' and exists (select from move_gates where index_id = old.index_id and place = 'lost') then
    new.applied := 0;
  end if;
  return new;
end $$;
create function wear_move() returns trigger language plpgsql as $$
begin
  if exists (select from move_gates where index_id = new.index_id and place = 'worn') then
    new.progress := '{"attempts":3}';
  end if;
  return new;
end $$;
create trigger wear_move before insert on moves for each row execute function wear_move();
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
  #ask(text: string, values: unknown[]): Promise<unknown> {
    const asked = this.#last.then(() => this.#client.query(text, values))
    this.#last = asked.catch(() => undefined)
    return asked
  }

  async close(index: IndexId, place: GatePlace): Promise<void> {
    await this.#ask('insert into move_gates (index_id, place) values ($1, $2)', [index, place])
  }

  /** Lets it go on, and everybody from now on. */
  async open(index: IndexId, place: GatePlace): Promise<void> {
    await this.#ask('delete from move_gates where index_id = $1 and place = $2', [index, place])
  }

  /** Waits until the move stands at the gate. */
  async reached(id: string, place: GatePlace): Promise<void> {
    const isThere = ({ failure }: Move) => failure?.endsWith(`held at the gate of ${place}`) === true
    for (const deadline = performance.now() + reachedMsMax; ; ) {
      const move = await this.#fleet.store.moves.get(id)
      if (move !== undefined && isThere(move)) return
      const told = () => `nobody comes to the gate of ${place}: ${JSON.stringify(move)}\n${this.#fleet.output}`
      if (performance.now() > deadline) assert.fail(told())
      await pause(50)
    }
  }

  /** After a crash of the database. */
  async reconnect(): Promise<void> {
    this.#client = await this.#fleet.connect()
  }

  async end(): Promise<void> {
    await this.#client.end()
  }
}
