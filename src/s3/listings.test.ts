import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { MAX_LISTING_BYTES, parseObjects, parseUploads, parseVersions } from './listings.ts';

const AWS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

describe('a listing of objects', () => {
  it.each([
    { name: 'no key', content: '', want: { entries: [] } },
    { name: 'one key', content: '<Contents><Key>a/1</Key></Contents>', want: { entries: ['a/1'] } },
    {
      name: 'a continuation token',
      content:
        '<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b=</NextContinuationToken><Contents><Key>a/1</Key></Contents>',
      want: { entries: ['a/1'], next: { 'continuation-token': 'a&b=' } },
    },
    {
      name: 'no continuation token, as in version 1',
      content:
        '<IsTruncated>true</IsTruncated><Contents><Key>a/1</Key></Contents><Contents><Key>a/2</Key></Contents>',
      want: { entries: ['a/1', 'a/2'], next: { 'start-after': 'a/2', marker: 'a/2' } },
    },
    {
      name: 'encoded keys',
      content:
        '<EncodingType>url</EncodingType><Contents><Key>a/b+c%2Bd%0Ae</Key></Contents><Contents><Key>100%</Key></Contents>',
      want: { entries: ['a/b c+d\ne', '100%'] },
    },
    {
      name: 'keys of a store that does not encode them',
      content: '<Contents><Key> a+&lt;&#x41;&#66;&gt;&amp;amp;%20</Key></Contents>',
      want: { entries: [' a+<AB>&amp;%20'] },
    },
    {
      name: 'numbers as keys',
      content: '<Contents><Key>007</Key></Contents><Contents><Key>1e3</Key></Contents>',
      want: { entries: ['007', '1e3'] },
    },
  ])('with $name', async ({ content, want }) => {
    expect(
      await parseObjects(`<?xml version="1.0"?>\n<ListBucketResult ${AWS}>${content}</ListBucketResult>`),
    ).toEqual(want);
  });

  it.each([
    { name: 'is empty', text: '' },
    { name: 'is a page', text: '<html><body>Welcome</body></html>' },
    { name: 'is an error', text: '<Error><Code>NoSuchBucket</Code></Error>' },
    { name: 'is cut off', text: '<ListBucketResult><Contents><Key>a</Key></Contents><Contents><Key>b' },
    { name: 'is not XML', text: '{"Contents":[]}' },
    {
      name: 'has the name of a prototype',
      text: '<ListBucketResult><__proto__>a</__proto__></ListBucketResult>',
    },
    {
      name: 'is nested too deeply',
      text: `<ListBucketResult>${'<a>'.repeat(1_000)}${'</a>'.repeat(1_000)}</ListBucketResult>`,
    },
  ])('is not recognised in a response that $name', async ({ text }) => {
    expect(await parseObjects(text)).toBeUndefined();
    expect(await parseVersions(text)).toBeUndefined();
    expect(await parseUploads(text)).toBeUndefined();
  });

  it('does not expand declared entities', async () => {
    const entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">]>';
    const page = await parseObjects(
      `${entities}<ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>`,
    );
    expect(page).toEqual({ entries: ['&b;'] });
  });

  it('is read quickly up to the longest text', async () => {
    const text = '<'.repeat(MAX_LISTING_BYTES);
    expect(await parseObjects(text)).toBeUndefined();
    const deep = '<a>'.repeat(MAX_LISTING_BYTES / 8);
    expect(await parseObjects(`<ListBucketResult>${deep}`)).toBeUndefined();
  });

  it('returns a page or undefined for any text', async () => {
    const part = fc.oneof(
      fc.constantFrom(
        '<ListBucketResult>',
        '</ListBucketResult>',
        '<Contents>',
        '</Contents>',
        '<Key>',
        '</Key>',
      ),
      fc.constantFrom(
        '<IsTruncated>true</IsTruncated>',
        '<!DOCTYPE',
        '<![CDATA[',
        ']]>',
        '&#0;',
        '&#x110000;',
        '<__proto__>',
      ),
      fc.string({ unit: 'binary', maxLength: 10 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 20 }), async (parts) => {
        const page = await parseObjects(parts.join(''));
        for (const key of page?.entries ?? []) expect(typeof key).toBe('string');
      }),
    );
  });
});

describe('a listing of versions', () => {
  it('contains versions and delete markers, and where the next page starts', async () => {
    const text = `<ListVersionsResult ${AWS}><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
      <NextKeyMarker>a%2F2</NextKeyMarker><NextVersionIdMarker>v2</NextVersionIdMarker>
      <Version><Key>a/1</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest></Version>
      <DeleteMarker><Key>a/1</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest></DeleteMarker>
      <Version><Key>a/2</Key><VersionId>null</VersionId><IsLatest>true</IsLatest></Version>
    </ListVersionsResult>`;
    expect(await parseVersions(text)).toEqual({
      entries: [
        { key: 'a/1', versionId: 'v1', isLatest: false, isDeleteMarker: false },
        { key: 'a/2', versionId: 'null', isLatest: true, isDeleteMarker: false },
        { key: 'a/1', versionId: 'v3', isLatest: true, isDeleteMarker: true },
      ],
      next: { 'key-marker': 'a/2', 'version-id-marker': 'v2' },
    });
  });

  it('has no version marker if the store sends none', async () => {
    const text =
      '<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker></ListVersionsResult>';
    expect(await parseVersions(text)).toEqual({ entries: [], next: { 'key-marker': 'a' } });
  });

  it('is not recognised in the response of a store that lists objects instead', async () => {
    expect(
      await parseVersions('<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>'),
    ).toBeUndefined();
  });
});

it('a listing of uploads contains keys and upload IDs, and where the next page starts', async () => {
  const text = `<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>
    <NextKeyMarker>a/1</NextKeyMarker><NextUploadIdMarker>u+1</NextUploadIdMarker>
    <Upload><Key>a/1</Key><UploadId>u+1</UploadId></Upload></ListMultipartUploadsResult>`;
  expect(await parseUploads(text)).toEqual({
    entries: [{ key: 'a/1', uploadId: 'u+1' }],
    next: { 'key-marker': 'a/1', 'upload-id-marker': 'u+1' },
  });
});
