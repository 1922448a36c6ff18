import { check } from '../../api/check.ts';
import { credentialsFrom } from '../../api/credentials.ts';
import { type Documents, resourceId } from '../../api/documents.ts';
import { parseDurationMs } from '../../api/duration.ts';
import {
  type CredentialsPlan,
  planProbe,
  type ProbePlan,
  type TargetPlan,
  type WebIdentityPlan,
} from '../../api/plan.ts';
import { formatPath, formatProblem, showText } from '../../api/problem.ts';
import { ReasonedError } from '../../api/reasons.ts';
import type { Credentials, RunTarget } from '../../api/run.ts';
import { type RunTemplate, runTemplate } from '../../api/run-template.ts';
import { API_VERSION, KIND, StorageProbe } from '../../api/storage-probe.ts';
import { completeTarget, type ObjectKind } from '../../api/target.ts';
import { type CommandContext, InputError } from '../context.ts';
import { objectLookup, type ObjectLookup, readObjectFlags } from '../secrets.ts';
import { readFile, readProbeFiles } from '../sources.ts';
import { readEnvironment, type RunEnvironment } from './environment.ts';
import type { RunFlags } from './flags.ts';

/** A run template. If it has a web identity, the target's credentials are obtained before each run. */
export interface PlannedRun extends RunTemplate {
  readonly webIdentity?: WebIdentityPlan;
}

/** What to run, and the environment to run it in. */
export interface PlannedRuns {
  readonly runs: readonly PlannedRun[];
  readonly environment: RunEnvironment;
}

/**
 * Plans one run per target from flags, files and environment.
 *
 * @throws {InputError}
 */
export async function planRuns(flags: RunFlags, context: CommandContext): Promise<PlannedRuns> {
  const environment = await readEnvironment(context.env, flags);
  const runs =
    flags.filename === undefined
      ? await runsFromFlags(flags, environment, context)
      : await runsFromFiles(flags.filename, flags, environment, context);
  return { runs: flags.target === undefined ? runs : selectTargets(runs, flags.target), environment };
}

function selectTargets(runs: readonly PlannedRun[], names: readonly string[]): PlannedRun[] {
  const known = runs.map(({ target }) => target.name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new InputError(`--target: ${unknown.join(', ')} not found; accepted: ${known.join(', ')}`);
  }
  return runs.filter(({ target }) => names.includes(target.name));
}

async function runsFromFiles(
  names: readonly string[],
  flags: RunFlags,
  environment: RunEnvironment,
  context: CommandContext,
): Promise<PlannedRun[]> {
  const documents: Documents = await readProbeFiles(names, context);
  const [secrets, configMaps] = await Promise.all([
    readObjectFlags('Secret', flags.secret ?? []),
    readObjectFlags('ConfigMap', flags.configMap ?? []),
  ]);
  const lookup = objectLookup({ Secret: secrets, ConfigMap: configMaps }, documents);
  const runs: PlannedRun[] = [];
  const faults = new Set<string>();
  for (const plan of documents.probes.map(planProbe)) {
    for (const target of plan.targets) {
      try {
        runs.push(await planRun(plan, target, lookup, environment));
      } catch (error) {
        if (!(error instanceof ReasonedError)) throw error;
        faults.add(`${resourceId(plan)}, target ${target.name}: ${error.message}`);
      }
    }
  }
  if (faults.size > 0) throw new InputError(...faults);
  return runs;
}

/** @throws {ReasonedError} if a Secret or ConfigMap is missing or invalid. */
async function planRun(
  plan: ProbePlan,
  targetPlan: TargetPlan,
  lookup: ObjectLookup,
  environment: RunEnvironment,
): Promise<PlannedRun> {
  const { namespace } = plan;
  let webIdentity: WebIdentityPlan | undefined;
  const target = await completeTarget(
    targetPlan,
    {
      describe: (kind, name) => `${kind} ${name}`,
      read: async (kind, name, keys) => {
        const data = lookup(kind, { namespace, name }, keys);
        if (data === undefined) throw new ReasonedError('SecretMissing', missingMessage(kind, name));
        return data;
      },
    },
    async (credentials) => {
      const found = credentialsOf(credentials, { namespace, lookup, environment });
      if ('webIdentity' in found) webIdentity = found.webIdentity;
      return { credentials: 'webIdentity' in found ? NO_CREDENTIALS : found };
    },
  );
  const run = runTemplate(plan, withProxy(target, environment));
  return webIdentity === undefined ? run : { ...run, webIdentity };
}

