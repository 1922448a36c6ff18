import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { getBinary } from './binary.ts';
import { runCommand } from './command.ts';
import type { Progress } from './progress.ts';
import { startServer, type RunningServer, type StartOptions } from './running-server.ts';

const MC_TIMEOUT_MS = 30_000;

/** A restart with the same `dir` keeps the data. */
export interface MinioOptions extends StartOptions {
  /** Default: a free port. */
  readonly port?: number | undefined;
  /** Default: random. */
  readonly rootUser?: string | undefined;
  /** Default: random. */
  readonly rootPassword?: string | undefined;
  /** Certificate and key, PEM. If set, the server accepts only HTTPS. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Additional environment variables for MinIO, for example `MINIO_…` or `GOMAXPROCS`. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

export interface Minio extends RunningServer {
  readonly url: string;
  readonly port: number;
  readonly consoleUrl: string;
  readonly rootUser: string;
  readonly rootPassword: string;
}

/** The connection details that mc needs. */
export type MinioRootAccess = Pick<Minio, 'url' | 'rootUser' | 'rootPassword'>;

export async function startMinio(options: MinioOptions): Promise<Minio> {
  const { dir, signal, progress, tls } = options;
  const binary = await getBinary('minio', { signal, progress });
  const rootUser = options.rootUser ?? randomName('root');
  const rootPassword = options.rootPassword ?? randomSecret();
  const data = join(dir, 'data');
  // Set even without TLS, because the default is the user's `~/.minio/certs`.
  const certificates = join(dir, 'certs');
  await mkdir(data, { recursive: true });
  await mkdir(certificates, { recursive: true });
  if (tls !== undefined) {
    await writeFile(join(certificates, 'public.crt'), tls.cert);
    await writeFile(join(certificates, 'private.key'), tls.key, { mode: 0o600 });
  }
  const scheme = tls === undefined ? 'http' : 'https';
  return startServer({
    name: 'MinIO',
    binary,
    logFile: join(dir, 'minio.log'),
    signal,
    async command(choosePort) {
      const port = await choosePort(options.port);
      const consolePort = await choosePort();
      const url = `${scheme}://127.0.0.1:${port}`;
      return {
        args: [
          'server',
          `--address=127.0.0.1:${port}`,
          `--console-address=127.0.0.1:${consolePort}`,
          `--certs-dir=${certificates}`,
          data,
        ],
        env: {
          MINIO_ROOT_USER: rootUser,
          MINIO_ROOT_PASSWORD: rootPassword,
          MINIO_UPDATE: 'off',
          ...options.env,
        },
        healthUrls: [`${url}/minio/health/live`, `${url}/minio/health/cluster`],
        addresses: { url, port, consoleUrl: `${scheme}://127.0.0.1:${consolePort}`, rootUser, rootPassword },
      };
    },
  });
}

export interface MinioUser {
  readonly accessKey: string;
  readonly secretKey: string;
}

export interface MinioUserOptions extends McOptions {
  /** Default: random. */
  readonly secretKey?: string | undefined;
}

/** Creates a user with exactly the permissions in a policy file (JSON). */
export async function createMinioUser(
  minio: MinioRootAccess,
  policyFile: string,
  { secretKey = randomSecret(), ...options }: MinioUserOptions = {},
): Promise<MinioUser> {
  const user = { accessKey: randomName('probe'), secretKey };
  const input = `${user.accessKey}\n${user.secretKey}\n`;
  await runMc(minio, ['admin', 'user', 'add', 'local'], { ...options, input });
  await runMc(minio, ['admin', 'policy', 'create', 'local', user.accessKey, policyFile], options);
  await runMc(
    minio,
    ['admin', 'policy', 'attach', 'local', user.accessKey, '--user', user.accessKey],
    options,
  );
  return user;
}

export interface McOptions {
  /** Input for mc's stdin. Use this for secrets, because other processes can read arguments. */
  readonly input?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

/**
 * Runs mc, MinIO's client, as the server's root user and returns mc's stdout. The server's alias is `local`.
 *
 * @throws Error with mc's output if it fails.
 */
export async function runMc(
  minio: MinioRootAccess,
  args: readonly string[],
  options: McOptions = {},
): Promise<string> {
  const { input, signal, progress } = options;
  const binary = await getBinary('mc', { signal, progress });
  const alias = new URL(minio.url);
  alias.username = minio.rootUser;
  alias.password = minio.rootPassword;
  // Keeps mc from reading and writing the user's `~/.mc`.
  const folder = await mkdtemp(join(tmpdir(), 'storage-probe-mc-'));
  const deadline = AbortSignal.timeout(MC_TIMEOUT_MS);
  try {
    // --insecure makes mc accept any certificate, which is safe because the server is local.
    return await runCommand(binary, [...args, '--config-dir', folder, '--insecure'], {
      env: { MC_HOST_local: alias.href, HOME: folder },
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      input,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function randomName(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`;
}

/** MinIO accepts 8 to 40 characters. */
function randomSecret(): string {
  return randomBytes(20).toString('hex');
}
