import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

import { KubeConfig, type User } from '@kubernetes/client-node';
import { parse } from 'yaml';

import { type HeaderValue, impersonationHeaders } from './impersonation.ts';
import { oneLine } from '../api/one-line.ts';

export interface KubeConfigOptions {
  /** Path of a kubeconfig file. Takes precedence over `env`. */
  readonly path?: string | undefined;
  /** Context to use. Default: the file's current context. */
  readonly context?: string | undefined;
  /** Environment variables, such as `KUBECONFIG`, `KUBERNETES_SERVICE_HOST` and `HOME`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Root of the Pod's file system. Default `/`. Tests use a temporary directory. */
  readonly root?: string | undefined;
}

/** A user with the fields of the kubeconfig that `KubeConfig` ignores. */
export interface KubeUser extends User {
  readonly impersonationHeaders?: Readonly<Record<string, HeaderValue>>;
}

/** No usable kubeconfig was found. The message is one line that names the source and the problem. */
export class KubeConfigError extends Error {
  override readonly name = 'KubeConfigError';
}

const MAX_MESSAGE_LENGTH = 300;
const TOKEN_FILE = 'var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * Loads the API server's address and credentials. Order of precedence: `path`, `$KUBECONFIG`, the Pod's ServiceAccount,
 * `~/.kube/config`.
 *
 * @throws {KubeConfigError}
 */
export function loadKubeConfig({ path, context, env, root = '/' }: KubeConfigOptions): KubeConfig {
  const { config, source } = findConfig(path, env, root);
  if (context !== undefined) config.setCurrentContext(context);
  checkConfig(config, source);
  return config;
}

interface FoundConfig {
  readonly config: KubeConfig;
  /** Name of the source, for messages. */
  readonly source: string;
}

function findConfig(path: string | undefined, env: KubeConfigOptions['env'], root: string): FoundConfig {
  if (path !== undefined) return { config: readConfig(path), source: path };
  const listed = env['KUBECONFIG'] ?? '';
  if (listed !== '') return { config: readConfigs(listed.split(delimiter)), source: `KUBECONFIG=${listed}` };
  if (env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(join(root, TOKEN_FILE))) {
    const config = new KubeConfig();
    config.loadFromCluster(root.replace(/\/$/, ''));
    return { config, source: "the Pod's ServiceAccount" };
  }
  const home = join(env['HOME'] ?? env['USERPROFILE'] ?? '', '.kube', 'config');
  if (existsSync(home)) return { config: readConfig(home), source: home };
  throw new KubeConfigError(
    `no kubeconfig found: none was given, KUBECONFIG is not set, the process is not in a Pod, and ${home} does not exist`,
  );
}

/** Merges files as kubectl does: missing files are skipped, and the first entry with a given name wins. */
function readConfigs(paths: readonly string[]): KubeConfig {
  const configs = paths.filter((path) => existsSync(path)).map((path) => readConfig(path));
  if (configs.length === 0) {
    throw new KubeConfigError(`kubeconfig: no file exists at KUBECONFIG=${paths.join(delimiter)}`);
  }
  const merged = new KubeConfig();
  merged.loadFromOptions({
    clusters: configs.flatMap(({ clusters }) => clusters),
    users: configs.flatMap(({ users }) => users),
    contexts: configs.flatMap(({ contexts }) => contexts),
    currentContext: configs.find(({ currentContext }) => currentContext)?.currentContext,
  });
  return merged;
}

function readConfig(path: string): KubeConfig {
  const config = new KubeConfig();
  try {
    const text = readFileSync(path, 'utf8');
    config.loadFromString(text);
    config.makePathsAbsolute(dirname(path));
    config.users = withImpersonation(config.users, text);
  } catch (cause) {
    throw new KubeConfigError(`kubeconfig ${path} cannot be read: ${firstLine(cause)}`, { cause });
  }
  return config;
}

function withImpersonation(users: readonly User[], text: string): KubeUser[] {
  const { users: entries = [] } = parse(text) as { users?: { name: string; user?: unknown }[] };
  return users.map((user) => {
    const entry = entries.find(({ name }) => name === user.name);
    try {
      return { ...user, impersonationHeaders: impersonationHeaders(entry?.user) };
    } catch (error) {
      throw new Error(`user ${user.name}: ${firstLine(error)}`, { cause: error });
    }
  });
}

function checkConfig(config: KubeConfig, source: string): void {
  const context = config.getCurrentContext();
  if (!context) throw new KubeConfigError(`kubeconfig: ${source} has no current-context`);
  if (config.getContextObject(context) === null) {
    const known = config.contexts.map(({ name }) => name).join(', ');
    throw new KubeConfigError(
      oneLine(`kubeconfig: ${source} has no context ${context}; available: ${known}`, MAX_MESSAGE_LENGTH),
    );
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new KubeConfigError(`kubeconfig: ${source}: the cluster of context ${context} is not defined`);
  }
  const { protocol } = URL.parse(cluster.server) ?? {};
  if (protocol === 'http:' && !cluster.skipTLSVerify) {
    throw new KubeConfigError(
      `kubeconfig: ${source}: the server ${cluster.server} does not use TLS; to allow this, set insecure-skip-tls-verify`,
    );
  }
  if (protocol !== 'https:' && protocol !== 'http:') {
    throw new KubeConfigError(`kubeconfig: ${source}: the server ${cluster.server} must be an https:// URL`);
  }
}

/** Drops all lines but the first, because a parser's message may quote the file, which may contain tokens. */
function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return oneLine(message.split('\n', 1).join(''));
}
