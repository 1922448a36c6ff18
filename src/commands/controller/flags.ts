import { isIP } from 'node:net';

import { Option } from 'commander';

import { parseAddressRange } from '../../api/address-range.ts';
import { formatDuration, parseDurationMs } from '../../api/duration.ts';
import { NotAcceptedError } from '../../api/not-accepted.ts';
import { formatProblem, showText } from '../../api/problem.ts';
import { didYouMean, nearest } from '../../api/suggest.ts';
import type { LogLevel } from '../../telemetry/logs.ts';
import { InputError } from '../context.ts';

/** Listen address of the HTTP server. */
export interface ListenAddress {
  /** Default: all addresses. */
  readonly host?: string;
  /** 0 picks a free port. */
  readonly port: number;
}

/** Validated settings from flags and environment variables. */
export interface ControllerSettings {
  /** Default: `KUBECONFIG`, then the pod's service account, then `~/.kube/config`. */
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Empty means all namespaces. */
  readonly watchNamespaces: readonly string[];
  readonly workers: number;
  readonly statusHeartbeatMs: number;
  readonly maxRuns: number;
  /** Addresses and CIDRs. */
  readonly allowAddresses: readonly string[];
  /** File with the prober's web identity token. Undefined if targets cannot use it. */
  readonly webIdentityTokenFile: string | undefined;
  /** Origins of the STS services that may receive the token. */
  readonly webIdentityStsEndpoints: readonly string[];
  readonly leaderElect: boolean;
  /** Default: the namespace of the pod or kubeconfig context. */
  readonly leaderElectionNamespace: string | undefined;
  readonly leaderElectionId: string;
  /** Default: the host name with a random suffix. */
  readonly identity: string | undefined;
  readonly drainTimeoutMs: number;
  /** At least {@link drainTimeoutMs}. */
  readonly shutdownTimeoutMs: number;
  /** Undefined if the HTTP server is disabled. */
  readonly listenAddress: ListenAddress | undefined;
  readonly logLevel: LogLevel;
}

export interface Flag<T = unknown> {
  readonly group: string;
  /** The flag and its value in commander's syntax: `--max-runs <count>`. */
  readonly flag: `--${string}`;
  readonly env: `STORAGE_PROBE_${string}`;
  /** Default value, as a user would type it. */
  readonly default?: string;
  /** Description of the default, if the value alone does not explain it. */
  readonly defaultText?: string;
  readonly help: string;
  /** Text after "accepted:" in errors and docs. */
  readonly accepted: string;
  /** @throws {NotAcceptedError} */
  readonly parse: (text: string) => T;
}

const KUBERNETES = 'Kubernetes:';
const PROBING = 'Probing:';
const LEADER_ELECTION = 'Leader election:';
const SHUTDOWN = 'Shutdown:';
const OBSERVABILITY = 'Observability:';

