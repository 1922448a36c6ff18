import { mkdtempDisposable, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { parseHasOtherSources, parseHosts, parseResolvConf, ResolverFiles } from './resolver-files.ts';

describe('hosts', () => {
  it('lists the addresses of each name in the order of the file', () => {
    const text = `# comment
127.0.0.1\tlocalhost loop
::1 localhost # same name
10.0.0.1 My-Minio my-minio
not-an-address other
fe80::1%eth0 scoped
10.0.0.2`;
    expect(Object.fromEntries(parseHosts(text).addresses)).toEqual({
      localhost: ['127.0.0.1', '::1'],
      loop: ['127.0.0.1'],
      'my-minio': ['10.0.0.1'],
      scoped: ['fe80::1%eth0'],
    });
  });

  it('accepts any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(parseHosts(text).addresses).toBeInstanceOf(Map);
        expect(parseResolvConf(text).nameservers.length).toBeGreaterThan(0);
        expect(parseHasOtherSources(text)).toBeTypeOf('boolean');
      }),
    );
  });
});

describe('resolv.conf', () => {
  const DEFAULTS = { nameservers: ['127.0.0.1'], search: [], ndots: 1, timeoutMs: 5_000, attempts: 2 };

  it.each([
    { name: 'an empty file', text: '', want: DEFAULTS },
    {
      name: 'a file from Kubernetes',
      text: 'search storage.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n',
      want: {
        ...DEFAULTS,
        nameservers: ['10.96.0.10'],
        search: ['storage.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
        ndots: 5,
      },
    },
    {
      name: 'comments, an invalid server and more than three servers',
      text: '# x\n;y\nnameserver store\nnameserver ::1 # a\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3',
      want: { ...DEFAULTS, nameservers: ['::1', '10.0.0.1', '10.0.0.2'] },
    },
    {
      name: 'values beyond the limits of glibc',
      text: 'options ndots:99 timeout:999 attempts:77 rotate',
      want: { ...DEFAULTS, ndots: 15, timeoutMs: 30_000, attempts: 5 },
    },
    {
      name: 'zero as timeout and attempts',
      text: 'options timeout:0 attempts:0 ndots:0',
      want: { ...DEFAULTS, ndots: 0 },
    },
    {
      name: 'search after domain',
      text: 'domain a.example\nsearch b.example.',
      want: { ...DEFAULTS, search: ['b.example'] },
    },
    {
      name: 'domain after search',
      text: 'search a b\ndomain c.example d',
      want: { ...DEFAULTS, search: ['c.example'] },
    },
    { name: 'an empty search list', text: 'search .', want: DEFAULTS },
  ])('reads $name', ({ text, want }) => {
    expect(parseResolvConf(text)).toEqual(want);
  });
});

describe('nsswitch.conf', () => {
  it.each([
    ['', false],
    ['hosts: files dns', false],
    ['hosts:\tfiles [NOTFOUND=return] dns # mdns', false],
    ['passwd: ldap\nhosts: files dns', false],
    ['hosts: files mdns4_minimal [NOTFOUND=return] dns', true],
    ['hosts: files dns myhostname', true],
  ])('"%s" has other sources: %s', (text, want) => {
    expect(parseHasOtherSources(text)).toBe(want);
  });
});

describe('resolver files', () => {
  it('are read again when they have changed, and missing files count as empty', async () => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-resolver-'));
    const at = (name: string): string => join(dir.path, name);
    const clock = new ManualClock();
    const files = new ResolverFiles(clock, {
      hosts: at('hosts'),
      resolvConf: at('resolv.conf'),
      nsswitch: at('nsswitch.conf'),
    });
    expect(await files.read()).toMatchObject({ nameservers: ['127.0.0.1'], hasOtherSources: false });

    await writeFile(at('resolv.conf'), 'nameserver 10.0.0.1');
    expect(await files.read()).toMatchObject({ nameservers: ['127.0.0.1'] });
    await clock.advance(3_000);
    expect(await files.read()).toMatchObject({ nameservers: ['10.0.0.1'] });

    await writeFile(at('resolv.conf'), 'nameserver 10.0.0.2');
    await utimes(at('resolv.conf'), 1, 1);
    await clock.advance(3_000);
    expect(await files.read()).toMatchObject({ nameservers: ['10.0.0.2'] });

    await rm(at('resolv.conf'));
    await clock.advance(3_000);
    expect(await files.read()).toMatchObject({ nameservers: ['127.0.0.1'] });
  });
});