/** Stands in for credentials that are obtained before each run. */
const NO_CREDENTIALS: Credentials = { accessKey: '', secretKey: '' };

function withProxy(target: RunTarget, { proxyFor }: RunEnvironment): RunTarget {
  const proxy = target.proxy ?? proxyFor(target.endpoint);
  return proxy === undefined ? target : { ...target, proxy };
}

/** @throws {ReasonedError} if there are no credentials. */
function credentialsOf(
  plan: CredentialsPlan,
  {
    namespace,
    lookup,
    environment,
  }: { readonly namespace: string; readonly lookup: ObjectLookup; readonly environment: RunEnvironment },
): Credentials | { readonly webIdentity: WebIdentityPlan } {
  if ('webIdentity' in plan) return { webIdentity: withEnvironment(plan.webIdentity, environment) };
  const { secret, keys } = plan;
  const data = lookup('Secret', { namespace, name: secret }, []);
  if (data !== undefined) return credentialsFrom(data, { keys, secret: `Secret ${secret}` });
  if (environment.credentials !== undefined) return environment.credentials;
  if (environment.usesWebIdentity) return { webIdentity: withEnvironment({}, environment) };
  throw new ReasonedError(
    'SecretMissing',
    environment.fault ??
      `Secret ${secret} not found; accepted: --secret ${secret}=FILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a Secret document in the file`,
  );
}

/** @throws {ReasonedError} if the environment has no token. */
function withEnvironment(plan: WebIdentityPlan, { webIdentity }: RunEnvironment): WebIdentityPlan {
  if (webIdentity === undefined) {
    throw new ReasonedError(
      'WebIdentityUnavailable',
      'webIdentity needs a token; accepted: AWS_WEB_IDENTITY_TOKEN_FILE with the path of a file',
    );
  }
  const { tokenFile: _, ...defaults } = webIdentity;
  return { ...defaults, ...plan };
}

function missingMessage(kind: ObjectKind, name: string): string {
  const [flag, source] = kind === 'Secret' ? ['--secret', 'FILE'] : ['--config-map', 'CA.PEM'];
  return `${kind} ${name} not found; accepted: ${flag} ${name}=${source}, or a ${kind} document in the file`;
}

async function runsFromFlags(
  flags: RunFlags,
  environment: RunEnvironment,
  { env }: CommandContext,
): Promise<PlannedRun[]> {
  const endpoint =
    flags.endpoint || env['AWS_ENDPOINT_URL_S3'] || env['AWS_ENDPOINT_URL'] || env['MINIO_ENDPOINT'];
  if (!endpoint) {
    throw new InputError('nothing to probe; accepted: -f FILE or --endpoint URL');
  }
  const credentials = credentialsForEndpoint(environment);
  const checked = check(
    StorageProbe,
    probeForEndpoint(endpoint, { ...flags, region: flags.region || environment.region }),
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
  const tls = caFile ? { tls: { ca: await readFile(caFile) } } : {};
  return plan.targets.map(({ name, addressing, endpoint: url, region }) => {
    const target = {
      name,
      endpoint: url,
      ...(addressing !== undefined && { addressing }),
      region,
      credentials: credentials ?? NO_CREDENTIALS,
      ...tls,
    };
    const run = runTemplate(plan, withProxy(target, environment));
    return credentials === undefined ? { ...run, webIdentity: withEnvironment({}, environment) } : run;
  });
}

/** @returns undefined if the web identity is used. */
function credentialsForEndpoint({
  credentials,
  usesWebIdentity,
  fault,
}: RunEnvironment): Credentials | undefined {
  if (credentials !== undefined || usesWebIdentity) return credentials;
  throw new InputError(
    fault ??
      '--endpoint: no credentials found; accepted: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, MINIO_ACCESS_KEY and MINIO_SECRET_KEY, AWS_PROFILE, or --access-key and --secret-key',
  );
}

const FLAG_OF_FIELD: readonly (readonly [string, string])[] = [
  ['spec.targets[0].endpoint', '--endpoint'],
  ['spec.targets[0].region', '--region'],
  ['spec.bucket', '--bucket'],
  ['spec.objects', '--size'],
  ['spec.timeout', '--timeout'],
];

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
