import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ephemeralBucket, isOwnKey, keyPrefix, objectKey } from './names.ts';

/** Names as Kubernetes has them: of an object, of a namespace, of a target. */
const probeName = fc
  .array(fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join('.'));
const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);

const identity = fc.record({
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

describe('the bucket of an ephemeral run', () => {
  it('is valid in every S3', () => {
    fc.assert(
      fc.property(identity, (who) => {
        const bucket = ephemeralBucket(who);
        // Amazon S3 User Guide, "General purpose bucket naming rules"; without dots, which break TLS by host name.
        expect(bucket).toMatch(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/);
        expect(bucket).not.toMatch(/^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3)$/);
      }),
    );
  });

  it('is the same for every run, and readable', () => {
    expect(ephemeralBucket({ ...EXAMPLE })).toBe(ephemeralBucket(EXAMPLE));
    // A new release must find what the old one left.
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

  it('differs between any two of them', () => {
    fc.assert(
      fc.property(identity, identity, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        expect(ephemeralBucket(one)).not.toBe(ephemeralBucket(other));
      }),
    );
  });
});

describe("an object's key", () => {
  const runId = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';

  it('lies under the prefix of its prober, has no spaces, and fits', () => {
    fc.assert(
      fc.property(identity, fc.nat({ max: 9 }), fc.nat(), (who, index, sizeBytes) => {
        const key = objectKey({ ...who, runId }, index, sizeBytes);
        expect(key.startsWith(keyPrefix(who))).toBe(true);
        expect(key).toMatch(/^[\w./-]{1,512}$/);
        expect(key).not.toMatch(/\/\/|\/\.\.?\//);
      }),
    );
  });

  it('is different for each object and each run', () => {
    const keys = [
      objectKey({ ...EXAMPLE, runId }, 0, 4_096),
      objectKey({ ...EXAMPLE, runId }, 1, 4_096),
      objectKey({ ...EXAMPLE, runId: 'another' }, 0, 4_096),
    ];
    expect(new Set(keys).size).toBe(3);
  });

  it('is known again, whichever run made it, and by nobody else', () => {
    fc.assert(
      fc.property(identity, identity, fc.uuid(), fc.nat(), fc.nat(), (who, other, run, index, sizeBytes) => {
        fc.pre(JSON.stringify(who) !== JSON.stringify(other));
        const key = objectKey({ ...who, runId: run }, index, sizeBytes);
        expect(isOwnKey(who, key)).toBe(true);
        expect(isOwnKey(other, key)).toBe(false);
      }),
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
  ])('is not what somebody else put beside it: "%s"', (rest) => {
    expect(isOwnKey(EXAMPLE, `${keyPrefix(EXAMPLE)}${rest}`)).toBe(false);
  });

  it('never lies under the prefix of another prober', () => {
    fc.assert(
      fc.property(identity, identity, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        expect(keyPrefix(one).startsWith(keyPrefix(other))).toBe(false);
      }),
    );
  });
});
