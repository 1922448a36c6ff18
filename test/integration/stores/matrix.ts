import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Reason } from '../../../src/api/reasons.ts';
import type { Credentials, FunctionName, RunResult } from '../../../src/api/run.ts';
import { uniqueName } from '../../support/unique-name.ts';
import { type CliExit, resultOf, runCli, startCli } from '../cli.ts';
import { startFaultProxy } from '../fault-proxy.ts';
import { adminOf, bucketsOf, keysIn, probeOf, targetOf } from '../store.ts';
import type { StoreKind, StoreUnderTest } from './store-under-test.ts';

/** Ceph takes 15 s on an idle machine. */
const START_TIMEOUT_MS = 120_000;
const WRONG_REGION = 'ap-south-9';
const RUN = ['run', '-f', '-', '-o', 'json'];
/** Empty, tiny, around the size up to which MinIO stores data with the metadata, and far larger than any buffer. */
const SIZES = ['0', '1', '4Ki', '128Ki', '1Mi', '5Mi', '64Mi'];

interface RunOptions {
  readonly credentials?: Credentials;
  readonly region?: string | undefined;
  readonly endpoint?: string;
  readonly spec?: object;
}

/** Tests that hold for every store. Each store has its own file, so that the files run in parallel. */
export function testStore(kind: StoreKind): void {
  const whySkipped = kind.missing === undefined ? '' : ` (skipped: ${kind.missing})`;

  describe.skipIf(kind.missing !== undefined)(`${kind.title}${whySkipped}`, () => {
    const started = new AsyncDisposableStack();
    let store: StoreUnderTest;
    beforeAll(async () => {
      const { path } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-store-')));
      store = started.use(await kind.start(path));
    }, START_TIMEOUT_MS);
    afterAll(() => started.disposeAsync());

    function input(
      name: string,
      { region = store.region, endpoint = store.url, spec }: RunOptions = {},
    ): string {
      return probeOf(name, endpoint, { targets: [targetOf(name, endpoint, { region })], ...spec });
    }

    function run(name: string, options: RunOptions = {}): Promise<CliExit> {
      const { credentials = store.user } = options;
      return runCli(RUN, { credentials, input: input(name, options) });
    }

    /** A bucket of the user that runs the probe. */
    async function userBucket(): Promise<AsyncDisposable & { readonly name: string }> {
      const { accessKey, secretKey } = store.user;
      const client = adminOf({ ...store, rootUser: accessKey, rootPassword: secretKey });
      const name = bucketName();
      await client.makeBucket(name, store.region);
      return { name, [Symbol.asyncDispose]: () => client.removeBucket(name) };
    }

    it('passes the six steps with objects of every size and leaves nothing behind', async () => {
      const name = uniqueName('six-steps');
      const exit = await run(name, { spec: { objects: SIZES.map((size) => ({ size })), timeout: '50s' } });
      expect(exit).toMatchObject({ code: 0, stderr: '' });
      expectPassed(resultOf(exit));
      expect(await bucketsOf(name, store)).toEqual([]);
    });

    it('passes in an existing bucket and leaves it empty', async () => {
      await using bucket = await userBucket();
      const spec = {
        bucket: { mode: 'Existing', name: bucket.name },
        objects: [{ size: '4Ki' }, { size: '1Mi' }],
      };
      const exit = await run(uniqueName('existing'), { spec });
      expect(exit).toMatchObject({ code: 0, stderr: '' });
      expectPassed(resultOf(exit));
      expect(await keysIn(bucket.name, store)).toEqual([]);
    });

    interface Rejection {
      readonly name: string;
      readonly credentials: () => Credentials;
      readonly reason: Reason;
    }
    const REJECTIONS: readonly Rejection[] = [
      {
        name: 'an unknown access key',
        credentials: () => ({ ...store.user, accessKey: 'unknown' }),
        reason: 'InvalidAccessKey',
      },
      {
        name: 'a wrong secret key',
        credentials: () => ({ ...store.user, secretKey: 'canary-in-a-coal-mine' }),
        reason: 'SignatureMismatch',
      },
      {
        name: 'a user without rights',
        credentials: () => store.userWithoutRights,
        reason: 'AccessDenied',
      },
    ];
    describe.each(REJECTIONS)('reports $name as $reason', ({ credentials, reason }) => {
      it('with its own bucket', async () => {
        const name = uniqueName('rejected');
        expectFailed(await run(name, { credentials: credentials() }), reason, 'CHECK_BUCKET');
        expect(await bucketsOf(name, store)).toEqual([]);
      });

      it('with an existing bucket', async () => {
        await using bucket = await userBucket();
        const spec = { bucket: { mode: 'Existing', name: bucket.name } };
        expectFailed(
          await run(uniqueName('rejected'), { credentials: credentials(), spec }),
          reason,
          'CHECK_BUCKET',
        );
        expect(await keysIn(bucket.name, store)).toEqual([]);
      });
    });

    it('reports a wrong region as RegionMismatch', async () => {
      const name = uniqueName('region');
      expectFailed(await run(name, { region: WRONG_REGION }), 'RegionMismatch', 'CHECK_BUCKET');
      expect(await bucketsOf(name, store)).toEqual([]);
    });

    it.runIf(kind.signsWithRegion)('names the right region, also for an existing bucket', async () => {
      await using bucket = await userBucket();
      const spec = { bucket: { mode: 'Existing', name: bucket.name } };
      const exit = await run(uniqueName('region'), { region: WRONG_REGION, spec });
      expectFailed(exit, 'RegionMismatch', 'CHECK_BUCKET');
      expect(resultOf(exit).message).toContain(store.region);
    });

    it('reports a missing bucket as BucketMissing and does not create it', async () => {
      const bucket = bucketName();
      const exit = await run(uniqueName('missing'), { spec: { bucket: { mode: 'Existing', name: bucket } } });
      expectFailed(exit, 'BucketMissing', 'CHECK_BUCKET');
      expect(resultOf(exit).message).toContain(bucket);
      expect(await adminOf(store).bucketExists(bucket)).toBe(false);
    });

    it('cleans up in the run after a crash', async () => {
      const name = uniqueName('crashed');
      await crashDuringGet(name);
      const [bucket, ...more] = await bucketsOf(name, store);
      expect(more).toEqual([]);
      expect(await keysIn(bucket ?? '', store)).not.toEqual([]);

      const exit = await run(name);
      expect(exit).toMatchObject({ code: 0, stderr: '' });
      expect(resultOf(exit)).toMatchObject({ verdict: 'Passed', bucket, leftBehind: [] });
      expect(await bucketsOf(name, store)).toEqual([]);
    });

    /** Kills the program after it has created a bucket and an object. */
    async function crashDuringGet(name: string): Promise<void> {
      await using proxy = await startFaultProxy(store.url, { faults: { GetObject: () => undefined } });
      const cli = await startCli(RUN, {
        credentials: store.user,
        input: input(name, { endpoint: proxy.url }),
      });
      await proxy.untilSeen('GetObject');
      cli.kill('SIGKILL');
      expect(await cli.exited).toMatchObject({ signal: 'SIGKILL', stdout: '' });
    }
  });
}

/** Covered by the documented policies. */
function bucketName(): string {
  return `storage-probe-${uniqueName('existing')}`;
}

function expectPassed(result: RunResult): void {
  expect(result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
  expect(result.steps.map(({ outcome }) => outcome)).toEqual(result.steps.map(() => 'passed'));
}

function expectFailed(exit: CliExit, reason: Reason, failedStep: FunctionName): void {
  expect(exit).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(exit)).toMatchObject({
    verdict: 'Failed',
    reason,
    failedStep,
    message: expect.not.stringContaining('\n'),
    leftBehind: [],
  });
}
