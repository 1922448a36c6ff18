import { parseEnvText } from './env-text.ts';
import { foundKeys, type ObjectData, requiredText, textOf } from './object-data.ts';
import { ReasonedError } from './reasons.ts';
import type { Credentials } from './run.ts';

/** Keys of a Secret that contain the credentials. */
export interface CredentialKeys {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken?: string | undefined;
}

/** Keys of a Secret that are recognised without configuration, for messages. */
export const RECOGNISED_KEYS =
  'accessKey and secretKey, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or rootUser and rootPassword';

/**
 * Names of one pair, in lower case and without `_`, `-` and `.`, so that `accessKey`, `access_key` and `ACCESS-KEY` are the
 * same. Sources: AWS CLI, Rook, MinIO chart and operator, Bitnami charts, Loki, COSI.
 */
interface KeyFamily {
  readonly access: readonly string[];
  readonly secret: readonly string[];
  readonly token: readonly string[];
}

/** In order of precedence. */
const FAMILIES: readonly KeyFamily[] = [
  ...['', 'aws', 'minio', 's3', 'console', 'cosis3'].map((prefix) => ({
    access: [`${prefix}accesskey`, `${prefix}accesskeyid`],
    secret: [
      `${prefix}secretkey`,
      `${prefix}secretaccesskey`,
      `${prefix}accesssecretkey`,
      `${prefix}accesskeysecret`,
    ],
    token: [`${prefix}sessiontoken`],
  })),
  ...['', 'minio'].map((prefix) => ({
    access: [`${prefix}rootuser`],
    secret: [`${prefix}rootpassword`],
    token: [],
  })),
];

/**
 * Keys whose value is a file with the credentials: `config.env` of the MinIO operator and other env files, `cloud` and
 * `credentials` of Velero.
 */
const ENV_DOCUMENT = /(^|\.)env$|^(cloud|credentials)$/;
/** COSI writes one JSON document. */
const BUCKET_INFO = /^BucketInfo(\.json)?$/;

/**
 * Reads the credentials from a Secret. `run` and the operator both use this function, so a Secret means the same in both:
 * spaces, line breaks and quotes around a value are removed.
 *
 * @param options.keys names of the keys. If absent, the usual names are recognised.
 * @param options.secret describes the Secret in messages, for example `Secret storage/keys`.
 * @throws {ReasonedError} `SecretInvalid`, naming keys but never a value.
 */
export function credentialsFrom(
  data: ObjectData,
  { keys, secret }: { readonly keys?: CredentialKeys | undefined; readonly secret: string },
): Credentials {
  if (keys !== undefined) return pick(data, keys, secret);
  const content = [data, ...documentsIn(data)];
  for (const candidate of content) {
    const found = recognisedPairs(candidate).find(isComplete);
    if (found !== undefined) return pick(candidate, found, secret);
  }
  throw new ReasonedError(
    'SecretInvalid',
    `${secret} has ${findingOf(content)}; ${foundKeys(data)}; accepted: ${RECOGNISED_KEYS}, or the names in credentialsSecretRef.keys`,
  );
}

/** Says which half of a pair is missing, if there is the other. */
function findingOf(content: readonly ObjectData[]): string {
  const [half] = content.flatMap(recognisedPairs);
  if (half === undefined) return 'no pair of keys that is recognised';
  const { accessKey, secretKey } = half;
  return accessKey === undefined ? `${secretKey} but no access key` : `${accessKey} but no secret key`;
}

/** Returns the pairs of which at least one half is there. An empty value counts as missing. */
function recognisedPairs(data: ObjectData): Partial<CredentialKeys>[] {
  const names = Object.keys(data)
    .filter((name) => data[name]?.length !== 0)
    .toSorted();
  const find = (wanted: readonly string[]): string | undefined =>
    names.find((name) => wanted.includes(name.toLowerCase().replaceAll(/[_.-]/g, '')));
  return FAMILIES.map(({ access, secret, token }) => {
    const [accessKey, secretKey, sessionToken] = [find(access), find(secret), find(token)];
    return {
      ...(accessKey !== undefined && { accessKey }),
      ...(secretKey !== undefined && { secretKey }),
      sessionToken,
    };
  }).filter(({ accessKey, secretKey }) => accessKey !== undefined || secretKey !== undefined);
}

function isComplete(keys: Partial<CredentialKeys>): keys is CredentialKeys {
  return keys.accessKey !== undefined && keys.secretKey !== undefined;
}

function pick(data: ObjectData, keys: CredentialKeys, secret: string): Credentials {
  return {
    accessKey: headerSafe(unwrapped(data, keys.accessKey, secret), keys.accessKey, secret),
    secretKey: printable(unwrapped(data, keys.secretKey, secret), keys.secretKey, secret),
    ...(keys.sessionToken !== undefined && {
      sessionToken: headerSafe(unwrapped(data, keys.sessionToken, secret), keys.sessionToken, secret),
    }),
  };
}

/**
 * Removes what tools add around a value: the line break that `kubectl create secret --from-file` and YAML block texts keep,
 * and the quotes that `--from-env-file` keeps.
 */
function unwrapped(data: ObjectData, key: string, secret: string): string {
  const value = requiredText(data, key, secret).trim();
  const unquoted = /^(["'])(.+)\1$/s.exec(value)?.[2] ?? value;
  if (unquoted !== '') return unquoted;
  throw new ReasonedError('SecretInvalid', `${secret} has no ${key}; ${foundKeys(data)}`);
}

/** Access keys and session tokens are sent in headers. */
function headerSafe(value: string, key: string, secret: string): string {
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new ReasonedError('SecretInvalid', `${key} in ${secret} must be printable ASCII without spaces`);
}

/** Secret keys are only hashed. MinIO accepts spaces and letters with accents in them. */
function printable(value: string, key: string, secret: string): string {
  if (!/\p{Cc}/u.test(value)) return value;
  throw new ReasonedError('SecretInvalid', `${key} in ${secret} must be one line of text`);
}

/** The contents of the values that are files themselves. */
function documentsIn(data: ObjectData): ObjectData[] {
  return Object.keys(data)
    .toSorted()
    .flatMap((key) => {
      const text = textOf(data[key] ?? new Uint8Array());
      if (text === undefined) return [];
      if (BUCKET_INFO.test(key)) return bucketInfo(text);
      return ENV_DOCUMENT.test(key) ? objectData(parseEnvText(text) ?? []) : [];
    });
}

function bucketInfo(text: string): ObjectData[] {
  try {
    const { spec } = JSON.parse(text) as { spec?: { secretS3?: Record<string, unknown> | null } };
    const texts = Object.entries(spec?.secretS3 ?? {}).filter(([, value]) => typeof value === 'string');
    return objectData(texts as [string, string][]);
  } catch {
    return [];
  }
}

function objectData(values: Iterable<readonly [string, string]>): ObjectData[] {
  const encoder = new TextEncoder();
  return [Object.fromEntries(Array.from(values, ([key, value]) => [key, encoder.encode(value)]))];
}
