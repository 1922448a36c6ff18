import { mkdtempDisposable, open, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { peakMemoryBytes, runCli, REPORT_PEAK_MEMORY } from './cli.ts';
import { probeOf, targetOf, user } from './store.ts';

const ENDPOINT = 'http://my-minio.example:9000';
const PROBE = probeOf('my-minio', ENDPOINT);
const RUN = ['run', '-f', '-'];
const SAMPLE = new URL('../../deploy/samples/my-minio.yaml', import.meta.url).pathname;

interface Case {
  readonly name: string;
  readonly args?: readonly string[];
  readonly input?: string;
  readonly line: RegExp;
}

it.each<Case>([
  {
    name: 'a wrong unit',
    input: probeOf('my-minio', ENDPOINT, { timeout: '20 parsecs' }),
    line: /^storage-probe: stdin:1: spec\.timeout: "20 parsecs" is not a duration; accepted: a duration from 100ms to 1h /,
  },
  {
    name: 'a missing field',
    input: probeOf('my-minio', ENDPOINT, { targets: [{ name: 'my-minio' }] }).replace(
      '{"name":"my-minio"}',
      `{"name":"my-minio","endpoint":"${ENDPOINT}"}`,
    ),
    line: /^storage-probe: stdin:1: spec\.targets\[0\]: must have exactly one of credentialsSecretRef and webIdentity; /,
  },
  {
    name: 'an unknown field',
    input: probeOf('my-minio', ENDPOINT, { timeuot: '20s' }),
    line: /^storage-probe: stdin:1: spec\.timeuot: unknown field \(did you mean timeout\?\); accepted: /,
  },
  {
    name: 'two probes with the same name',
    input: `${PROBE}\n---\n${PROBE}\n`,
    line: /^storage-probe: stdin:3: metadata\.name: is already used by the StorageProbe at stdin:1, in the same namespace; /,
  },
  {
    name: 'two targets with the same name',
    input: probeOf('my-minio', ENDPOINT, { targets: [targetOf('a', ENDPOINT), targetOf('a', ENDPOINT)] }),
    line: /^storage-probe: stdin:1: spec\.targets\[1\]\.name: "a" is already used by an earlier target; /,
  },
  {
    name: 'invalid YAML',
    input: '{ "kind": [',
    line: /^storage-probe: stdin:1:12: is not valid YAML: /,
  },
  { name: 'empty input', input: '', line: /^storage-probe: stdin: is empty; accepted: / },
  {
    name: 'a missing file',
    args: ['run', '-f', 'no-such-probe.yaml'],
    line: /^storage-probe: no-such-probe\.yaml: no such file$/,
  },
  {
    name: 'an unknown flag',
    args: [...RUN, '--objcet-size', '4Ki'],
    input: PROBE,
    line: /^storage-probe: unknown option '--objcet-size'$/,
  },
  {
    name: 'a count of zero',
    args: [...RUN, '--count', '0'],
    input: PROBE,
    line: /^storage-probe: --count: "0" is not a valid count; accepted: a whole number from 1 to 100000$/,
  },
  {
    name: 'neither a file nor an endpoint',
    args: ['run'],
    line: /^storage-probe: nothing to probe; accepted: -f FILE or --endpoint URL$/,
  },
  {
    name: 'both a file and an endpoint',
    args: [...RUN, '--endpoint', ENDPOINT],
    input: PROBE,
    line: /^storage-probe: option '--endpoint <url>' cannot be used with option '-f, --filename <file\.\.\.>'$/,
  },
  {
    name: 'an unknown target',
    args: [...RUN, '--target', 'yours'],
    input: PROBE,
    line: /^storage-probe: --target: yours not found; accepted: my-minio$/,
  },
  {
    name: 'an invalid --size',
    args: ['run', '--endpoint', ENDPOINT, '--size', '4KiB'],
    line: /^storage-probe: --size: "4KiB" is not a size/,
  },
])('exits with 2 and prints one line for $name', async ({ args = RUN, input, line }) => {
  const exit = await runCli(args, { credentials: user, input });
  expect(exit).toMatchObject({ code: 2, stdout: '' });
  expect(exit.stderr.trimEnd()).toMatch(line);
  expect(exit.stderr.trimEnd()).not.toContain('\n');
});

it('names the Secret and three ways to provide it when credentials are missing', async () => {
  const exit = await runCli(RUN, { input: await readFile(SAMPLE, 'utf8') });
  expect(exit).toMatchObject({ code: 2, stdout: '' });
  expect(exit.stderr).toBe(
    'storage-probe: storage/my-minio, target my-minio: Secret my-minio-probe not found; accepted: ' +
      '--secret my-minio-probe=FILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a Secret document in the file\n',
  );
});

describe('rejects an oversized file without reading all of it', () => {
  it.each([
    { name: '5 GB', fileIn: sparseFile },
    { name: 'endless', fileIn: async () => '/dev/zero' },
  ])('$name', async ({ fileIn }) => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-large-'));
    const file = await fileIn(dir.path);
    const exit = await runCli(['run', '-f', file], { credentials: user, preload: REPORT_PEAK_MEMORY });
    expect(exit).toMatchObject({ code: 2, stdout: '' });
    expect(exit.stderr).toContain(`storage-probe: ${file}: is too large; accepted: at most 1 MiB\npeak `);
    expect(peakMemoryBytes(exit)).toBeLessThan(200 * 1_024 * 1_024);
  });
});

async function sparseFile(dir: string): Promise<string> {
  const path = join(dir, 'large.yaml');
  await using file = await open(path, 'w');
  await file.truncate(5_000_000_000);
  return path;
}
