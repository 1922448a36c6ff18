import { randomBytes } from 'node:crypto';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { TracerProvider } from '@opentelemetry/sdk-trace';
import { describe, expect, it, onTestFinished } from 'vitest';

import { serveDns, type Zone } from '../../test/support/fake-dns.ts';
import { FakeS3 } from '../../test/support/fake-s3.ts';
import type { RunResult } from '../api/run.ts';
import { systemClock } from '../clock/system-clock.ts';
import { dnsLookup } from '../s3/dns-lookup.ts';
import { NameResolver } from '../s3/name-resolver.ts';
import { ResolverFiles } from '../s3/resolver-files.ts';
import { TargetKeyring } from '../s3/target-keys.ts';
import { runProbe } from './run-probe.ts';

const HEALTHY = 30;
const HANGING = 20;
const TIMEOUT_MS = 20_000;

function namesOf(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}.example`);
}

async function resolverOf(zone: Zone, maxLookupMs: number): Promise<NameResolver> {
  const server = await serveDns(zone);
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-dns-'));
  onTestFinished(() => dir.remove());
  const resolvConf = join(dir.path, 'resolv.conf');
  await writeFile(resolvConf, 'nameserver 127.0.0.1');
  const paths = { hosts: join(dir.path, 'hosts'), resolvConf, nsswitch: join(dir.path, 'nsswitch.conf') };
  const lookup = dnsLookup({
    clock: systemClock,
    files: new ResolverFiles(systemClock, paths),
    systemLookup: () => Promise.reject(new Error('not expected')),
    port: server.port,
    maxLookupMs,
  });
  return new NameResolver({ clock: systemClock, lookup });
}

function run(host: string, port: string, resolver: NameResolver): Promise<RunResult> {
  const request = {
    runId: host,
    probe: { namespace: 'storage', name: host },
    owner: 'somebody@laptop',
    target: {
      name: host,
      endpoint: `http://${host}:${port}`,
      region: 'us-east-1',
      credentials: { accessKey: 'access', secretKey: 'secret' },
    },
    bucket: { mode: 'Ephemeral' as const },
    objectSizesBytes: [4_096],
    timeoutMs: TIMEOUT_MS,
    cleanUpTimeoutMs: TIMEOUT_MS,
  };
  const deps = {
    clock: systemClock,
    keyring: new TargetKeyring(),
    resolver,
    randomBytes,
    tracer: new TracerProvider().getTracer('test'),
    version: '1.2.3',
  };
  return runProbe(request, deps, new AbortController().signal);
}

describe('50 targets, 20 of whose names get no answer from DNS', () => {
  it('pass if they are healthy, before any of the others has failed', async () => {
    const [healthy, hanging] = [namesOf('healthy', HEALTHY), namesOf('hanging', HANGING)];
    const zone: Zone = {
      ...Object.fromEntries(healthy.map((name) => [name, { A: ['127.0.0.1'] }])),
      ...Object.fromEntries(hanging.map((name) => [name, 'hangs'] as const)),
    };
    const store = await FakeS3.start();
    const { port } = new URL(store.url);
    const resolver = await resolverOf(zone, 2_500);

    // Those that hang come first, so that they get the first slots.
    const finished: RunResult[] = [];
    const runs = [...hanging, ...healthy].map(async (host) => {
      finished.push(await run(host, port, resolver));
    });
    await Promise.all(runs);

    const passed = finished.slice(0, HEALTHY);
    expect(passed.map(({ verdict }) => verdict)).toEqual(passed.map(() => 'Passed'));
    const failed = finished.slice(HEALTHY);
    expect(failed).toHaveLength(HANGING);
    for (const { reason, message, durationMs, steps } of failed) {
      expect(reason).toBe('DNSFailed');
      expect(message).toMatch(/: no answer from name server 127\.0\.0\.1 within \d\.\d s$/);
      expect(durationMs).toBeLessThan(TIMEOUT_MS / 2);
      expect(steps[0]?.calls[0]?.phases).not.toHaveProperty('waitMs');
    }
  });
});
