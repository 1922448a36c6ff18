import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { KubeConfig } from '@kubernetes/client-node';

import { oneLine } from './one-line.ts';

export interface KubeConfigOptions {
  /** A kubeconfig file; before all else. */
  readonly path?: string | undefined;
  /** Another context than the file's current one. */
  readonly context?: string | undefined;
  /** `KUBECONFIG`, `KUBERNETES_SERVICE_HOST`, `HOME`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the Pod's file system begins. Default `/`; tests have another. */
  readonly root?: string | undefined;
}

/** No API server can be found, or not by what was found: one line that says where, and what is wrong. */
export class KubeConfigError extends Error {
  override readonly name = 'KubeConfigError';
}

const TOKEN_FILE = 'var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * Where the API server is and who asks: by `path`, else `$KUBECONFIG`, else the Pod's ServiceAccount, else
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

interface Found {
  readonly config: KubeConfig;
  /** For messages. */
  readonly source: string;
}

function findConfig(path: string | undefined, env: KubeConfigOptions['env'], root: string): Found {
  if (path !== undefined) return { config: readConfig(path), source: path };
  const listed = env['KUBECONFIG'] ?? '';
  if (listed !== '') return { config: readConfigs(listed.split(delimiter)), source: `KUBECONFIG=${listed}` };
  if (env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(join(root, TOKEN_FILE))) {
    const config = new KubeConfig();
    config.loadFromCluster(root.replace(/\/$/, ''));
    return { config, source: 'the ServiceAccount of the Pod' };
  }
  const home = join(env['HOME'] ?? env['USERPROFILE'] ?? '', '.kube', 'config');
  if (existsSync(home)) return { config: readConfig(home), source: home };
  throw new KubeConfigError(
    `no kubeconfig: none was given, KUBECONFIG is not set, this is no Pod, and there is no ${home}`,
  );
}

/** As kubectl merges them: a file that is not there is passed over, and of two namesakes the first one counts. */
function readConfigs(paths: readonly string[]): KubeConfig {
  const configs = paths.filter((path) => existsSync(path)).map((path) => readConfig(path));
  if (configs.length === 0) {
    throw new KubeConfigError(`kubeconfig: no such file: KUBECONFIG=${paths.join(delimiter)}`);
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
    config.loadFromFile(path);
  } catch (cause) {
    throw new KubeConfigError(`kubeconfig ${path} cannot be read: ${firstLine(cause)}`, { cause });
  }
  return config;
}

function checkConfig(config: KubeConfig, source: string): void {
  const context = config.getCurrentContext();
  if (!context) throw new KubeConfigError(`kubeconfig: ${source} has no current-context`);
  if (config.getContextObject(context) === null) {
    const known = config.contexts.map(({ name }) => name).join(', ');
    throw new KubeConfigError(oneLine(`kubeconfig: ${source} has no context ${context}, only: ${known}`));
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new KubeConfigError(`kubeconfig: ${source} lacks the cluster that its context ${context} names`);
  }
  const { protocol } = URL.parse(cluster.server) ?? {};
  if (protocol === 'http:' && !cluster.skipTLSVerify) {
    throw new KubeConfigError(
      `kubeconfig: ${source}: the server ${cluster.server} has no TLS; to use it all the same, set insecure-skip-tls-verify`,
    );
  }
  if (protocol !== 'https:' && protocol !== 'http:') {
    throw new KubeConfigError(`kubeconfig: ${source}: the server ${cluster.server} is no https:// URL`);
  }
}

/** What follows the first line of a parser's message is the place in the file, with the tokens around it. */
function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return oneLine(message.split('\n', 1).join(''));
}
