import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import type { LookupAddress } from 'node:dns';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { type FakeDns, type FakeDnsOptions, serveDns, type Zone } from '../../test/support/fake-dns.ts';
import { systemClock } from '../clock/system-clock.ts';
import { candidateNames, dnsLookup, type Lookup, type LookupAnswer } from './dns-lookup.ts';
import { LookupError } from './lookup-error.ts';
import { ResolverFiles } from './resolver-files.ts';

const NEVER = new AbortController().signal;

interface Setting extends FakeDnsOptions {
  readonly zone?: Zone;
  readonly hosts?: string;
  readonly resolvConf?: string;
  readonly nsswitch?: string;
  readonly systemLookup?: Lookup;
  readonly maxLookupMs?: number;
}

interface Started {
  readonly server: FakeDns;
  readonly look: (hostname: string, signal?: AbortSignal) => Promise<LookupAnswer>;
  readonly partialAnswers: (readonly LookupAddress[])[];
}

async function start({
  zone = {},
  hosts = '',
  resolvConf,
  nsswitch = '',
  ...options
}: Setting): Promise<Started> {
  const server = await serveDns(zone, options);
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-dns-'));
  onTestFinished(() => dir.remove());
  const paths = {
    hosts: join(dir.path, 'hosts'),
    resolvConf: join(dir.path, 'resolv.conf'),
    nsswitch: join(dir.path, 'nsswitch.conf'),
  };
  await writeFile(paths.hosts, hosts);
  await writeFile(paths.resolvConf, `nameserver 127.0.0.1\n${resolvConf ?? ''}`);
  await writeFile(paths.nsswitch, nsswitch);
  const lookup = dnsLookup({
    clock: systemClock,
    files: new ResolverFiles(systemClock, paths),
    systemLookup: options.systemLookup ?? (() => Promise.reject(new Error('not expected'))),
    port: server.port,
    maxLookupMs: options.maxLookupMs ?? 300,
  });
  const partialAnswers: (readonly LookupAddress[])[] = [];
  const look = (hostname: string, signal = NEVER): Promise<LookupAnswer> =>
    lookup(hostname, { signal, onPartialAnswer: (addresses) => partialAnswers.push(addresses) });
  return { server, look, partialAnswers };
}

const knowsName: Lookup = () =>
  Promise.resolve({ addresses: [{ address: '10.0.0.7', family: 4 }], ttlMs: 0 });
const getsNoAnswer: Lookup = () => Promise.reject(new LookupError('EAI_AGAIN', 'no answer from LDAP'));

async function failureOf(lookup: Promise<unknown>): Promise<LookupError> {
  const error = await lookup.catch((failure: unknown) => failure);
  if (!(error instanceof LookupError)) throw new Error('the lookup did not fail', { cause: error });
  return error;
}

