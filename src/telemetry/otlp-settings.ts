import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';

export const OTLP_PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;
export type OtlpProtocol = (typeof OTLP_PROTOCOLS)[number];

/** Where and how spans are sent. */
export interface OtlpSettings {
  readonly protocol: OtlpProtocol;
  /** For HTTP, the URL that requests are sent to. For gRPC, only the origin counts. */
  readonly url: URL;
  /** Keys are in lower case. Values may be secret: never log them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: OtlpTls;
  readonly gzip: boolean;
  /** Time limit of one attempt. */
  readonly timeoutMs: number;
}

export interface OtlpTls {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** The OTLP settings contain mistakes. */
export class OtlpSettingsError extends Error {
  override readonly name = 'OtlpSettingsError';
  /** One line per mistake, without secrets. */
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super(mistakes.join('\n'));
    this.mistakes = mistakes;
  }
}

export interface OtlpSettingsSource {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** @throws the error of `readFileSync`. */
  readonly readFile: (path: string) => Buffer;
}

const TRACES_PATH = '/v1/traces';
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 300_000;

/**
 * Reads the `OTEL_EXPORTER_OTLP_*` variables. Unlike OpenTelemetry's exporters, which ignore a mistake and send the
 * spans to localhost, it rejects every value that it does not understand.
 *
 * There is one difference to the specification: the protocol defaults to `grpc`, which the specification allows for an
 * SDK that already had that default.
 *
 * Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter".
 *
 * @throws {OtlpSettingsError}
 */
export function otlpSettings({ env, readFile }: OtlpSettingsSource): OtlpSettings {
  const mistakes: string[] = [];
  const find = (suffix: string): Variable | undefined =>
    variable(env, `OTEL_EXPORTER_OTLP_TRACES_${suffix}`) ?? variable(env, `OTEL_EXPORTER_OTLP_${suffix}`);
  const protocol = parseProtocol(find('PROTOCOL'), mistakes);
  const settings = {
    protocol,
    url: parseEndpoint(find('ENDPOINT'), protocol, mistakes),
    headers: {
      ...parseHeaders(variable(env, 'OTEL_EXPORTER_OTLP_HEADERS'), mistakes),
      ...parseHeaders(variable(env, 'OTEL_EXPORTER_OTLP_TRACES_HEADERS'), mistakes),
    },
    tls: readTls(
      { ca: find('CERTIFICATE'), cert: find('CLIENT_CERTIFICATE'), key: find('CLIENT_KEY') },
      readFile,
      mistakes,
    ),
    gzip: parseCompression(find('COMPRESSION'), mistakes) === 'gzip',
    timeoutMs: parseTimeout(find('TIMEOUT'), mistakes),
  };
  if (mistakes.length > 0) throw new OtlpSettingsError(mistakes);
  return settings;
}

interface Variable {
  readonly name: string;
  readonly value: string;
}

/** An empty variable counts as unset. */
function variable(env: OtlpSettingsSource['env'], name: string): Variable | undefined {
  const value = env[name]?.trim() ?? '';
  return value === '' ? undefined : { name, value };
}

function parseProtocol(given: Variable | undefined, mistakes: string[]): OtlpProtocol {
  if (given === undefined) return 'grpc';
  const protocol = OTLP_PROTOCOLS.find((candidate) => candidate === given.value.toLowerCase());
  if (protocol !== undefined) return protocol;
  mistakes.push(`${given.name}: "${given.value}" is not supported; accepted: ${OTLP_PROTOCOLS.join(', ')}`);
  return 'grpc';
}

function parseEndpoint(given: Variable | undefined, protocol: OtlpProtocol, mistakes: string[]): URL {
  const fallback = new URL(
    protocol === 'grpc' ? 'http://localhost:4317' : `http://localhost:4318${TRACES_PATH}`,
  );
  if (given === undefined) return fallback;
  const mistake = endpointMistake(given, protocol);
  if (mistake !== undefined) {
    mistakes.push(mistake);
    return fallback;
  }
  const url = new URL(given.value);
  // Only the general endpoint is a base URL.
  if (protocol !== 'grpc' && given.name === 'OTEL_EXPORTER_OTLP_ENDPOINT')
    url.pathname = `${withoutSlash(url.pathname)}${TRACES_PATH}`;
  return url;
}

