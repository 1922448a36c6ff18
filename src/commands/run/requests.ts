import { resourceId } from '../../api/documents.ts';
import { parseDurationMs } from '../../api/duration.ts';
import { planProbe, type ProbePlan, type TargetPlan } from '../../api/plan.ts';
import { check } from '../../api/check.ts';
import { formatPath, formatProblem, showText } from '../../api/problem.ts';
import type { Credentials, RunRequest } from '../../api/run.ts';
import { type RunTemplate, runTemplate } from '../../api/run-template.ts';
import { API_VERSION, KIND, StorageProbe } from '../../api/storage-probe.ts';
import { type CommandContext, InputError } from '../context.ts';
import { credentialsFromEnv, readSecretFlags, secretLookup, type SecretLookup } from '../secrets.ts';
import { readFile, readProbeFiles } from '../sources.ts';
import type { RunFlags } from './flags.ts';

/**
 * Builds one run template per target from flags, files and environment.
 *
 * @throws {InputError}
 */
export async function readRunTemplates(flags: RunFlags, context: CommandContext): Promise<RunTemplate[]> {
  const templates =
    flags.filename === undefined
      ? await templatesFromFlags(flags, context)
      : await templatesFromFiles(flags.filename, flags, context);
  return flags.target === undefined ? templates : selectTargets(templates, flags.target);
}

function selectTargets(templates: readonly RunTemplate[], names: readonly string[]): RunTemplate[] {
  const known = templates.map(({ target }) => target.name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new InputError(`--target: ${unknown.join(', ')} not found; accepted: ${known.join(', ')}`);
  }
  return templates.filter(({ target }) => names.includes(target.name));
}

async function templatesFromFiles(
  names: readonly string[],
  flags: RunFlags,
  context: CommandContext,
): Promise<RunTemplate[]> {
  const documents = await readProbeFiles(names, context);
  const lookup = secretLookup(await readSecretFlags(flags.secret ?? []), documents.secrets);
  const fallback = credentialsFromEnv(context.env);
  const templates: RunTemplate[] = [];
  const missing: string[] = [];
  for (const plan of documents.probes.map(planProbe)) {
    for (const target of plan.targets) {
      const found = resolveTarget(plan, target, lookup, fallback);
      if (typeof found === 'string') missing.push(found);
      else templates.push(runTemplate(plan, found));
    }
  }
  if (missing.length > 0) throw new InputError(...new Set(missing));
  return templates;
}

/** @returns the target with its secrets, or a one-line error if one is missing. */
function resolveTarget(
  { namespace, name }: ProbePlan,
  plan: TargetPlan,
  lookup: SecretLookup,
  fallback: Credentials | undefined,
): RunRequest['target'] | string {
  const location = `${resourceId({ namespace, name })}, target ${plan.name}`;
  const secret = plan.credentialsSecret;
  const accessKey = lookup(namespace, secret, 'accessKey');
  const secretKey = lookup(namespace, secret, 'secretKey');
  const sessionToken = lookup(namespace, secret, 'sessionToken');
  if ((accessKey === undefined) !== (secretKey === undefined)) {
    return `${location}: Secret ${secret} has no ${accessKey === undefined ? 'accessKey' : 'secretKey'}; required: accessKey and secretKey`;
  }
  const credentials =
    accessKey === undefined || secretKey === undefined
      ? fallback
      : { accessKey, secretKey, ...(sessionToken !== undefined && { sessionToken }) };
  if (credentials === undefined) {
    return `${location}: Secret ${secret} not found; accepted: --secret ${secret}=FILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a Secret document in the file`;
  }
  const { endpoint, region } = plan;
  const target = { name: plan.name, endpoint, region, credentials };
  if (plan.caSecret === undefined) return target;
  const ca = lookup(namespace, plan.caSecret.name, plan.caSecret.key);
  if (ca !== undefined) return { ...target, tls: { ca } };
  return `${location}: key ${plan.caSecret.key} of Secret ${plan.caSecret.name} not found; accepted: --secret ${plan.caSecret.name}=CA.PEM, or a Secret document in the file`;
}

async function templatesFromFlags(flags: RunFlags, context: CommandContext): Promise<RunTemplate[]> {
  const { env } = context;
  const endpoint =
    flags.endpoint || env['AWS_ENDPOINT_URL_S3'] || env['AWS_ENDPOINT_URL'] || env['MINIO_ENDPOINT'];
  if (!endpoint) {
    throw new InputError('nothing to probe; accepted: -f FILE or --endpoint URL');
  }
  const credentials = credentialsFromFlags(flags, context);
  const checked = check(
    StorageProbe,
    probeForEndpoint(endpoint, { ...flags, region: flags.region || env['AWS_REGION'] }),
  );
  if ('problems' in checked) {
    throw new InputError(
      ...checked.problems.map((problem) => {
        const flag = FLAG_OF_FIELD.find(([field]) => formatPath(problem.path).startsWith(field))?.[1];
        return formatProblem(flag === undefined ? problem : { ...problem, path: [flag] });
      }),
    );
  }
  const plan = planProbe(checked.value);
  const caFile = flags.caFile || env['AWS_CA_BUNDLE'];
  const tls = !caFile ? {} : { tls: { ca: await readFile(caFile) } };
  return plan.targets.map(({ name, region, endpoint: url }) =>
    runTemplate(plan, { name, endpoint: url, region, credentials, ...tls }),
  );
}

const FLAG_OF_FIELD: readonly (readonly [string, string])[] = [
  ['spec.targets[0].endpoint', '--endpoint'],
  ['spec.targets[0].region', '--region'],
  ['spec.bucket', '--bucket'],
  ['spec.objects', '--size'],
  ['spec.timeout', '--timeout'],
];

function credentialsFromFlags(flags: RunFlags, { env }: CommandContext): Credentials {
  const credentials = credentialsFromEnv(env, flags);
  if (credentials !== undefined) return credentials;
  throw new InputError(
    '--endpoint: no credentials found; accepted: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or --access-key and --secret-key',
  );
}

function probeForEndpoint(
  endpoint: string,
  {
    region,
    bucket,
    size,
    timeout,
  }: Pick<RunFlags, 'bucket' | 'size' | 'timeout'> & { region: string | undefined },
): object {
  return {
    apiVersion: API_VERSION,
    kind: KIND,
    metadata: { name: 'quick-look' },
    spec: {
      schedule: { interval: '24h' },
      targets: [
        {
          name: targetName(endpoint),
          endpoint,
          credentialsSecretRef: { name: 'quick-look' },
          ...(region && { region }),
        },
      ],
      ...(bucket !== undefined && { bucket: { mode: 'Existing', name: bucket } }),
      ...(size !== undefined && { objects: size.map((each) => ({ size: each })) }),
      ...(timeout !== undefined && { timeout }),
    },
  };
}

/** `my-minio` for `http://my-minio.storage.svc:9000`, and `10-0-0-7` for `http://10.0.0.7:9000`. */
function targetName(endpoint: string): string {
  const host = URL.parse(endpoint)?.hostname ?? '';
  const name = /^[\d.]+$/.test(host) ? host : (host.split('.')[0] ?? '');
  return (
    name
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .replaceAll(/^-|-$/g, '')
      .slice(0, 63) || 'target'
  );
}

/** @throws {InputError} naming the flag. */
export function durationFlag(flag: string, text: string): number {
  try {
    return parseDurationMs(text);
  } catch (error) {
    throw new InputError(
      `${flag}: ${showText(text)} ${error instanceof Error ? error.message : ''}; accepted: a duration, for example 30s or 1m30s`,
    );
  }
}
