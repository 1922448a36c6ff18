import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import type { SecretValues } from '../api/documents.ts';
import type { Credentials } from '../api/run.ts';
import { type CommandContext, InputError } from './context.ts';
import { readFile } from './sources.ts';

/** `accessKey=…,secretKey=…`: a comma separates only where a key follows, since secrets have commas too. */
const LITERAL_SEPARATOR = /,(?=(?:accessKey|secretKey|sessionToken)=)/;
const SECRET_FORMS =
  'NAME=FILE (lines accessKey=… and secretKey=…, or a CA bundle), NAME=FOLDER (a file for each key), NAME=accessKey=…,secretKey=…';

/** A Secret given on the command line; a CA bundle alone stands under every key. */
export type GivenSecret = (key: string) => string | undefined;

/**
 * Reads the values of `--secret`.
 *
 * @throws {InputError} that names the Secret, and never a value.
 */
export async function readGivenSecrets(given: readonly string[]): Promise<Map<string, GivenSecret>> {
  const secrets = new Map<string, GivenSecret>();
  for (const argument of given) {
    const [, name, source] = /^([^=]+)=(.+)$/s.exec(argument) ?? [];
    if (name === undefined || source === undefined) {
      throw new InputError(`--secret: a name and a source are needed; accepted: ${SECRET_FORMS}`);
    }
    secrets.set(name, await readGivenSecret(name, source));
  }
  return secrets;
}

async function readGivenSecret(name: string, source: string): Promise<GivenSecret> {
  if (source.startsWith('accessKey=') || source.startsWith('secretKey=')) {
    return keysOf(name, source.split(LITERAL_SEPARATOR));
  }
  const found = await stat(source).catch(() => undefined);
  if (found?.isDirectory() === true) {
    const values = new Map<string, string>();
    for (const key of (await readdir(source)).filter((file) => !file.startsWith('.'))) {
      values.set(key, (await readFile(join(source, key))).trim());
    }
    return (key) => values.get(key);
  }
  if (found === undefined) throw new InputError(`--secret ${name}: no such file; accepted: ${SECRET_FORMS}`);
  const text = await readFile(source);
  if (text.includes('-----BEGIN CERTIFICATE-----')) return () => text;
  return keysOf(
    name,
    text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#')),
  );
}

function keysOf(name: string, lines: readonly string[]): GivenSecret {
  const values = new Map<string, string>();
  for (const line of lines) {
    const [, key, value] = /^\s*([\w.-]+)=(.*?)\s*$/s.exec(line) ?? [];
    if (key === undefined || value === undefined) {
      throw new InputError(`--secret ${name}: a line is not KEY=VALUE; accepted: ${SECRET_FORMS}`);
    }
    values.set(key, value);
  }
  return (key) => values.get(key);
}

/** Finds one key of a Secret. */
export type SecretLookup = (namespace: string, name: string, key: string) => string | undefined;

/** What the command line gives goes before what the files hold. */
export function lookupIn(
  given: ReadonlyMap<string, GivenSecret>,
  documents: ReadonlyMap<string, SecretValues>,
): SecretLookup {
  return (namespace, name, key) => {
    const value = given.get(name)?.(key) ?? documents.get(`${namespace}/${name}`)?.[key];
    return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value;
  };
}

/** Credentials by the usual variables of AWS's and MinIO's tools; undefined when neither key is set. */
export function credentialsFromEnv(env: CommandContext['env']): Credentials | undefined {
  const accessKey = env['AWS_ACCESS_KEY_ID'] || env['MINIO_ACCESS_KEY'] || env['MINIO_ROOT_USER'];
  const secretKey = env['AWS_SECRET_ACCESS_KEY'] || env['MINIO_SECRET_KEY'] || env['MINIO_ROOT_PASSWORD'];
  const sessionToken = env['AWS_SESSION_TOKEN'];
  if (!accessKey || !secretKey) return undefined;
  return { accessKey, secretKey, ...(sessionToken && { sessionToken }) };
}
