import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

import { type Documents, MAX_FILE_BYTES, readDocuments, type Source } from '../api/documents.ts';
import { formatProblems } from '../api/problem.ts';
import { type CommandContext, InputError } from './context.ts';

const PROBE_FILE = /\.(ya?ml|json)$/;

/**
 * Reads and checks the documents of files, of the YAML and JSON files of folders, and of stdin (`-`).
 *
 * @throws {InputError} with a line for each mistake.
 */
export async function readProbeFiles(
  names: readonly string[],
  { stdin }: Pick<CommandContext, 'stdin'>,
): Promise<Documents> {
  const sources: Source[] = [];
  for (const name of names) {
    if (name === '-') sources.push({ name: 'stdin', text: await readBounded(stdin) });
    else for (const file of await filesOf(name)) sources.push({ name: file, text: await readFile(file) });
  }
  const documents = readDocuments(sources);
  if (documents.problems.length > 0) throw new InputError(...formatProblems(documents.problems));
  return documents;
}

async function filesOf(name: string): Promise<string[]> {
  const found = await stat(name).catch(asInputError(name));
  if (!found.isDirectory()) return [name];
  const files = (await readdir(name)).filter((file) => PROBE_FILE.test(file)).toSorted();
  if (files.length === 0)
    throw new InputError(`${name}: no probe files in it; accepted: *.yaml, *.yml, *.json`);
  return files.map((file) => join(name, file));
}

/** @throws {InputError} when it cannot be read, or is too large. */
export async function readFile(name: string): Promise<string> {
  const text = await readBounded(createReadStream(name)).catch(asInputError(name));
  if (Buffer.byteLength(text) <= MAX_FILE_BYTES) return text;
  throw new InputError(`${name}: is too large; accepted: at most 1 MiB`);
}

/** One byte more than is accepted is enough to be refused, however large the rest, or endless. */
async function readBounded(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const buffer = Buffer.from(chunk as Uint8Array | string);
    chunks.push(buffer);
    bytes += buffer.length;
    if (bytes > MAX_FILE_BYTES) break;
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/^\uFEFF/, '');
}

const MEANING_OF_CODE: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'is a folder',
};

function asInputError(name: string): (error: unknown) => never {
  return (error) => {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new InputError(`${name}: ${MEANING_OF_CODE[code] ?? `cannot be read (${code})`}`);
  };
}
