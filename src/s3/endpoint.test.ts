import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ReasonedError } from '../api/reasons.ts';
import { bucketAddress, pathOf } from './endpoint.ts';

describe('the address of a bucket', () => {
  it.each([
    { endpoint: 'http://my-minio:9000', host: 'my-minio:9000', path: '/b/k' },
    { endpoint: 'https://my-minio:443', host: 'my-minio', path: '/b/k' },
    { endpoint: 'http://_minio:9000', host: '_minio:9000', path: '/b/k' },
    { endpoint: 'http://[::1]', host: '[::1]', path: '/b/k' },
    { endpoint: 'http://[::1]:9000', host: '[::1]:9000', path: '/b/k' },
    { endpoint: 'https://s3.amazonaws.com', host: 's3.amazonaws.com', path: '/b/k' },
    { endpoint: 'https://minio.svc.cluster.local.', host: 'minio.svc.cluster.local', path: '/b/k' },
    { endpoint: 'http://minio.svc.cluster.local.:9000', host: 'minio.svc.cluster.local:9000', path: '/b/k' },
    { endpoint: 'https://host/storage/v1/s3', host: 'host', path: '/storage/v1/s3/b/k' },
    { endpoint: 'https://host/storage/v1/s3/', host: 'host', path: '/storage/v1/s3/b/k' },
    { endpoint: 'https://host/a!b%20c', host: 'host', path: '/a%21b%20c/b/k' },
    { endpoint: 'https://host/100%', host: 'host', path: '/100%25/b/k' },
  ])('uses exactly the host and path of $endpoint', ({ endpoint, host, path }) => {
    const address = bucketAddress(endpoint, 'b');
    expect(address.hostHeader).toBe(host);
    expect(pathOf(address, 'k')).toBe(path);
    expect(address.connection.host).toBe(new URL(endpoint).host);
  });

  it.each([
    { endpoint: 'https://s3.example.com', host: 'b.s3.example.com', path: '/k', bucketPath: '/' },
    { endpoint: 'http://s3.example.com.:9000', host: 'b.s3.example.com:9000', path: '/k', bucketPath: '/' },
    { endpoint: 'https://host/base', host: 'b.host', path: '/base/k', bucketPath: '/base' },
  ])('puts the bucket into the host of $endpoint', ({ endpoint, host, path, bucketPath }) => {
    const address = bucketAddress(endpoint, 'b', 'VirtualHost');
    expect(address.hostHeader).toBe(host);
    expect(pathOf(address, 'k')).toBe(path);
    expect(pathOf(address)).toBe(bucketPath);
    expect(address.connection.hostname).toBe(`b.${new URL(endpoint).hostname}`);
  });

  it.each(['http://10.0.0.1:9000', 'http://[::1]:9000'])('cannot be a virtual host below %s', (endpoint) => {
    expect(() => bucketAddress(endpoint, 'b', 'VirtualHost')).toThrow(ReasonedError);
    expect(() => bucketAddress(endpoint, 'b', 'VirtualHost')).toThrow(
      expect.objectContaining({ reason: 'AddressingStyle' }) as Error,
    );
  });

  it('encodes every key so that decoding returns it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (text) => {
        const key = text.toWellFormed();
        const path = pathOf(bucketAddress('http://host', 'b'), key);
        expect(path).toMatch(/^\/b\/[\w.~/%-]+$/);
        expect(decodeURIComponent(path)).toBe(`/b/${key}`);
      }),
    );
  });
});
