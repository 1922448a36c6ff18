import type { Credentials, TargetProxy } from '../../api/run.ts';
import { type CommandContext, InputError } from '../context.ts';
import { readAwsProfile } from './aws-profile.ts';
import { credentialsFromEnv } from './env-credentials.ts';
import { proxyFromEnv } from './proxy-env.ts';

/** What `run` takes from the environment, with the precedence of the AWS CLI. */
export interface RunEnvironment {
  /** Credentials of targets whose Secret is not given. */
  readonly credentials?: Credentials;
  /** The web identity, if there is one. */
  readonly webIdentity?: EnvironmentIdentity;
  /** True if targets whose Secret is not given use the web identity. */
  readonly usesWebIdentity: boolean;
  /** Why there are no credentials, if the environment names some that cannot be used. */
  readonly fault?: string;
  readonly region?: string;
  /** Returns the proxy for a URL. */
  readonly proxyFor: (url: string) => TargetProxy | undefined;
}

export interface EnvironmentIdentity {
  readonly tokenFile: string;
  readonly roleArn?: string;
  readonly stsEndpoint?: string;
}

/**
 * @param given keys from flags. They override the variables.
 * @throws {InputError} if a file that a variable names cannot be used.
 */
export async function readEnvironment(
  env: CommandContext['env'],
  given: { readonly accessKey?: string; readonly secretKey?: string } = {},
): Promise<RunEnvironment> {
  const profile = await readAwsProfile(env);
  const fromVariables = identityFromVariables(env);
  const identity = fromVariables ?? profile.webIdentity;
  const keys = credentialsFromEnv(env, given);
  const credentials = keys ?? (fromVariables === undefined ? profile.credentials : undefined);
  const region = env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || profile.region;
  const stsEndpoint = stsEndpointFrom(env);
  return {
    ...(credentials !== undefined && { credentials }),
    ...(identity !== undefined && { webIdentity: { ...identity, ...(stsEndpoint && { stsEndpoint }) } }),
    usesWebIdentity: credentials === undefined && identity !== undefined,
    ...(profile.fault !== undefined && { fault: profile.fault }),
    ...(region && { region }),
    proxyFor: (url) => proxyFromEnv(env, url),
  };
}

/** Source: AWS SDKs and Tools Reference Guide, "Assume role credential provider". */
function identityFromVariables(env: CommandContext['env']): EnvironmentIdentity | undefined {
  const tokenFile = env['AWS_WEB_IDENTITY_TOKEN_FILE'];
  const roleArn = env['AWS_ROLE_ARN'];
  return tokenFile ? { tokenFile, ...(roleArn && { roleArn }) } : undefined;
}

function stsEndpointFrom(env: CommandContext['env']): string | undefined {
  const text = env['AWS_ENDPOINT_URL_STS'];
  if (!text || /^https?:$/.test(URL.parse(text)?.protocol ?? '')) return text;
  throw new InputError('AWS_ENDPOINT_URL_STS: is not an HTTP URL; accepted: https://host[:port]');
}
