import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { getBinary } from '../../deploy/local/binary.ts';
import { startJaeger, type Jaeger } from '../../deploy/local/jaeger.ts';
import { startMinio, type Minio } from '../../deploy/local/minio.ts';
import { SERVERS } from '../../deploy/local/servers.ts';

/** The store for all contenders and the receiver of their spans. A Collector would take CPU from the contenders. */
export interface Servers extends AsyncDisposable {
  readonly minio: Minio;
  readonly jaeger: Jaeger;
}

export async function startServers(): Promise<Servers> {
  await using started = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'storage-probe-bench-'));
  started.defer(() => rm(dir, { recursive: true, force: true }));
  const minio = started.use(await startMinio({ dir: join(dir, 'minio'), progress: console.error }));
  const jaeger = started.use(await startJaeger({ dir: join(dir, 'jaeger'), progress: console.error }));
  const stop = started.move();
  return { minio, jaeger, [Symbol.asyncDispose]: () => stop.disposeAsync() };
}

export async function minioVersion(): Promise<string> {
  const { stdout } = await promisify(execFile)(await getBinary('minio'), ['--version']);
  const version = /^minio version (\S+)/.exec(stdout)?.[1] ?? 'of unknown version';
  // A binary built from Go's module proxy does not know its version, so use the pinned version.
  return version === 'DEVELOPMENT.GOGET' ? SERVERS.minio.title : `MinIO ${version}`;
}
