/** What a new server does at its first start: an engine as a supervised service, on a private address, with its own key. Pure. */
import type { MachineSpec } from './node-driver.ts'

export interface CloudSoftware {
  /** Where the engine's program is downloaded from. */
  readonly engineUrl: string
  /** Its SHA-256, hex: anything else is not run. */
  readonly engineSha256: string
  readonly port: number
}

/** `#cloud-config`. JSON is YAML, so that no value can break out of its place. */
export function cloudInit(spec: MachineSpec, { engineUrl, engineSha256, port }: CloudSoftware): string {
  const flags =
    spec.engine === 'embedded'
      ? 'engine --data-dir /var/lib/flapjack/data'
      : '--db-path /var/lib/flapjack/data --dump-dir /var/lib/flapjack/dumps --snapshot-dir /var/lib/flapjack/snapshots --no-analytics'
  const unit = [
    '[Unit]',
    'Description=search engine of a Flapjack node',
    'After=network-online.target',
    'Wants=network-online.target',
    '[Service]',
    'User=flapjack',
    'EnvironmentFile=/etc/flapjack/engine.env',
    'WorkingDirectory=/var/lib/flapjack',
    `ExecStart=/usr/local/bin/flapjack-engine ${flags} --http-addr 0.0.0.0:${port} --env production --experimental-enable-metrics`,
    'Restart=always',
    'RestartSec=2',
    'LimitNOFILE=65536',
    'NoNewPrivileges=true',
    'ProtectSystem=strict',
    'ReadWritePaths=/var/lib/flapjack',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n')
  const install = [
    '#!/bin/sh',
    'set -eu',
    'install -d -o flapjack -g flapjack -m 0700 /var/lib/flapjack',
    `curl -fsSL --retry 10 --retry-all-errors -o /run/flapjack-engine ${shellWord(engineUrl)}`,
    `echo ${shellWord(`${engineSha256}  /run/flapjack-engine`)} | sha256sum -c -`,
    'install -m 0755 /run/flapjack-engine /usr/local/bin/flapjack-engine',
    'systemctl daemon-reload',
    'systemctl enable --now flapjack-engine',
    '',
  ].join('\n')
  const config = {
    users: [{ name: 'flapjack', system: true, shell: '/usr/sbin/nologin', lock_passwd: true }],
    ssh_pwauth: false,
    write_files: [
      { path: '/etc/flapjack/engine.env', permissions: '0600', content: `MEILI_MASTER_KEY=${spec.key}\n` },
      { path: '/etc/systemd/system/flapjack-engine.service', permissions: '0644', content: unit },
      { path: '/usr/local/sbin/flapjack-install', permissions: '0700', content: install },
    ],
    runcmd: [['/usr/local/sbin/flapjack-install']],
  }
  return `#cloud-config\n${JSON.stringify(config, null, 1)}\n`
}

/** One word of a shell, whatever is in it. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
