import { randomBytes, randomUUID } from 'node:crypto';
import { access, constants, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

import { runCommand } from './command.ts';
import { startServer, type RunningServer, type StartOptions } from './running-server.ts';

/** Creates the pools of the gateway, which takes about 10 s. */
const ADMIN_TIMEOUT_MS = 60_000;
const PROGRAMS = ['ceph-mon', 'ceph-osd', 'osdmaptool', 'radosgw', 'radosgw-admin'];

export interface Ceph extends AsyncDisposable {
  readonly url: string;
  /** Runs `radosgw-admin` and returns its stdout. */
  readonly admin: (...args: readonly string[]) => Promise<string>;
}

export interface CephUser {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** Why this machine cannot run Ceph. Undefined if it can. Ceph cannot be built here; distributions package it. */
export async function whyCephIsMissing(env: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  for (const program of PROGRAMS) {
    if (!(await isOnPath(program, env)))
      return `${program} is not installed; on Debian: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd`;
  }
  return undefined;
}

/**
 * Starts Ceph's object gateway on a cluster of one monitor and one OSD, which keeps all data in memory and has no
 * authentication between its parts.
 */
export async function startCeph({ dir, signal }: StartOptions): Promise<Ceph> {
  await using started = new AsyncDisposableStack();
  await mkdir(join(dir, 'mon'), { recursive: true });
  await mkdir(join(dir, 'osd'), { recursive: true });
  const configuration = join(dir, 'ceph.conf');
  const map = join(dir, 'osdmap');
  const configured = (...args: readonly string[]): string[] => ['--conf', configuration, ...args];
  const run = (program: string, ...args: readonly string[]): Promise<string> =>
    runCommand(program, configured(...args), { signal: deadline(signal) });

  const monitor = await startServer({
    name: "Ceph's monitor",
    binary: 'ceph-mon',
    logFile: join(dir, 'mon.log'),
    signal,
    async command(choosePort) {
      const address = `v2:127.0.0.1:${await choosePort()}`;
      const args = ['-i', 'a', '--public-addr', address];
      await writeFile(configuration, configurationOf(dir, address));
      await run('osdmaptool', '--createsimple', '1', '--clobber', map);
      await run('ceph-mon', ...args, '--mkfs', '--osdmap', map);
      return { args: configured(...args, '-f'), env: {}, healthUrls: [], addresses: {} };
    },
  });
  started.use(monitor);

  await run('ceph-osd', '--no-mon-config', '-i', '0', '--mkfs', '--osd-uuid', randomUUID());
  const osd = await startServer({
    name: "Ceph's OSD",
    binary: 'ceph-osd',
    logFile: join(dir, 'osd.log'),
    signal,
    async command() {
      return { args: configured('-i', '0', '-f'), env: {}, healthUrls: [], addresses: {} };
    },
  });
  started.use(osd);

  const admin = (...args: readonly string[]): Promise<string> => run('radosgw-admin', ...args);
  // Waits for the OSD and creates the gateway's pools.
  await admin('user', 'list');
  const gateway = await startGateway(dir, configured, signal);
  started.use(gateway);
  const stop = started.move();
  return { url: gateway.url, admin, [Symbol.asyncDispose]: () => stop.disposeAsync() };
}

/** @param options flags of `radosgw-admin user create`. `--max-buckets=-1` forbids the creation of buckets. */
export async function createCephUser({ admin }: Ceph, ...options: readonly string[]): Promise<CephUser> {
  const name = `probe-${randomBytes(5).toString('hex')}`;
  const user = { accessKey: name, secretKey: randomBytes(20).toString('hex') };
  const identity = [`--uid=${name}`, `--display-name=${name}`];
  const keys = [`--access-key=${user.accessKey}`, `--secret-key=${user.secretKey}`];
  await admin('user', 'create', ...identity, ...keys, ...options);
  return user;
}

function startGateway(
  dir: string,
  configured: (...args: readonly string[]) => string[],
  signal: AbortSignal | undefined,
): Promise<RunningServer & { readonly url: string }> {
  return startServer({
    name: "Ceph's object gateway",
    binary: 'radosgw',
    logFile: join(dir, 'radosgw.log'),
    signal,
    async command(choosePort) {
      const address = `127.0.0.1:${await choosePort()}`;
      const url = `http://${address}`;
      const args = configured('-n', 'client.rgw', '-f', '--rgw-frontends', `beast endpoint=${address}`);
      return { args, env: {}, healthUrls: [url], addresses: { url } };
    },
  });
}

/** Without authentication there are no session keys, so the encrypted modes of the protocol are not possible. */
function configurationOf(dir: string, monitor: string): string {
  return `[global]
fsid = ${randomUUID()}
mon host = ${monitor}
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms client mode = crc
ms cluster mode = crc
ms service mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
osd objectstore = memstore
memstore device bytes = 2147483648
mon data = ${join(dir, 'mon')}
osd data = ${join(dir, 'osd')}
log to file = false
log to stderr = true
mon cluster log to file = false
run dir = ${dir}
pid file =
admin socket =
[osd]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
`;
}

function deadline(signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(ADMIN_TIMEOUT_MS);
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}

async function isOnPath(program: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const found = await Promise.all(
    folders.map((folder) =>
      access(join(folder, program), constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
