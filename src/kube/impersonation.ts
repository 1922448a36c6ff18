import { z } from 'zod';

/** A header value cannot contain control characters. */
const text = z.string().regex(/^[^\p{Cc}]+$/u);

/**
 * Fields of a kubeconfig user that select the identity to act as. `KubeConfig` reads only `as`.
 * Source: client-go, `tools/clientcmd/api/v1/types.go`, AuthInfo.
 */
const Impersonation = z.object({
  as: text.nullish(),
  'as-uid': text.nullish(),
  'as-groups': z.array(text).nullish(),
  'as-user-extra': z.record(text, z.array(text)).nullish(),
});

const ACCEPTED: Readonly<Record<keyof z.infer<typeof Impersonation>, string>> = {
  as: 'a user name',
  'as-uid': 'a UID',
  'as-groups': 'a list of group names',
  'as-user-extra': 'a map from names to lists of strings',
};

/** A header with several values is sent once per value. */
export type HeaderValue = string | string[];

/**
 * Returns the impersonation headers for a user in a kubeconfig.
 * @throws Error with a one-line message if a field is invalid.
 */
export function impersonationHeaders(user: unknown): Record<string, HeaderValue> {
  const parsed = Impersonation.safeParse(user ?? {});
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path[0] as keyof typeof ACCEPTED | undefined;
    if (field === undefined) return {};
    throw new Error(`${field} is invalid; accepted: ${ACCEPTED[field]}`);
  }
  const { as, 'as-uid': uid, 'as-groups': groups, 'as-user-extra': extra } = parsed.data;
  const headers: Record<string, HeaderValue> = {};
  if (uid) headers['Impersonate-Uid'] = utf8(uid);
  if (groups?.length) headers['Impersonate-Group'] = groups.map(utf8);
  for (const [key, values] of Object.entries(extra ?? {}))
    headers[`Impersonate-Extra-${escapeKey(key)}`] = values.map(utf8);
  if (Object.keys(headers).length > 0 && !as)
    throw new Error('as-uid, as-groups and as-user-extra require as');
  return as ? { 'Impersonate-User': utf8(as), ...headers } : headers;
}

/** Percent-encodes all characters but those of an HTTP token. Source: client-go, `transport`, headerKeyEscape. */
function escapeKey(key: string): string {
  return Array.from(new TextEncoder().encode(key), (byte) => {
    const character = String.fromCodePoint(byte);
    return /[!#$&'*+.^_`|~0-9A-Za-z-]/.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

/** HTTP header values are bytes. Go sends and reads them as UTF-8, undici as Latin-1. */
function utf8(value: string): string {
  return Buffer.from(value).toString('latin1');
}
