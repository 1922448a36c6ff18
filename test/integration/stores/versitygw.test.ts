import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { createVersityGWUser, startVersityGW } from '../../../deploy/local/versitygw.ts';
import { SERVERS } from '../../../deploy/local/servers.ts';
import { whyMissing } from '../../../deploy/local/binary.ts';
import { uniqueName } from '../../support/unique-name.ts';
import { resultOf, runCli } from '../cli.ts';
import { probeOf, targetOf } from '../store.ts';
import { testStore } from './matrix.ts';
import { REGION } from './store-under-test.ts';

const missing = await whyMissing('versitygw');

testStore({
  title: SERVERS.versitygw.title,
  missing,
  signsWithRegion: true,
  async start(dir) {
    const server = await startVersityGW({ dir, region: REGION, withUsers: true });
    const [user, userWithoutRights] = [
      await createVersityGWUser(server, 'userplus'),
      await createVersityGWUser(server, 'user'),
    ];
    return { ...server, user, userWithoutRights };
  },
});

it.skipIf(missing !== undefined).each([
  { mode: 'Ephemeral', bucket: {} },
  { mode: 'Existing', bucket: { mode: 'Existing', name: 'storage-probe-existing' } },
])(
  'without a user database, reports an unknown key as InvalidAccessKey in mode $mode',
  async ({ bucket }) => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-versitygw-'));
    await using server = await startVersityGW({ dir: dir.path, region: REGION, withUsers: false });
    const name = uniqueName('single-user');
    const targets = [targetOf(name, server.url, { region: REGION })];
    const exit = await runCli(['run', '-f', '-', '-o', 'json'], {
      credentials: { accessKey: 'unknown', secretKey: 'canary-in-a-coal-mine' },
      input: probeOf(name, server.url, { targets, bucket }),
    });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(exit)).toMatchObject({ reason: 'InvalidAccessKey', failedStep: 'CHECK_BUCKET' });
  },
);