function endpointMistake({ name, value }: Variable, protocol: OtlpProtocol): string | undefined {
  const accepted = 'accepted: http://HOST:PORT or https://HOST:PORT';
  // A value with an @ may contain a password.
  const shown = value.includes('@') ? 'the value' : `"${value}"`;
  if (!/^https?:\/\//i.test(value))
    return `${name}: ${shown} does not start with http:// or https://; ${accepted}`;
  const url = URL.parse(value);
  if (url === null) return `${name}: ${shown} is not a URL; ${accepted}`;
  if (url.username !== '' || url.password !== '')
    return `${name}: the URL contains a user or password; use OTEL_EXPORTER_OTLP_HEADERS for credentials`;
  if (url.hash !== '') return `${name}: ${shown} contains a #fragment; ${accepted}`;
  const path = withoutSlash(url.pathname);
  if (protocol === 'grpc') {
    if (path === '' && url.search === '') return undefined;
    return `${name}: ${shown} has a path, which gRPC does not use; remove it, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`;
  }
  const isBase = name === 'OTEL_EXPORTER_OTLP_ENDPOINT';
  if (!path.endsWith(isBase ? TRACES_PATH : `${TRACES_PATH}${TRACES_PATH}`)) return undefined;
  return isBase
    ? `${name}: ${shown} must not end in ${TRACES_PATH}, which is added to it; remove it, or set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
    : `${name}: ${shown} contains ${TRACES_PATH} twice; remove one`;
}

function withoutSlash(path: string): string {
  return path.replace(/\/+$/, '');
}

const HEADER_NAME = /^[\w.-]+$/;
const HEADER_VALUE = /^[\u0020-\u007E]*$/;
/** Headers that belong to the protocol. */
const RESERVED_HEADER =
  /^(?:grpc-.*|connection|content-encoding|content-length|content-type|te|transfer-encoding)$/;

/** Messages contain the name of a header at most, because its value may be a token. */
function parseHeaders(given: Variable | undefined, mistakes: string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  const pairs = given?.value.split(',').filter((pair) => pair.trim() !== '') ?? [];
  for (const [index, pair] of pairs.entries()) {
    const position = `header ${index + 1}`;
    const separator = pair.indexOf('=');
    const key = decode(pair.slice(0, Math.max(0, separator)));
    const value = decode(pair.slice(separator + 1));
    const mistake = headerMistake(position, separator, key, value);
    if (mistake !== undefined) mistakes.push(`${given?.name}: ${mistake}`);
    else if (key !== undefined && value !== undefined) headers[key.toLowerCase()] = value;
  }
  return headers;
}

function headerMistake(
  position: string,
  separator: number,
  key: string | undefined,
  value: string | undefined,
): string | undefined {
  if (separator < 1)
    return `${position} is not key=value; separate headers with commas, and write a comma in a value as %2C`;
  if (key === undefined || !HEADER_NAME.test(key))
    return `the key of ${position} is not a header name; accepted: letters, digits, ".", "_" and "-"`;
  if (RESERVED_HEADER.test(key.toLowerCase()))
    return `${position}, "${key}", is set by the exporter; remove it`;
  if (value === undefined)
    return `the value of ${position}, "${key}", is not percent-encoded correctly; write % as %25`;
  if (!HEADER_VALUE.test(value))
    return `the value of ${position}, "${key}", contains characters other than printable ASCII`;
  return undefined;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.trim());
  } catch {
    return undefined;
  }
}

interface TlsVariables {
  readonly ca: Variable | undefined;
  readonly cert: Variable | undefined;
  readonly key: Variable | undefined;
}

function readTls(files: TlsVariables, readFile: OtlpSettingsSource['readFile'], mistakes: string[]): OtlpTls {
  const ca = readPem(files.ca, readFile, mistakes);
  const cert = readPem(files.cert, readFile, mistakes);
  const key = readPem(files.key, readFile, mistakes);
  if (files.ca !== undefined && ca !== undefined && !isCertificate(ca))
    mistakes.push(`${files.ca.name}: "${files.ca.value}" contains no valid PEM certificate`);
  if ((files.cert === undefined) !== (files.key === undefined))
    mistakes.push(
      'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY must be set together',
    );
  else if (cert !== undefined && key !== undefined && !isKeyPair(cert, key))
    mistakes.push(
      `${files.cert?.name}: "${files.cert?.value}" and the key "${files.key?.value}" are not a PEM certificate and its private key`,
    );
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

function readPem(
  file: Variable | undefined,
  readFile: OtlpSettingsSource['readFile'],
  mistakes: string[],
): Buffer | undefined {
  if (file === undefined) return undefined;
  try {
    return readFile(file.value);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    mistakes.push(`${file.name}: cannot read "${file.value}" (${code}); accepted: the path of a PEM file`);
    return undefined;
  }
}

function isCertificate(pem: Buffer): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}

function isKeyPair(cert: Buffer, key: Buffer): boolean {
  try {
    createSecureContext({ cert, key });
    return true;
  } catch {
    return false;
  }
}

function parseCompression(given: Variable | undefined, mistakes: string[]): string {
  const compression = given?.value.toLowerCase() ?? 'none';
  if (compression !== 'none' && compression !== 'gzip')
    mistakes.push(`${given?.name}: "${given?.value}" is not supported; accepted: none, gzip`);
  return compression;
}

function parseTimeout(given: Variable | undefined, mistakes: string[]): number {
  if (given === undefined) return DEFAULT_TIMEOUT_MS;
  const timeoutMs = Number(given.value);
  if (timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS) return timeoutMs;
  mistakes.push(
    `${given.name}: "${given.value}" is not a timeout; accepted: milliseconds, above 0 and up to ${MAX_TIMEOUT_MS}`,
  );
  return DEFAULT_TIMEOUT_MS;
}
