import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';

import { getBinary } from './binary.ts';
import { createAuthority } from './certificates.ts';
import { startServer, type RunningServer, type StartOptions } from './running-server.ts';

const DAY_MS = 86_400_000;
const SERVING_MS = 30 * DAY_MS;
const COMPACT_TIMEOUT_MS = 10_000;

/** User with all permissions. */
export const ADMIN = 'admin';
/** The operator's user. It has no permissions until `rbac.yaml` is applied. */
export const OPERATOR = 'storage-probe';

/** A restart with the same `dir` keeps the objects but creates new certificates and tokens. */
export interface ControlPlaneOptions extends StartOptions {
  /** Port of the API server. Default: a free port. No other process may use the port during a restart. */
  readonly port?: number | undefined;
  /** Additional users, without permissions. */
  readonly users?: readonly User[] | undefined;
  /** Additional flags for kube-apiserver. */
  readonly flags?: readonly string[] | undefined;
}

export interface User {
  readonly name: string;
  readonly groups?: readonly string[];
}

/** Connection details for a client. */
export interface KubeAccess {
  readonly url: string;
  /** CA certificate for clients to trust, PEM. */
  readonly caPem: string;
  /** Tokens by user name: `admin`, `storage-probe` and the additional users. */
  readonly tokens: Readonly<Record<string, string>>;
}

/**
 * An API server with RBAC, and etcd. There are no controllers and no kubelet: a deleted namespace stays Terminating, and
 * Pods do not run.
 */
export interface ControlPlane extends AsyncDisposable, KubeAccess {
  readonly adminToken: string;
  /** Kubeconfig of the admin. */
  readonly kubeconfigFile: string;
  readonly etcd: Etcd;
  /** The current server process. Each restart replaces it. */
  readonly apiServer: RunningServer;
  /** Writes a kubeconfig for a user and returns its path. */
  kubeconfigFor(user: string, namespace?: string): Promise<string>;
  /** Simulates a crash: open connections are cut. Resolves when the process has exited. */
  killApiServer(): Promise<void>;
  /** Stops the API server gracefully if it is running, and restarts it at the same URL with the same objects. */
  restartApiServer(): Promise<void>;
  stop(): Promise<void>;
}

export interface Etcd extends RunningServer {
  readonly url: string;
}

