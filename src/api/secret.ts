import { z } from 'zod';
import { FIELD_INFO } from './field.ts';
import { label } from './formats.ts';
import type { ObjectData } from './object-data.ts';

/** Requires padding and rejects invalid characters. Ignores line breaks, as the API server does. */
function isBase64(text: string): boolean {
  const digits = text.replaceAll(/[\r\n]/g, '');
  return Buffer.from(digits, 'base64').toString('base64') === digits;
}

function metadata(kind: string): z.ZodObject<{ name: z.ZodString; namespace: z.ZodDefault<z.ZodString> }> {
  return z.looseObject({
    name: z
      .string()
      .min(1)
      .max(253)
      .register(FIELD_INFO, { is: 'a valid name', accepted: `the name of the ${kind}` }),
    namespace: label({ description: `Namespace of the ${kind}.`, is: 'a valid namespace' }).default(
      'default',
    ),
  });
}

/** @param textField field for values that are not base64. */
function base64Values(textField: string): z.ZodRecord<z.ZodString, z.ZodString> {
  const value = z
    .string()
    .refine(isBase64)
    .register(FIELD_INFO, {
      is: 'base64',
      accepted: `base64 with padding; put plain text under ${textField}`,
    });
  return z.record(z.string(), value).register(FIELD_INFO, { accepted: 'a map of base64 values' });
}

function texts(): z.ZodRecord<z.ZodString, z.ZodString> {
  const value = z
    .string()
    .register(FIELD_INFO, { is: 'text', accepted: 'text, in quotes if it looks like a number' });
  return z.record(z.string(), value).register(FIELD_INFO, { accepted: 'a map of text values' });
}

/** A `v1` Secret as in a file. */
export const Secret = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: metadata('Secret'),
  type: z.string().register(FIELD_INFO, { is: 'a type', accepted: 'text, for example Opaque' }).optional(),
  immutable: z.boolean().optional(),
  data: base64Values('stringData').optional(),
  stringData: texts().optional(),
});
export type Secret = z.output<typeof Secret>;

/** A `v1` ConfigMap as in a file. */
export const ConfigMap = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('ConfigMap'),
  metadata: metadata('ConfigMap'),
  immutable: z.boolean().optional(),
  data: texts().optional(),
  binaryData: base64Values('data').optional(),
});
export type ConfigMap = z.output<typeof ConfigMap>;

/** Values by key. As in Kubernetes, text takes precedence over base64. */
export function objectData(resource: Secret | ConfigMap): ObjectData {
  const [encoded, text] =
    resource.kind === 'Secret' ? [resource.data, resource.stringData] : [resource.binaryData, resource.data];
  return Object.fromEntries([
    ...Object.entries(encoded ?? {}).map(([key, value]) => [key, bytesOf(Buffer.from(value, 'base64'))]),
    ...Object.entries(text ?? {}).map(([key, value]) => [key, bytesOf(Buffer.from(value))]),
  ]);
}

function bytesOf(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer);
}
