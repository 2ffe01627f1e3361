/** A project as the catalogue has it. */
import { defaultProjectSettings, noTokenRules, type Project } from '../../src/store/catalogue.ts'

/** `ref` is the id, filled up to 12 characters; the master key is `master-of-<id>`. */
export function testProject(id: string, more: Partial<Project> = {}): Project {
  return {
    id,
    organisation: 'o',
    ref: id.padEnd(12, 'x'),
    name: id,
    state: 'active',
    masterKey: `master-of-${id}`,
    features: {},
    searchRules: [],
    tokens: noTokenRules,
    settings: defaultProjectSettings,
    createdAt: 1,
    ...more,
  }
}
