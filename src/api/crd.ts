import { stringify } from 'yaml';
import { z } from 'zod';
import { matches } from './cel.ts';
import { acceptedBy, FIELD_INFO, type FieldInfo, RULES, unwrap } from './field.ts';
import { ProbeStatus } from './probe-status.ts';
import { formatPath } from './problem.ts';
import { GROUP, KIND, PLURAL, StorageProbe, VERSION } from './storage-probe.ts';

const MAX_INT32 = 2 ** 31 - 1;

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** One rule of `x-kubernetes-validations`. */
interface ValidationRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

/** Columns of `kubectl get`. Those with priority 1 are shown only with `-o wide`. */
const COLUMNS = [
  { name: 'Healthy', type: 'string', jsonPath: conditionPath('Healthy', 'status') },
  { name: 'Reason', type: 'string', jsonPath: conditionPath('Healthy', 'reason') },
  { name: 'Last Run', type: 'date', jsonPath: '.status.lastRun.startTime' },
  { name: 'Latency', type: 'string', jsonPath: '.status.lastRun.duration' },
  { name: 'Schedule', type: 'string', jsonPath: '.status.schedule' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  { name: 'Ready', type: 'string', jsonPath: conditionPath('Ready', 'status'), priority: 1 },
  { name: 'Trace', type: 'string', jsonPath: '.status.lastRun.traceId', priority: 1 },
  // Not a date: kubectl shows dates as ages, and future dates as `<invalid>`.
  { name: 'Next Run', type: 'string', jsonPath: '.status.nextRunTime', priority: 1 },
];

export function crdYaml(): string {
  return `# Printed by: storage-probe crd\n${stringify(storageProbeCrd(), { lineWidth: 120 })}`;
}

/** The CustomResourceDefinition of StorageProbe, for `apiextensions.k8s.io/v1`. */
export function storageProbeCrd(): Record<string, unknown> {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${PLURAL}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: {
        kind: KIND,
        listKind: `${KIND}List`,
        plural: PLURAL,
        singular: KIND.toLowerCase(),
        shortNames: ['sprobe'],
        categories: ['storage'],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: schema() },
          subresources: { status: {} },
          additionalPrinterColumns: COLUMNS,
        },
      ],
    },
  };
}

function conditionPath(type: string, field: string): string {
  return `.status.conditions[?(@.type=="${type}")].${field}`;
}

function schema(): JsonSchema {
  const { apiVersion, kind, metadata, spec, status } = StorageProbe.shape;
  return {
    type: 'object',
    description:
      'A StorageProbe tests object stores on a schedule by using them as a client would. It reports each run in a trace, metrics, a log line and its status.',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string', description: descriptionOf(apiVersion) },
      kind: { type: 'string', description: descriptionOf(kind) },
      // In metadata, a CustomResourceDefinition may restrict only `name` and `generateName`.
      metadata: { type: 'object', properties: { name: openApi(metadata.shape.name) } },
      spec: openApi(spec),
      status: { ...openApi(ProbeStatus), description: descriptionOf(status) },
    },
  };
}

function openApi(source: z.ZodType): JsonSchema {
  const { $schema: _, ...converted } = z.toJSONSchema(source, {
    target: 'openapi-3.0',
    io: 'input',
    reused: 'inline',
    unrepresentable: 'throw',
    override: ({ zodSchema, jsonSchema }) => {
      adaptToCrd(zodSchema, jsonSchema);
    },
  });
  return converted;
}

/** Adapts zod's JSON Schema to a CustomResourceDefinition, with descriptions for `kubectl explain`. */
function adaptToCrd(source: z.core.$ZodType, json: JsonSchema): void {
  const field = unwrap(source);
  delete json.additionalProperties; // the API server prunes or rejects unknown fields
  if (json.format === 'date-time') delete json.pattern;
  if (field instanceof z.ZodNumber) json.format = field.format === 'int32' ? 'int32' : 'int64';
  if (!isBounded(field)) delete json.maximum;
  if (json.description !== undefined) json.description = explanationOf(source);

  const rules = [...textRules(json, FIELD_INFO.get(field)), ...mapRules(field)];
  if (rules.length > 0) Object.assign(json, { 'x-kubernetes-validations': rules });
}

function explanationOf(source: z.core.$ZodType): string {
  const field = unwrap(source);
  const sentences = [descriptionOf(field)];
  if (FIELD_INFO.get(field) !== undefined || isBounded(field))
    sentences.push(`Accepted: ${acceptedBy(field)}.`);
  if (source instanceof z.ZodDefault) sentences.push(`Default: ${flowYaml(source.def.defaultValue)}.`);
  return sentences.join(' ');
}

/** True if the field's maximum is below that of its type, and therefore worth stating. */
function isBounded(field: z.core.$ZodType): boolean {
  return field instanceof z.ZodNumber && (field.maxValue ?? MAX_INT32) < MAX_INT32;
}

function flowYaml(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow' }).trim();
}

/** Replaces a pattern with a rule if the field has a message, so that users do not have to read a regular expression. */
function textRules(json: JsonSchema, info: FieldInfo | undefined): ValidationRule[] {
  if (json.pattern === undefined || info?.fault === undefined) return [];
  const patternRule = matches(new RegExp(json.pattern));
  const rule = info.cel === undefined ? patternRule : `${patternRule} && ${info.cel}`;
  delete json.pattern;
  return [{ rule, message: `must be ${info.accepted}` }];
}

function mapRules(field: z.core.$ZodType): ValidationRule[] {
  const rules = RULES.get(field)?.rules ?? [];
  return rules.flatMap(({ cel, path, message, accepted }) => {
    if (cel === undefined) return [];
    const fieldPath = path.length === 0 ? {} : { fieldPath: `.${formatPath(path)}` };
    return [{ rule: cel, message: `${message}; accepted: ${accepted}`, ...fieldPath }];
  });
}

function descriptionOf(field: z.core.$ZodType): string {
  const description = z.globalRegistry.get(unwrap(field))?.description;
  if (description === undefined) throw new Error('a field of the schema has no description');
  return description;
}
