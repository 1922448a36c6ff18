import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import type { Credentials } from '../../src/api/run.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { bucketsOf, createBucket, probeOf, sharedStore, temporaryCredentials, user } from './store.ts';

/** A way to pass credentials to the program. All other tests use environment variables. */
interface CredentialSource {
  readonly name: string;
  /** @returns the arguments, and a document to append to the probe's file. */
  readonly provide: (keys: Record<string, string>, dir: string) => Promise<readonly [string[], object?]>;
}

const SOURCES: readonly CredentialSource[] = [
  {
    name: '--secret with the keys',
    provide: async (keys) => [['--secret', `probe-user=${keyValuePairs(keys).join(',')}`]],
  },
  {
    name: '--secret with a file',
    provide: async (keys, dir) => {
      await writeFile(
        join(dir, 'probe-user.env'),
        `# keys of the probe\n${keyValuePairs(keys).join('\n')}\n`,
      );
      return [['--secret', `probe-user=${join(dir, 'probe-user.env')}`]];
    },
  },
  {
    name: '--secret with a folder, like a mounted Secret',
    provide: async (keys, dir) => {
      const folder = join(dir, 'probe-user');
      await mkdir(folder);
      for (const [key, value] of Object.entries(keys)) await writeFile(join(folder, key), value);
      return [['--secret', `probe-user=${folder}`]];
    },
  },
  {
    name: '--secret with a manifest',
    provide: async (keys, dir) => {
      const file = join(dir, 'secret.json');
      await writeFile(file, JSON.stringify(secretDocument({ stringData: keys })));
      return [['--secret', `probe-user=${file}`]];
    },
  },
  {
    name: '--secret with a config.env of the MinIO operator',
    provide: async ({ accessKey, secretKey }, dir) => {
      const text = `export MINIO_ROOT_USER="${accessKey}"\nexport MINIO_ROOT_PASSWORD="${secretKey}"\n`;
      await writeFile(join(dir, 'config.env'), text);
      return [['--secret', `probe-user=${join(dir, 'config.env')}`]];
    },
  },
  {
    name: 'a Secret document with the keys of Rook and line breaks',
    provide: async ({ accessKey, secretKey }) => [
      [],
      secretDocument({
        stringData: { AWS_ACCESS_KEY_ID: `${accessKey}\n`, AWS_SECRET_ACCESS_KEY: `"${secretKey}"\r\n` },
      }),
    ],
  },
  {
    name: 'a Secret document with stringData',
    provide: async (keys) => [[], secretDocument({ stringData: keys })],
  },
  {
    name: 'a Secret document with data',
    provide: async (keys) => {
      const encoded = Object.entries(keys).map(([key, value]) => [
        key,
        Buffer.from(value).toString('base64'),
      ]);
      return [[], secretDocument({ data: Object.fromEntries(encoded) })];
    },
  },
];

it.each(SOURCES)('reads credentials from $name', async ({ provide }) => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-secret-'));
  const name = uniqueName('secret');
  const [args, ...documents] = await provide(
    { accessKey: user.accessKey, secretKey: user.secretKey },
    dir.path,
  );
  const exit = await runCli(['run', '-f', '-', '-o', 'json', '--log-level', 'debug', ...args], {
    input: [probeOf(name, sharedStore.url), ...documents.map((document) => JSON.stringify(document))].join(
      '\n---\n',
    ),
  });
  expect(exit.code).toBe(0);
  expect(resultOf(exit)).toMatchObject({ verdict: 'Passed' });
  expect(`${exit.stdout}${exit.stderr}`).not.toContain(user.secretKey);
  expect(await bucketsOf(name)).toEqual([]);
});

it.each(SOURCES)('does not print rejected credentials from $name', async ({ provide }) => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-secret-'));
  const canary = 'canary/in+a=coal,mine';
  const [args, ...documents] = await provide({ accessKey: user.accessKey, secretKey: canary }, dir.path);
  const exit = await runCli(['run', '-f', '-', '--log-level', 'debug', '--exporter', 'console', ...args], {
    input: [
      probeOf(uniqueName('canary'), sharedStore.url),
      ...documents.map((document) => JSON.stringify(document)),
    ].join('\n---\n'),
  });
  expect(exit.code).toBe(1);
  expect(exit.stdout).toContain('Failed: SignatureMismatch in CHECK_BUCKET');
  expect(`${exit.stdout}${exit.stderr}`).not.toContain('canary/');
});

it('reads credentials from flags', async () => {
  await using bucket = await createBucket();
  const { url, rootUser, rootPassword } = sharedStore;
  const keys = ['--access-key', rootUser, '--secret-key', rootPassword];
  const exit = await runCli(['run', '--endpoint', url, '--bucket', bucket.name, ...keys]);
  expect(exit).toMatchObject({ code: 0, stderr: '' });
  expect(exit.stdout).not.toContain(rootPassword);
});

it('reads credentials and the region from a profile', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-profile-'));
  const file = join(dir.path, 'credentials');
  await writeFile(
    file,
    `[lab]\naws_access_key_id = ${user.accessKey}\naws_secret_access_key = ${user.secretKey}\nregion = us-east-1\n`,
  );
  const name = uniqueName('profile');
  const exit = await runCli(['run', '-f', '-', '-o', 'json'], {
    env: { AWS_PROFILE: 'lab', AWS_SHARED_CREDENTIALS_FILE: file },
    input: probeOf(name, sharedStore.url),
  });
  expect(exit).toMatchObject({ code: 0, stderr: '' });
  expect(exit.stdout).not.toContain(user.secretKey);
});

it('accepts temporary credentials with a session token', async () => {
  const credentials: Credentials = await temporaryCredentials([
    { Action: ['s3:*'], Resource: ['arn:aws:s3:::storage-probe-*', 'arn:aws:s3:::storage-probe-*/*'] },
  ]);
  expect(credentials.sessionToken).toBeDefined();
  const name = uniqueName('temporary');
  const exit = await runCli(['run', '-f', '-', '-o', 'json'], {
    credentials,
    input: probeOf(name, sharedStore.url),
  });
  expect(exit).toMatchObject({ code: 0, stderr: '' });
  expect(await bucketsOf(name)).toEqual([]);
});

function keyValuePairs(keys: Readonly<Record<string, string>>): string[] {
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
