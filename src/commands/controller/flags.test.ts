import { Command, CommanderError } from 'commander';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { LOG_LEVELS } from '../../telemetry/logs.ts';
import { InputError } from '../context.ts';
import {
  controllerOptions,
  type ControllerSettings,
  controllerSettings,
  FLAGS,
  flagName,
  type ListenAddress,
} from './flags.ts';

type Env = Record<string, string | undefined>;

/** Parses arguments as the command does. */
function settingsOf(args: readonly string[], env: Env = {}): ControllerSettings {
  const command = new Command('controller').exitOverride().configureOutput({ writeErr: () => undefined });
  for (const option of controllerOptions()) command.addOption(option);
  command.parse(args, { from: 'user' });
  return controllerSettings(command.opts(), env);
}

function linesOf(args: readonly string[], env: Env = {}): readonly string[] {
  try {
    settingsOf(args, env);
  } catch (error) {
    if (error instanceof InputError) return error.lines;
    throw error;
  }
  return [];
}

it('uses the defaults without flags', () => {
  expect(settingsOf([])).toStrictEqual({
    kubeconfig: undefined,
    context: undefined,
    watchNamespaces: [],
    workers: 4,
    statusHeartbeatMs: 60_000,
    maxRuns: 50,
    allowAddresses: [],
    webIdentityTokenFile: undefined,
    webIdentityStsEndpoints: [],
    leaderElect: true,
    leaderElectionNamespace: undefined,
    leaderElectionId: 'storage-probe',
    identity: undefined,
    drainTimeoutMs: 1_000,
    shutdownTimeoutMs: 25_000,
    listenAddress: { port: 8_080 },
    logLevel: 'info',
  });
});

it('reads every setting from its flag', () => {
  const args =
    '--kubeconfig /a/b --context kind --watch-namespaces storage,other --workers 1 --status-heartbeat 1m30s ' +
    '--max-runs 7 --allow-addresses 127.0.0.1,fe80::/10 --leader-elect=false --leader-election-namespace ops ' +
    '--web-identity-token-file /token --web-identity-sts-endpoints https://sts:443/,http://minio:9000 ' +
    '--leader-election-id a.b --identity me --drain-timeout 0s --shutdown-timeout 5s ' +
    '--listen-address [::1]:0 --log-level debug';
  expect(settingsOf(args.split(' '))).toStrictEqual({
    kubeconfig: '/a/b',
    context: 'kind',
    watchNamespaces: ['storage', 'other'],
    workers: 1,
    statusHeartbeatMs: 90_000,
    maxRuns: 7,
    allowAddresses: ['127.0.0.1', 'fe80::/10'],
    webIdentityTokenFile: '/token',
    webIdentityStsEndpoints: ['https://sts', 'http://minio:9000'],
    leaderElect: false,
    leaderElectionNamespace: 'ops',
    leaderElectionId: 'a.b',
    identity: 'me',
    drainTimeoutMs: 0,
    shutdownTimeoutMs: 5_000,
    listenAddress: { host: '::1', port: 0 },
    logLevel: 'debug',
  });
});

describe('environment variables', () => {
  it('are overridden by flags and ignored when empty', () => {
    const env = { STORAGE_PROBE_MAX_RUNS: '7', STORAGE_PROBE_WORKERS: '9', STORAGE_PROBE_LOG_LEVEL: '' };
    expect(settingsOf(['--max-runs', '8'], env)).toMatchObject({ maxRuns: 8, workers: 9, logLevel: 'info' });
  });

  it('are named after their flags', () => {
    for (const flag of Object.values(FLAGS)) {
      const name = flagName(flag).slice(2).toUpperCase().replaceAll('-', '_');
      expect(flag.env).toBe(`STORAGE_PROBE_${name}`);
    }
  });

  it('do not clash with the variables that Kubernetes sets for a Service named storage-probe', () => {
    const names = Object.values(FLAGS).map(({ env }) => env);
    expect(names.filter((name) => /^STORAGE_PROBE_(SERVICE|PORT)/.test(name))).toEqual([]);
  });
});

it.each([
  { args: [], want: true },
  { args: ['--leader-elect'], want: true },
  { args: ['--leader-elect=true'], want: true },
  { args: ['--leader-elect=false'], want: false },
  { args: ['--no-leader-elect'], want: false },
  { args: [], env: { STORAGE_PROBE_LEADER_ELECT: 'false' }, want: false },
  { args: ['--leader-elect'], env: { STORAGE_PROBE_LEADER_ELECT: 'false' }, want: true },
])('sets leader election to $want for flags $args and environment $env', ({ args, env = {}, want }) => {
  expect(settingsOf(args, env).leaderElect).toBe(want);
});

