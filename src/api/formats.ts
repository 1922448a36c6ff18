import type { z } from 'zod';
import { DURATION_PATTERN, meantDuration, parseDurationMs } from './duration.ts';
import { text } from './field.ts';
import { NotAcceptedError } from './not-accepted.ts';
import { parseBytes, QUANTITY_PATTERN } from './quantity.ts';
import { didYouMean, nearest } from './suggest.ts';

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

const IPV4 = String.raw`((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])`;
const IPV6 = String.raw`\[[0-9A-Fa-f:.]+\]`;
/** Its last label is no number: URL parsers would take the whole for an IPv4 address. */
const HOST_NAME = String.raw`([A-Za-z0-9_-]+\.)*[0-9]*[A-Za-z_-][A-Za-z0-9_-]*`;
const ENDPOINT = new RegExp(`^https?://(${IPV4}|${IPV6}|${HOST_NAME})(:[0-9]{1,5})?/?$`);

interface Description {
  readonly description: string;
}

/** A name as RFC 1123 has labels: fit for DNS names, bucket names and the values of Kubernetes labels. */
export function label({ description, is }: Description & { readonly is: string }): z.ZodString {
  return text({
    description,
    is,
    accepted: 'at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends',
    maxLength: 63,
    pattern: LABEL,
  });
}

export function secretName({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a name of a Secret',
    accepted: 'at most 253 lower-case letters, digits, hyphens and dots, for example my-minio-probe',
    maxLength: 253,
    pattern: SUBDOMAIN,
  });
}

export function secretKey({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a key of a Secret',
    accepted: 'at most 253 letters, digits, hyphens, underscores and dots, for example ca.crt',
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
    fault: faultOf((value) => {
      const ms = parseDurationMs(value);
      if (ms < minMs) return `is less than ${min}`;
      return ms > maxMs ? `is more than ${max}` : undefined;
    }),
    fromNumber: (value) => meantDuration(String(value)),
  });
}

export function size({ description, max }: Description & Pick<Bounds, 'max'>): z.ZodString {
  const maxBytes = parseBytes(max);
  return text({
    description,
    is: 'a size',
    accepted: `a number of bytes up to ${max} with an optional suffix Ki, Mi, Gi, k, M, G, for example 4Ki`,
    maxLength: 32,
    pattern: QUANTITY_PATTERN,
    fault: faultOf((value) => (parseBytes(value) > maxBytes ? `is more than ${max}` : undefined)),
  });
}

function faultOf(check: (value: string) => string | undefined): (value: string) => string | undefined {
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
      'http:// or https://, a host and an optional port, nothing more, for example http://my-minio.storage.svc:9000',
    maxLength: 300,
    pattern: ENDPOINT,
    fault: endpointFault,
    hides: (value) => /[@?#]/.test(value),
  });
}

function endpointFault(value: string): string | undefined {
  if (value.includes('@')) return 'holds credentials, which belong in the Secret of credentialsSecretRef';
  const scheme = /^([^:/?#]*):\/\//.exec(value)?.[1];
  if (scheme === undefined) {
    const meant = `http://${value}`;
    return `has no scheme${didYouMean(ENDPOINT.test(meant) ? meant : undefined)}`;
  }
  if (scheme !== 'http' && scheme !== 'https') return 'is neither http:// nor https://';

  const rest = value.slice(scheme.length + '://'.length);
  if (/[?#]/.test(rest)) return 'has a query or fragment';
  if (/\/./.test(rest)) return 'has a path';
  if (ENDPOINT.test(value) && !URL.canParse(value)) return 'has a host or port that cannot exist';
  return undefined;
}

export function region({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a region',
    accepted: 'at most 63 letters, digits, hyphens and underscores, for example us-east-1',
    maxLength: 63,
    pattern: /^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$/,
  });
}

export function bucketName({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a bucket name',
    accepted:
      '3 to 63 lower-case letters, digits, hyphens and single dots, with a letter or digit at both ends, and no IP address',
    maxLength: 63,
    pattern: SUBDOMAIN,
    fault: (value) => {
      if (value.length < 3) return 'is shorter than 3 characters';
      return /^[0-9]+(\.[0-9]+){3}$/.test(value) ? 'looks like an IP address' : undefined;
    },
  });
}

/** Five fields; whether each makes sense is for the scheduler to say. */
export function cron({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a cron expression',
    accepted: 'five fields of digits, names and * , - /, for example "*/5 * * * *"',
    maxLength: 100,
    pattern: /^[0-9A-Za-z*,/-]+( +[0-9A-Za-z*,/-]+){4}$/,
    fault: (value) => {
      const count = value.trim().split(/\s+/).length;
      return count === 5 ? undefined : `has ${count} ${count === 1 ? 'field' : 'fields'}, not 5`;
    },
  });
}

export function timeZone({ description }: Description): z.ZodString {
  return text({
    description,
    is: 'a time zone',
    accepted: 'a name of the IANA time zone database, for example Europe/Berlin',
    maxLength: 64,
    pattern: /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/,
    fault: (value) => {
      if (isTimeZone(value)) return undefined;
      return `is not a known time zone${didYouMean(nearest(value, Intl.supportedValuesOf('timeZone')))}`;
    },
  });
}

function isTimeZone(name: string): boolean {
  try {
    Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
