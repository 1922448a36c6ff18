import { mkdtempDisposable, open, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { peakBytesOf, runCli, TELL_PEAK } from './cli.ts';
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
    line: /^storage-probe: stdin:1: spec\.targets\[0\]\.credentialsSecretRef: is missing; accepted: /,
  },
  {
    name: 'an unknown field',
    input: probeOf('my-minio', ENDPOINT, { timeuot: '20s' }),
    line: /^storage-probe: stdin:1: spec\.timeuot: unknown field \(did you mean timeout\?\); accepted: /,
  },
  {
    name: 'two probes of one name',
    input: `${PROBE}\n---\n${PROBE}\n`,
    line: /^storage-probe: stdin:3: metadata\.name: is that of the StorageProbe at stdin:1, in the same namespace; /,
  },
  {
    name: 'two targets of one name',
    input: probeOf('my-minio', ENDPOINT, { targets: [targetOf('a', ENDPOINT), targetOf('a', ENDPOINT)] }),
    line: /^storage-probe: stdin:1: spec\.targets\[1\]\.name: "a" is the name of an earlier target too; /,
  },
  {
    name: 'text that is no YAML',
    input: '{ "kind": [',
    line: /^storage-probe: stdin:1:12: is not valid YAML: /,
  },
  { name: 'nothing', input: '', line: /^storage-probe: stdin: is empty; accepted: / },
  {
    name: 'a file that is not there',
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
    name: 'no run at all',
    args: [...RUN, '--count', '0'],
    input: PROBE,
    line: /^storage-probe: --count: "0" is not a count; accepted: a whole number from 1 to 100000$/,
  },
  {
    name: 'nothing to probe',
    args: ['run'],
    line: /^storage-probe: nothing to probe; accepted: -f FILE, or --endpoint URL$/,
  },
  {
    name: 'both a file and an endpoint',
    args: [...RUN, '--endpoint', ENDPOINT],
    input: PROBE,
    line: /^storage-probe: option '--endpoint <url>' cannot be used with option '-f, --filename <file\.\.\.>'$/,
  },
  {
    name: 'a target that is not in the file',
    args: [...RUN, '--target', 'yours'],
    input: PROBE,
    line: /^storage-probe: --target: yours is not there; accepted: my-minio$/,
  },
  {
    name: 'a size of a quick look',
    args: ['run', '--endpoint', ENDPOINT, '--size', '4KiB'],
    line: /^storage-probe: --size: "4KiB" is not a size/,
  },
])('$name: exit code 2, and one line', async ({ args = RUN, input, line }) => {
  const end = await runCli(args, { credentials: user, input });
  expect(end).toMatchObject({ code: 2, stdout: '' });
  expect(end.stderr.trimEnd()).toMatch(line);
  expect(end.stderr.trimEnd()).not.toContain('\n');
});

it('credentials that nobody gave: names the Secret and three ways to give it', async () => {
  const end = await runCli(RUN, { input: await readFile(SAMPLE, 'utf8') });
  expect(end).toMatchObject({ code: 2, stdout: '' });
  expect(end.stderr).toBe(
    'storage-probe: storage/my-minio, target my-minio: Secret my-minio-probe is not there; accepted: ' +
      '--secret my-minio-probe=FILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a Secret document in the file\n',
  );
});

describe('a file that is far too large is refused unread', () => {
  it.each([
    { name: '5 GB', fileIn: sparseFile },
    { name: 'endless', fileIn: async () => '/dev/zero' },
  ])('$name', async ({ fileIn }) => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-large-'));
    const file = await fileIn(dir.path);
    const end = await runCli(['run', '-f', file], { credentials: user, preload: TELL_PEAK });
    expect(end).toMatchObject({ code: 2, stdout: '' });
    expect(end.stderr).toContain(`storage-probe: ${file}: is too large; accepted: at most 1 MiB\npeak `);
    expect(peakBytesOf(end)).toBeLessThan(200 * 1_024 * 1_024);
  });
});

async function sparseFile(dir: string): Promise<string> {
  const path = join(dir, 'large.yaml');
  await using file = await open(path, 'w');
  await file.truncate(5_000_000_000);
  return path;
}
