import type { z } from 'zod';
import { matches } from './cel.ts';
import { CRON_ACCEPTED, CRON_CEL, CRON_PATTERN, cronFault } from './cron.ts';
import { DURATION_PATTERN, suggestDuration, parseDurationMs } from './duration.ts';
import { text } from './field.ts';
import { NotAcceptedError } from './not-accepted.ts';
import { parseBytes, QUANTITY_PATTERN } from './quantity.ts';
import { didYouMean, nearest } from './suggest.ts';
import { TIME_ZONES } from './time-zones.ts';

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

const BYTE = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const IPV4 = String.raw`(${BYTE}\.){3}${BYTE}`;
const IPV6 = ipv6();
/** The last label is not a number, because URL parsers would read the host as an IPv4 address. See {@link HEX_HOST}. */
const HOST_NAME = String.raw`([A-Za-z0-9_-]+\.)*[0-9]*[A-Za-z_-][A-Za-z0-9_-]*`;
const PORT = '([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';
/** A dot at the end of a host name skips the search list of the resolver. */
const AUTHORITY = String.raw`https?://(${IPV4}|\[${IPV6}\]|${HOST_NAME}\.?)(:${PORT})?`;
/** No segment consists of dots only, because URL parsers would remove it. */
const URL_PATH = '(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*';
const ENDPOINT = new RegExp(`^${AUTHORITY}${URL_PATH}/?$`);
const ORIGIN = new RegExp(`^${AUTHORITY}/?$`);
const HEX_HOST = new RegExp(String.raw`^https?://([^/]*\.)?0[xX][0-9A-Fa-f]*\.?(:[0-9]+)?(/|$)`);
/** An endpoint whose host is an address. */
export const ADDRESS_ENDPOINT = new RegExp(String.raw`^https?://(${IPV4}|\[.*\])(:[0-9]+)?(/|$)`);
const IP_LIKE = /^[0-9]+(\.[0-9]+){3}$/;

/** Pattern of an IPv6 address (RFC 4291, section 2.2), except for the form that ends in an IPv4 address. */
function ipv6(): string {
  const group = '[0-9A-Fa-f]{1,4}';
  const shortened = [1, 2, 3, 4, 5, 6].map(
    (before) => `${group}(:${group}){${before - 1}}::(${group}(:${group}){0,${6 - before}})?`,
  );
  const whole = `(${group}:){7}${group}`;
  return `(${[whole, `::(${group}(:${group}){0,6})?`, ...shortened, `(${group}:){7}:`].join('|')})`;
}

interface Description {
  readonly description: string;
}

/** A label of RFC 1123, which is valid in DNS names, bucket names and values of Kubernetes labels. */
export function label({ description, is }: Description & { readonly is: string }): z.ZodString {
  return text({
    description,
    is,
    accepted: 'at most 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit',
    maxLength: 63,
    pattern: LABEL,
  });
}

export function secretName({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a valid Secret name',
    accepted: 'at most 253 lower-case letters, digits, hyphens and dots, for example my-minio-probe',
    maxLength: 253,
    pattern: SUBDOMAIN,
  });
}

export function configMapName({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a valid ConfigMap name',
    accepted: 'at most 253 lower-case letters, digits, hyphens and dots, for example my-ca',
    maxLength: 253,
    pattern: SUBDOMAIN,
  });
}

export function secretKey({
  description,
  example = 'ca.crt',
}: Description & { readonly example?: string }): z.ZodString {
  return text({
    description,
    is: 'a valid Secret key',
    accepted: `at most 253 letters, digits, hyphens, underscores and dots, for example ${example}`,
    maxLength: 253,
    pattern: /^[A-Za-z0-9._-]+$/,
  });
}

interface Bounds {
  readonly min: string;
  readonly max: string;
}

export function duration({ description, min, max }: Description & Bounds): z.ZodString {
  const [minMs, maxMs] = [parseDurationMs(min), parseDurationMs(max)];
  return text({
    description,
    is: 'a duration',
    accepted: `a duration from ${min} to ${max} in h, m, s or ms, for example 30s or 1m30s`,
    maxLength: 32,
    pattern: DURATION_PATTERN,
    fault: catchFault((value) => {
      const ms = parseDurationMs(value);
      if (ms < minMs) return `is less than ${min}`;
      return ms > maxMs ? `is more than ${max}` : undefined;
    }),
    cel: `duration(self) >= duration('${min}') && duration(self) <= duration('${max}')`,
    fromNumber: (value) => suggestDuration(String(value)),
  });
}

export function size({ description, max }: Description & Pick<Bounds, 'max'>): z.ZodString {
  const maxBytes = parseBytes(max);
  return text({
    description,
    is: 'a size',
    accepted: `a number of bytes up to ${max} with an optional suffix (Ki, Mi, Gi, k, M or G), for example 4Ki`,
    maxLength: 32,
    pattern: QUANTITY_PATTERN,
    fault: catchFault((value) => (parseBytes(value) > maxBytes ? `is more than ${max}` : undefined)),
    cel: `quantity(self).compareTo(quantity('${max}')) <= 0`,
  });
}

