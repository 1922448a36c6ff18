import { isIP } from 'node:net';

import { Option } from 'commander';

import { parseAddressRange } from '../../api/address-range.ts';
import { formatDuration, parseDurationMs } from '../../api/duration.ts';
import { NotAcceptedError } from '../../api/not-accepted.ts';
import { formatProblem, showText } from '../../api/problem.ts';
import { didYouMean, nearest } from '../../api/suggest.ts';
import type { LogLevel } from '../../telemetry/logs.ts';
import { InputError } from '../context.ts';

/** Where the HTTP server listens. */
export interface ListenAddress {
  /** Absent: on all addresses. */
  readonly host?: string;
  /** 0: one that is free. */
  readonly port: number;
}

/** What the flags and the environment say, checked. */
export interface ControllerSettings {
  /** Absent: as kubectl finds it (`KUBECONFIG`, `~/.kube/config`), or the pod's own service account. */
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Empty: all namespaces. */
  readonly watchNamespaces: readonly string[];
  readonly workers: number;
  readonly statusHeartbeatMs: number;
  readonly maxRuns: number;
  /** Addresses and CIDRs. */
  readonly allowAddresses: readonly string[];
  readonly leaderElect: boolean;
  /** Absent: the pod's own namespace. */
  readonly leaderElectionNamespace: string | undefined;
  readonly leaderElectionId: string;
  /** Absent: made of the host's name. */
  readonly identity: string | undefined;
  readonly drainTimeoutMs: number;
  /** At least {@link drainTimeoutMs}. */
  readonly shutdownTimeoutMs: number;
  /** Absent: no HTTP server. */
  readonly listenAddress: ListenAddress | undefined;
  readonly logLevel: LogLevel;
}

export interface Flag<T = unknown> {
  readonly group: string;
  /** As commander takes it, with its value: `--max-runs <count>`. */
  readonly flag: `--${string}`;
  readonly env: `STORAGE_PROBE_${string}`;
  /** As a user would write it; absent if there is none. */
  readonly default?: string;
  /** The default in words, where the text cannot say it. */
  readonly otherwise?: string;
  readonly help: string;
  /** Reads after "accepted:". */
  readonly accepted: string;
  /** @throws {NotAcceptedError} */
  readonly parse: (text: string) => T;
}

const KUBERNETES = 'Kubernetes:';
const PROBING = 'Probing:';
const REPLICAS = 'Replicas:';
const STOPPING = 'Stopping:';
const TELLING = 'What to tell:';

