import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { temporaryFolder } from '../../test/support/command-context.ts';
import { InputError } from './context.ts';
import { objectLookup, readObjectFlags } from './secrets.ts';

const VALUE = 'hunter2';
const CA = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

/** Reads `--secret my-secret=SOURCE` as a target that needs these keys does. */
async function keysFrom(source: string, keys: readonly string[] = []): Promise<object> {
  const given = { Secret: await readObjectFlags('Secret', [`my-secret=${source}`]), ConfigMap: new Map() };
  const lookup = objectLookup(given, { secrets: new Map(), configMaps: new Map() });
  const data = lookup('Secret', { namespace: 'storage', name: 'my-secret' }, keys) ?? {};
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString()]));
}

async function fileWith(text: string | Buffer): Promise<string> {
  const file = join(await temporaryFolder(), 'secret.env');
  await writeFile(file, text);
  return file;
}

describe('a Secret given as text is parsed', () => {
  it.each([
    { source: `accessKey=a,secretKey=${VALUE}`, want: { accessKey: 'a', secretKey: VALUE } },
    { source: `secretKey=${VALUE},accessKey=a`, want: { accessKey: 'a', secretKey: VALUE } },
    {
      source: 'sessionToken=t,accessKey=a,secretKey=s',
      want: { accessKey: 'a', secretKey: 's', sessionToken: 't' },
    },
    { source: 'accessKey=a,secretKey=s,t=u,v', want: { accessKey: 'a', secretKey: 's,t=u,v' } },
    { source: 'accessKey=a,secretKey=a+/b==', want: { accessKey: 'a', secretKey: 'a+/b==' } },
    { source: 'accessKey=a', want: { accessKey: 'a' } },
  ])('$source', async ({ source, want }) => {
    expect(await keysFrom(source)).toEqual(want);
  });
});

describe('a Secret given as a file', () => {
  it.each([
    { name: 'key=value lines', text: 'accessKey=a\nsecretKey=s\n' },
    { name: 'Windows line endings and a byte order mark', text: '\uFEFFaccessKey=a\r\nsecretKey=s\r\n' },
    {
      name: 'comments, blank lines and surrounding spaces',
      text: '# keys\n\n  accessKey=a\n \nsecretKey=s',
    },
    { name: 'export before each line', text: 'export accessKey=a\nexport secretKey=s\n' },
    {
      name: 'UTF-16, as PowerShell writes it',
      text: Buffer.from('\uFEFFaccessKey=a\r\nsecretKey=s\r\n', 'utf16le'),
    },
    {
      name: 'a Secret manifest',
      text: 'apiVersion: v1\nkind: Secret\nmetadata: { name: any }\nstringData: { accessKey: a, secretKey: s }\n',
    },
    {
      name: 'a Secret manifest as JSON on one line, among others',
      text: JSON.stringify({
        apiVersion: 'v1',
        kind: 'List',
        items: ['other', 'my-secret'].map((name) => ({
          kind: 'Secret',
          apiVersion: 'v1',
          metadata: { name },
          data: name === 'other' ? {} : { accessKey: btoa('a'), secretKey: btoa('s') },
        })),
      }),
    },
  ])('can have $name', async ({ text }) => {
    expect(await keysFrom(await fileWith(text))).toEqual({ accessKey: 'a', secretKey: 's' });
  });

  it('can be a CA bundle, which is returned for every key', async () => {
    expect(await keysFrom(await fileWith(CA), ['ca.crt', 'tls.crt'])).toEqual({
      'ca.crt': CA,
      'tls.crt': CA,
    });
  });
});

describe('a Secret given as a directory', () => {
  it('has one file per key, as in a Kubernetes volume', async () => {
    const folder = await temporaryFolder();
    const data = join(folder, '..2026_11_22');
    await mkdir(data);
    await writeFile(join(data, 'accessKey'), 'a\n');
    await writeFile(join(data, 'secretKey'), ' s s \n');
    await symlink('..2026_11_22', join(folder, '..data'));
    for (const key of ['accessKey', 'secretKey']) await symlink(`..data/${key}`, join(folder, key));
    expect(await keysFrom(folder)).toEqual({ accessKey: 'a\n', secretKey: ' s s \n' });
  });
});

