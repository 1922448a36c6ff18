import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

import { type Documents, MAX_FILE_BYTES, readDocuments, type Source } from '../api/documents.ts';
import { formatProblems } from '../api/problem.ts';
import { type CommandContext, InputError } from './context.ts';

const PROBE_FILE = /\.(ya?ml|json)$/;

/**
 * Reads and validates documents from files, from the YAML and JSON files of directories, and from stdin (`-`).
 *
 * @throws {InputError} with one line per mistake.
 */
export async function readProbeFiles(
  names: readonly string[],
  { stdin }: Pick<CommandContext, 'stdin'>,
): Promise<Documents> {
  const sources: Source[] = [];
  for (const name of names) {
    if (name === '-') sources.push({ name: 'stdin', text: utf8(await readBounded(stdin)) });
    else
      for (const file of await listProbeFiles(name)) sources.push({ name: file, text: await readFile(file) });
  }
  const documents = readDocuments(sources);
  if (documents.problems.length > 0) throw new InputError(...formatProblems(documents.problems));
  return documents;
}

async function listProbeFiles(name: string): Promise<string[]> {
  const found = await stat(name).catch(asInputError(name));
  if (!found.isDirectory()) return [name];
  const files = (await readdir(name)).filter((file) => PROBE_FILE.test(file)).toSorted();
  if (files.length === 0)
    throw new InputError(`${name}: contains no probe files; accepted: *.yaml, *.yml, *.json`);
  return files.map((file) => join(name, file));
}

/** @throws {InputError} if the file cannot be read or is too large. */
export async function readFile(name: string): Promise<string> {
  return utf8(await readBytes(name));
}

/** @throws {InputError} if the file cannot be read or is too large. */
export async function readBytes(name: string): Promise<Buffer> {
  const bytes = await readBounded(createReadStream(name)).catch(asInputError(name));
  if (bytes.length <= MAX_FILE_BYTES) return bytes;
  throw new InputError(`${name}: is too large; accepted: at most 1 MiB`);
}

/** Stops after the size limit, so a huge or endless stream is rejected without reading it all. */
async function readBounded(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const buffer = Buffer.from(chunk as Uint8Array | string);
    chunks.push(buffer);
    bytes += buffer.length;
    if (bytes > MAX_FILE_BYTES) break;
  }
  return Buffer.concat(chunks);
}

function utf8(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}

const ERROR_TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'is a directory',
};

function asInputError(name: string): (error: unknown) => never {
  return (error) => {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new InputError(`${name}: ${ERROR_TEXTS[code] ?? `cannot be read (${code})`}`);
  };
}
