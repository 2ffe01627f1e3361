/** The settings' type lives with the wire shapes; kept here under its old path for the rooms of the engine. */
export type { FilterableRule, IndexSettings } from '../api/index-settings.ts'
