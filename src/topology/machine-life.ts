/** The course of a machine from the wish for it to its end (P-37), as a total table. Pure. */

/** What makes machines. `static`: somebody else. */
export const driverKinds = ['static', 'local', 'kubernetes', 'hetzner'] as const

export type DriverKind = (typeof driverKinds)[number]

export const machineLives = [
  'requested',
  'provisioning',
  'bootstrapping',
  'active',
  'draining',
  'releasing',
  'released',
  'failed',
] as const

export type MachineLife = (typeof machineLives)[number]

export type LifeEvent =
  /** The driver took the order. */
  | 'ordered'
  /** Its engine answers. */
  | 'answered'
  /** The self-test was passed, and the node is registered. */
  | 'admitted'
  /** It is to be given back, or rather not. */
  | 'drain'
  | 'keep'
  /** Nothing is on it any more. */
  | 'emptied'
  | 'destroyed'
  | 'failed'

const course: Readonly<Record<MachineLife, Readonly<Partial<Record<LifeEvent, MachineLife>>>>> = {
  requested: { ordered: 'provisioning', failed: 'failed', drain: 'releasing' },
  provisioning: { answered: 'bootstrapping', failed: 'failed', drain: 'releasing' },
  bootstrapping: { admitted: 'active', failed: 'failed', drain: 'releasing' },
  active: { drain: 'draining' },
  draining: { keep: 'active', emptied: 'releasing' },
  releasing: { destroyed: 'released' },
  // What a failed one left is given back, so that nothing is paid for that serves nobody.
  failed: { drain: 'releasing' },
  released: {},
}

/** `undefined` = the event has no place there. */
export function lifeAfter(life: MachineLife, event: LifeEvent): MachineLife | undefined {
  return course[life][event]
}

/** On its way to become a node. */
export function isComing(life: MachineLife): boolean {
  return life === 'requested' || life === 'provisioning' || life === 'bootstrapping'
}
