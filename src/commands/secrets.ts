import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import type { SecretValues } from '../api/documents.ts';
import type { Credentials } from '../api/run.ts';
import { type CommandContext, InputError } from './context.ts';
import { readFile } from './sources.ts';

/** In `accessKey=…,secretKey=…`, a comma is a separator only before a key, because secrets may contain commas. */
const LITERAL_SEPARATOR = /,(?=(?:accessKey|secretKey|sessionToken)=)/;
const LITERAL = /^(?:accessKey|secretKey|sessionToken)=/;
const SECRET_FORMS =
  'NAME=FILE (accessKey=… and secretKey=… lines, or a CA bundle), NAME=DIRECTORY (one file per key), NAME=accessKey=…,secretKey=…';

/** Returns the value of a key in a Secret from `--secret`. A plain CA bundle is the value of every key. */
export type SecretFlag = (key: string) => string | undefined;

/**
 * Reads the Secrets given with `--secret`.
 *
 * @throws {InputError} naming the Secret, never a value.
 */
export async function readSecretFlags(given: readonly string[]): Promise<Map<string, SecretFlag>> {
  const secrets = new Map<string, SecretFlag>();
  for (const argument of given) {
    const [, name, source] = /^([^=]+)=(.+)$/s.exec(argument) ?? [];
    if (name === undefined || source === undefined) {
      throw new InputError(`--secret: name and source are required; accepted: ${SECRET_FORMS}`);
    }
    secrets.set(name, await readSecretFlag(name, source));
  }
  return secrets;
}

async function readSecretFlag(name: string, source: string): Promise<SecretFlag> {
  if (LITERAL.test(source)) return parseKeys(name, source.split(LITERAL_SEPARATOR));
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
  return parseKeys(
    name,
    text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#')),
  );
}

function parseKeys(name: string, lines: readonly string[]): SecretFlag {
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

/** Returns the value of a Secret's key. An empty value counts as missing. */
export type SecretLookup = (namespace: string, name: string, key: string) => string | undefined;

/** A Secret from the command line replaces the whole Secret from the files. Their keys are never mixed. */
export function secretLookup(
  given: ReadonlyMap<string, SecretFlag>,
  documents: ReadonlyMap<string, SecretValues>,
): SecretLookup {
  return (namespace, name, key) => {
    const secret = given.get(name);
    const value = secret === undefined ? documents.get(`${namespace}/${name}`)?.[key] : secret(key);
    return (value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value) || undefined;
  };
}

/** Variables of the AWS and MinIO tools, in order of precedence. */
const KEY_VARIABLES = [
  { access: 'AWS_ACCESS_KEY_ID', secret: 'AWS_SECRET_ACCESS_KEY', token: 'AWS_SESSION_TOKEN' },
  { access: 'MINIO_ACCESS_KEY', secret: 'MINIO_SECRET_KEY' },
  { access: 'MINIO_ROOT_USER', secret: 'MINIO_ROOT_PASSWORD' },
];

/**
 * Returns the first complete key pair from the usual variables. Keys in `given` override their variables. A session
 * token is used only with the access key from the same set of variables.
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
