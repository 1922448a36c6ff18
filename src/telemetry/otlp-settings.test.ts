import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createAuthority } from '../../deploy/local/certificates.ts';
import { otlpSettings, type OtlpSettings, OtlpSettingsError } from './otlp-settings.ts';

const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT';
const TRACES_ENDPOINT = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
const HEADERS = 'OTEL_EXPORTER_OTLP_HEADERS';
const HTTP = { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' };
const PROTOCOLS = 'grpc, http/protobuf, http/json';

function read(env: Record<string, string>, files: Record<string, string> = {}): OtlpSettings {
  return otlpSettings({
    env,
    readFile: (path) => {
      const content = files[path];
      if (content === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return Buffer.from(content);
    },
  });
}

function mistakesOf(env: Record<string, string>, files: Record<string, string> = {}): readonly string[] {
  try {
    read(env, files);
    return [];
  } catch (error) {
    if (error instanceof OtlpSettingsError) return error.mistakes;
    throw error;
  }
}

it("uses the specification's defaults, and gRPC", () => {
  expect(read({})).toEqual({
    protocol: 'grpc',
    url: new URL('http://localhost:4317'),
    headers: {},
    tls: {},
    gzip: false,
    timeoutMs: 10_000,
  });
  expect(read(HTTP).url.href).toBe('http://localhost:4318/v1/traces');
});

it('treats empty variables as unset', () => {
  const names = ['ENDPOINT', 'PROTOCOL', 'HEADERS', 'CERTIFICATE', 'CLIENT_KEY', 'COMPRESSION', 'TIMEOUT'];
  for (const empty of ['', ' ']) {
    const env = Object.fromEntries(names.map((name) => [`OTEL_EXPORTER_OTLP_${name}`, empty]));
    expect(read(env)).toEqual(read({}));
  }
});

it.each([
  {
    name: 'ENDPOINT',
    general: 'http://a:4317',
    traces: 'http://b:4317',
    want: { url: new URL('http://b:4317') },
  },
  { name: 'PROTOCOL', general: 'http/json', traces: 'grpc', want: { protocol: 'grpc' } },
  { name: 'COMPRESSION', general: 'none', traces: 'gzip', want: { gzip: true } },
  { name: 'TIMEOUT', general: '1', traces: '2000', want: { timeoutMs: 2_000 } },
  { name: 'HEADERS', general: 'a=1,b=1', traces: 'b=2', want: { headers: { a: '1', b: '2' } } },
])('prefers the variable for traces: $name', ({ name, general, traces, want }) => {
  const env = { [`OTEL_EXPORTER_OTLP_${name}`]: general, [`OTEL_EXPORTER_OTLP_TRACES_${name}`]: traces };
  expect(read(env)).toMatchObject(want);
});

describe('the endpoint', () => {
  it.each([
    { env: { [ENDPOINT]: 'http://a:4317' }, want: 'http://a:4317/' },
    { env: { [ENDPOINT]: 'HTTPS://a/' }, want: 'https://a/' },
    { env: { [ENDPOINT]: 'http://[::1]:4317' }, want: 'http://[::1]:4317/' },
    { env: { ...HTTP, [ENDPOINT]: 'http://a:4318' }, want: 'http://a:4318/v1/traces' },
    { env: { ...HTTP, [ENDPOINT]: 'http://a:4318/' }, want: 'http://a:4318/v1/traces' },
    { env: { ...HTTP, [ENDPOINT]: 'http://a/otlp?tenant=1' }, want: 'http://a/otlp/v1/traces?tenant=1' },
    { env: { ...HTTP, [TRACES_ENDPOINT]: 'http://a/v1/traces' }, want: 'http://a/v1/traces' },
    { env: { ...HTTP, [TRACES_ENDPOINT]: 'http://a/other' }, want: 'http://a/other' },
  ])('is used as the specification says: $env', ({ env, want }) => {
    expect(read(env).url.href).toBe(want);
  });

  it.each([
    {
      env: { [ENDPOINT]: 'collector:4317' },
      want: '"collector:4317" does not start with http:// or https://; accepted: ',
    },
    { env: { [ENDPOINT]: 'collector' }, want: '"collector" does not start with http:// or https://' },
    { env: { [ENDPOINT]: '//collector:4317' }, want: 'does not start with http:// or https://' },
    { env: { [ENDPOINT]: 'grpc://collector:4317' }, want: 'does not start with http:// or https://' },
    { env: { [ENDPOINT]: 'http:/collector:4317' }, want: 'does not start with http:// or https://' },
    { env: { [ENDPOINT]: '"http://collector:4317"' }, want: 'does not start with http:// or https://' },
    { env: { [ENDPOINT]: 'http://collector:port' }, want: '"http://collector:port" is not a URL' },
    { env: { [ENDPOINT]: 'http://collector:4317:4317' }, want: 'is not a URL' },
    { env: { [ENDPOINT]: 'http://a#b' }, want: 'contains a #fragment' },
    { env: { [ENDPOINT]: 'http://a:4317/v1/traces' }, want: 'has a path, which gRPC does not use' },
    {
      env: { ...HTTP, [ENDPOINT]: 'http://a:4318/v1/traces' },
      want: 'must not end in /v1/traces, which is added to it',
    },
    { env: { ...HTTP, [ENDPOINT]: 'http://a:4318/v1/traces/' }, want: 'must not end in /v1/traces' },
  ])('is rejected: $env', ({ env, want }) => {
    expect(mistakesOf(env)).toEqual([expect.stringContaining(want)]);
    expect(mistakesOf(env)[0]).toMatch(/^OTEL_EXPORTER_OTLP_ENDPOINT: /);
  });

  it('for traces must not have the path twice', () => {
    const env = { ...HTTP, [TRACES_ENDPOINT]: 'http://a/v1/traces/v1/traces' };
    expect(mistakesOf(env)).toEqual([
      `${TRACES_ENDPOINT}: "http://a/v1/traces/v1/traces" contains /v1/traces twice; remove one`,
    ]);
  });

  it.each(['http://user:hunter2@collector:4317', 'user:hunter2@collector', 'http://user:hunter2@a:port'])(
    'may not contain a password, which is never shown: %s',
    (value) => {
      const mistakes = mistakesOf({ [ENDPOINT]: value });
      expect(mistakes).toHaveLength(1);
      expect(mistakes.join(' ')).not.toContain('hunter2');
    },
  );
});

describe('headers', () => {
  it('are comma-separated, percent-decoded pairs', () => {
    const env = { [HEADERS]: ' Authorization=Bearer%20a%2Cb== , x-tenant = storage ,' };
    expect(read(env).headers).toEqual({ authorization: 'Bearer a,b==', 'x-tenant': 'storage' });
  });

  it.each([
    { value: 'authorization: Bearer hunter2', want: 'header 1 is not key=value' },
    { value: 'a=1,hunter2', want: 'header 2 is not key=value' },
    { value: '=hunter2', want: 'header 1 is not key=value' },
    { value: 'my key=hunter2', want: 'the key of header 1 is not a header name' },
    { value: '%zz=hunter2', want: 'the key of header 1 is not a header name' },
    { value: 'a=hunter2%zz', want: 'the value of header 1, "a", is not percent-encoded correctly' },
    {
      value: 'a=hunter2%0Ab',
      want: 'the value of header 1, "a", contains characters other than printable ASCII',
    },
    {
      value: 'a=hünter2',
      want: 'the value of header 1, "a", contains characters other than printable ASCII',
    },
    { value: 'Content-Type=hunter2', want: 'header 1, "Content-Type", is set by the exporter' },
    { value: 'grpc-timeout=hunter2', want: 'header 1, "grpc-timeout", is set by the exporter' },
  ])('are rejected without showing the value: $value', ({ value, want }) => {
    const mistakes = mistakesOf({ [HEADERS]: value });
    expect(mistakes).toEqual([expect.stringContaining(`${HEADERS}: ${want}`)]);
    expect(mistakes.join(' ')).not.toMatch(/hunter2|hünter2/);
  });
});

describe('certificates', () => {
  it('are read from files', async () => {
    const ca = await createAuthority();
    const [client, other] = [await ca.issue(), await ca.issue()];
    const files = { 'ca.crt': ca.certificate, 'tls.crt': client.cert, 'tls.key': client.key };
    const env = {
      OTEL_EXPORTER_OTLP_CERTIFICATE: 'ca.crt',
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: 'tls.crt',
      OTEL_EXPORTER_OTLP_CLIENT_KEY: 'tls.key',
    };
    expect(read(env, files).tls).toEqual({
      ca: Buffer.from(ca.certificate),
      cert: Buffer.from(client.cert),
      key: Buffer.from(client.key),
    });
    expect(mistakesOf(env, { ...files, 'tls.key': other.key })).toEqual([
      expect.stringMatching(
        /CLIENT_CERTIFICATE: "tls.crt" and the key "tls.key" are not a PEM certificate and its/,
      ),
    ]);
    expect(mistakesOf({ OTEL_EXPORTER_OTLP_CLIENT_KEY: 'tls.key' }, files)).toEqual([
      expect.stringContaining('must be set together'),
    ]);
  });

  it('are rejected if they cannot be read', () => {
    expect(mistakesOf({ OTEL_EXPORTER_OTLP_CERTIFICATE: '/ca.crt' })).toEqual([
      'OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read "/ca.crt" (ENOENT); accepted: the path of a PEM file',
    ]);
  });

  it.each(['', 'not PEM', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'])(
    'are rejected if they are not PEM: %j',
    (content) => {
      expect(mistakesOf({ OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: 'ca.crt' }, { 'ca.crt': content })).toEqual([
        'OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: "ca.crt" contains no valid PEM certificate',
      ]);
    },
  );
});

it.each([
  { name: 'PROTOCOL', value: 'thrift', want: `"thrift" is not supported; accepted: ${PROTOCOLS}` },
  { name: 'COMPRESSION', value: 'zstd', want: '"zstd" is not supported; accepted: none, gzip' },
  ...['10s', '0', '-1', 'NaN', '1e9'].map((value) => ({
    name: 'TIMEOUT',
    value,
    want: `"${value}" is not a timeout; accepted: milliseconds, above 0 and up to 300000`,
  })),
])('rejects $name=$value', ({ name, value, want }) => {
  expect(mistakesOf({ [`OTEL_EXPORTER_OTLP_${name}`]: value })).toEqual([
    `OTEL_EXPORTER_OTLP_${name}: ${want}`,
  ]);
});

it('reports all mistakes at once, one per line', () => {
  const mistakes = mistakesOf({ [ENDPOINT]: 'a:1', [HEADERS]: 'x', OTEL_EXPORTER_OTLP_COMPRESSION: 'lz4' });
  expect(mistakes).toHaveLength(3);
});

it('never falls back to localhost when an endpoint is given', () => {
  const endpoint = fc.oneof(fc.string({ minLength: 1 }), fc.webUrl(), fc.domain());
  fc.assert(
    fc.property(endpoint, fc.constantFrom('grpc', 'http/json'), (value, protocol) => {
      const env = { [ENDPOINT]: value, OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
      if (value.trim() === '' || mistakesOf(env).length > 0) return;
      expect(read(env).url.host).toBe(new URL(value).host);
    }),
  );
});