function catchFault(check: (value: string) => string | undefined): (value: string) => string | undefined {
  return (value) => {
    try {
      return check(value);
    } catch (error) {
      if (error instanceof NotAcceptedError) return error.message;
      throw error;
    }
  };
}

export function endpoint({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'an endpoint',
    accepted:
      'http://host[:port][/path] or https://host[:port][/path], for example http://my-minio.storage.svc:9000',
    maxLength: 300,
    pattern: ENDPOINT,
    fault: (value) => urlFault(value, ENDPOINT, 'credentialsSecretRef'),
    cel: `!${matches(HEX_HOST)}`,
    isSensitive: mayContainCredentials,
  });
}

/** An endpoint without a path. */
export function origin({
  description,
  example,
  secretRef,
}: Description & { readonly example: string; readonly secretRef: string }): z.ZodString {
  return text({
    description,
    is: 'a URL without a path',
    accepted: `http://host[:port] or https://host[:port], for example ${example}`,
    maxLength: 300,
    pattern: ORIGIN,
    fault: (value) => {
      const fault = urlFault(value, ORIGIN, secretRef);
      return fault ?? (ORIGIN.test(value) || !ENDPOINT.test(value) ? undefined : 'has a path');
    },
    cel: `!${matches(HEX_HOST)}`,
    isSensitive: mayContainCredentials,
  });
}

function mayContainCredentials(value: string): boolean {
  return /[@?#]/.test(value);
}

/** @param secretRef the field for credentials, which must not be in the URL. */
function urlFault(value: string, pattern: RegExp, secretRef: string): string | undefined {
  if (value.includes('@')) return `contains credentials, which belong in the Secret that ${secretRef} names`;
  const scheme = /^([^:/?#]*):\/\//.exec(value)?.[1];
  if (scheme === undefined) {
    const suggestion = `http://${value}`;
    return `has no scheme${didYouMean(pattern.test(suggestion) ? suggestion : undefined)}`;
  }
  if (scheme !== 'http' && scheme !== 'https') return 'does not start with http:// or https://';

  const rest = value.slice(scheme.length + '://'.length);
  if (/[?#]/.test(rest)) return 'has a query or fragment';
  const [authority = '', path = ''] = /^([^/]*)(.*)$/s.exec(rest)?.slice(1) ?? [];
  if (/:[0-9]+$/.test(authority) && !new RegExp(`:${PORT}$`).test(authority)) return 'has an invalid port';
  if (HEX_HOST.test(value)) return 'has a host that URL parsers read as a number';
  if (!new RegExp(`^${URL_PATH}/?$`).test(path))
    return 'has a path with characters or segments that are not accepted';
  return undefined;
}

/** A DNS name for TLS. IP addresses are not accepted. */
export function hostName({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a host name',
    accepted: 'a DNS name, for example my-minio.example.com',
    maxLength: 253,
    pattern: new RegExp(`^${HOST_NAME}$`),
    fault: (value) => (/(^|\.)0[xX][0-9A-Fa-f]*$/.test(value) ? 'reads as a number' : undefined),
    cel: `!${matches(/(^|\.)0[xX][0-9A-Fa-f]*$/)}`,
  });
}

/** A role in the notation of AWS. MinIO uses it too. */
export function roleArn({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a role ARN',
    accepted:
      'the ARN of a role, for example arn:aws:iam::111122223333:role/probe or arn:minio:iam:::role/probe',
    maxLength: 2_048,
    pattern: /^arn:[A-Za-z0-9-]+:[a-z0-9-]+:[A-Za-z0-9-]*:[0-9]*:role\/[A-Za-z0-9+=,.@_/-]+$/,
  });
}

export function kmsKeyId({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a key ID',
    accepted: 'the name, ID, alias or ARN of a key, without spaces',
    maxLength: 2_048,
    pattern: /^[A-Za-z0-9:/_.@+=,-]+$/,
  });
}

export function region({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a valid region',
    accepted: 'at most 63 letters, digits, hyphens and underscores, for example us-east-1',
    maxLength: 63,
    pattern: /^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$/,
  });
}

export function bucketName({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a valid bucket name',
    accepted:
      '3 to 63 lower-case letters, digits, hyphens and single dots, starting and ending with a letter or digit, and not an IP address',
    maxLength: 63,
    pattern: SUBDOMAIN,
    fault: (value) => {
      if (value.length < 3) return 'is shorter than 3 characters';
      return IP_LIKE.test(value) ? 'looks like an IP address' : undefined;
    },
    cel: `size(self) >= 3 && !${matches(IP_LIKE)}`,
  });
}

export function cron({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a cron expression',
    accepted: CRON_ACCEPTED,
    maxLength: 100,
    pattern: CRON_PATTERN,
    fault: cronFault,
    cel: CRON_CEL,
  });
}

export function timeZone({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a time zone',
    accepted: 'a name from the IANA time zone database, for example Europe/Berlin',
    maxLength: 64,
    pattern: /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/,
    fault: (value) => {
      if (TIME_ZONES.includes(value)) return undefined;
      return `is not a known time zone${didYouMean(nearest(value, TIME_ZONES))}`;
    },
    cel: `self in '${TIME_ZONES.join(' ')}'.split(' ')`,
  });
}
