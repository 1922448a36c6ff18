import type { LookupAddress } from 'node:dns';
import net from 'node:net';
import tls from 'node:tls';

import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { createAuthority } from '../../deploy/local/certificates.ts';
import { addressesOf, fakeResolver, resolvingTo } from '../../test/support/fake-resolver.ts';
import { serveHttp } from '../../test/support/http-server.ts';
import { systemClock } from '../clock/system-clock.ts';
import { addressPolicy } from './address-policy.ts';
import { S3Error } from './s3-error.ts';
import { S3Client, type S3ClientDeps } from './s3-client.ts';
import { TargetKeyring } from './target-keys.ts';

const POLICY = addressPolicy({ allowed: [] });
const LOCAL = addressPolicy({ allowed: ['127.0.0.1'] });
const METADATA = '169.254.169.254';

describe('address policy', () => {
  it.each([
    ['127.0.0.1', 'a loopback address'],
    ['127.255.255.254', 'a loopback address'],
    ['::1', 'a loopback address'],
    ['0:0:0:0:0:0:0:1', 'a loopback address'],
    ['0.0.0.0', 'an unspecified address'],
    ['0.1.2.3', 'an unspecified address'],
    ['::', 'an unspecified address'],
    [METADATA, 'a link-local address'],
    ['169.254.170.2', 'a link-local address'],
    ['fe80::1', 'a link-local address'],
    ['fe80::1%eth0', 'a link-local address'],
    ['febf::1', 'a link-local address'],
    ['fd00:ec2::254', 'a cloud metadata address'],
    ['fd00:0ec2::23', 'a cloud metadata address'],
    ['fd20:ce::254', 'a cloud metadata address'],
    ['100.100.100.200', 'a cloud metadata address'],
    ['168.63.129.16', 'a cloud metadata address'],
    ['192.0.0.192', 'a cloud metadata address'],
    ['224.0.0.1', 'a multicast address'],
    ['239.255.255.250', 'a multicast address'],
    ['ff02::1', 'a multicast address'],
    ['255.255.255.255', 'a broadcast address'],
    ['', 'not an IP address'],
    ['my-minio', 'not an IP address'],
    ['127.1', 'not an IP address'],
  ])('blocks %s as %s', (address, want) => {
    expect(POLICY.blockedKind(address)).toBe(want);
  });

  it.each([
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '100.100.100.201',
    '126.255.255.255',
    '128.0.0.1',
    '169.253.255.255',
    '169.255.0.0',
    '168.63.129.17',
    '192.0.0.193',
    '223.255.255.255',
    '52.216.0.1',
    'fd00::1',
    'fd00:ec3::254',
    'fec0::1',
    '2a00:1450::1',
    '64:ff9b::10.0.0.1',
    '2002:a00:1::1',
  ])('allows %s', (address) => {
    expect(POLICY.blockedKind(address)).toBeUndefined();
  });

  /** Ways to embed an IPv4 address in an IPv6 address. */
  const EMBEDDINGS: Readonly<Record<string, (ipv4: string) => string>> = {
    'IPv4-mapped': (ipv4) => `::ffff:${ipv4}`,
    'IPv4-mapped in hex': (ipv4) => `::ffff:${hexOf(ipv4)}`,
    'IPv4-compatible': (ipv4) => `::${ipv4}`,
    'IPv4-translated': (ipv4) => `::ffff:0:${ipv4}`,
    NAT64: (ipv4) => `64:ff9b::${ipv4}`,
    'NAT64 in hex': (ipv4) => `0064:ff9b:0:0:0:0:${hexOf(ipv4)}`,
    'local NAT64': (ipv4) => `64:ff9b:1::${ipv4}`,
    '6to4': (ipv4) => `2002:${hexOf(ipv4)}::1`,
  };
  it.each(Object.keys(EMBEDDINGS))('treats an IPv6 address like the IPv4 address in it: %s', (name) => {
    const embed = EMBEDDINGS[name] ?? String;
    const blocked = fc.oneof(
      fc.constantFrom(METADATA, '100.100.100.200', '168.63.129.16', '192.0.0.192', '255.255.255.255'),
      fc.ipV4().map((ipv4) => ipv4.replace(/^\d+/, '127')),
      fc.ipV4().map((ipv4) => ipv4.replace(/^\d+/, '230')),
    );
    fc.assert(
      fc.property(blocked, (ipv4) => {
        expect(POLICY.blockedKind(embed(ipv4))).toBe(POLICY.blockedKind(ipv4));
      }),
    );
  });

  it('allows listed addresses and ranges', () => {
    const policy = addressPolicy({ allowed: ['127.0.0.0/8', 'fe80::/64', '100.100.100.200', '::1'] });
    const allowed = ['127.1.2.3', '::ffff:127.0.0.1', 'fe80::1', 'fe80::1%eth0', '100.100.100.200', '::1'];
    for (const address of allowed) expect(policy.blockedKind(address)).toBeUndefined();
    for (const address of [METADATA, 'fe80:0:0:1::1', '64:ff9b::127.0.0.1', '::'])
      expect(policy.blockedKind(address)).toBeDefined();
  });

  it('allows every address if all ranges are listed', () => {
    const policy = addressPolicy({ allowed: ['0.0.0.0/0', '::/0'] });
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
        expect(policy.blockedKind(address)).toBeUndefined();
      }),
    );
  });

  it.each([
    '',
    'localhost',
    '127.1',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    'fe80::1%eth0',
    '10.0.0.0/-1',
  ])('rejects an invalid entry in the list: "%s"', (allowed) => {
    expect(() => addressPolicy({ allowed: [allowed] })).toThrow('is neither an address nor a CIDR');
  });
});