/** Starts etcd and kube-apiserver, and waits until both are ready. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { dir, signal, progress, users = [], flags = [] } = options;
  const binary = await getBinary('kube-apiserver', { signal, progress });
  await using started = new AsyncDisposableStack();
  const etcd = started.use(await startEtcd({ dir, signal, progress }));

  const authority = await createAuthority('storage-probe control plane');
  const accounts = [{ name: ADMIN, groups: ['system:masters'] }, { name: OPERATOR }, ...users];
  const tokens = Object.fromEntries(accounts.map(({ name }) => [name, randomBytes(16).toString('hex')]));
  const certificate = await authority.issue({ notAfter: new Date(Date.now() + SERVING_MS) });
  const files = join(dir, 'kube-apiserver');
  await mkdir(files, { recursive: true });
  await Promise.all([
    writeFile(join(files, 'serving.crt'), certificate.cert),
    writePrivate(join(files, 'serving.key'), certificate.key),
    writePrivate(join(files, 'service-account.key'), serviceAccountKey()),
    writePrivate(join(files, 'tokens.csv'), tokenFile(accounts, tokens)),
  ]);

  let port = options.port;
  function startApiServer(startSignal?: AbortSignal): Promise<RunningServer & { readonly url: string }> {
    return startServer({
      name: 'kube-apiserver',
      binary,
      logFile: join(dir, 'kube-apiserver.log'),
      signal: startSignal,
      async command(choosePort) {
        const chosen = await choosePort(port);
        const url = `https://127.0.0.1:${chosen}`;
        return {
          args: [...apiServerFlags(chosen, etcd.url, files), ...flags],
          env: {},
          healthUrls: [`${url}/readyz`],
          addresses: { url },
        };
      },
    });
  }

  let apiServer = await startApiServer(signal);
  started.defer(() => apiServer.stop());
  const { url } = apiServer;
  port = Number(new URL(url).port);
  const access = { url, caPem: authority.certificate, tokens };

  async function kubeconfigFor(user: string, namespace?: string): Promise<string> {
    const file = join(dir, `${user}.kubeconfig`);
    await writePrivate(file, kubeconfig(access, user, namespace));
    return file;
  }
  const kubeconfigFile = await kubeconfigFor(ADMIN);

  const running = started.move();
  const stop = (): Promise<void> => running.disposeAsync();
  return {
    ...access,
    adminToken: tokenOf(access, ADMIN),
    kubeconfigFile,
    etcd,
    get apiServer() {
      return apiServer;
    },
    kubeconfigFor,
    async killApiServer() {
      apiServer.kill('SIGKILL');
      await apiServer.exited;
    },
    async restartApiServer() {
      await apiServer.stop();
      apiServer = await startApiServer();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function startEtcd({ dir, signal, progress }: StartOptions): Promise<Etcd> {
  return startServer({
    name: 'etcd',
    binary: await getBinary('etcd', { signal, progress }),
    logFile: join(dir, 'etcd.log'),
    signal,
    async command(choosePort) {
      const url = `http://127.0.0.1:${await choosePort()}`;
      return {
        args: [
          `--data-dir=${join(dir, 'etcd')}`,
          `--listen-client-urls=${url}`,
          `--advertise-client-urls=${url}`,
          '--listen-peer-urls=http://127.0.0.1:0',
          // The data need not survive a power failure.
          '--unsafe-no-fsync',
          '--log-level=warn',
        ],
        env: {},
        healthUrls: [`${url}/health`],
        addresses: { url },
      };
    },
  });
}

/** @param files folder with the certificate, the keys and the tokens. */
function apiServerFlags(port: number, etcdUrl: string, files: string): string[] {
  return [
    `--etcd-servers=${etcdUrl}`,
    `--secure-port=${port}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    // The Service `kubernetes` cannot have a loopback address as its endpoint, and is not used here.
    '--endpoint-reconciler-type=none',
    '--service-cluster-ip-range=10.0.0.0/24',
    `--tls-cert-file=${join(files, 'serving.crt')}`,
    `--tls-private-key-file=${join(files, 'serving.key')}`,
    '--authorization-mode=RBAC',
    `--token-auth-file=${join(files, 'tokens.csv')}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${join(files, 'service-account.key')}`,
    `--service-account-signing-key-file=${join(files, 'service-account.key')}`,
    // This plugin would reject every Pod, because no controller creates the default ServiceAccounts.
    '--disable-admission-plugins=ServiceAccount',
    // By default, open watches delay the shutdown for too long.
    '--shutdown-watch-termination-grace-period=1s',
  ];
}

function serviceAccountKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'sec1', format: 'pem' }).toString();
}

/** Returns lines of the form `token,name,uid,"group,group"`. */
function tokenFile(users: readonly User[], tokens: Readonly<Record<string, string>>): string {
  return users
    .map(({ name, groups = [] }) => `${tokens[name]},${name},${name},"${groups.join(',')}"\n`)
    .join('');
}

/** @throws Error if the user does not exist. */
export function tokenOf({ tokens }: Pick<KubeAccess, 'tokens'>, user: string): string {
  const token = tokens[user];
  if (token !== undefined) return token;
  throw new Error(`unknown user ${user}: use one of ${Object.keys(tokens).join(', ')}`);
}

function kubeconfig(access: KubeAccess, user: string, namespace?: string): string {
  const { url, caPem } = access;
  const token = tokenOf(access, user);
  const name = 'storage-probe-local';
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name, cluster: { server: url, 'certificate-authority-data': Buffer.from(caPem).toString('base64') } },
    ],
    users: [{ name: user, user: { token } }],
    contexts: [{ name, context: { cluster: name, user, ...(namespace === undefined ? {} : { namespace }) } }],
    'current-context': name,
  });
}

function writePrivate(file: string, text: string): Promise<void> {
  return writeFile(file, text, { mode: 0o600 });
}

/**
 * Compacts etcd up to the current revision. Watches and `continue` tokens from older revisions then get 410 `Expired`,
 * but only once the API server has dropped its cache: after {@link ControlPlane.restartApiServer}, or at once if the
 * server was started with `--watch-cache=false`. For a watch, the restart alone is enough.
 *
 * @throws Error with etcd's response.
 */
export async function compactEtcd({ etcd }: ControlPlane): Promise<void> {
  // A minimal request: every response contains the current revision.
  const { header } = (await requestEtcd(etcd, 'range', { key: 'AA==' })) as { header: { revision: string } };
  await requestEtcd(etcd, 'compaction', { revision: header.revision, physical: true });
}

async function requestEtcd({ url }: Etcd, method: string, body: object): Promise<unknown> {
  const response = await fetch(`${url}/v3/kv/${method}`, {
    method: 'POST',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(COMPACT_TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`etcd ${method}: HTTP ${response.status}: ${await response.text()}`);
  return response.json();
}
