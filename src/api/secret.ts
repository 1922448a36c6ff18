import { z } from 'zod';
import { FIELD_INFO } from './field.ts';
import { label } from './formats.ts';

/** Requires padding and rejects invalid characters. Ignores line breaks, as the API server does. */
function isBase64(text: string): boolean {
  const digits = text.replaceAll(/[\r\n]/g, '');
  return Buffer.from(digits, 'base64').toString('base64') === digits;
}

/** A `v1` Secret as in a file. */
export const Secret = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: z.looseObject({
    name: z
      .string()
      .min(1)
      .max(253)
      .register(FIELD_INFO, { is: 'a valid name', accepted: 'the name of the Secret' }),
    namespace: label({ description: 'Namespace of the Secret.', is: 'a valid namespace' }).default('default'),
  }),
  type: z.string().register(FIELD_INFO, { is: 'a type', accepted: 'text, for example Opaque' }).optional(),
  immutable: z.boolean().optional(),
  data: z
    .record(
      z.string(),
      z.string().refine(isBase64).register(FIELD_INFO, {
        is: 'base64',
        accepted: 'base64 with padding; put plain text under stringData',
      }),
    )
    .register(FIELD_INFO, { accepted: 'a map of base64 values' })
    .optional(),
  stringData: z
    .record(
      z.string(),
      z.string().register(FIELD_INFO, { is: 'text', accepted: 'text, in quotes if it looks like a number' }),
    )
    .register(FIELD_INFO, { accepted: 'a map of text values' })
    .optional(),
});
export type Secret = z.output<typeof Secret>;

/** Values by key. As in Kubernetes, `stringData` takes precedence over `data`. */
export function secretValues({ data = {}, stringData = {} }: Secret): Record<string, string | Uint8Array> {
  const decoded = Object.entries(data).map(([key, text]) => [
    key,
    new Uint8Array(Buffer.from(text, 'base64')),
  ]);
  return { ...Object.fromEntries(decoded), ...stringData };
}