/** All flags of `controller`. Source of the command's options, environment variables and reference page. */
export const FLAGS: { readonly [K in keyof ControllerSettings]: Flag<ControllerSettings[K]> } = {
  kubeconfig: {
    group: KUBERNETES,
    flag: '--kubeconfig <file>',
    env: 'STORAGE_PROBE_KUBECONFIG',
    defaultText: "KUBECONFIG, then the pod's service account, then ~/.kube/config",
    help: 'path to the kubeconfig file',
    ...text('a file path'),
  },
  context: {
    group: KUBERNETES,
    flag: '--context <name>',
    env: 'STORAGE_PROBE_CONTEXT',
    defaultText: 'the current context',
    help: 'kubeconfig context to use',
    ...text('a context name'),
  },
  watchNamespaces: {
    group: KUBERNETES,
    flag: '--watch-namespaces <names>',
    env: 'STORAGE_PROBE_WATCH_NAMESPACES',
    default: '',
    defaultText: 'all',
    help: 'namespaces to watch for StorageProbes',
    ...list('a comma-separated list of namespaces', namespaceName),
  },
  workers: {
    group: KUBERNETES,
    flag: '--workers <count>',
    env: 'STORAGE_PROBE_WORKERS',
    default: '4',
    help: 'maximum number of concurrent reconciles',
    ...wholeNumber(1, 100),
  },
  statusHeartbeatMs: {
    group: KUBERNETES,
    flag: '--status-heartbeat <duration>',
    env: 'STORAGE_PROBE_STATUS_HEARTBEAT',
    default: '60s',
    help:
      'how often status is updated while the state stays the same, less often with more than 1,000 probes; ' +
      'a change of state is written immediately',
    ...duration(1_000, 3_600_000),
  },
  maxRuns: {
    group: PROBING,
    flag: '--max-runs <count>',
    env: 'STORAGE_PROBE_MAX_RUNS',
    default: '50',
    help: 'maximum number of runs in flight',
    ...wholeNumber(1, 10_000),
  },
  allowAddresses: {
    group: PROBING,
    flag: '--allow-addresses <addresses>',
    env: 'STORAGE_PROBE_ALLOW_ADDRESSES',
    default: '',
    defaultText: 'none',
    help: 'loopback, link-local or cloud metadata addresses that targets may use although they are blocked by default',
    ...list('a comma-separated list of addresses and CIDRs, for example 127.0.0.1,fe80::/64', addressOrCidr),
  },
  webIdentityTokenFile: {
    group: PROBING,
    flag: '--web-identity-token-file <file>',
    env: 'STORAGE_PROBE_WEB_IDENTITY_TOKEN_FILE',
    defaultText: 'none, so targets cannot use webIdentity',
    help: 'file with a web identity token, which any target may then exchange for credentials',
    ...text('a file path'),
  },
  webIdentityStsEndpoints: {
    group: PROBING,
    flag: '--web-identity-sts-endpoints <urls>',
    env: 'STORAGE_PROBE_WEB_IDENTITY_STS_ENDPOINTS',
    default: '',
    defaultText: 'none',
    help: 'STS endpoints that may receive the web identity token',
    ...list('a comma-separated list of http://host[:port] and https://host[:port]', originOf),
  },
  leaderElect: {
    group: LEADER_ELECTION,
    flag: '--leader-elect [boolean]',
    env: 'STORAGE_PROBE_LEADER_ELECT',
    default: 'true',
    help: 'elect a leader to run the probes (required with more than one replica); --no-leader-elect disables it',
    ...oneOf(['true', 'false'], (word) => word === 'true'),
  },
  leaderElectionNamespace: {
    group: LEADER_ELECTION,
    flag: '--leader-election-namespace <name>',
    env: 'STORAGE_PROBE_LEADER_ELECTION_NAMESPACE',
    defaultText: 'namespace of the pod or kubeconfig context, otherwise "default"',
    help: 'namespace of the Lease',
    accepted: 'a namespace name',
    parse: namespaceName,
  },
  leaderElectionId: {
    group: LEADER_ELECTION,
    flag: '--leader-election-id <name>',
    env: 'STORAGE_PROBE_LEADER_ELECTION_ID',
    default: 'storage-probe',
    help: 'name of the Lease',
    accepted:
      'at most 253 lower-case letters, digits, hyphens and dots, starting and ending with a letter or digit',
    parse: leaseName,
  },
  identity: {
    group: LEADER_ELECTION,
    flag: '--identity <name>',
    env: 'STORAGE_PROBE_IDENTITY',
    defaultText: 'the host name with a random suffix',
    help: 'name of this replica in the Lease and in Events',
    // Limit for an Event's reportingInstance. Source: Kubernetes API, events.k8s.io/v1.
    ...text('at most 128 characters', 128),
  },
  drainTimeoutMs: {
    group: SHUTDOWN,
    flag: '--drain-timeout <duration>',
    env: 'STORAGE_PROBE_DRAIN_TIMEOUT',
    default: '1s',
    help: 'how long runs may continue after shutdown begins; after that, they are aborted and only clean up',
    ...duration(0, 600_000),
  },
  shutdownTimeoutMs: {
    group: SHUTDOWN,
    flag: '--shutdown-timeout <duration>',
    env: 'STORAGE_PROBE_SHUTDOWN_TIMEOUT',
    default: '25s',
    help: "time limit for the whole shutdown; keep it below the pod's terminationGracePeriodSeconds",
    ...duration(1_000, 600_000),
  },
  listenAddress: {
    group: OBSERVABILITY,
    flag: '--listen-address <address>',
    env: 'STORAGE_PROBE_LISTEN_ADDRESS',
    default: ':8080',
    help: 'address on which to serve /metrics, /healthz and /readyz; 0 disables the server',
    accepted: '[host]:port, for example :8080, 127.0.0.1:8080 or [::1]:8080, or 0',
    parse: listenAddress,
  },
  logLevel: {
    group: OBSERVABILITY,
    flag: '--log-level <level>',
    env: 'STORAGE_PROBE_LOG_LEVEL',
    default: 'info',
    help: 'minimum level of the JSON logs on stderr',
    // A copy of LOG_LEVELS. Importing it would load the logger just to print the help.
    ...oneOf<LogLevel, LogLevel>(['silent', 'error', 'warn', 'info', 'debug'], (level) => level),
  },
};

