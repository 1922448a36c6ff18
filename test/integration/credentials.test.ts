import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import type { Credentials } from '../../src/api/run.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { bucketsOf, makeBucket, probeOf, sharedStore, temporaryCredentials, user } from './store.ts';

/** How credentials come to the program, but for the environment, as which all other tests give them. */
interface Way {
  readonly name: string;
  /** @returns the arguments, and documents that go after the probe. */
  readonly give: (keys: Record<string, string>, dir: string) => Promise<readonly [string[], object?]>;
}

const WAYS: readonly Way[] = [
  {
    name: '--secret with the keys',
    give: async (keys) => [['--secret', `probe-user=${pairs(keys).join(',')}`]],
  },
  {
    name: '--secret with a file',
    give: async (keys, dir) => {
      await writeFile(join(dir, 'probe-user.env'), `# of the probe\n${pairs(keys).join('\n')}\n`);
      return [['--secret', `probe-user=${join(dir, 'probe-user.env')}`]];
    },
  },
  {
    name: '--secret with a folder, as Kubernetes mounts it',
    give: async (keys, dir) => {
      const folder = join(dir, 'probe-user');
      await mkdir(folder);
      for (const [key, value] of Object.entries(keys)) await writeFile(join(folder, key), value);
      return [['--secret', `probe-user=${folder}`]];
    },
  },
  {
    name: 'a Secret document with stringData',
    give: async (keys) => [[], secretDocument({ stringData: keys })],
  },
  {
    name: 'a Secret document with data',
    give: async (keys) => {
      const encoded = Object.entries(keys).map(([key, value]) => [
        key,
        Buffer.from(value).toString('base64'),
      ]);
      return [[], secretDocument({ data: Object.fromEntries(encoded) })];
    },
  },
];

it.each(WAYS)('are given by $name', async ({ give }) => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-secret-'));
  const name = uniqueName('secret');
  const [args, ...documents] = await give({ accessKey: user.accessKey, secretKey: user.secretKey }, dir.path);
  const end = await runCli(['run', '-f', '-', '-o', 'json', '--log-level', 'debug', ...args], {
    input: [probeOf(name, sharedStore.url), ...documents.map((document) => JSON.stringify(document))].join(
      '\n---\n',
    ),
  });
  expect(end.code).toBe(0);
  expect(resultOf(end)).toMatchObject({ verdict: 'Passed' });
  expect(`${end.stdout}${end.stderr}`).not.toContain(user.secretKey);
  expect(await bucketsOf(name)).toEqual([]);
});

it.each(WAYS)('are not repeated when given by $name and refused', async ({ give }) => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-secret-'));
  const canary = 'canary/in+a=coal,mine';
  const [args, ...documents] = await give({ accessKey: user.accessKey, secretKey: canary }, dir.path);
  const end = await runCli(['run', '-f', '-', '--log-level', 'debug', '--exporter', 'console', ...args], {
    input: [
      probeOf(uniqueName('canary'), sharedStore.url),
      ...documents.map((document) => JSON.stringify(document)),
    ].join('\n---\n'),
  });
  expect(end.code).toBe(1);
  expect(end.stdout).toContain('Failed: SignatureMismatch in CHECK_BUCKET');
  expect(`${end.stdout}${end.stderr}`).not.toContain('canary/');
});

it('are given for a quick look by flags', async () => {
  await using bucket = await makeBucket();
  const { url, rootUser, rootPassword } = sharedStore;
  const keys = ['--access-key', rootUser, '--secret-key', rootPassword];
  const end = await runCli(['run', '--endpoint', url, '--bucket', bucket.name, ...keys]);
  expect(end).toMatchObject({ code: 0, stderr: '' });
  expect(end.stdout).not.toContain(rootPassword);
});

it('may be temporary, with a session token', async () => {
  const credentials: Credentials = await temporaryCredentials([
    { Action: ['s3:*'], Resource: ['arn:aws:s3:::storage-probe-*', 'arn:aws:s3:::storage-probe-*/*'] },
  ]);
  expect(credentials.sessionToken).toBeDefined();
  const name = uniqueName('temporary');
  const end = await runCli(['run', '-f', '-', '-o', 'json'], {
    credentials,
    input: probeOf(name, sharedStore.url),
  });
  expect(end).toMatchObject({ code: 0, stderr: '' });
  expect(await bucketsOf(name)).toEqual([]);
});

function pairs(keys: Readonly<Record<string, string>>): string[] {
  return Object.entries(keys).map(([key, value]) => `${key}=${value}`);
}

function secretDocument(content: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'probe-user', namespace: 'storage' },
    ...content,
  };
}
