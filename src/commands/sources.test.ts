import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { describe, expect, it } from 'vitest';

import { temporaryFolder } from '../../test/support/command-context.ts';
import { InputError } from './context.ts';
import { readProbeFiles } from './sources.ts';

function probeNamed(name: string): string {
  return `\
apiVersion: storageprobe.dev/v1alpha1
kind: StorageProbe
metadata: { name: ${name} }
spec:
  targets:
    - name: my-minio
      endpoint: http://my-minio:9000
      credentialsSecretRef: { name: my-minio-probe }
`;
}

/** A stream without an end. */
function endlessStream(chunk: string): { stdin: Readable; chunks: () => number } {
  let chunks = 0;
  const stdin = new Readable({
    read() {
      chunks += 1;
      this.push(chunk);
    },
  });
  return { stdin, chunks: () => chunks };
}

async function namesIn(files: readonly string[], stdin = Readable.from([])): Promise<string[]> {
  const { probes } = await readProbeFiles(files, { stdin });
  return probes.map(({ metadata }) => metadata.name);
}

async function linesOf(reading: Promise<unknown>): Promise<readonly string[]> {
  const error: unknown = await reading.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).lines;
}

describe('readProbeFiles', () => {
  it('reads files in the given order', async () => {
    const folder = await temporaryFolder();
    const files = [join(folder, 'b.yaml'), join(folder, 'a.txt')];
    for (const [index, file] of files.entries()) await writeFile(file, probeNamed(`probe-${index}`));
    expect(await namesIn(files)).toEqual(['probe-0', 'probe-1']);
  });

  it('reads the YAML and JSON files of a directory by name, without subdirectories', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'below'));
    await writeFile(join(folder, 'b.yml'), probeNamed('b'));
    await writeFile(join(folder, 'a.yaml'), probeNamed('a'));
    await writeFile(join(folder, 'README.md'), '# not a probe');
    await writeFile(join(folder, 'below', 'c.yaml'), probeNamed('c'));
    expect(await namesIn([folder])).toEqual(['a', 'b']);
  });

  it('reads stdin for -, however it is chunked', async () => {
    const bytes = Buffer.from(`# é\n${probeNamed('piped')}`);
    const pieces = Array.from(bytes, (byte) => Buffer.from([byte]));
    expect(await namesIn(['-'], Readable.from(pieces))).toEqual(['piped']);
  });
});

describe('readProbeFiles rejects', () => {
  it('endless stdin', async () => {
    const { stdin, chunks } = endlessStream('# '.padEnd(65_536, 'x'));
    expect(await linesOf(namesIn(['-'], stdin))).toEqual(['stdin: is too large; accepted: at most 1 MiB']);
    expect(chunks()).toBeLessThan(40);
    expect(stdin.destroyed).toBe(true);
  });

  it.each([
    { name: 'a missing file', file: 'missing.yaml', want: 'missing.yaml: no such file' },
    {
      name: 'an endless file',
      file: '/dev/zero',
      want: '/dev/zero: is too large; accepted: at most 1 MiB',
    },
  ])('$name', async ({ file, want }) => {
    expect(await linesOf(namesIn([file]))).toEqual([want]);
  });

  it('a directory without probes', async () => {
    const folder = await temporaryFolder();
    expect(await linesOf(namesIn([folder]))).toEqual([
      `${folder}: contains no probe files; accepted: *.yaml, *.yml, *.json`,
    ]);
  });

  it('invalid documents, with one line per mistake and its location', async () => {
    const text = probeNamed('Bad_Name').replace('http://my-minio:9000', 'my-minio');
    const lines = await linesOf(namesIn(['-'], Readable.from([text])));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^stdin:3: .*metadata\.name/);
    expect(lines[1]).toMatch(/^stdin:7: .*endpoint/);
  });
});
