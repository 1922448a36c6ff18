import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { type Documents, readDocuments, resourceId } from '../api/documents.ts';
import { parseEnvText } from '../api/env-text.ts';
import { type ObjectData, textOf } from '../api/object-data.ts';
import { formatProblems } from '../api/problem.ts';
import type { ObjectKind } from '../api/target.ts';
import { InputError } from './context.ts';
import { readBytes } from './sources.ts';

const LITERAL_KEYS =
  'accessKey|secretKey|sessionToken|AWS_ACCESS_KEY_ID|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN|username|password';
/** In `accessKey=…,secretKey=…`, a comma is a separator only before a key, because secrets may contain commas. */
const LITERAL_SEPARATOR = new RegExp(`,(?=(?:${LITERAL_KEYS})=)`);
const LITERAL = new RegExp(`^(?:${LITERAL_KEYS})=`);
const MANIFEST = /(^|[{,])\s*"?kind"?\s*:/m;
const PEM = /-----BEGIN [A-Z ]+-----/;

const FORMS = {
  Secret:
    'NAME=FILE (accessKey=… and secretKey=… lines, a Secret manifest or a PEM file), NAME=DIRECTORY (one file per key), NAME=accessKey=…,secretKey=…',
  ConfigMap: 'NAME=FILE (a CA bundle or a ConfigMap manifest) or NAME=DIRECTORY (one file per key)',
} as const satisfies Record<ObjectKind, string>;

const FLAGS = { Secret: '--secret', ConfigMap: '--config-map' } as const satisfies Record<ObjectKind, string>;

/** Data of a Secret or ConfigMap from the command line, or one value for every key: a PEM file. */
export type GivenObject = { readonly data: ObjectData } | { readonly value: Uint8Array };

/**
 * Reads the Secrets or ConfigMaps given with `--secret` or `--config-map`, by name.
 *
 * @throws {InputError} naming the object, never a value.
 */
export async function readObjectFlags(
  kind: ObjectKind,
  given: readonly string[],
): Promise<Map<string, GivenObject>> {
  const objects = new Map<string, GivenObject>();
  for (const argument of given) {
    const [, name, source] = /^([^=]+)=(.+)$/s.exec(argument) ?? [];
    if (name === undefined || source === undefined) {
      throw new InputError(`${FLAGS[kind]}: name and source are required; accepted: ${FORMS[kind]}`);
    }
    objects.set(name, await readObjectFlag(kind, name, source));
  }
  return objects;
}

async function readObjectFlag(kind: ObjectKind, name: string, source: string): Promise<GivenObject> {
  if (kind === 'Secret' && LITERAL.test(source)) {
    return { data: encoded(source.split(LITERAL_SEPARATOR).map(splitAtEquals)) };
  }
  const found = await stat(source).catch(() => undefined);
  if (found === undefined) {
    throw new InputError(`${FLAGS[kind]} ${name}: no such file; accepted: ${FORMS[kind]}`);
  }
  if (found.isDirectory()) return { data: await readDirectory(source) };
  return readObjectFile(kind, name, source);
}

/** Reads a directory like a mounted Secret, in which Kubernetes hides its own files behind a dot. */
async function readDirectory(path: string): Promise<ObjectData> {
  const files = (await readdir(path)).filter((file) => !file.startsWith('.'));
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await readBytes(join(path, file))] as const)),
  );
}

async function readObjectFile(kind: ObjectKind, name: string, file: string): Promise<GivenObject> {
  const bytes = await readBytes(file);
  const text = textOf(bytes);
  if (text === undefined) throw new InputError(`${FLAGS[kind]} ${name}: is not text; accepted: UTF-8`);
  if (MANIFEST.test(text)) return { data: manifestData(kind, name, { name: file, text }) };
  if (PEM.test(text)) return { value: bytes };
  if (text.trimStart().startsWith('{')) return { data: { BucketInfo: bytes } };

  const values = parseEnvText(text);
  if (values !== undefined) return { data: encoded([...values]) };
  throw new InputError(`${FLAGS[kind]} ${name}: a line is not KEY=VALUE; accepted: ${FORMS[kind]}`);
}

/** The data of the manifest with this name, or of the only one in the file. */
function manifestData(kind: ObjectKind, name: string, source: { name: string; text: string }): ObjectData {
  const { problems, secrets, configMaps } = readDocuments([source], { needsProbe: false });
  if (problems.length > 0) throw new InputError(...formatProblems(problems));
  const objects = [...(kind === 'Secret' ? secrets : configMaps)];
  const named = objects.filter(([id]) => id.endsWith(`/${name}`));
  const [match, ...others] = named.length > 0 ? named : objects;
  if (match !== undefined && others.length === 0) return match[1];
  throw new InputError(
    `${FLAGS[kind]} ${name}: ${source.name} has ${objects.length} ${kind}s; accepted: one with this name`,
  );
}

function splitAtEquals(setting: string): [string, string] {
  const end = setting.indexOf('=');
  return [setting.slice(0, end), setting.slice(end + 1)];
}

function encoded(values: readonly (readonly [string, string])[]): ObjectData {
  return Object.fromEntries(values.map(([key, value]) => [key, Buffer.from(value)]));
}

/** Returns the data of a Secret or ConfigMap. `keys` are those that the caller needs. */
export type ObjectLookup = (
  kind: ObjectKind,
  id: { readonly namespace: string; readonly name: string },
  keys: readonly string[],
) => ObjectData | undefined;

/** An object from the command line replaces the whole object from the files. Their keys are never mixed. */
export function objectLookup(
  given: Readonly<Record<ObjectKind, ReadonlyMap<string, GivenObject>>>,
  { secrets, configMaps }: Pick<Documents, 'secrets' | 'configMaps'>,
): ObjectLookup {
  return (kind, id, keys) => {
    const object = given[kind].get(id.name);
    if (object === undefined) return (kind === 'Secret' ? secrets : configMaps).get(resourceId(id));
    return 'data' in object ? object.data : Object.fromEntries(keys.map((key) => [key, object.value]));
  };
}