describe('a client with an address policy', () => {
  it.each([
    ['http://127.0.0.1', '127.0.0.1 is a loopback address'],
    ['http://2130706433', '127.0.0.1 is a loopback address'],
    ['http://0x7f000001:9000', '127.0.0.1 is a loopback address'],
    ['http://0177.1', '127.0.0.1 is a loopback address'],
    ['https://127.0.0.1.', '127.0.0.1 is a loopback address'],
    ['http://[::1]:9000', '::1 is a loopback address'],
    [`http://[::ffff:${METADATA}]`, '::ffff:a9fe:a9fe is a link-local address'],
    [`http://${METADATA}`, `${METADATA} is a link-local address`],
    [`https://${METADATA}`, `${METADATA} is a link-local address`],
    ['http://[fd00:ec2::254]', 'fd00:ec2::254 is a cloud metadata address'],
  ])('does not connect to a blocked address: %s', async (endpoint, finding) => {
    const connected = forbidConnections();
    const error = await failureOf({ endpoint, addressPolicy: POLICY });
    expect(error.reason).toBe('AddressNotAllowed');
    expect(error.message).toBe(
      `HeadBucket: ${finding}; the operator's --allow-addresses does not include it`,
    );
    expect(Object.keys(error.call.phases)).toEqual(['connectMs']);
    expect(error.call).not.toHaveProperty('remoteAddress');
    expect(connected()).toBe(0);
  });

  it.each(['http', 'https'])(
    'does not connect to a host name that resolves to a blocked address: %s',
    async (scheme) => {
      const server = await serveHttp((_request, response) => response.end());
      const error = await failureOf({
        endpoint: `${scheme}://my-minio.storage.svc:${server.port}`,
        addressPolicy: POLICY,
        resolver: resolvingTo('127.0.0.1'),
      });
      expect(error.reason).toBe('AddressNotAllowed');
      expect(error.message).toBe(
        "HeadBucket: my-minio.storage.svc resolves to 127.0.0.1, a loopback address; the operator's --allow-addresses does not include it",
      );
      expect(Object.keys(error.call.phases)).toEqual(['dnsMs']);
      expect(server.connections).toHaveLength(0);
    },
  );

  it.each([
    { name: 'last', addresses: ['127.0.0.1', METADATA] },
    { name: 'first', addresses: [METADATA, '127.0.0.1'] },
    { name: 'as IPv6', addresses: ['127.0.0.1', 'fe80::1'] },
  ])('does not connect if one of several addresses is blocked: $name', async ({ addresses }) => {
    const server = await serveHttp((_request, response) => response.end());
    const error = await failureOf({
      endpoint: `http://my-minio:${server.port}`,
      addressPolicy: LOCAL,
      resolver: resolvingTo(...addresses),
    });
    expect(error.reason).toBe('AddressNotAllowed');
    expect(server.connections).toHaveLength(0);
  });

  it("checks addresses from the system's resolver", async () => {
    const server = await serveHttp((_request, response) => response.end());
    const endpoint = `http://localhost:${server.port}`;
    const error = await failureOf({ endpoint, addressPolicy: POLICY });
    expect(error.message).toMatch(/^HeadBucket: localhost resolves to \S+, a loopback address; /);
    expect(server.connections).toHaveLength(0);
  });

  it('resolves the name once per connection and connects to the checked address', async () => {
    const server = await serveHttp((_request, response) => response.end());
    // DNS rebinding: the second lookup returns a different address.
    const addresses = ['127.0.0.1', METADATA];
    const lookups: string[] = [];
    const client = clientOf({
      endpoint: `http://my-minio:${server.port}`,
      addressPolicy: LOCAL,
      resolver: fakeResolver((hostname) => {
        lookups.push(hostname);
        return Promise.resolve(addressesOf(addresses.shift() ?? METADATA));
      }),
    });
    const { call: first } = await client.headBucket(options());
    const { call: second } = await client.headBucket(options());
    expect(lookups).toEqual(['my-minio']);
    expect(first.remoteAddress).toBe('127.0.0.1');
    expect(Object.keys(first.phases)).toEqual(['dnsMs', 'connectMs', 'sendMs', 'firstByteMs', 'bodyMs']);
    expect(second.reusedConnection).toBe(true);

    client.close();
    await expect(client.headBucket(options())).rejects.toMatchObject({
      reason: 'AddressNotAllowed',
    });
    expect(lookups).toHaveLength(2);
    expect(server.connections).toHaveLength(1);
  });

  it('measures the same phases over TLS and checks the certificate against the host name', async () => {
    const authority = await createAuthority();
    const server = await serveHttp((_request, response) => response.end(), {
      tls: await authority.issue({ hosts: ['my-minio'] }),
    });
    const client = clientOf({
      endpoint: `https://my-minio:${server.port}`,
      ca: authority.certificate,
      addressPolicy: LOCAL,
      resolver: resolvingTo('127.0.0.1'),
    });
    const { call } = await client.headBucket(options());
    expect(Object.keys(call.phases)).toEqual([
      'dnsMs',
      'connectMs',
      'tlsMs',
      'sendMs',
      'firstByteMs',
      'bodyMs',
    ]);
  });

  it('tries the next address if the first refuses the connection', async () => {
    const server = await serveHttp((_request, response) => response.end());
    const client = clientOf({
      endpoint: `http://my-minio:${server.port}`,
      addressPolicy: addressPolicy({ allowed: ['127.0.0.0/8'] }),
      resolver: resolvingTo('127.0.0.2', '127.0.0.1'),
    });
    const { call } = await client.headBucket(options());
    expect(call.remoteAddress).toBe('127.0.0.1');
  });

  it('reports a host name that does not resolve', async () => {
    const error = await failureOf({
      endpoint: 'http://my-minio:9000',
      addressPolicy: POLICY,
      resolver: fakeResolver(() =>
        Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND my-minio'), { code: 'ENOTFOUND' })),
      ),
    });
    expect(error.reason).toBe('DNSFailed');
    expect(error.message).toBe(
      'HeadBucket: resolving the host name of my-minio:9000 failed: getaddrinfo ENOTFOUND my-minio',
    );
    expect(Object.keys(error.call.phases)).toEqual(['dnsMs']);
  });

  it('stops while the host name is being resolved', async () => {
    const stop = new AbortController();
    const resolving = Promise.withResolvers<LookupAddress[]>();
    const server = await serveHttp((_request, response) => response.end());
    const client = clientOf({
      endpoint: `http://my-minio:${server.port}`,
      addressPolicy: LOCAL,
      resolver: fakeResolver(() => {
        queueMicrotask(() => {
          stop.abort();
        });
        return resolving.promise;
      }),
    });
    await expect(client.headBucket({ signal: stop.signal })).rejects.toMatchObject({
      reason: 'Cancelled',
    });
    resolving.resolve([{ address: '127.0.0.1', family: 4 }]);
    await new Promise(setImmediate);
    expect(server.connections).toHaveLength(0);
  });

  it.each([301, 302, 303, 307, 308])(
    'does not follow a redirect to a blocked address: %d',
    async (status) => {
      const server = await serveHttp((request, response) => {
        request.resume();
        response.writeHead(status, { location: `http://${METADATA}/latest/meta-data/` }).end();
      });
      const connect = vi.spyOn(net, 'connect');
      onTestFinished(() => {
        connect.mockRestore();
      });
      const error = await failureOf({ endpoint: server.url, addressPolicy: LOCAL });
      expect(error.reason).toBe('Redirected');
      expect(server.requests).toEqual(['HEAD /bucket']);
      expect(connect.mock.calls.map(([to]) => to)).toEqual([expect.objectContaining({ host: '127.0.0.1' })]);
    },
  );
});