/** All flags of `controller`: its options, its environment variables and their reference page are made of these. */
export const FLAGS: { readonly [K in keyof ControllerSettings]: Flag<ControllerSettings[K]> } = {
  kubeconfig: {
    group: KUBERNETES,
    flag: '--kubeconfig <file>',
    env: 'STORAGE_PROBE_KUBECONFIG',
    otherwise: "KUBECONFIG, else the pod's service account, else ~/.kube/config",
    help: 'how to reach the API server',
    ...text('the path of a file'),
  },
  context: {
    group: KUBERNETES,
    flag: '--context <name>',
    env: 'STORAGE_PROBE_CONTEXT',
    otherwise: 'the current one',
    help: 'context of the kubeconfig',
    ...text('the name of a context'),
  },
  watchNamespaces: {
    group: KUBERNETES,
    flag: '--watch-namespaces <names>',
    env: 'STORAGE_PROBE_WATCH_NAMESPACES',
    default: '',
    otherwise: 'all',
    help: 'namespaces whose probes are run',
    ...list('names of namespaces, with commas between them', namespaceName),
  },
  workers: {
    group: KUBERNETES,
    flag: '--workers <count>',
    env: 'STORAGE_PROBE_WORKERS',
    default: '4',
    help: 'resources that are reconciled at once',
    ...wholeNumber(1, 100),
  },
  statusHeartbeatMs: {
    group: KUBERNETES,
    flag: '--status-heartbeat <duration>',
    env: 'STORAGE_PROBE_STATUS_HEARTBEAT',
    default: '60s',
    help: 'how often a status is written in which only numbers change; a change of state is written at once',
    ...duration(1_000, 3_600_000),
  },
  maxRuns: {
    group: PROBING,
    flag: '--max-runs <count>',
    env: 'STORAGE_PROBE_MAX_RUNS',
    default: '50',
    help: 'runs in flight at once',
    ...wholeNumber(1, 10_000),
  },
  allowAddresses: {
    group: PROBING,
    flag: '--allow-addresses <addresses>',
    env: 'STORAGE_PROBE_ALLOW_ADDRESSES',
    default: '',
    otherwise: 'none',
    help: 'loopback, link-local or metadata addresses that targets may have all the same',
    ...list('addresses and CIDRs, with commas between them, for example 127.0.0.1,fe80::/64', addressOrCidr),
  },
  leaderElect: {
    group: REPLICAS,
    flag: '--leader-elect [boolean]',
    env: 'STORAGE_PROBE_LEADER_ELECT',
    default: 'true',
    help: 'run probes only while holding the Lease, as more than one replica must; --no-leader-elect for false',
    ...oneOf(['true', 'false'], (word) => word === 'true'),
  },
  leaderElectionNamespace: {
    group: REPLICAS,
    flag: '--leader-election-namespace <name>',
    env: 'STORAGE_PROBE_LEADER_ELECTION_NAMESPACE',
    otherwise: "the pod's own, else default",
    help: 'namespace of the Lease',
    accepted: 'the name of a namespace',
    parse: namespaceName,
  },
  leaderElectionId: {
    group: REPLICAS,
    flag: '--leader-election-id <name>',
    env: 'STORAGE_PROBE_LEADER_ELECTION_ID',
    default: 'storage-probe',
    help: 'name of the Lease',
    accepted: 'at most 253 lower-case letters, digits, hyphens and dots, with a letter or digit at both ends',
    parse: leaseName,
  },
  identity: {
    group: REPLICAS,
    flag: '--identity <name>',
    env: 'STORAGE_PROBE_IDENTITY',
    otherwise: "the host's name and a random suffix",
    help: 'what this replica calls itself in the Lease and in Events',
    // The bound of an Event's reportingInstance. Source: Kubernetes API, events.k8s.io/v1.
    ...text('at most 128 characters', 128),
  },
  drainTimeoutMs: {
    group: STOPPING,
    flag: '--drain-timeout <duration>',
    env: 'STORAGE_PROBE_DRAIN_TIMEOUT',
    default: '1s',
    help: 'how long runs may go on after the process was asked to end; then they are broken off and clean up',
    ...duration(0, 600_000),
  },
  shutdownTimeoutMs: {
    group: STOPPING,
    flag: '--shutdown-timeout <duration>',
    env: 'STORAGE_PROBE_SHUTDOWN_TIMEOUT',
    default: '25s',
    help: "how long the end may take in all; keep it below the pod's terminationGracePeriodSeconds",
    ...duration(1_000, 600_000),
  },
  listenAddress: {
    group: TELLING,
    flag: '--listen-address <address>',
    env: 'STORAGE_PROBE_LISTEN_ADDRESS',
    default: ':8080',
    help: 'where /metrics, /healthz and /readyz are served; 0 for nowhere',
    accepted: '[host]:port, for example :8080, 127.0.0.1:8080 or [::1]:8080, or 0',
    parse: listenAddress,
  },
  logLevel: {
    group: TELLING,
    flag: '--log-level <level>',
    env: 'STORAGE_PROBE_LOG_LEVEL',
    default: 'info',
    help: 'JSON log lines on stderr',
    // A copy of LOG_LEVELS: to import it is to load the logger, for a line of help.
    ...oneOf<LogLevel, LogLevel>(['silent', 'error', 'warn', 'info', 'debug'], (level) => level),
  },
};

/** What the reference page and `--help` say of the settings that are not flags. */
export const OTEL_NOTE =
  'Spans go where the OTEL_* variables of OpenTelemetry say: OTEL_EXPORTER_OTLP_ENDPOINT, ' +
  'OTEL_EXPORTER_OTLP_PROTOCOL (grpc, http/protobuf or http/json), OTEL_TRACES_SAMPLER and the others.';

/** The flag's name alone: `--max-runs`. */
export function flagName({ flag }: Pick<Flag, 'flag'>): string {
  return flag.split(' ', 1)[0] ?? flag;
}

/** What holds when neither the flag nor its variable is set, for a reader. */
export function defaultOf(flag: Flag): string {
  return flag.otherwise ?? flag.default ?? 'none';
}

/** The options of the command; all values are read by {@link controllerSettings}. */
export function controllerOptions(): Option[] {
  const options = Object.values(FLAGS).map((flag: Flag) => {
    const description = `${flag.help} (default: ${defaultOf(flag)}; or ${flag.env})`;
    return new Option(flag.flag, description).helpGroup(flag.group);
  });
  return [...options, new Option('--no-leader-elect').hideHelp()];
}

/**
 * @param given what commander made of the {@link controllerOptions}. A flag counts before its variable; an empty
 *   variable counts as unset.
 * @throws {InputError} with a line for each value that is not accepted.
 */
