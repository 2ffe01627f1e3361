/** How a project's indexes are read on a node. Pure. */
import type { Node, NodeId, ProjectId } from '../store/catalogue.ts'
import type { RouteTable } from './route-table.ts'

/**
 * - a project's id: reads that project's indexes.
 * - `reads`: reads every index, where a node has too many projects for a key each, or its key makes none.
 * - `flags`: switches experimental features on.
 */
export type CredentialPurpose = ProjectId | 'reads' | 'flags'

export function credentialId(node: NodeId, purpose: CredentialPurpose): string {
  return `${node}/${purpose}`
}

/**
 * The node with the key that reads the project's indexes there and nothing else (P-22); its own key where it has one and no
 * such key was made yet.
 */
export function nodeForReads(table: RouteTable, id: NodeId, project: ProjectId): Node | undefined {
  const node = table.node(id)
  if (node === undefined) return undefined
  const credential = table.credential(credentialId(id, project)) ?? table.credential(credentialId(id, 'reads'))
  return credential === undefined ? node : { ...node, key: credential.key }
}

/** The node with the key that switches experimental features on. */
export function nodeForFlags(table: RouteTable, node: Node): Node {
  const credential = table.credential(credentialId(node.id, 'flags'))
  return credential === undefined ? node : { ...node, key: credential.key }
}