interface Setting extends Pick<S3ClientDeps, 'addressPolicy' | 'resolver'> {
  readonly endpoint: string;
  readonly ca?: string;
}

function clientOf({ endpoint, ca, addressPolicy: policy, resolver }: Setting): S3Client {
  const client = new S3Client(
    {
      name: 'my-minio',
      endpoint,
      region: 'us-east-1',
      credentials: { accessKey: 'access', secretKey: 'secret' },
      ...(ca !== undefined && { tls: { ca } }),
    },
    'bucket',
    {
      clock: systemClock,
      keyring: new TargetKeyring(),
      version: '1.2.3',
      originMs: systemClock.monotonicMs(),
      addressPolicy: policy,
      resolver,
    },
  );
  onTestFinished(() => {
    client.close();
  });
  return client;
}

async function failureOf(setting: Setting): Promise<S3Error> {
  const error = await clientOf(setting)
    .headBucket(options())
    .catch((failure: unknown) => failure);
  if (!(error instanceof S3Error)) throw new Error('the call did not fail with an S3Error', { cause: error });
  return error;
}

function options(): { signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

function refuse(): never {
  throw new Error('a connection was opened');
}

/** Counts connection attempts and makes them throw, so that a broken policy cannot reach a real address. */
function forbidConnections(): () => number {
  const connects = [
    vi.spyOn(net, 'connect').mockImplementation(refuse),
    vi.spyOn(tls, 'connect').mockImplementation(refuse),
  ];
  onTestFinished(() => {
    for (const connect of connects) connect.mockRestore();
  });
  return () => connects.reduce((sum, connect) => sum + connect.mock.calls.length, 0);
}

/** Formats 127.0.0.1 as `7f00:1`. */
function hexOf(ipv4: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split('.').map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}