export function controllerSettings(
  given: Readonly<Record<string, string | boolean | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
): ControllerSettings {
  const faults: string[] = [];
  const read = <T>(flag: Flag<T>): T | undefined => {
    const { where, text: value } = valueOf(flag, given, env);
    if (value === undefined) return undefined;
    try {
      return flag.parse(value);
    } catch (error) {
      if (!(error instanceof NotAcceptedError)) throw error;
      const { accepted } = flag;
      faults.push(formatProblem({ path: [where], value: showText(value), message: error.message, accepted }));
      return undefined;
    }
  };
  const settings = Object.fromEntries(
    Object.entries(FLAGS).map(([key, flag]) => [key, read(flag as Flag)]),
  ) as unknown as ControllerSettings;
  if (faults.length > 0) throw new InputError(...faults);

  const { drainTimeoutMs, shutdownTimeoutMs } = settings;
  if (drainTimeoutMs > shutdownTimeoutMs) {
    throw new InputError(
      `${flagName(FLAGS.drainTimeoutMs)}: ${formatDuration(drainTimeoutMs)} is longer than ` +
        `${flagName(FLAGS.shutdownTimeoutMs)}; accepted: at most ${formatDuration(shutdownTimeoutMs)}`,
    );
  }
  return settings;
}

function valueOf(
  flag: Flag,
  given: Readonly<Record<string, string | boolean | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
): { where: string; text: string | undefined } {
  const fromFlag = given[new Option(flag.flag).attributeName()];
  if (fromFlag !== undefined) return { where: flagName(flag), text: String(fromFlag) };
  return { where: flag.env, text: env[flag.env] || flag.default };
}

type Parser<T> = Pick<Flag<T>, 'accepted' | 'parse'>;

function text(accepted: string, maxLength = 4_096): Parser<string> {
  return {
    accepted,
    parse: (value) => {
      if (value.trim() === '') throw new NotAcceptedError('is empty');
      if (value.length > maxLength) throw new NotAcceptedError('is too long');
      return value;
    },
  };
}

function wholeNumber(min: number, max: number): Parser<number> {
  return {
    accepted: `a whole number from ${min} to ${max}`,
    parse: (value) => {
      if (!/^\d{1,9}$/.test(value)) throw new NotAcceptedError('is not a whole number');
      const number = Number(value);
      if (number < min) throw new NotAcceptedError(`is less than ${min}`);
      if (number > max) throw new NotAcceptedError(`is more than ${max}`);
      return number;
    },
  };
}

function duration(minMs: number, maxMs: number): Parser<number> {
  const [min, max] = [formatDuration(minMs), formatDuration(maxMs)];
  return {
    accepted: `a duration from ${min} to ${max}, for example 30s or 1m30s`,
    parse: (value) => {
      const ms = parseDurationMs(value);
      if (ms < minMs) throw new NotAcceptedError(`is less than ${min}`);
      if (ms > maxMs) throw new NotAcceptedError(`is more than ${max}`);
      return ms;
    },
  };
}

function oneOf<W extends string, T>(words: readonly W[], meaning: (word: W) => T): Parser<T> {
  return {
    accepted: words.join(', '),
    parse: (value) => {
      const word = words.find((each) => each === value);
      if (word !== undefined) return meaning(word);
      throw new NotAcceptedError(`is not known${didYouMean(nearest(value, words))}`);
    },
  };
}

function list(accepted: string, parse: (item: string) => string): Parser<string[]> {
  return {
    accepted,
    parse: (value) => {
      if (value.trim() === '') return [];
      return [...new Set(value.split(',').map((item) => parse(item.trim())))];
    },
  };
}

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

function namespaceName(value: string): string {
  if (LABEL.test(value)) return value;
  throw new NotAcceptedError(`names no namespace${value === '' ? '' : `: ${showText(value)}`}`);
}

function leaseName(value: string): string {
  if (SUBDOMAIN.test(value)) return value;
  throw new NotAcceptedError('is no name of a resource');
}

function addressOrCidr(value: string): string {
  try {
    parseAddressRange(value);
    return value;
  } catch {
    throw new NotAcceptedError(`holds ${showText(value)}, which is neither an address nor a CIDR`);
  }
}

function listenAddress(value: string): ListenAddress | undefined {
  if (value === '0') return undefined;
  const [, bracketed, plain, digits] = /^(?:\[([\da-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value) ?? [];
  const port = Number(digits);
  if (digits === undefined) throw new NotAcceptedError('is not an address');
  if (port > 65_535) throw new NotAcceptedError('has a port above 65535');
  if (bracketed !== undefined && isIP(bracketed) !== 6)
    throw new NotAcceptedError('has no IPv6 address in its brackets');
  const host = bracketed ?? plain;
  return host ? { host, port } : { port };
}
