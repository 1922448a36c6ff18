import type { Credentials } from '../../api/run.ts';
import type { CommandContext } from '../context.ts';

/** Variables of the AWS and MinIO tools, in order of precedence. */
const KEY_VARIABLES = [
  { access: 'AWS_ACCESS_KEY_ID', secret: 'AWS_SECRET_ACCESS_KEY', token: 'AWS_SESSION_TOKEN' },
  { access: 'MINIO_ACCESS_KEY', secret: 'MINIO_SECRET_KEY' },
  { access: 'MINIO_ROOT_USER', secret: 'MINIO_ROOT_PASSWORD' },
];

/**
 * Returns the first complete key pair from the usual variables. Keys in `given` override their variables. A session
 * token is used only with the access key from the same set of variables.
 */
export function credentialsFromEnv(
  env: CommandContext['env'],
  given: { readonly accessKey?: string; readonly secretKey?: string } = {},
): Credentials | undefined {
  for (const { access, secret, token } of KEY_VARIABLES) {
    const accessKey = given.accessKey || env[access];
    const secretKey = given.secretKey || env[secret];
    const sessionToken = given.accessKey || token === undefined ? undefined : env[token];
    if (accessKey && secretKey) return { accessKey, secretKey, ...(sessionToken && { sessionToken }) };
  }
  return undefined;
}