/** Note on telemetry settings for `--help` and the reference page. */
export const OTEL_NOTE =
  'Span export is configured with the OTEL_* environment variables of OpenTelemetry:\n' +
  'OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL (grpc, http/protobuf or\n' +
  'http/json), OTEL_TRACES_SAMPLER and others.';

/** The flag without its value: `--max-runs`. */
export function flagName({ flag }: Pick<Flag, 'flag'>): string {
  return flag.split(' ', 1)[0] ?? flag;
}

/** Describes the default for help and docs. */
export function defaultDescription(flag: Flag): string {
  return flag.defaultText ?? flag.default ?? 'none';
}

/** Options of the command. {@link controllerSettings} parses their values. */
export function controllerOptions(): Option[] {
  const options = Object.values(FLAGS).map((flag: Flag) => {
    const description = `${flag.help} (default: ${defaultDescription(flag)}; env: ${flag.env})`;
    return new Option(flag.flag, description).helpGroup(flag.group);
  });
  return [...options, new Option('--no-leader-elect').hideHelp()];
}

/**
 * @param given option values from commander. A flag overrides its environment variable. An empty variable counts as
 *   unset.
 * @throws {InputError} with one line per invalid value.
 */
export function controllerSettings(
  given: Readonly<Record<string, string | boolean | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
): ControllerSettings {
  const problems: string[] = [];
  const read = <T>(flag: Flag<T>): T | undefined => {
    const { where, text: value } = valueOf(flag, given, env);
    if (value === undefined) return undefined;
    try {
      return flag.parse(value);
    } catch (error) {
      if (!(error instanceof NotAcceptedError)) throw error;
      const { accepted } = flag;
      problems.push(
        formatProblem({ path: [where], value: showText(value), message: error.message, accepted }),
      );
      return undefined;
    }
  };
  const settings = Object.fromEntries(
    Object.entries(FLAGS).map(([key, flag]) => [key, read(flag as Flag)]),
  ) as unknown as ControllerSettings;
  if (problems.length > 0) throw new InputError(...problems);

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
      throw new NotAcceptedError(`is not supported${didYouMean(nearest(value, words))}`);
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
  throw new NotAcceptedError(
    `contains an invalid namespace name${value === '' ? '' : `: ${showText(value)}`}`,
  );
}

function leaseName(value: string): string {
  if (SUBDOMAIN.test(value)) return value;
  throw new NotAcceptedError('is not a valid Lease name');
}

function addressOrCidr(value: string): string {
  try {
    parseAddressRange(value);
    return value;
  } catch {
    throw new NotAcceptedError(`contains ${showText(value)}, which is neither an address nor a CIDR`);
  }
}

function originOf(value: string): string {
  const url = URL.parse(value);
  if (url !== null && /^https?:\/\/[^/@?#]+\/?$/.test(value)) return url.origin;
  throw new NotAcceptedError(
    value.includes('@') ? 'contains credentials' : `contains ${showText(value)}, which is not such a URL`,
  );
}

function listenAddress(value: string): ListenAddress | undefined {
  if (value === '0') return undefined;
  const [, bracketed, plain, digits] = /^(?:\[([\da-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value) ?? [];
  const port = Number(digits);
  if (digits === undefined) throw new NotAcceptedError('is not an address');
  if (port > 65_535) throw new NotAcceptedError('has a port above 65535');
  if (bracketed !== undefined && isIP(bracketed) !== 6)
    throw new NotAcceptedError('has no IPv6 address in the brackets');
  const host = bracketed ?? plain;
  return host ? { host, port } : { port };
}
