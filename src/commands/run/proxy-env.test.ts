import { describe, expect, it } from 'vitest';

import { proxyFromEnv } from './proxy-env.ts';

const HTTP = 'http://my-minio.storage.svc:9000';
const HTTPS = 'https://my-minio.example.com';

describe('the proxy for a URL', () => {
  it.each([
    { name: 'none without variables', env: {}, url: HTTP, want: undefined },
    {
      name: 'of its scheme',
      env: { HTTP_PROXY: 'http://a:1', HTTPS_PROXY: 'http://b:1' },
      url: HTTPS,
      want: 'http://b:1',
    },
    { name: 'not of the other scheme', env: { HTTPS_PROXY: 'http://b:1' }, url: HTTP, want: undefined },
    { name: 'ALL_PROXY', env: { ALL_PROXY: 'http://a:1' }, url: HTTP, want: 'http://a:1' },
    {
      name: 'the scheme before ALL_PROXY',
      env: { all_proxy: 'http://a:1', HTTPS_PROXY: 'http://b:1' },
      url: HTTPS,
      want: 'http://b:1',
    },
    {
      name: 'lower case before upper case',
      env: { https_proxy: 'http://a:1', HTTPS_PROXY: 'http://b:1' },
      url: HTTPS,
      want: 'http://a:1',
    },
    {
      name: 'not an empty one',
      env: { https_proxy: '', ALL_PROXY: 'http://a:1' },
      url: HTTPS,
      want: 'http://a:1',
    },
    {
      name: 'not HTTP_PROXY in a CGI program',
      env: { HTTP_PROXY: 'http://a:1', REQUEST_METHOD: 'GET' },
      url: HTTP,
      want: undefined,
    },
    {
      name: 'without a scheme',
      env: { http_proxy: 'proxy.corp:3128' },
      url: HTTP,
      want: 'http://proxy.corp:3128',
    },
    { name: 'over TLS', env: { https_proxy: 'https://proxy.corp/' }, url: HTTPS, want: 'https://proxy.corp' },
  ])('is $name', ({ env, url, want }) => {
    expect(proxyFromEnv(env, url)?.url).toBe(want);
  });

  it('has the credentials of the variable', () => {
    expect(proxyFromEnv({ https_proxy: 'http://me:p%40ss%@proxy:3128' }, HTTPS)).toEqual({
      url: 'http://proxy:3128',
      credentials: { username: 'me', password: 'p%40ss%' },
    });
    expect(proxyFromEnv({ https_proxy: 'http://me:p%40ss@proxy:3128' }, HTTPS)).toEqual({
      url: 'http://proxy:3128',
      credentials: { username: 'me', password: 'p@ss' },
    });
  });

  it.each(['socks5://me:hunter2@proxy:1080', 'http://', 'http://me:hunter2@'])('is never %s', (value) => {
    expect(() => proxyFromEnv({ HTTPS_PROXY: value }, HTTPS)).toThrow(
      /^HTTPS_PROXY: is not the URL of an HTTP proxy; accepted: http:\/\/(?!.*hunter2)/,
    );
  });
});

describe('NO_PROXY', () => {
  it.each([
    ['*', HTTPS, false],
    ['example.com', HTTPS, false],
    ['.example.com', HTTPS, false],
    ['*.example.com', HTTPS, false],
    ['EXAMPLE.com.', HTTPS, false],
    ['other.org, my-minio.example.com', HTTPS, false],
    ['other.org example.com', HTTPS, false],
    ['ample.com', HTTPS, true],
    ['my-minio.example.com:443', HTTPS, true],
    ['my-minio:9000', 'https://my-minio:9000', false],
    ['my-minio:9001', 'https://my-minio:9000', true],
    ['example.com', 'https://a.example.com.', false],
    ['10.0.0.0/8', 'https://10.1.2.3:9000', false],
    ['10.1.2.3', 'https://10.1.2.3:9000', false],
    ['10.1.2.4,1', 'https://10.1.2.3:9000', true],
    ['fd00::/8', 'https://[fd00::1]', false],
    ['[fd00::1]', 'https://[fd00::1]', false],
    ['::1', 'https://[fd00::1]', true],
    ['', HTTPS, true],
    [',', HTTPS, true],
    ['.', HTTPS, true],
  ])('%j for %s', (noProxy, url, usesProxy) => {
    const proxy = proxyFromEnv({ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: noProxy }, url);
    expect(proxy !== undefined).toBe(usesProxy);
  });

  it('in lower case overrides upper case', () => {
    const env = { HTTPS_PROXY: 'http://proxy:3128', no_proxy: 'other', NO_PROXY: '*' };
    expect(proxyFromEnv(env, HTTPS)).toBeDefined();
  });
});
