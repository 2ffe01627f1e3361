/** `flapjack token …`: access tokens of a project, who else may sign them, and taking them back. */
import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { v4 as uuidV4 } from 'uuid'
import { tokenSecondsMax } from '../api/access-token.ts'
import { actions as allActions } from '../api/actions.ts'
import { isIndexPattern } from '../api/index-uid.ts'
import { decodeRules } from '../api/tenant-token.ts'
import { signAccessToken } from '../control/access-token-signing.ts'
import { platformKeys, readJwks, tokenPurpose } from '../control/token-keys.ts'
import { addIssuer, removeIssuer, revokeAll, revokeToken } from '../control/token-rules.ts'
import { isObject, type JsonObject } from '../lib/json.ts'
import type { Project, TokenIssuer } from '../store/catalogue.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { requireProject } from './project-command.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface Grant {
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
}

interface NewTokenOptions extends Grant {
  readonly seconds: number
  readonly rules?: JsonObject
  readonly subject?: string
}

interface TrustOptions extends Grant {
  readonly jwksUrl?: string
  readonly jwks?: string
}

export function addTokenCommands(program: Command, run: RunCommand): void {
  const token = program
    .command('token')
    .summary('access tokens of a project')
    .description(
      'Access tokens are signed, end by themselves within a day and need no database to be checked. They may also be signed by somebody whom the project trusts, such as your own login service.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack token create shop --actions search --indexes "products*" --seconds 900\n  $ flapjack token trust shop https://login.example.com --jwks-url https://login.example.com/jwks.json --actions search\n  $ flapjack token revoke shop --all',
    )

  token
    .command('create')
    .argument('<project>', 'name or reference')
    .requiredOption('--actions <list>', 'what it may do, such as `search,documents.add`', parseActions)
    .option('--indexes <list>', 'index names or prefixes such as `products*`', parsePatterns, ['*'])
    .option('--seconds <count>', 'how long it is valid, at most a day', parseSeconds, 3600)
    .option('--rules <json>', 'search rules as in a tenant token; it can then only search', parseRules)
    .option('--subject <text>', 'whom it is for')
    .description('Signs a token and prints it.')
    .action((project: string, options: NewTokenOptions, command: Command) =>
      run(command, (context) => createToken(context, project, options)),
    )

  token
    .command('revoke')
    .argument('<project>', 'name or reference')
    .argument('[jti]', 'identifier of the token: its claim `jti`')
    .option('--all', 'every token that was issued so far, whoever signed it')
    .description('Takes tokens back. Running gateways refuse them within a second.')
    .action((project: string, jti: string | undefined, { all }: { all?: true }, command: Command) =>
      run(command, (context) => revoke(context, project, jti, all === true)),
    )

  token
    .command('trust')
    .argument('<project>', 'name or reference')
    .argument('<issuer>', 'the claim `iss` of its tokens')
    .option('--jwks-url <url>', 'where its public keys are')
    .option('--jwks <file>', 'a file with its public keys')
    .requiredOption('--actions <list>', 'the most that its tokens may do', parseActions)
    .option('--indexes <list>', 'the indexes that they may reach at most', parsePatterns, ['*'])
    .description('Accepts tokens that somebody else signs, EdDSA, ES256 or RS256. Naming an issuer again replaces it.')
    .action((project: string, issuer: string, options: TrustOptions, command: Command) =>
      run(command, (context) => trust(context, project, issuer, options)),
    )

  token
    .command('distrust')
    .argument('<project>', 'name or reference')
    .argument('<issuer>', 'the claim `iss` of its tokens')
    .description('Refuses the tokens of an issuer from now on.')
    .action((project: string, issuer: string, _: object, command: Command) =>
      run(command, (context) => distrust(context, project, issuer)),
    )

  token
    .command('issuers')
    .argument('<project>', 'name or reference')
    .description('Lists whose tokens the project accepts besides our own.')
    .action((project: string, _: object, command: Command) => run(command, (context) => listIssuers(context, project)))
}

async function createToken(context: CommandContext, nameOrRef: string, options: NewTokenOptions): Promise<void> {
  await withStore(context.programs, context.config, async ({ catalogue, secrets }) => {
    const project = await requireProject(catalogue, nameOrRef)
    const [key] = platformKeys(() => secrets(tokenPurpose))()
    if (key === undefined) throw new CommandFailed('failed', 'there is no key to sign with')
    const jti = uuidV4()
    const issuedAt = Math.max(Math.floor(Date.now() / 1000), project.tokens.issuedFrom)
    const { actions, indexes, seconds, rules, subject } = options
    const token = signAccessToken(key, {
      project: project.ref,
      jti,
      issuedAt,
      seconds,
      actions,
      indexes,
      rules,
      subject,
    })
    const expiresAt = new Date((issuedAt + seconds) * 1000).toISOString()
    context.terminal.answer({ token, jti, expiresAt, actions: [...actions], indexes: [...indexes] }, token)
  })
}