describe('an invalid Secret', () => {
  it.each([
    { name: 'name only', argument: 'my-secret' },
    { name: 'no name', argument: `=${VALUE}` },
    { name: 'no source', argument: 'my-secret=' },
    { name: 'a value instead of a source', argument: `my-secret=${VALUE}` },
    { name: 'an unknown key', argument: `my-secret=key=${VALUE}` },
  ])('is reported without its value: $name', async ({ argument }) => {
    const error: unknown = await readObjectFlags('Secret', [argument]).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).lines).toHaveLength(1);
    expect((error as InputError).message).toMatch(/^--secret.*accepted: NAME=FILE/);
    expect((error as InputError).message).not.toContain(VALUE);
  });

  it.each([
    { name: 'a line that is not KEY=VALUE', text: `accessKey=a\n${VALUE}\n` },
    { name: 'YAML', text: `secretKey: ${VALUE}\n` },
  ])('is reported without its value: a file with $name', async ({ text }) => {
    const reading = keysFrom(await fileWith(text));
    await expect(reading).rejects.toThrow('--secret my-secret: a line is not KEY=VALUE');
    await expect(reading).rejects.not.toThrow(VALUE);
  });

  it('is rejected if its file is too large', async () => {
    await expect(keysFrom(await fileWith(`${CA}${'x'.repeat(1_048_576)}`))).rejects.toThrow('is too large');
  });

  it('is rejected if its file is endless', async () => {
    await expect(keysFrom('/dev/zero')).rejects.toThrow(InputError);
  });
});

describe('objectLookup', () => {
  const secrets = new Map([
    ['storage/my-secret', { accessKey: Buffer.from('doc'), sessionToken: Buffer.from('doc') }],
  ]);
  const documents = { secrets, configMaps: new Map([['storage/my-ca', { 'ca.crt': Buffer.from('doc') }]]) };
  const none = { Secret: new Map(), ConfigMap: new Map() };

  it('finds Secrets and ConfigMaps from files in their namespace', () => {
    const lookup = objectLookup(none, documents);
    expect(lookup('Secret', { namespace: 'storage', name: 'my-secret' }, [])).toBe(
      secrets.get('storage/my-secret'),
    );
    expect(lookup('ConfigMap', { namespace: 'storage', name: 'my-ca' }, [])).toHaveProperty(['ca.crt']);
    expect(lookup('ConfigMap', { namespace: 'storage', name: 'my-secret' }, [])).toBeUndefined();
    expect(lookup('Secret', { namespace: 'default', name: 'my-secret' }, [])).toBeUndefined();
  });

  it('replaces a whole Secret from the files by one from the command line', async () => {
    const given = await readObjectFlags('Secret', ['my-secret=accessKey=given,secretKey=given']);
    const lookup = objectLookup({ ...none, Secret: given }, documents);
    expect(lookup('Secret', { namespace: 'any', name: 'my-secret' }, [])).toEqual({
      accessKey: Buffer.from('given'),
      secretKey: Buffer.from('given'),
    });
  });
});

describe('a ConfigMap', () => {
  it.each([
    { name: 'a CA bundle', text: CA },
    {
      name: 'a manifest',
      text: `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: my-ca }\ndata:\n  ca.crt: |\n    ${CA.trim().replaceAll('\n', '\n    ')}\n`,
    },
  ])('can be $name', async ({ text }) => {
    const given = await readObjectFlags('ConfigMap', [`my-ca=${await fileWith(text)}`]);
    const lookup = objectLookup(
      { Secret: new Map(), ConfigMap: given },
      { secrets: new Map(), configMaps: new Map() },
    );
    const data = lookup('ConfigMap', { namespace: 'storage', name: 'my-ca' }, ['ca.crt']);
    expect(Buffer.from(data?.['ca.crt'] ?? []).toString()).toBe(CA);
  });

  it('is reported with what is accepted', async () => {
    await expect(readObjectFlags('ConfigMap', ['my-ca=/missing'])).rejects.toThrow(
      '--config-map my-ca: no such file; accepted: NAME=FILE (a CA bundle',
    );
  });
});
