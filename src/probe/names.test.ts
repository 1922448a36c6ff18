import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ephemeralBucket, isOwnKey, keyPrefix, objectKey } from './names.ts';

/** Valid name of a Kubernetes object. */
const probeName = fc
  .array(fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join('.'));
const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);

const anyIdentity = fc.record({
  owner: fc.oneof(fc.uuid(), fc.string({ unit: 'binary' })),
  probe: fc.record({ namespace: fc.oneof(label, fc.constant('')), name: probeName }),
  target: fc.record({ name: label }),
});

type Identity = Parameters<typeof ephemeralBucket>[0];

const EXAMPLE: Identity = {
  owner: 'somebody@laptop',
  probe: { namespace: 'storage', name: 'my-minio' },
  target: { name: 'my-minio' },
};

describe('the ephemeral bucket name', () => {
  it('is valid in every S3 store', () => {
    fc.assert(
      fc.property(anyIdentity, (identity) => {
        const bucket = ephemeralBucket(identity);
        // Amazon S3 User Guide, "General purpose bucket naming rules". Dots would break TLS with virtual-hosted buckets.
        expect(bucket).toMatch(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/);
        expect(bucket).not.toMatch(/^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3)$/);
      }),
    );
  });

  it('is readable and the same for every run', () => {
    expect(ephemeralBucket({ ...EXAMPLE })).toBe(ephemeralBucket(EXAMPLE));
    // A new release must find the leftovers of the previous one.
    expect(ephemeralBucket(EXAMPLE)).toBe('storage-probe-my-minio-e91c39f5a542');
  });

  it.each([
    { name: 'owners', other: { ...EXAMPLE, owner: 'somebody@desktop' } },
    { name: 'namespaces', other: { ...EXAMPLE, probe: { ...EXAMPLE.probe, namespace: 'default' } } },
    { name: 'probes', other: { ...EXAMPLE, probe: { ...EXAMPLE.probe, name: 'my-minio2' } } },
    { name: 'targets', other: { ...EXAMPLE, target: { name: 'my-minio2' } } },
    {
      name: 'long names',
      other: { ...EXAMPLE, probe: { ...EXAMPLE.probe, name: `${'x'.repeat(100)}.a` } },
      one: { ...EXAMPLE, probe: { ...EXAMPLE.probe, name: `${'x'.repeat(100)}.b` } },
    },
  ])('differs between $name', ({ other, one = EXAMPLE }) => {
    expect(ephemeralBucket(other)).not.toBe(ephemeralBucket(one));
    expect(keyPrefix(other)).not.toBe(keyPrefix(one));
  });

  it('differs between any two identities', () => {
    fc.assert(
      fc.property(anyIdentity, anyIdentity, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        expect(ephemeralBucket(one)).not.toBe(ephemeralBucket(other));
      }),
    );
  });
});

describe('object keys', () => {
  const runId = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';

  it("start with the prober's prefix, contain no spaces and are not too long", () => {
    fc.assert(
      fc.property(anyIdentity, fc.nat({ max: 9 }), fc.nat(), (identity, index, sizeBytes) => {
        const key = objectKey({ ...identity, runId }, index, sizeBytes);
        expect(key.startsWith(keyPrefix(identity))).toBe(true);
        expect(key).toMatch(/^[\w./-]{1,512}$/);
        expect(key).not.toMatch(/\/\/|\/\.\.?\//);
      }),
    );
  });

  it('differ between objects and between runs', () => {
    const keys = [
      objectKey({ ...EXAMPLE, runId }, 0, 4_096),
      objectKey({ ...EXAMPLE, runId }, 1, 4_096),
      objectKey({ ...EXAMPLE, runId: 'another' }, 0, 4_096),
    ];
    expect(new Set(keys).size).toBe(3);
  });

  it('are recognised by the same prober in any run, and by no other prober', () => {
    fc.assert(
      fc.property(
        anyIdentity,
        anyIdentity,
        fc.uuid(),
        fc.nat(),
        fc.nat(),
        (identity, other, run, index, sizeBytes) => {
          fc.pre(JSON.stringify(identity) !== JSON.stringify(other));
          const key = objectKey({ ...identity, runId: run }, index, sizeBytes);
          expect(isOwnKey(identity, key)).toBe(true);
          expect(isOwnKey(other, key)).toBe(false);
        },
      ),
    );
  });

  it.each([
    '',
    'notes.txt',
    'x/notes.txt',
    'x/0-4096/y',
    '../x/0-1',
    'x/../0-1',
    'x/0-1\n',
    '/0-1',
    'x//0-1',
  ])('are distinguished from other keys under the same prefix: "%s"', (rest) => {
    expect(isOwnKey(EXAMPLE, `${keyPrefix(EXAMPLE)}${rest}`)).toBe(false);
  });

  it("never start with another prober's prefix", () => {
    fc.assert(
      fc.property(anyIdentity, anyIdentity, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        expect(keyPrefix(one).startsWith(keyPrefix(other))).toBe(false);
      }),
    );
  });
});