async function revoke(
  context: CommandContext,
  nameOrRef: string,
  jti: string | undefined,
  all: boolean,
): Promise<void> {
  if ((jti === undefined) === !all) throw new CommandFailed('usage', 'name one token by its `jti`, or say --all')
  const nowMs = Date.now()
  await edit(context, nameOrRef, (project) => {
    const change = jti === undefined ? revokeAll(project.tokens, nowMs) : revokeToken(project.tokens, jti, nowMs)
    if (change === 'too-many') {
      throw new CommandFailed('failed', 'too many tokens are revoked one by one; `--all` takes all of them back')
    }
    return change
  })
  context.terminal.answer({ revoked: jti ?? 'all' }, jti === undefined ? 'Revoked all tokens.' : `Revoked ${jti}.`)
}

async function trust(context: CommandContext, nameOrRef: string, issuer: string, options: TrustOptions): Promise<void> {
  const { actions, indexes } = options
  const added: TokenIssuer = { issuer, keys: keysOf(options), actions, indexes }
  await edit(context, nameOrRef, (project) => {
    const change = addIssuer(project.tokens, added)
    if (change === 'refused')
      throw new CommandFailed(
        'usage',
        `\`${issuer}\` cannot be trusted: it is our own name, or the project has too many issuers`,
      )
    return change
  })
  context.terminal.answer({ trusted: issuer }, `Tokens of ${issuer} are accepted.`)
}

function keysOf({ jwksUrl, jwks }: TrustOptions): TokenIssuer['keys'] {
  if ((jwksUrl === undefined) === (jwks === undefined)) {
    throw new CommandFailed('usage', 'say where the public keys are: --jwks-url or --jwks')
  }
  if (jwksUrl !== undefined) {
    if (!URL.canParse(jwksUrl) || !/^https?:$/.test(new URL(jwksUrl).protocol)) {
      throw new CommandFailed('usage', `\`${jwksUrl}\` is not the address of a JWKS`)
    }
    return { kind: 'url', url: jwksUrl }
  }
  let keys: readonly JsonObject[] | undefined
  try {
    keys = readJwks(JSON.parse(readFileSync(jwks ?? '', 'utf8')))
  } catch (cause) {
    throw new CommandFailed('usage', `\`${jwks}\` cannot be read as JSON`, { cause })
  }
  if (keys === undefined || keys.length === 0) {
    throw new CommandFailed('usage', `\`${jwks}\` holds no public key for EdDSA, ES256 or RS256 (2048 bits or more)`)
  }
  return { kind: 'pinned', jwks: keys }
}

async function distrust(context: CommandContext, nameOrRef: string, issuer: string): Promise<void> {
  await edit(context, nameOrRef, (project) => {
    const change = removeIssuer(project.tokens, issuer)
    if (change === 'unknown') throw new CommandFailed('notFound', `the project does not trust \`${issuer}\``)
    return change
  })
  context.terminal.answer({ distrusted: issuer }, `Tokens of ${issuer} are refused.`)
}

async function listIssuers(context: CommandContext, nameOrRef: string): Promise<void> {
  await withStore(context.programs, context.config, async ({ catalogue }) => {
    const { tokens } = await requireProject(catalogue, nameOrRef)
    const views = tokens.issuers.map(({ issuer, keys, actions, indexes }) => ({
      issuer,
      keys: keys.kind === 'url' ? keys.url : `${keys.jwks.length} pinned`,
      actions: actions.join(','),
      indexes: indexes.join(','),
    }))
    const rows = views.map(({ issuer, keys, actions, indexes }) => [issuer, keys, actions, indexes])
    context.terminal.answer(views, formatColumns([['ISSUER', 'KEYS', 'ACTIONS', 'INDEXES'], ...rows]))
  })
}

async function edit(
  { programs, config }: CommandContext,
  nameOrRef: string,
  change: (project: Pick<Project, 'tokens'>) => Project['tokens'],
): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    const { id } = await requireProject(catalogue, nameOrRef)
    await catalogue.changeTokenRules(id, (tokens) => change({ tokens }))
  })
}

const parts = (text: string) => text.split(/[\s,]+/).filter((part) => part !== '')

function parseActions(text: string): readonly string[] {
  const wrong = parts(text).find((name) => !allActions.some((action) => action === name))
  if (wrong !== undefined) throw new InvalidArgumentError(`there is no action \`${wrong}\``)
  return parts(text)
}

function parsePatterns(text: string): readonly string[] {
  const wrong = parts(text).find((name) => !isIndexPattern(name))
  if (wrong !== undefined) throw new InvalidArgumentError(`\`${wrong}\` is no index name and no prefix with a star`)
  return parts(text)
}

function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= tokenSecondsMax) return seconds
  throw new InvalidArgumentError(`a whole number from 1 to ${tokenSecondsMax} is expected`)
}

function parseRules(text: string): JsonObject {
  try {
    const rules: unknown = JSON.parse(text)
    if (isObject(rules) && decodeRules(rules) !== undefined) return rules
  } catch {
    // Said below.
  }
  throw new InvalidArgumentError('an object such as {"products": {"filter": "shop = 7"}} is expected')
}
