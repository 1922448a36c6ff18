import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { getBinary } from '../../deploy/local/binary.ts';
import { startCollector, startJaeger } from '../../deploy/local/jaeger.ts';
import { makeMinioUser, startMinio, type MinioUser } from '../../deploy/local/minio.ts';

/** The servers that all tests share, and stop or slow down in no way. */
export interface SharedServers {
  readonly store: Store;
  /** May do what the documented policy allows, and nothing else. */
  readonly user: MinioUser;
  readonly jaegerUrl: string;
  /** Of Jaeger itself, for a Collector that a test starts. */
  readonly jaegerOtlpUrl: string;
  readonly collectorGrpcUrl: string;
  readonly collectorHttpUrl: string;
}

/** A MinIO, and who may do everything there. */
export interface Store {
  readonly url: string;
  readonly rootUser: string;
  readonly rootPassword: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    servers: SharedServers;
  }
}

const POLICY = new URL('../../deploy/local/minio/probe-policy.json', import.meta.url).pathname;

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using started = new AsyncDisposableStack();
  const progress = console.error;
  for (const name of ['minio', 'mc', 'jaeger'] as const) await getBinary(name, { progress });

  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-servers-')));
  const minio = started.use(await startMinio({ dir: join(dir, 'minio') }));
  const jaeger = started.use(await startJaeger({ dir: join(dir, 'jaeger') }));
  const collector = started.use(
    await startCollector({ dir: join(dir, 'collector'), backendUrl: jaeger.otlpGrpcUrl }),
  );
  const { url, rootUser, rootPassword } = minio;
  project.provide('servers', {
    store: { url, rootUser, rootPassword },
    user: await makeMinioUser(minio, POLICY),
    jaegerUrl: jaeger.queryUrl,
    jaegerOtlpUrl: jaeger.otlpGrpcUrl,
    collectorGrpcUrl: collector.otlpGrpcUrl,
    collectorHttpUrl: collector.otlpHttpUrl,
  });

  const stop = started.move();
  return () => stop.disposeAsync();
}
