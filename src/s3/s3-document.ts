/** Root elements of S3's successful responses to the probe's requests. */
const RESULTS = /<(LocationConstraint|CreateBucketResult|List\w*Result)[\s/>]/;

/** True for an S3 error or result document. */
export function isS3Document(text: string): boolean {
  return RESULTS.test(text) || errorElement(text, 'Code') !== undefined;
}

/** S3 errors are a single flat element. An XML parser would only add the risk of entity expansion. */
export function errorElement(xml: string, name: string): string | undefined {
  if (!xml.includes('<Error')) return undefined;
  const value = new RegExp(`<${name}>([^<]{1,1024})</${name}>`).exec(xml)?.[1];
  return value
    ?.replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');
}
