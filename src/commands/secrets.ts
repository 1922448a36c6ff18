import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import type { SecretValues } from '../api/documents.ts';
import type { Credentials } from '../api/run.ts';
import { type CommandContext, InputError } from './context.ts';
import { readFile } from './sources.ts';

/** `accessKey=…,secretKey=…`: a comma separates only where a key follows, since secrets have commas too. */
const LITERAL_SEPARATOR = /,(?=(?:accessKey|secretKey|sessionToken)=)/;
const LITERAL = /^(?:accessKey|secretKey|sessionToken)=/;
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
  if (LITERAL.test(source)) return keysOf(name, source.split(LITERAL_SEPARATOR));
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

/** Finds one key of a Secret; an empty value is none. */
export type SecretLookup = (namespace: string, name: string, key: string) => string | undefined;

/** A Secret that the command line gives stands in for the one in the files: keys of two are never mixed. */
export function lookupIn(
  given: ReadonlyMap<string, GivenSecret>,
  documents: ReadonlyMap<string, SecretValues>,
): SecretLookup {
  return (namespace, name, key) => {
    const secret = given.get(name);
    const value = secret === undefined ? documents.get(`${namespace}/${name}`)?.[key] : secret(key);
    return (value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value) || undefined;
  };
}

/** Of AWS's and MinIO's tools, by who asks first. */
const KEY_VARIABLES = [
  { access: 'AWS_ACCESS_KEY_ID', secret: 'AWS_SECRET_ACCESS_KEY', token: 'AWS_SESSION_TOKEN' },
  { access: 'MINIO_ACCESS_KEY', secret: 'MINIO_SECRET_KEY' },
  { access: 'MINIO_ROOT_USER', secret: 'MINIO_ROOT_PASSWORD' },
];

/**
 * Credentials by the usual variables: the first pair that is whole, with what `given` already gives of it. A session
 * token belongs to the access key beside it, and goes with no other.
 */
export function credentialsFromEnv(
  env: CommandContext['env'],
  given: { readonly accessKey?: string; readonly secretKey?: string } = {},
): Credentials | undefined {
  for (const { access, secret, token } of KEY_VARIABLES) {
    const accessKey = given.accessKey || env[access];
    const secretKey = given.secretKey || env[secret];
    const sessionToken = given.accessKey || token === undefined ? undefined : env[token];
    if (accessKey && secretKey) return { accessKey, secretKey, ...(sessionToken && { sessionToken }) };
  }
  return undefined;
}