it.each<{ text: string; want: ListenAddress | undefined }>([
  { text: ':9090', want: { port: 9_090 } },
  { text: '127.0.0.1:1', want: { host: '127.0.0.1', port: 1 } },
  { text: 'localhost:65535', want: { host: 'localhost', port: 65_535 } },
  { text: '[::]:80', want: { host: '::', port: 80 } },
  { text: '0', want: undefined },
])('parses listen address $text', ({ text, want }) => {
  expect(settingsOf(['--listen-address', text]).listenAddress).toStrictEqual(want);
});

it.each([
  {
    args: ['--max-runs', 'many'],
    line: '--max-runs: "many" is not a whole number; accepted: a whole number from 1 to 10000',
  },
  {
    args: ['--max-runs', '0'],
    line: '--max-runs: "0" is less than 1; accepted: a whole number from 1 to 10000',
  },
  {
    args: ['--workers=-1'],
    line: '--workers: "-1" is not a whole number; accepted: a whole number from 1 to 100',
  },
  {
    args: ['--workers', '101'],
    line: '--workers: "101" is more than 100; accepted: a whole number from 1 to 100',
  },
  {
    args: ['--status-heartbeat', '30'],
    line: '--status-heartbeat: "30" is not a duration (did you mean 30s?); accepted: a duration from 1s to 1h0m0s, for example 30s or 1m30s',
  },
  {
    args: ['--drain-timeout', '1m'],
    line: '--drain-timeout: 1m0s is longer than --shutdown-timeout; accepted: at most 25s',
  },
  {
    args: ['--watch-namespaces', 'storage,,other'],
    line: '--watch-namespaces: "storage,,other" contains an invalid namespace name; accepted: a comma-separated list of namespaces',
  },
  {
    args: ['--watch-namespaces', 'storage,Other'],
    line: '--watch-namespaces: "storage,Other" contains an invalid namespace name: "Other"; accepted: a comma-separated list of namespaces',
  },
  ...[
    'localhost',
    '127.0.0.1/33',
    '127.0.0.1/',
    '127.0.0.1/8/8',
    '1.2.3',
    '::1/129',
    'fe80::1%eth0',
    '127.1',
  ].map((address) => ({
    args: ['--allow-addresses', `10.0.0.1,${address}`],
    line:
      `--allow-addresses: "10.0.0.1,${address}" contains "${address}", which is neither an address nor a CIDR; ` +
      'accepted: a comma-separated list of addresses and CIDRs, for example 127.0.0.1,fe80::/64',
  })),
  {
    args: ['--leader-elect=ture'],
    line: '--leader-elect: "ture" is not supported (did you mean true?); accepted: true, false',
  },
  {
    args: ['--leader-election-id', 'A b'],
    line: '--leader-election-id: "A b" is not a valid Lease name; accepted: at most 253 lower-case letters, digits, hyphens and dots, starting and ending with a letter or digit',
  },
  { args: ['--identity', ' '], line: '--identity: " " is empty; accepted: at most 128 characters' },
  {
    args: ['--log-level', 'inof'],
    line: '--log-level: "inof" is not supported (did you mean info?); accepted: silent, error, warn, info, debug',
  },
  {
    args: ['--listen-address', ':65536'],
    line: '--listen-address: ":65536" has a port above 65535; accepted: [host]:port, for example :8080, 127.0.0.1:8080 or [::1]:8080, or 0',
  },
  {
    args: ['--listen-address', '8080'],
    line: '--listen-address: "8080" is not an address; accepted: [host]:port, for example :8080, 127.0.0.1:8080 or [::1]:8080, or 0',
  },
])('rejects $args', ({ args, line }) => {
  expect(linesOf(args)).toEqual([line]);
});

it('reports every invalid value with its flag or variable', () => {
  const lines = linesOf(['--workers', 'x'], { STORAGE_PROBE_MAX_RUNS: 'y' });
  expect(lines.map((line) => line.split(' is ')[0])).toEqual([
    '--workers: "x"',
    'STORAGE_PROBE_MAX_RUNS: "y"',
  ]);
});

it('accepts a string or rejects it with one line', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(FLAGS)), fc.string({ unit: 'grapheme' }), (flag, text) => {
      for (const line of linesOf([`${flagName(flag)}=${text}`])) {
        expect(line).not.toContain('\n');
        expect(line).toMatch(/^--[\w-]+: .+; accepted: ./);
      }
    }),
  );
});

it('accepts every level of the logger', () => {
  for (const level of LOG_LEVELS) expect(settingsOf(['--log-level', level]).logLevel).toBe(level);
});

it('rejects an unknown flag', () => {
  expect(() => settingsOf(['--max-run', '1'])).toThrow(CommanderError);
});

it('shows defaults and variables in the help', () => {
  const command = new Command('controller').configureHelp({ helpWidth: 1_000 });
  for (const option of controllerOptions()) command.addOption(option);
  const help = command.helpInformation();
  expect(help).toContain('runs in flight (default: 50; env: STORAGE_PROBE_MAX_RUNS)');
  expect(help).toContain('(default: all; env: STORAGE_PROBE_WATCH_NAMESPACES)');
  expect(help).not.toMatch(/^ +--no-leader-elect/m);
});
