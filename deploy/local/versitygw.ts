import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { getBinary } from './binary.ts';
import { runCommand } from './command.ts';
import { startServer, type RunningServer, type StartOptions } from './running-server.ts';

const ADMIN_TIMEOUT_MS = 30_000;

/** A restart with the same `dir` keeps the data and the users. */
export interface VersityGWOptions extends StartOptions {
  readonly region: string;
  /** If false, the root user is the only user. */
  readonly withUsers: boolean;
}

export interface VersityGW extends RunningServer {
  readonly url: string;
  readonly region: string;
  readonly rootUser: string;
  readonly rootPassword: string;
}

/** Starts VersityGW on a folder. The folder's file system must support extended attributes. */
export async function startVersityGW(options: VersityGWOptions): Promise<VersityGW> {
  const { dir, region, withUsers, signal, progress } = options;
  const data = join(dir, 'data');
  const users = join(dir, 'users');
  await mkdir(data, { recursive: true });
  await mkdir(users, { recursive: true });
  const rootUser = randomName('root');
  const rootPassword = randomSecret();
  return startServer({
    name: 'VersityGW',
    binary: await getBinary('versitygw', { signal, progress }),
    logFile: join(dir, 'versitygw.log'),
    signal,
    async command(choosePort) {
      const address = `127.0.0.1:${await choosePort()}`;
      const url = `http://${address}`;
      return {
        args: [
          `--port=${address}`,
          `--region=${region}`,
          '--health=/health',
          ...(withUsers ? [`--iam-dir=${users}`] : []),
          'posix',
          data,
        ],
        env: { ROOT_ACCESS_KEY: rootUser, ROOT_SECRET_KEY: rootPassword },
        healthUrls: [`${url}/health`],
        addresses: { url, region, rootUser, rootPassword },
      };
    },
  });
}

/** `user` can only access what it is granted. `userplus` can also create buckets. */
export type VersityGWRole = 'user' | 'userplus';

export interface VersityGWUser {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** Creates a user on a server that was started with `withUsers`. */
export async function createVersityGWUser(
  { url, region, rootUser, rootPassword }: VersityGW,
  role: VersityGWRole,
): Promise<VersityGWUser> {
  const user = { accessKey: randomName(role), secretKey: randomSecret() };
  const { accessKey, secretKey } = user;
  const flags = [`--access=${accessKey}`, `--secret=${secretKey}`, `--role=${role}`];
  await runCommand(await getBinary('versitygw'), ['admin', 'create-user', ...flags], {
    env: {
      ADMIN_ENDPOINT_URL: url,
      ADMIN_REGION: region,
      ADMIN_ACCESS_KEY: rootUser,
      ADMIN_SECRET_KEY: rootPassword,
    },
    signal: AbortSignal.timeout(ADMIN_TIMEOUT_MS),
  });
  return user;
}

function randomName(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`;
}

function randomSecret(): string {
  return randomBytes(20).toString('hex');
}