describe('a lookup', () => {
  it.each([
    {
      name: 'both families, IPv6 first',
      zone: { A: ['10.0.0.1', '10.0.0.2'], AAAA: ['fd00::1'] },
      want: ['fd00::1', '10.0.0.1', '10.0.0.2'],
    },
    { name: 'only A', zone: { A: ['10.0.0.1'] }, want: ['10.0.0.1'] },
    { name: 'only AAAA', zone: { AAAA: ['fd00::1'] }, want: ['fd00::1'] },
    { name: 'A although AAAA fails', zone: { A: ['10.0.0.1'], AAAA: 'SERVFAIL' }, want: ['10.0.0.1'] },
    {
      name: 'A although AAAA does not exist',
      zone: { A: ['10.0.0.1'], AAAA: 'NXDOMAIN' },
      want: ['10.0.0.1'],
    },
    { name: 'A although AAAA gets no answer', zone: { A: ['10.0.0.1'], AAAA: 'hangs' }, want: ['10.0.0.1'] },
  ] as const)('returns $name', async ({ zone, want }) => {
    const { look } = await start({ zone: { 'my-minio': zone } });
    const { addresses } = await look('my-minio');
    expect(addresses.map(({ address }) => address)).toEqual(want);
  });

  it('follows an alias and returns the TTL', async () => {
    const zone = { 'my-minio': { A: ['10.0.0.1'] } };
    const { look } = await start({ zone, alias: 'real.example', ttlSeconds: 7 });
    expect(await look('my-minio')).toEqual({ addresses: [{ address: '10.0.0.1', family: 4 }], ttlMs: 7_000 });
  });

  it('asks again over TCP if the answer is truncated', async () => {
    const addresses = Array.from({ length: 50 }, (_, index) => `10.0.0.${index}`);
    const { look } = await start({
      zone: { 'my-minio': { A: addresses } },
      truncates: true,
      maxLookupMs: 4_000,
    });
    expect((await look('my-minio')).addresses).toHaveLength(50);
  });

  it('accepts names with underscores', async () => {
    const { look } = await start({ zone: { _minio: { A: ['10.0.0.1'] } } });
    expect((await look('_minio')).addresses).toHaveLength(1);
  });

  it('reports the addresses of one family if the answer for the other is late', async () => {
    const late = Promise.withResolvers<readonly string[]>();
    const { look, partialAnswers } = await start({
      zone: { 'my-minio': { AAAA: ['fd00::1'], A: { delayed: late.promise } } },
      maxLookupMs: 4_000,
    });
    const looking = look('my-minio');
    await expect.poll(() => partialAnswers).toEqual([[{ address: 'fd00::1', family: 6 }]]);
    late.resolve(['10.0.0.1']);
    expect((await looking).addresses.map(({ address }) => address)).toEqual(['fd00::1', '10.0.0.1']);
  });

  it.each([
    { name: 'a missing name', zone: {}, code: 'ENOTFOUND', message: 'the name does not exist' },
    {
      name: 'a name without addresses',
      zone: { 'my-minio': {} },
      code: 'ENOTFOUND',
      message: 'the name exists but has no address',
    },
    {
      name: 'SERVFAIL',
      zone: { 'my-minio': 'SERVFAIL' },
      code: 'EAI_AGAIN',
      message: 'name server 127.0.0.1 answered SERVFAIL',
    },
    {
      name: 'REFUSED',
      zone: { 'my-minio': 'REFUSED' },
      code: 'EAI_AGAIN',
      message: 'name server 127.0.0.1 answered REFUSED',
    },
    {
      name: 'no answer',
      zone: { 'my-minio': 'hangs' },
      code: 'EAI_AGAIN',
      message: /^no answer from name server 127\.0\.0\.1 within \d\.\d s$/,
    },
    {
      name: 'no answer for the only family',
      zone: { 'my-minio': { A: 'hangs' } },
      code: 'EAI_AGAIN',
      message: /^no answer/,
    },
  ] as const)('explains $name', async ({ zone, code, message }) => {
    const { look } = await start({ zone });
    const error = await failureOf(look('my-minio'));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it('explains a name that is too long', async () => {
    const { look, server } = await start({});
    expect((await failureOf(look('x'.repeat(64)))).message).toBe('this is not a valid host name');
    expect(server.queries).toEqual([]);
  });

  it('stops when the signal aborts', async () => {
    const stop = new AbortController();
    const { look, server } = await start({ zone: { 'my-minio': 'hangs' }, maxLookupMs: 60_000 });
    const looking = look('my-minio', stop.signal);
    await expect.poll(() => server.queries.length).toBe(2);
    const reason = new Error('stop');
    stop.abort(reason);
    await expect(looking).rejects.toBe(reason);
  });
});

describe('the search list', () => {
  const settings = { search: ['a.local', 'b.local'], ndots: 2 };
  it.each([
    { name: 'my-minio', want: ['my-minio.a.local.', 'my-minio.b.local.', 'my-minio.'] },
    {
      name: 'my-minio.storage',
      want: ['my-minio.storage.a.local.', 'my-minio.storage.b.local.', 'my-minio.storage.'],
    },
    { name: 'a.b.example', want: ['a.b.example.', 'a.b.example.a.local.', 'a.b.example.b.local.'] },
    { name: 'my-minio.', want: ['my-minio.'] },
  ])('applies to $name', ({ name, want }) => {
    expect(candidateNames(name, settings)).toEqual(want);
  });

  it('is tried in order until a name has an address', async () => {
    const { look, server } = await start({
      resolvConf: 'search a.local b.local c.local\noptions ndots:5',
      zone: { 'my-minio.a.local': {}, 'my-minio.b.local': { A: ['10.0.0.1'] } },
    });
    expect((await look('my-minio')).addresses).toEqual([{ address: '10.0.0.1', family: 4 }]);
    expect(new Set(server.queries.map((query) => query.split(' ')[1]))).toEqual(
      new Set(['my-minio.a.local', 'my-minio.b.local']),
    );
  });

  it('continues after SERVFAIL, which explains the failure of the whole lookup', async () => {
    const { look } = await start({ resolvConf: 'search a.local', zone: { 'my-minio.a.local': 'SERVFAIL' } });
    expect((await failureOf(look('my-minio'))).message).toContain('SERVFAIL');
  });

  it('ends when nobody answers', async () => {
    const { look, server } = await start({
      resolvConf: 'search a.local b.local',
      zone: { 'my-minio.a.local': 'hangs', 'my-minio.b.local': { A: ['10.0.0.1'] } },
    });
    expect((await failureOf(look('my-minio'))).message).toContain('no answer');
    expect(server.queries.join()).not.toContain('b.local');
  });
});

describe('other sources', () => {
  it('are /etc/hosts before DNS, without regard to case or a trailing dot', async () => {
    const { look, server } = await start({ hosts: '10.0.0.9 my-minio\nfd00::9 my-minio' });
    for (const name of ['my-minio', 'MY-MINIO', 'my-minio.']) {
      expect((await look(name)).addresses.map(({ address }) => address)).toEqual(['10.0.0.9', 'fd00::9']);
    }
    expect(server.queries).toEqual([]);
  });

  it.each(['localhost', 'bucket.localhost', 'localhost.'])('are not needed for %s', async (name) => {
    const { look } = await start({});
    expect((await look(name)).addresses.map(({ address }) => address)).toEqual(['127.0.0.1', '::1']);
  });

  it('are asked after DNS if nsswitch.conf lists them', async () => {
    const { look } = await start({ nsswitch: 'hosts: files dns mdns4', systemLookup: knowsName });
    expect((await look('my-minio')).addresses).toEqual([{ address: '10.0.0.7', family: 4 }]);
  });

  it.each([
    { name: 'it does not list them', nsswitch: 'hosts: files dns', zone: {} },
    {
      name: 'the name server does not answer',
      nsswitch: 'hosts: files dns ldap',
      zone: { 'my-minio': 'hangs' },
    },
  ] as const)('are not asked if $name', async ({ nsswitch, zone }) => {
    const { look } = await start({ nsswitch, zone, systemLookup: knowsName });
    expect(await failureOf(look('my-minio'))).toBeInstanceOf(LookupError);
  });

  it('do not hide that DNS does not know the name', async () => {
    const { look } = await start({ nsswitch: 'hosts: files dns ldap', systemLookup: getsNoAnswer });
    expect((await failureOf(look('my-minio'))).message).toBe('the name does not exist');
  });
});
